"""The performance codec: note-seq's events in steps of 10 ms, for expressive playing.

A stream is ``bos [part] style*``, then events: ``shift`` (1 to 100 steps), ``velocity`` (the
loudness of the notes that follow), ``note_on`` and ``note_off``; then ``eos``. The events are those
of Oore et al., "This time with feeling" (2018), with the integers of note-seq's
``PerformanceOneHotEncoding``. Two things are added: shifts lead to the end of the piece, so that
its length is known, and what sounds on past the end of a part is left open there.

A performance has one instrument and neither beats nor drums.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxmusic import config
from jaxmusic._src.codecs.base import Codec
from jaxmusic._src.codecs.layout import DEFAULT_STYLES, MAX_STYLES
from jaxmusic._src.codecs.performance.notes import (
    MAX_SHIFT,
    NOTE_OFF,
    SHIFT,
    STEPS_PER_SECOND,
    VELOCITY,
    Performance,
    canonical,
    levels,
    nearest_step,
    performance_tokens,
    steps,
)
from jaxmusic._src.codecs.tasks import Given
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.core.events import Events
from jaxmusic._src.music.notes import Labels, Notes, make_notes
from jaxmusic._src.music.piece import Losses

TASK_ROOM = 8
"""Ids that are kept for tasks, of which this codec has none."""
DEFAULT_VELOCITY = 100
"""Loudness of notes before any velocity token, as note-seq has it."""
_NO_BEATS = config.Codec.steps_per_beat
_QPM, _TICKS = 125.0, 10
"""At this tempo a step is a whole number of ticks, this one."""


class PerformanceCodec(Codec):
    """Performances to tokens and back, without loss.

    With 32 levels of loudness the tokens 0 to 387 are note-seq's. The padding token is not 0.
    """

    KINDS = ("performance",)
    VERSION = 1
    CONTROLS = ("styles",)
    ONSETS = ("note_on",)
    UNIT = "seconds"
    TIME = f"{STEPS_PER_SECOND} steps in a second"

    def __init__(
        self,
        config: config.Codec = config.Codec(velocities=32, kind="performance"),  # noqa: B008
        styles: Sequence[str] = DEFAULT_STYLES,
    ):
        """Lays out the vocabulary for 8, 16 or 32 levels of loudness."""
        if config.steps_per_beat != _NO_BEATS:
            raise UserError(
                "the performance codec knows no beats: leave out steps_per_beat, not "
                f"{config.steps_per_beat}"
            )
        ranges = [
            *(("note_on", 128), ("note_off", 128), ("shift", MAX_SHIFT)),
            *(("velocity", config.velocities), ("pad", 1), ("bos", 1), ("eos", 1)),
            *(("part", 1), ("task", TASK_ROOM), ("style", MAX_STYLES)),
        ]
        super().__init__(config, styles, ranges)

    def quantise(self, notes: Notes) -> tuple[Performance, Losses]:
        """Puts notes, aligned or as read from a file, on steps of 10 ms as note-seq does.

        All instruments become one. Drum hits are left out and count as `Losses.drum_pitch`; notes
        of all tracks but the largest count as regrouped.
        """
        keep = ~notes.is_drum
        track = np.bincount(notes.track[keep], minlength=1)
        onset, ending = (column[keep] for column in steps(notes))
        length = max(int(nearest_step(notes.seconds(notes.end))), int(ending.max(initial=1)))
        level = levels(notes.velocity[keep], self.config.velocities)
        columns, duplicate, cut = canonical(onset, ending - onset, notes.pitch[keep], level, length)
        regrouped = int(track.sum() - track.max())
        losses = Losses(len(notes), int((~keep).sum()), duplicate, cut, regrouped)
        performance = Performance(
            **columns,
            length=length,
            styles=notes.labels.styles,
            song=notes.labels.song,
            velocities=self.config.velocities,
        )
        return performance, losses

    def dequantise(self, performance: Performance) -> Notes:
        """Returns the notes of a performance on one piano track; `quantise` restores it.

        The tempo is constant and says nothing of the music: 125, where a step is 10 ticks.
        """
        width = 128 // performance.velocities
        return make_notes(
            performance.onset * _TICKS,
            performance.duration * _TICKS,
            performance.pitch,
            performance.velocity.astype(np.int64) * width + width // 2,
            np.zeros(len(performance), np.int64),
            tempos=((0, _QPM),),
            end=performance.length * _TICKS,
            labels=Labels(styles=performance.styles, song=performance.song),
        )

    def header(
        self,
        performance: Performance,
        drop: frozenset[str] = frozenset(),
        given: Given | None = None,
    ) -> list[int]:
        """Encodes what comes before the first event."""
        return self.opening(performance, drop)

    def restated(self, performance: Performance) -> int:
        """Counts the extra tokens of a part: its mark, loudness, a first shift, the end."""
        return 4

    def body(
        self,
        performance: Performance,
        drop: frozenset[str] = frozenset(),
        given: Given | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Encodes events; returns tokens [T] and their steps [T]."""
        if given is not None:
            raise UserError("tasks need bars: take a model of the metrical or fused codec")
        ending = performance.onset + performance.duration
        tokens, step = performance_tokens(
            performance.onset, ending, performance.pitch, performance.velocity
        )
        if performance.bars_after:  # What sounds at the end of a part may sound on.
            inside = step < performance.length
            tokens, step = tokens[inside], step[inside]
        reached = int(ending.max(initial=0))
        silence = np.arange(reached, performance.length, MAX_SHIFT)
        shifts = np.minimum(performance.length - silence, MAX_SHIFT)
        tokens = np.concatenate([tokens, SHIFT + shifts - 1])
        return tokens, np.concatenate([step, silence])

    def events(self, tokens: np.ndarray) -> Events:
        """Returns the event tensors of a stream, time in steps of 10 ms."""
        tokens = np.asarray(tokens, np.int32)
        value = self.vocabulary.value[tokens]
        shift = (tokens >= SHIFT) & (tokens < VELOCITY)
        note = tokens < SHIFT
        return Events(
            token=tokens,
            time=np.cumsum(np.where(shift, value + 1, 0)).astype(np.int32),
            position=np.full(len(tokens), 144, np.int32),
            bar=np.zeros(len(tokens), np.int32),
            slot=np.where(note, 0, 16).astype(np.int32),
            pitch=np.where(note, value, 128).astype(np.int32),
        )

    def decode(self, tokens: np.ndarray) -> tuple[Performance, int]:
        """Decodes a stream; returns the performance and the number of invalid tokens.

        Never raises. Left out and counted are the start of a pitch that sounds, the end of one that
        does not, both tokens of a note without length, and whatever is not where it belongs. Notes
        before any velocity token are as loud as `DEFAULT_VELOCITY`, and notes that are not ended
        last to the end of the stream, which is at least a step after the last onset.
        """
        start = self.vocabulary.start
        stream, dropped, ended = self.known_tokens(tokens)
        event = stream < self.PAD
        head, body = np.split(stream, [np.argmax(event) if event.any() else len(stream)])
        styles = head[head >= start["style"]]
        known = len(styles) + (head[:1] == start["bos"]).sum() + (head == start["part"]).sum()
        dropped += len(head) - int(known) + int((body > self.PAD).sum())
        body = body[body < self.PAD]
        columns, length, illegal = self._notes(body)
        performance = Performance(
            **columns,
            length=length,
            styles=self.style_names(styles - start["style"]),
            bars_before=int((head == start["part"]).any()),
            bars_after=0 if ended else 1,
            velocities=self.config.velocities,
        )
        return performance, dropped + illegal

    def _notes(self, body: np.ndarray) -> tuple[dict[str, Any], int, int]:
        """Columns of the notes of events, the length in steps, and tokens that made no sense."""
        time, value = self.events(body).time.astype(np.int64), self.vocabulary.value[body]
        stated = np.maximum.accumulate(np.where(body >= VELOCITY, np.arange(len(body)), -1))
        default = levels(np.array(DEFAULT_VELOCITY), self.config.velocities)
        level = np.where(stated >= 0, value[stated], default)
        # Pitch by pitch: it sounds after a token if that starts it, whether it sounded or not.
        sound = np.flatnonzero(body < SHIFT)
        sound = sound[np.argsort(value[sound], kind="stable")]
        on, pitch = body[sound] < NOTE_OFF, value[sound]
        sounds = np.concatenate([[False], on[:-1] & (pitch[1:] == pitch[:-1])])[: len(sound)]
        legal = on != sounds
        illegal = int((~legal).sum())
        sound, on, pitch = sound[legal], on[legal], pitch[legal]
        first = np.flatnonzero(on)
        after = np.minimum(first + 1, len(on) - 1)
        closed = ~on[after]
        onset, ending = time[sound[first]], time[sound[after]]
        length = max(int(time.max(initial=1)), int(onset.max(initial=0)) + 1)
        ending = np.where(closed, ending, length)
        keep = ending > onset
        illegal += 2 * int((~keep).sum())
        columns, _, _ = canonical(
            onset[keep],
            (ending - onset)[keep],
            pitch[first][keep],
            level[sound[first]][keep],
            length,
        )
        return columns, length, illegal
