"""Quantising: from aligned notes to a piece of whole numbers on a metrical grid, and back."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from jaxmusic.meters import METERS, METERS_BY_NAME, TEMPOS, divide
from jaxmusic.notes import NO_CHORD, TICKS_PER_BEAT, Labels, Notes, make_notes

PITCHED_SLOTS = 15
DRUM_SLOT = 15
DRUM_PITCHES = (27, 87)
"""Lowest and highest drum pitch kept: the drums of General MIDI 2."""
DENSITIES = 8


@dataclasses.dataclass(frozen=True, eq=False)
class Piece:
    """Quantised notes: integers only, in one canonical order.

    Slots: the tracks of a piece that sound, sorted by General MIDI program and then by their
    order in the file, take slots 0, 1, ... 14; all drums share slot 15.

    Attributes:
      onset: int32 [N], steps from the start of bar 1. Rows are sorted by onset, slot, pitch.
      duration: int32 [N], steps, at least 1; drum hits have 1.
      pitch: uint8 [N]. velocity: uint8 [N], loudness level 0 to velocities - 1.
      slot: uint8 [N].
      programs: int16 [16], General MIDI program of each slot, -1 for a slot that is not used.
      bar_step: int32 [B + 1], first step of each bar, and the end of the last.
      meter, tempo: int16 [B], index into `METERS` and `TEMPOS` of each bar.
      key: int16 [B], tonic + 12 if minor, or -1 where unknown.
      section: int16 [B], index into `notes.SECTIONS`, or -1 where unknown.
      chord: int16 [2 B], chord of each half bar (see `notes.NO_CHORD`), -1 where unknown.
      styles: names of styles. song: name of the song.
      density: 0 to 7, notes per beat on a logarithmic scale.
      bars_before, bars_after: bars of the whole piece before and after these.
      steps_per_beat, velocities: the resolution.
    """

    onset: np.ndarray
    duration: np.ndarray
    pitch: np.ndarray
    velocity: np.ndarray
    slot: np.ndarray
    programs: np.ndarray
    bar_step: np.ndarray
    meter: np.ndarray
    tempo: np.ndarray
    key: np.ndarray
    section: np.ndarray
    chord: np.ndarray
    styles: tuple[str, ...] = ()
    song: str = ""
    density: int = 0
    bars_before: int = 0
    bars_after: int = 0
    steps_per_beat: int = 12
    velocities: int = 8

    def __len__(self) -> int:
        """Number of notes."""
        return len(self.onset)

    @property
    def bars(self) -> int:
        """Number of bars."""
        return len(self.meter)

    def part(self, start: int, stop: int) -> Piece:
        """Bars start to stop (from 0, stop excluded) as a piece of their own.

        Notes belong to the bar they begin in; instruments, density and labels stay those of the
        whole piece.
        """
        first, last = int(self.bar_step[start]), int(self.bar_step[stop])
        a, b = np.searchsorted(self.onset, [first, last])
        return dataclasses.replace(
            self,
            onset=self.onset[a:b] - first,
            duration=self.duration[a:b],
            pitch=self.pitch[a:b],
            velocity=self.velocity[a:b],
            slot=self.slot[a:b],
            bar_step=self.bar_step[start : stop + 1] - first,
            meter=self.meter[start:stop],
            tempo=self.tempo[start:stop],
            key=self.key[start:stop],
            section=self.section[start:stop],
            chord=self.chord[2 * start : 2 * stop],
            bars_before=self.bars_before + start,
            bars_after=self.bars_after + self.bars - stop,
        )

    def transpose(self, semitones: int) -> Piece:
        """The piece moved by semitones; drums stay, notes that would leave 0-127 fold back."""
        pitch = self.pitch.astype(np.int32) + np.where(self.slot == DRUM_SLOT, 0, semitones)
        pitch = np.where(pitch < 0, pitch + 12, np.where(pitch > 127, pitch - 12, pitch))
        root, quality = self.chord % 12, self.chord // 12
        chord = np.where(
            (self.chord < 0) | (self.chord == NO_CHORD),
            self.chord,
            quality * 12 + (root + semitones) % 12,
        )
        tonic = np.where(self.key < 0, -1, self.key // 12 * 12 + (self.key % 12 + semitones) % 12)
        moved: dict[str, Any] = {"chord": chord.astype(np.int16), "key": tonic.astype(np.int16)}
        columns = canonical(
            self.onset, self.duration, pitch, self.velocity, self.slot, int(self.bar_step[-1])
        )[0]
        return dataclasses.replace(self, **columns, **moved)


@dataclasses.dataclass
class Losses:
    """What quantising changed, in notes, out of `notes` in the file."""

    notes: int = 0
    drum_pitch: int = 0
    """Drum hits outside `DRUM_PITCHES`, dropped."""
    duplicate: int = 0
    """Notes that begin with another of the same pitch in the same slot, merged."""
    cut: int = 0
    """Notes cut short because the same pitch begins again in the same slot."""
    regrouped: int = 0
    """Notes of tracks that share a slot with another track."""

    @property
    def share(self) -> float:
        """Share of notes that were dropped, merged or cut."""
        return (self.drum_pitch + self.duplicate + self.cut) / max(self.notes, 1)


def quantise(notes: Notes, steps_per_beat: int = 12, velocities: int = 8) -> tuple[Piece, Losses]:
    """Puts aligned notes on a grid of steps_per_beat steps (12 or 24) to the quarter note.

    Onsets and ends go to the nearest step; a drum hit is one step long; the tempo changes at bar
    lines only, in steps of 2 %; what is lost is counted.
    """
    losses = Losses(notes=len(notes))
    scale = TICKS_PER_BEAT // steps_per_beat
    onset = (notes.onset + scale // 2) // scale
    ending = (notes.onset.astype(np.int64) + notes.duration + scale // 2) // scale
    is_drum = notes.is_drum
    duration = np.where(is_drum, 1, np.maximum(ending - onset, 1))
    pitch = notes.pitch.astype(np.int32)
    velocity = notes.velocity.astype(np.int32) * velocities // 128
    keep = ~is_drum | ((pitch >= DRUM_PITCHES[0]) & (pitch <= DRUM_PITCHES[1]))
    losses.drum_pitch = int((~keep).sum())
    slots, programs, losses.regrouped = _slots(notes, keep)
    slot = slots[notes.track] if len(notes) else np.zeros(0, np.int64)
    total = max(int(onset.max(initial=0)) + 1, -(-notes.end // scale))
    meter, bar_step = _bars(notes, total, steps_per_beat)
    columns, losses.duplicate, losses.cut = canonical(
        onset[keep], duration[keep], pitch[keep], velocity[keep], slot[keep], int(bar_step[-1])
    )
    ticks = bar_step * scale
    labels = notes.labels
    beats = max(bar_step[-1] / steps_per_beat, 1.0)
    level = 2 * np.log2(max(len(columns["onset"]), 1) / beats) + 2
    halves = np.stack([ticks[:-1], ticks[:-1] + np.diff(ticks) // 2], 1).ravel()
    piece = Piece(
        **columns,
        programs=programs,
        bar_step=bar_step,
        meter=meter,
        tempo=_tempos(notes, ticks),
        key=_at(labels.key_tick, labels.key, ticks[:-1]),
        section=_at(labels.section_tick, labels.section, ticks[:-1]),
        chord=_at(labels.chord_tick, labels.chord, halves),
        styles=labels.styles,
        song=labels.song,
        density=int(np.clip(round(float(level)), 0, DENSITIES - 1)),
        steps_per_beat=steps_per_beat,
        velocities=velocities,
    )
    if (piece.chord >= 0).any():
        piece.chord[piece.chord < 0] = NO_CHORD
    return piece, losses


def dequantise(piece: Piece) -> Notes:
    """The notes of a piece on the aligned time base; `quantise` gives the same piece again."""
    scale = TICKS_PER_BEAT // piece.steps_per_beat
    used = np.flatnonzero(piece.programs >= 0)
    track = np.zeros(16, np.int64)
    track[used] = np.arange(len(used))
    step = 128 // piece.velocities
    ticks = (piece.bar_step * scale).tolist()

    def changes(values: np.ndarray, at: list[int]) -> tuple[np.ndarray, np.ndarray]:
        first = np.flatnonzero(np.diff(values, prepend=-2) * (values >= 0))
        return np.asarray(at)[first], values[first].astype(np.uint8)

    halves = np.stack([ticks[:-1], np.asarray(ticks[:-1]) + np.diff(ticks) // 2], 1).ravel()
    key_tick, key = changes(piece.key, ticks[:-1])
    section_tick, section = changes(piece.section, ticks[:-1])
    chord_tick, chord = changes(piece.chord, halves.tolist())
    meter_at, meter = changes(piece.meter, ticks[:-1])
    tempo_at, tempo = changes(piece.tempo, ticks[:-1])
    return make_notes(
        piece.onset * scale,
        piece.duration * scale,
        piece.pitch,
        piece.velocity.astype(np.int64) * step + step // 2,
        track[piece.slot],
        program=np.maximum(piece.programs[used], 0),
        drum=used == DRUM_SLOT,
        tempos=tuple((int(t), float(TEMPOS[i])) for t, i in zip(tempo_at, tempo)),
        meters=tuple((int(t), *METERS[i]) for t, i in zip(meter_at, meter)),
        end=ticks[-1],
        labels=Labels(
            styles=piece.styles,
            song=piece.song,
            key_tick=key_tick.astype(np.int32),
            key=key,
            chord_tick=chord_tick.astype(np.int32),
            chord=chord,
            section_tick=section_tick.astype(np.int32),
            section=section,
        ),
    )


def _slots(notes: Notes, keep: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Slot of each track [T], programs of the slots [16], notes in shared slots."""
    count = np.bincount(notes.track[keep], minlength=len(notes.program))
    slots = np.full(len(notes.program), DRUM_SLOT, np.int64)
    programs = np.full(16, -1, np.int16)
    drums = np.flatnonzero(notes.drum & (count > 0))
    if len(drums):
        programs[DRUM_SLOT] = notes.program[drums[0]]
    pitched = np.flatnonzero(~notes.drum & (count > 0))
    pitched = pitched[np.argsort(notes.program[pitched], kind="stable")]
    groups = [[int(t)] for t in pitched]
    regrouped = 0
    while len(groups) > PITCHED_SLOTS:
        # The smallest track joins the one whose instrument is nearest, within its family first.
        sizes = [int(count[g].sum()) for g in groups]
        small = int(np.argmin(sizes))
        program = int(notes.program[groups[small][0]])
        others = [i for i in range(len(groups)) if i != small]

        def distance(i: int, program: int = program) -> tuple[bool, int]:
            other = int(notes.program[groups[i][0]])
            return other // 8 != program // 8, abs(other - program)

        nearest = min(others, key=distance)
        regrouped += sizes[small]
        groups[nearest] += groups[small]
        del groups[small]
    for slot, group in enumerate(groups):
        slots[group] = slot
        programs[slot] = notes.program[group[0]]
    return slots, programs, regrouped


def _bars(notes: Notes, total: int, steps_per_beat: int) -> tuple[np.ndarray, np.ndarray]:
    """Meter of each bar [B] and bar lines [B + 1], in steps, of bars that cover total steps."""
    sixteenth = steps_per_beat // 4
    scale = TICKS_PER_BEAT * 4 // 16
    # Bar lines lie on sixteenths, so that every bar is a sum of meters in the table.
    starts = [round(int(t) / scale) * sixteenth for t in notes.meter_tick]
    lengths, kinds = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    position = 0
    for i, start in enumerate(starts):
        last = i + 1 == len(starts) or starts[i + 1] >= total
        stop = total if last else starts[i + 1]
        if stop <= position:
            continue
        whole = 4 * steps_per_beat * int(notes.meter_num[i]) // int(notes.meter_den[i])
        parts = divide(
            max(whole, sixteenth),
            steps_per_beat,
            METERS_BY_NAME.get((int(notes.meter_num[i]), int(notes.meter_den[i]))),
        )
        length = sum(n for n, _ in parts)
        span = stop - max(start, position)
        count = -(-span // length) if last else span // length
        rest = [] if last else divide(span - count * length, steps_per_beat, None)
        lengths.append(np.array([n for n, _ in parts] * count + [n for n, _ in rest], np.int64))
        kinds.append(np.array([m for _, m in parts] * count + [m for _, m in rest], np.int64))
        position = max(start, position) + count * length + sum(n for n, _ in rest)
    bar_step = np.concatenate([[0], np.cumsum(np.concatenate(lengths))])
    return np.concatenate(kinds).astype(np.int16), bar_step.astype(np.int32)


def _tempos(notes: Notes, ticks: np.ndarray) -> np.ndarray:
    """Index into TEMPOS of each bar: kept while it is within 1.5 % of the bar's own tempo."""
    beats = np.diff(ticks) / TICKS_PER_BEAT
    minutes = np.maximum(np.diff(notes.seconds(ticks)), 1e-3) / 60.0
    exact = np.log(beats / minutes / TEMPOS[0]) / np.log(1.02)
    out, now = np.zeros(len(beats), np.int16), -np.inf
    for i, x in enumerate(exact.tolist()):
        if abs(x - now) > 0.75:
            now = min(max(round(x), 0), len(TEMPOS) - 1)
        out[i] = now
    return out


def _at(at: np.ndarray, value: np.ndarray, ticks: np.ndarray) -> np.ndarray:
    """Value in force at each tick (a change up to a sixteenth late counts), -1 before any."""
    if not len(at):
        return np.full(len(ticks), -1, np.int16)
    # Of two ticks that are closer, a change in the middle counts for the second.
    late = np.diff(ticks, append=ticks[-1] + TICKS_PER_BEAT) // 2
    k = np.searchsorted(at, ticks + np.minimum(late - 1, TICKS_PER_BEAT // 4), side="right") - 1
    return np.where(k < 0, -1, value[np.maximum(k, 0)].astype(np.int16)).astype(np.int16)


def canonical(
    onset: np.ndarray,
    duration: np.ndarray,
    pitch: np.ndarray,
    velocity: np.ndarray,
    slot: np.ndarray,
    total: int,
) -> tuple[dict[str, Any], int, int]:
    """Sorted columns without duplicates and overlaps of one pitch, and counts of both."""
    onset = np.minimum(onset, total - 1).astype(np.int64)
    voice = np.asarray(slot, np.int64) * 128 + pitch
    duration, velocity = np.array(duration, np.int64), np.asarray(velocity)
    moment = onset * (16 * 128) + voice
    order = np.argsort(moment, kind="stable")
    new = np.diff(moment[order], prepend=-1) != 0
    if not new.all():  # The longest of duplicates stays.
        order = np.lexsort((-duration, moment))[new]
    onset, duration, velocity, voice = (c[order] for c in (onset, duration, velocity, voice))
    order = np.argsort(voice.astype(np.int16), kind="stable")
    same_voice = np.diff(voice[order]) == 0
    gap = np.where(same_voice, np.diff(onset[order]), np.iinfo(np.int64).max)
    overlapped = duration[order[:-1]] > gap
    duration[order[:-1][overlapped]] = gap[overlapped]
    columns = {
        "onset": onset.astype(np.int32),
        "duration": duration.astype(np.int32),
        "pitch": (voice & 127).astype(np.uint8),
        "velocity": velocity.astype(np.uint8),
        "slot": (voice >> 7).astype(np.uint8),
    }
    return columns, int(len(new) - new.sum()), int(overlapped.sum())
