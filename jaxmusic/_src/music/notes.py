"""A piece of music as columns, passed between all rooms of the library."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from jaxmusic._src.core.errors import UserError
from jaxmusic._src.music.details import Details

TICKS_PER_BEAT = 480
"""Ticks per quarter note of every aligned piece: divisible by 12, 24 and 32 steps."""

CHORD_QUALITIES = ("maj", "min", "7", "maj7", "min7", "dim", "sus4", "aug", "sus2", "5")
CHORD_TONES = (
    *((0, 4, 7), (0, 3, 7), (0, 4, 7, 10), (0, 4, 7, 11), (0, 3, 7, 10)),
    *((0, 3, 6), (0, 5, 7), (0, 4, 8), (0, 2, 7), (0, 7)),
)
"""Semitones above the root of each quality."""
CHORD_COUNT = 12 * len(CHORD_QUALITIES)
"""Chords are ``quality * 12 + root`` (root 0 is C)."""
NO_CHORD = 168
"""Stands where no chord sounds; the numbers before it are kept for four more qualities."""

SECTIONS = ("intro", "verse", "chorus", "bridge", "outro")
PHRASES = (*"ABCDEFGHabcdefgh",)
"""Letters of phrases: a phrase that comes back has the letter it had; small ones are played and not
sung (Dai, Zhang and Dannenberg, "Automatic Analysis and Influence of Hierarchical Structure on
Melody, Rhythm and Harmony in Popular Music", 2020)."""
PITCH_NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")


def semitones_to_c(key: int) -> int:
    """Semitones, -5 to 6, that move a key (tonic + 12 if minor) to C major or A minor."""
    home = 9 if key >= 12 else 0
    return (home - key + 5) % 12 - 5


def transposed(number: int | np.ndarray, semitones: int | np.ndarray) -> Any:
    """Moves a key or chord (12 numbers for each mode or quality) up by semitones."""
    return number // 12 * 12 + (number % 12 + semitones) % 12


def _empty(dtype: type) -> np.ndarray:
    return np.zeros(0, dtype)


@dataclasses.dataclass(frozen=True, eq=False)
class Labels:
    """Labels of a piece; every field may be empty.

    Attributes:
      styles: style names in lower case, e.g. ``("pop",)``.
      song: name of the song, the same for all versions of it; splits are made by song.
      key_tick, key: ticks [K] int32 and keys [K] uint8: tonic + 12 if minor (0 is C major).
      chord_tick, chord: ticks [C] int32 and chords [C] uint8 from there on, see `NO_CHORD`.
      bass_tick, bass: ticks [B] int32 and semitones [B] uint8, 0 to 11, of the bass above the root
        of its chord.
      section_tick, section: ticks [S] int32 and indices [S] uint8 into `SECTIONS`.
      phrase_tick, phrase: ticks [P] int32 and indices [P] uint8 into `PHRASES`.
      role: int8 [T], index into `music.roles.ROLES` of each track, -1 where unknown; or
        empty.
    """

    styles: tuple[str, ...] = ()
    song: str = ""
    key_tick: np.ndarray = dataclasses.field(default_factory=lambda: _empty(np.int32))
    key: np.ndarray = dataclasses.field(default_factory=lambda: _empty(np.uint8))
    chord_tick: np.ndarray = dataclasses.field(default_factory=lambda: _empty(np.int32))
    chord: np.ndarray = dataclasses.field(default_factory=lambda: _empty(np.uint8))
    bass_tick: np.ndarray = dataclasses.field(default_factory=lambda: _empty(np.int32))
    bass: np.ndarray = dataclasses.field(default_factory=lambda: _empty(np.uint8))
    section_tick: np.ndarray = dataclasses.field(default_factory=lambda: _empty(np.int32))
    section: np.ndarray = dataclasses.field(default_factory=lambda: _empty(np.uint8))
    phrase_tick: np.ndarray = dataclasses.field(default_factory=lambda: _empty(np.int32))
    phrase: np.ndarray = dataclasses.field(default_factory=lambda: _empty(np.uint8))
    role: np.ndarray = dataclasses.field(default_factory=lambda: _empty(np.int8))

    @classmethod
    def timelines(cls) -> tuple[str, ...]:
        """Names the columns that have a column of ticks."""
        fields = [field.name for field in dataclasses.fields(cls)]
        return tuple(name for name in fields if f"{name}_tick" in fields)

    def changes(self, name: str) -> list[tuple[int, int]]:
        """Returns the (tick, value) pairs of a timeline."""
        return list(zip(getattr(self, f"{name}_tick").tolist(), getattr(self, name).tolist()))

    @classmethod
    def of_changes(
        cls,
        changes: Mapping[str, Iterable[tuple[int, int]]],
        styles: tuple[str, ...] = (),
        song: str = "",
    ) -> Labels:
        """Builds labels from (tick, value) pairs, in any order, by the name of their timeline.

        Of two values at one tick the later one in the list holds.
        """
        columns: dict[str, np.ndarray] = {}
        for name, pairs in changes.items():
            at = dict(sorted(pairs, key=lambda pair: pair[0]))
            columns[f"{name}_tick"] = np.array(list(at), np.int32)
            columns[name] = np.array(list(at.values()), np.uint8)
        return cls(styles=styles, song=song, **columns)


@dataclasses.dataclass(frozen=True, eq=False)
class Notes:
    """A piece as columns on one integer time base.

    Times are in ticks from the start of the piece. As read from a file they are the file's own
    ticks; after `music.beats.align` there are `TICKS_PER_BEAT` ticks in every quarter note,
    beats and bar lines are those of the music, and the tempo map still gives the same seconds.

    Attributes:
      onset, duration: int32 [N], in ticks; durations are at least 1.
      pitch, velocity: uint8 [N], 0-127 and 1-127.
      track: int16 [N], index into `program` and `drum`. Rows are sorted by onset, track, pitch.
      program: uint8 [T], General MIDI program 0-127 of each track.
      drum: bool [T], whether a track is drums.
      tempo_tick, tempo_qpm: int32 [K] and float64 [K], K >= 1, ascending, the first at 0:
        quarter notes per minute from that tick on.
      meter_tick, meter_num, meter_den: int32 [M] and uint8 [M] twice, M >= 1, the first at 0:
        the time signature from that tick on.
      end: length of the piece in ticks, at least the end of the last note.
      ticks_per_beat: ticks per quarter note.
      labels: style, song, key, chords, sections where known.
      details: what else a given file says, in the same ticks; None where there is nothing.
    """

    onset: np.ndarray
    duration: np.ndarray
    pitch: np.ndarray
    velocity: np.ndarray
    track: np.ndarray
    program: np.ndarray
    drum: np.ndarray
    tempo_tick: np.ndarray
    tempo_qpm: np.ndarray
    meter_tick: np.ndarray
    meter_num: np.ndarray
    meter_den: np.ndarray
    end: int
    ticks_per_beat: int = TICKS_PER_BEAT
    labels: Labels = dataclasses.field(default_factory=Labels)
    details: Details | None = None

    def __len__(self) -> int:
        """Number of notes."""
        return len(self.onset)

    @property
    def tempos(self) -> list[tuple[int, float]]:
        """Tick and quarter notes per minute of each tempo."""
        return list(zip(self.tempo_tick.tolist(), self.tempo_qpm.tolist()))

    @property
    def meters(self) -> list[tuple[int, int, int]]:
        """Tick, numerator and denominator of each time signature."""
        columns = (self.meter_tick, self.meter_num, self.meter_den)
        return list(zip(*(column.tolist() for column in columns)))

    @property
    def is_drum(self) -> np.ndarray:
        """Mask of drum hits, bool [N]."""
        return self.drum[self.track] if len(self.drum) else np.zeros(len(self), bool)

    def seconds(self, ticks: np.ndarray | int) -> np.ndarray:
        """Converts ticks to seconds from the start of the piece (float64, any shape)."""
        per_tick = 60.0 / (self.tempo_qpm * self.ticks_per_beat)
        starts = np.concatenate([[0.0], np.cumsum(np.diff(self.tempo_tick) * per_tick[:-1])])
        ticks = np.asarray(ticks)
        k = np.clip(np.searchsorted(self.tempo_tick, ticks, side="right") - 1, 0, None)
        return starts[k] + (ticks - self.tempo_tick[k]) * per_tick[k]

    def replace(self, **fields: object) -> Notes:
        """Returns a copy with some fields replaced."""
        return dataclasses.replace(self, **fields)  # type: ignore[arg-type]

    def until(self, end: int) -> Notes:
        """Cuts the piece at a tick; sounding notes end there, labels stay those of the whole."""
        rows = self.onset < end
        columns = ("onset", "duration", "pitch", "velocity", "track")
        kept = {name: getattr(self, name)[rows] for name in columns}
        kept["duration"] = np.minimum(kept["duration"], end - kept["onset"])
        return self.replace(**kept, end=end, details=self.details and self.details.until(end))


def check_aligned(notes: Notes) -> None:
    """Raises UserError for a piece that `music.beats.align` has not aligned."""
    if notes.ticks_per_beat != TICKS_PER_BEAT:
        raise UserError(
            f"Put the piece on its beats with jaxmusic.music.beats.align first: it has "
            f"{notes.ticks_per_beat} ticks in a quarter note instead of {TICKS_PER_BEAT}."
        )


def make_notes(
    onset: object,
    duration: object,
    pitch: object,
    velocity: object,
    track: object,
    program: object = (0,),
    drum: object = (False,),
    tempos: Iterable[tuple[int, float]] = (),
    meters: Iterable[tuple[int, int, int]] = (),
    end: int = 0,
    ticks_per_beat: int = TICKS_PER_BEAT,
    labels: Labels | None = None,
) -> Notes:
    """Builds `Notes` from any sequences: casts, sorts rows, sorts the tempo map, opens it at 0.

    Args:
      onset, duration, pitch, velocity, track: [N], as in `Notes`, in any order.
      program, drum: [T], as in `Notes`.
      tempos: (tick, quarter notes per minute) pairs; of two at one tick the later wins. The
        tempo is 120 before the first.
      meters: (tick, numerator, denominator) triples, likewise, 4/4 before the first.
      end: length in ticks, at least the end of the last note.
      ticks_per_beat: ticks per quarter note.
      labels: labels of the piece.
    """
    columns = [np.asarray(c, np.int64) for c in (onset, duration, pitch, velocity, track)]
    # One key for onset, track and pitch: much faster than sorting by three columns.
    order = np.argsort((((columns[0] << 15) + columns[4]) << 7) + columns[2], kind="stable")
    onset_, duration_, pitch_, velocity_, track_ = (c[order] for c in columns)
    duration_ = np.maximum(duration_, 1)
    tempo = {0: 120.0} | dict(sorted(tempos, key=lambda t: t[0]))
    meter = {0: (4, 4)} | {t: (n, d) for t, n, d in sorted(meters, key=lambda m: m[0])}
    last = int((onset_ + duration_).max(initial=0))
    return Notes(
        onset=onset_.astype(np.int32),
        duration=duration_.astype(np.int32),
        pitch=pitch_.astype(np.uint8),
        velocity=velocity_.astype(np.uint8),
        track=track_.astype(np.int16),
        program=np.asarray(program, np.uint8),
        drum=np.asarray(drum, bool),
        tempo_tick=np.array(list(tempo), np.int32),
        tempo_qpm=np.array(list(tempo.values()), np.float64),
        meter_tick=np.array(list(meter), np.int32),
        meter_num=np.array([n for n, _ in meter.values()], np.uint8),
        meter_den=np.array([d for _, d in meter.values()], np.uint8),
        end=max(int(end), last),
        ticks_per_beat=int(ticks_per_beat),
        labels=labels or Labels(),
    )
