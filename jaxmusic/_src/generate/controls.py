"""Controls as people write them, read into numbers."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxmusic import config
from jaxmusic._src.codecs.base import Codec
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.formats.symbols import hyphenated
from jaxmusic._src.generate import chords, instruments
from jaxmusic._src.generate.form import Form, read_energy, read_form
from jaxmusic._src.generate.guidance import Branch
from jaxmusic._src.generate.length import lengths, read_length
from jaxmusic._src.music import harmony, meters
from jaxmusic._src.music.controls import density_level, of
from jaxmusic._src.music.notes import semitones_to_c

DURATION = 180.0
"""Length of a piece in seconds, by default."""
WITHOUT_BARS = ("style", "duration", "guidance", "seed")
"""Controls of a codec that has no bars."""
_KEY_AFTER = 64
"""Half bars of a progression, repeated, from which its key is found."""


@dataclasses.dataclass(frozen=True)
class Request:
    """What is asked for, as numbers.

    Attributes:
      seconds: duration; None where the number of bars alone is asked for.
      styles: names of styles.
      mix: weights of the styles, which add up to 1; empty where a piece has them all.
      bars: number of bars, 0 where the duration alone is asked for.
      meter: index into `meters.METERS`, -1 for any.
      tempo: quarter notes per minute, 0 for any.
      band: instruments.
      wanted: values asked for, by the kind of `music.controls.CONTROLS`: one for the
        piece or its key, one for each pitched slot, bar, or half bar of a progression that is
        repeated; -1 for any. What is not asked for is not in it.
      guidance: how far to go towards styles and what is wanted; 1 is as learned.
      strict: whether notes must keep key, chords and density.
      ending: whether the last bar ends with a cadence.
      semitones: how far what is composed is moved in the end. Key and chords are as before that.
    """

    seconds: float | None = DURATION
    styles: tuple[str, ...] = ()
    mix: tuple[float, ...] = ()
    bars: int = 0
    meter: int = -1
    tempo: float = 0.0
    band: instruments.Band = dataclasses.field(default_factory=instruments.Band)
    wanted: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    guidance: float = 1.0
    strict: bool = False
    ending: bool = True
    semitones: int = 0

    @property
    def key(self) -> int:
        """Tonic + 12 if minor, -1 for any."""
        return self.wanted.get("key", -1)

    @property
    def density(self) -> int:
        """Level, see `music.controls.density_level`, -1 for any."""
        return self.wanted.get("density", -1)

    @property
    def chords(self) -> tuple[int, ...]:
        """Chord of each half bar of a progression; empty for any."""
        return self.wanted.get("chord", ())

    @property
    def form_bars(self) -> int:
        """Bars of the form, 0 for none."""
        return len(self.wanted.get("section", ()))

    @property
    def learned(self) -> frozenset[str]:
        """Names of the controls asked for that a model can only have learned."""
        asked = {of(kind).name for kind, value in self.wanted.items() if np.max(value) >= 0}
        return frozenset(asked | ({"styles"} if self.styles else set()))

    @property
    def branches(self) -> tuple[Branch, ...]:
        """Guidance branches: one for each style of a mix, and one without controls."""
        g = self.guidance
        mixed = [Branch(g * w, styles=(s,)) for s, w in zip(self.styles, self.mix)]
        return (*(mixed or [Branch(g)]), *([Branch(1 - g, self.learned)] if g != 1 else []))


def read(
    controls: config.Controls,
    codec: Codec,
    normalised: bool = False,
    styles: Sequence[str] | None = None,
) -> Request:
    """Reads controls.

    Args:
      controls: as they are written.
      codec: of the model.
      normalised: whether the model knows C major and A minor alone (`config.Data.normalise`).
      styles: names of the styles that the model was trained on; None for all of the codec's.

    Raises:
      UserError: what is asked for cannot be, contradicts itself, or the codec does not have it.
    """
    names, mix = _styles(controls.style, codec.styles if styles is None else styles)
    codec.style_tokens(names)
    seconds, bars = read_length(controls.duration)
    if codec.UNIT != "bars":
        for name in changed(controls, WITHOUT_BARS):
            raise UserError(
                f"the {codec.config.kind} codec has no {name} control: leave it out, or train with "
                "--codec.kind metrical"
            )
        if bars:
            raise UserError(
                f"the {codec.config.kind} codec has no bars: give the duration as 3:00 or 180"
            )
    form = read_form(controls.form) if controls.form.strip() else Form()
    if bars and form.parts and bars != sum(form.parts):
        raise UserError(
            f"the form has {sum(form.parts)} bars and the duration is {bars} bars: leave one out"
        )
    bars = bars or sum(form.parts)
    if seconds is None and not bars:
        seconds = DURATION
    meter, tempo = _meter(controls.meter), _tempo(controls.tempo)
    if codec.UNIT == "bars":
        lengths(seconds, bars, meter, tempo, codec.config.steps_per_beat)
    text = controls.instruments
    band = instruments.read(text) if text.strip() else instruments.Band()
    wanted = _wanted(controls, form, band)
    up = 0
    if normalised and wanted.keys() & {"key", "chord"}:
        up = semitones_to_c(_home(wanted.get("key", -1), wanted.get("chord", ())))
    request = Request(
        seconds=seconds,
        styles=names,
        mix=mix if len(names) > 1 else (),
        bars=bars,
        meter=meter,
        tempo=tempo,
        band=band,
        wanted=transposed(wanted, up),
        guidance=float(controls.guidance),
        strict=controls.strict,
        ending=controls.ending,
        semitones=-up,
    )
    if request.guidance != 1 and not request.learned:
        raise UserError(
            f"guidance {controls.guidance:g} has nothing to go towards: ask for a style, key, "
            "density, chords or form as well"
        )
    if request.strict and not request.learned & {"key", "chords", "density"}:
        raise UserError("strict has nothing to keep: ask for a key, chords or a density as well")
    return request


def changed(controls: config.Controls, other: Sequence[str]) -> list[str]:
    """Lists the controls that differ from their defaults, without some others."""
    default = config.Controls()
    names = (field.name for field in dataclasses.fields(controls))
    return [n for n in names if n not in other and getattr(controls, n) != getattr(default, n)]


def _wanted(controls: config.Controls, form: Form, band: instruments.Band) -> dict[str, Any]:
    """Reads the values asked for, by kind of control."""
    wanted: dict[str, Any] = {}
    if controls.key.strip():
        wanted["key"] = chords.read_key(controls.key)
    if controls.density:
        wanted["density"] = density_level(controls.density)
    if max(band.roles, default=-1) >= 0:
        wanted["role"] = band.roles
    if form.parts:
        wanted |= {"section": form.sections, "phrase": form.phrases}
    if controls.energy.strip():
        wanted["energy"] = read_energy(controls.energy, form)
    if controls.chords.strip():
        wanted["chord"], wanted["bass"] = chords.read_progression(controls.chords)
    return wanted


def transposed(wanted: Mapping[str, Any], semitones: int) -> dict[str, Any]:
    """Returns wanted values some semitones higher."""
    out = dict(wanted)
    for kind, values in wanted.items():
        if transpose := of(kind).transpose:
            moved = transpose(np.asarray(values), semitones).tolist()
            out[kind] = moved if isinstance(values, int) else tuple(moved)
    return out


def fitting_tones(request: Request) -> np.ndarray:
    """Masks the pitch classes that a strict request allows over each chord."""
    if not request.strict or (request.key < 0 and not request.chords):
        return np.ones_like(chords.fitting_tones(0, False))
    return chords.fitting_tones(_home(request.key, request.chords), bool(request.chords))


def _home(key: int, progression: tuple[int, ...]) -> int:
    """Returns the key asked for, or that of a progression that goes round and round."""
    if key >= 0:
        return key
    return harmony.key_of_chords(np.resize(progression, max(_KEY_AFTER, len(progression))))


def _styles(text: str, known: Sequence[str]) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Reads names of styles and their weights, which add up to 1.

    A name is written as one word, with - for spaces; alone it may also stand as it is.
    """
    names: dict[str, str] = {}
    for name in known:
        names.setdefault(hyphenated(name), name)
    weights: dict[str, float] = {}
    for part in [text.strip()] if hyphenated(text) in names else text.split():
        match = re.fullmatch(r"([^=]+)(?:=(\d+(?:\.\d*)?|\.\d+))?", part)
        weight = float(match[2] or 1) if match else 0.0
        if not match or not 0 < weight < math.inf:
            raise UserError(
                f"{part!r} is not a style with a weight above 0: write one style, as in pop, or a "
                "mix, as in pop=3 jazz=1"
            )
        style = match[1] if match[1] in known else names.get(hyphenated(match[1]))
        if style is None:
            there = f"choose from {', '.join(names)}" if names else "the model knows none"
            raise UserError(f"unknown style {match[1]!r}: {there}")
        if style in weights:
            raise UserError(f"the style {match[1]!r} is named twice: give it one weight")
        weights[style] = weight
    total = sum(weights.values())
    return tuple(weights), tuple(weight / total for weight in weights.values())


def _meter(text: str) -> int:
    if not text.strip():
        return -1
    match = re.fullmatch(r"(\d{1,3}) ?/ ?(\d{1,3})", text.strip())
    meter = meters.METERS_BY_NAME.get((int(match[1]), int(match[2]))) if match else None
    if meter is None:
        known = ", ".join(f"{num}/{den}" for num, den in meters.METERS)
        raise UserError(f"there is no meter {text!r}: choose from {known}")
    return meter


def _tempo(tempo: float) -> float:
    low, high = math.floor(meters.TEMPOS[0]), math.ceil(meters.TEMPOS[-1])
    if tempo and not low < tempo <= high:
        raise UserError(
            f"the tempo must be {low + 1} to {high} quarter notes per minute, not {tempo:g}"
        )
    return float(tempo)
