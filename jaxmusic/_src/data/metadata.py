"""Metadata about a piece that a selection goes by, and the index of them that a dataset keeps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from jaxmusic._src.formats.instruments import DRUM_PROGRAM as DRUMS
from jaxmusic._src.music.controls import CONTROLS, names
from jaxmusic._src.music.notes import Notes

VERSION = 3
"""Raised when the meaning of a field changes, so that indices are rebuilt."""
_NOTHING = np.zeros(0, np.int8)
NUMBERS = ("tempo", "bars", "seconds", "notes", "tracks", "density")
"""Metadata that are numbers, in the order of `MetadataTable.number`."""


class Metadata(NamedTuple):
    """What is known about a piece as a whole.

    Attributes:
      tempo: quarters per minute, the mean over time.
      bars: number of bars, by the meters of its notes.
      seconds: length.
      notes: number of notes, drum hits included.
      tracks: tracks that have notes.
      density: notes per second.
      meter: numerator and denominator of the meter that holds longest.
      key: tonic + 12 if minor of the key that holds longest, -1 where none is known.
      programs: General MIDI programs of the tracks that have notes, `DRUMS` for drums.
      styles: names of its styles.
      controls: names of the controls that are labelled, or can be found in the notes.
    """

    tempo: float
    bars: int
    seconds: float
    notes: int
    tracks: int
    density: float
    meter: tuple[int, int]
    key: int
    programs: frozenset[int]
    styles: tuple[str, ...]
    controls: frozenset[str]


def describe(notes: Notes) -> Metadata:
    """Describes an aligned piece."""
    end = max(notes.end, 1)
    seconds = max(float(notes.seconds(end)), 1e-3)
    quarters = end / notes.ticks_per_beat
    sounding = np.flatnonzero(np.bincount(notes.track, minlength=len(notes.program)))
    programs = np.where(notes.drum[sounding], DRUMS, notes.program[sounding])
    meters = np.stack([notes.meter_num, notes.meter_den], 1).astype(np.int64)
    spans = _spans(notes.meter_tick, end)
    bar = notes.ticks_per_beat * 4 * meters[:, 0] / np.maximum(meters[:, 1], 1)
    meter = _longest(meters[:, 0] << 8 | meters[:, 1], spans)
    return Metadata(
        # Rounded, or 108 would not be in 90..108.
        tempo=round(60 * quarters / seconds, 3),
        bars=int(np.ceil(spans / np.maximum(bar, 1) - 1e-9).sum()),
        seconds=round(seconds, 3),
        notes=len(notes),
        tracks=len(sounding),
        density=round(len(notes) / seconds, 3),
        meter=(meter >> 8, meter & 255),
        key=main_key(notes),
        programs=frozenset(programs.tolist()),
        styles=notes.labels.styles,
        controls=_controls(notes, tracks=int((programs != DRUMS).sum())),
    )


def _controls(notes: Notes, tracks: int) -> frozenset[str]:
    """Names the controls that a piece with pitched tracks states."""
    kinds: set[str] = set()
    for control in CONTROLS:
        values = getattr(notes.labels, control.label) if control.label else _NOTHING
        if (values >= 0).any() and (values != control.none).any():
            kinds.add(control.kind)
        elif control.find and (not control.under or kinds.intersection(control.under)):
            # A piece for one instrument states no control of instruments.
            kinds |= {control.kind} if control.place != "slot" or tracks > 1 else set()
    styles = {"styles"} if notes.labels.styles else set()
    return frozenset({c.name for c in CONTROLS if c.kind in kinds} | styles)


def main_key(notes: Notes) -> int:
    """Returns the key with the longest duration (tonic + 12 if minor), -1 if unknown."""
    labels = notes.labels
    return _longest(labels.key, _spans(labels.key_tick, notes.end)) if len(labels.key) else -1


class MetadataTable(NamedTuple):
    """Metadata of P pieces as columns, in which a selection takes no time.

    Attributes:
      number: float64 [P, 6], see `NUMBERS`.
      meter: int32 [P], numerator * 256 + denominator.
      key: int16 [P].
      programs: uint8 [P, 17], a bit for each program and one for `DRUMS`.
      names: str [S], the styles there are.
      style: bool [P, S].
      known: bool [P, C], whether a piece has each of `music.controls.names`.
    """

    number: np.ndarray
    meter: np.ndarray
    key: np.ndarray
    programs: np.ndarray
    names: np.ndarray
    style: np.ndarray
    known: np.ndarray

    @classmethod
    def of(cls, pieces: Iterable[Metadata]) -> MetadataTable:
        """Gathers the metadata of pieces."""
        found = list(pieces)
        styles = sorted({style for f in found for style in f.styles})
        column = {name: i for i, name in enumerate(styles)}
        style = np.zeros((len(found), len(styles)), bool)
        known = [[name in f.controls for name in names()] for f in found]
        programs = np.zeros((len(found), DRUMS + 1), bool)
        for i, f in enumerate(found):
            style[i, [column[s] for s in f.styles]] = True
            programs[i, list(f.programs)] = True
        numbers = [[getattr(f, name) for name in NUMBERS] for f in found]
        return cls(
            number=np.array(numbers, np.float64).reshape(len(found), len(NUMBERS)),
            meter=np.array([f.meter[0] << 8 | f.meter[1] for f in found], np.int32),
            key=np.array([f.key for f in found], np.int16),
            programs=np.packbits(programs, axis=1),
            names=np.array(styles, dtype=str),
            style=style,
            known=np.array(known, bool).reshape(len(found), len(names())),
        )

    def __len__(self) -> int:
        """Number of pieces."""
        return len(self.key)

    def column(self, name: str) -> np.ndarray:
        """Returns one of `NUMBERS` for all pieces (float64 [P])."""
        return self.number[:, NUMBERS.index(name)]

    def states(self, control: str) -> np.ndarray:
        """Masks pieces that have one of `music.controls.names`, bool [P]."""
        return self.known[:, names().index(control)]

    def plays(self, program: int) -> np.ndarray:
        """Masks pieces in which a program, or `DRUMS`, plays, bool [P]."""
        return self.programs[:, program >> 3] >> (7 - (program & 7)) & 1 > 0


def _spans(at: np.ndarray, end: int) -> np.ndarray:
    """Returns the duration in ticks of each of several successive values."""
    return np.maximum(np.diff(np.minimum(at.astype(np.int64), end), append=end), 0)


def _longest(value: np.ndarray, spans: np.ndarray) -> int:
    """Returns the value with the longest duration; the lowest of several."""
    return int(np.bincount(value.astype(np.int64), spans).argmax())
