"""The vocabulary of the metrical codec, and the tables that follow from it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jaxmusic import config
from jaxmusic._src.codecs.base import Codec
from jaxmusic._src.codecs.layout import (
    BARS_LEFT,
    DEFAULT_STYLES,
    MAX_HOLD,
    MAX_STYLES,
    METER_ROOM,
    TASK_ROOM,
    TEMPO_ROOM,
    control_ranges,
)
from jaxmusic._src.codecs.tasks import HOLE, WRITE
from jaxmusic._src.codecs.vocabulary import Vocabulary
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.music import meters
from jaxmusic._src.music.controls import CONTROLS, stated_at
from jaxmusic._src.music.meters import METERS, TEMPOS
from jaxmusic._src.music.piece import DRUM_PITCHES, PITCHED_SLOTS


class MetricalLayout(Codec):
    """Which tokens there are.

    Attributes:
      fused: whether slot and pitch are one token, ``slot * 128 + pitch``.
      durations: int [D], the durations in steps that have a token of their own.
      duration_index: int [longest + 1], place of each duration in `durations`, or -1.
      half: steps that a hold token counts in: half notes.
      longest_bar: steps in the longest bar there is.
      bar_lengths: int [M], steps in a bar of each id of a meter.
      hole, write: the tokens that mark a bar with something to be written, and after which it is.
      kind: int8 [vocab_size], as in the vocabulary; bytes are compared several times faster.
      of_slot: bool [vocab_size], controls of slots.
      meaningful: bool [vocab_size], tokens that are not kept for later.
      voiced, sounding: bool [vocab_size], tokens that speak of a pitched slot, and of a pitch.
    """

    KINDS = ("metrical", "fused")
    VERSION = 2
    ONSETS = ("pitch", "drum")
    TIME = "{steps_per_beat} steps in a quarter note"

    def __init__(
        self,
        config: config.Codec = config.Codec(),  # noqa: B008
        styles: Sequence[str] = DEFAULT_STYLES,
    ):
        """Lays out the vocabulary for 12 or 24 steps per beat and 8 to 32 levels of loudness."""
        if config.steps_per_beat not in (12, 24):
            raise UserError(f"steps_per_beat must be 12 or 24, not {config.steps_per_beat}")
        beat = config.steps_per_beat
        self.fused = config.kind == "fused"
        self.half = 2 * beat
        longer = [beat * halves // 2 for halves in (5, 6, 7, 8, 10, 12, 14, 16)]
        self.durations = np.array([*range(1, self.half + 1), *longer])
        self.duration_index = np.full(self.durations[-1] + 1, -1)
        self.duration_index[self.durations] = np.arange(len(self.durations))
        drums = DRUM_PITCHES[1] - DRUM_PITCHES[0] + 1
        lengths = [meters.bar_length(m, beat) for m in range(len(METERS))]
        self.longest_bar = max(lengths)
        # Streams that make no sense may name a meter that there is not.
        self.bar_lengths = np.array(lengths + [lengths[0]] * (METER_ROOM - len(METERS)))
        ranges = [
            ("pad", 1),
            ("bos", 1),
            ("eos", 1),
            ("part", 1),
            ("task", TASK_ROOM),
            ("style", MAX_STYLES),
            ("meter", METER_ROOM),
            ("tempo", TEMPO_ROOM),
            ("program", 128),
            *control_ranges(),
            ("bar", len(BARS_LEFT)),
            ("position", self.longest_bar - 1),
            ("slot", 16),
            ("pitch", 128 * (PITCHED_SLOTS if self.fused else 1)),
            ("hold", MAX_HOLD),
            ("note", len(self.durations) * config.velocities),
            ("drum", drums * config.velocities),
        ]
        super().__init__(config, styles, ranges)
        v = self.vocabulary
        self.of_slot = self.is_kind(*(control.kind for control in stated_at("slot")))
        self.meaningful = _meaningful(v)
        self.hole, self.write = v.start["task"] + HOLE, v.start["task"] + WRITE
        self.kind = v.kind.astype(np.int8)
        self.voiced = self.is_kind("slot", "pitch", "hold", "note")
        self.sounding = self.is_kind("pitch", "hold", "note", "drum")


def _meaningful(vocabulary: Vocabulary) -> np.ndarray:
    """Masks the ids that are not reserved, bool [vocab_size]."""
    out = np.ones(vocabulary.size, bool)
    known = {"meter": len(METERS), "tempo": len(TEMPOS), "free": 0, "task": WRITE + 1}
    masks = {kind: np.arange(vocabulary.length[kind]) < count for kind, count in known.items()}
    masks |= {control.kind: control.valid() for control in CONTROLS}
    for kind, valid in masks.items():
        out[vocabulary.start[kind] :][: len(valid)] = valid
    return out
