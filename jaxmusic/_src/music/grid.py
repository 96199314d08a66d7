"""Quantising: from aligned notes to a piece of whole numbers on a metrical grid, and back."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from jaxmusic._src.music.controls import CONTROLS, Control
from jaxmusic._src.music.meters import METERS, TEMPOS, bar_lines, halves
from jaxmusic._src.music.notes import NO_CHORD, TICKS_PER_BEAT, Labels, Notes, make_notes
from jaxmusic._src.music.piece import (
    DRUM_PITCHES,
    DRUM_SLOT,
    PITCHED_SLOTS,
    Losses,
    Piece,
    canonical,
)

OTHER_DRUMS = {22: 42, 26: 46}
"""Drums outside this range with an equivalent inside: Roland's kits send pitches 22 and 26 for a
closed and an open hi-hat hit on the rim."""


def quantise(notes: Notes, steps_per_beat: int = 12, velocities: int = 8) -> tuple[Piece, Losses]:
    """Puts aligned notes on a grid of steps_per_beat steps (12 or 24) to the quarter note.

    Onsets and ends go to the nearest step; a drum hit is one step long; of two hits of one drum in
    one step (a flam) one goes to the step beside it if that is free; the tempo changes at bar lines
    only, in steps of 2 %; what is lost is counted.
    """
    scale = TICKS_PER_BEAT // steps_per_beat
    onset = (notes.onset + scale // 2) // scale
    ending = notes.onset.astype(np.int64) + notes.duration
    is_drum = notes.is_drum
    duration = np.where(is_drum, 1, np.maximum((ending + scale // 2) // scale - onset, 1))
    pitch, keep = _pitches(notes)
    velocity = notes.velocity.astype(np.int32) * velocities // 128
    slots, programs, regrouped = _slots(notes, keep)
    slot = slots[notes.track] if len(notes) else np.zeros(0, np.int64)
    total = max(int(onset.max(initial=0)) + 1, -(-notes.end // scale))
    meter, bar_step = bar_lines(notes, total, steps_per_beat)

    def ordered() -> tuple[dict[str, Any], int, int]:
        given = dict(onset=onset, duration=duration, pitch=pitch, velocity=velocity, slot=slot)
        kept = {name: column[keep] for name, column in given.items()}
        return canonical(**kept, total=int(bar_step[-1]), ending=ending[keep] // scale)

    columns, duplicate, cut = ordered()
    if duplicate and is_drum.any():
        hits = np.flatnonzero(is_drum & keep)
        onset[hits] = _apart(onset[hits], notes.onset[hits], pitch[hits], scale)
        columns, duplicate, cut = ordered()
    ticks = bar_step * scale
    piece = Piece(
        **columns,
        programs=programs,
        bar_step=bar_step,
        meter=meter,
        tempo=_tempos(notes, ticks),
        styles=notes.labels.styles,
        song=notes.labels.song,
        steps_per_beat=steps_per_beat,
        velocities=velocities,
    )
    lines = {"bar": ticks[:-1], "half": halves(ticks)}
    for control in CONTROLS:
        found = _labelled(control, notes, lines.get(control.place), slots)
        if found is None and control.find:
            found = control.find(piece, piece.controls)
        if found is not None:
            piece.controls[control.kind] = found
    _without_gaps(piece.controls)
    return piece, Losses(len(notes), int((~keep).sum()), duplicate, cut, regrouped)


def dequantise(piece: Piece) -> Notes:
    """Returns the notes of a piece on the aligned time base; the inverse of `quantise`."""
    scale = TICKS_PER_BEAT // piece.steps_per_beat
    used = np.flatnonzero(piece.programs >= 0)
    track = np.zeros(16, np.int64)
    track[used] = np.arange(len(used))
    step = 128 // piece.velocities
    ticks = (piece.bar_step * scale).tolist()

    def changes(values: np.ndarray, at: list[int]) -> list[tuple[int, int]]:
        first = np.flatnonzero(np.diff(values, prepend=-2) * (values >= 0))
        return [(at[i], int(values[i])) for i in first]

    lines = {"bar": ticks[:-1], "half": halves(piece.bar_step * scale).tolist()}
    labelled = [(c, piece.controls[c.kind]) for c in CONTROLS if c.label and c.place in lines]
    labels = Labels.of_changes(
        {c.label: changes(v, lines[c.place]) for c, v in labelled if (v != c.default).any()},
        styles=piece.styles,
        song=piece.song,
    )
    return make_notes(
        piece.onset * scale,
        piece.duration * scale,
        piece.pitch,
        piece.velocity.astype(np.int64) * step + step // 2,
        track[piece.slot],
        program=np.maximum(piece.programs[used], 0),
        drum=used == DRUM_SLOT,
        tempos=[(tick, float(TEMPOS[i])) for tick, i in changes(piece.tempo, lines["bar"])],
        meters=[(tick, *METERS[i]) for tick, i in changes(piece.meter, lines["bar"])],
        end=ticks[-1],
        labels=dataclasses.replace(labels, role=piece.controls["role"][used].astype(np.int8)),
    )


def _labelled(
    control: Control, notes: Notes, ticks: np.ndarray | None, slots: np.ndarray
) -> np.ndarray | None:
    """Reads a control's values off its labels; None where it has none."""
    values = getattr(notes.labels, control.label) if control.label else None
    if values is None or not len(values):
        return None
    if ticks is not None:
        found = _at(getattr(notes.labels, f"{control.label}_tick"), values, ticks)
        return np.where(found < 0, control.default, found).astype(np.int16)
    out = control.unknown(0)
    # Of several tracks in one slot the first with a role counts.
    sounding = np.unique(notes.track)
    for track in sounding[::-1]:
        if values[track] >= 0 and slots[track] != DRUM_SLOT:
            out[slots[track]] = values[track]
    return out


def _without_gaps(controls: dict[str, np.ndarray]) -> None:
    """Sets chords to none before the first one, and basses to the root where no chord sounds."""
    chord = controls["chord"]
    if (chord >= 0).any():
        chord[chord < 0] = NO_CHORD
    controls["bass"][(chord < 0) | (chord == NO_CHORD)] = 0


def slots_of_tracks(notes: Notes) -> np.ndarray:
    """Returns the slot of each track of aligned notes in `quantise` (int64 [T])."""
    return _slots(notes, _pitches(notes)[1])[0]


def _pitches(notes: Notes) -> tuple[np.ndarray, np.ndarray]:
    """Returns pitches (int32 [N]) and a mask of those in range (bool [N])."""
    is_drum, pitch = notes.is_drum, notes.pitch.astype(np.int32)
    for other, drum in OTHER_DRUMS.items():
        pitch[is_drum & (pitch == other)] = drum
    return pitch, ~is_drum | ((pitch >= DRUM_PITCHES[0]) & (pitch <= DRUM_PITCHES[1]))


def _slots(notes: Notes, keep: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Returns slots of tracks [T], programs of slots [16], and notes in shared slots."""
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


def _apart(onset: np.ndarray, tick: np.ndarray, pitch: np.ndarray, scale: int) -> np.ndarray:
    """Rounds drum hits to steps, and avoids two hits of different ticks on one step.

    Of two hits of one drum in one step, the one nearer to a free neighbouring step moves there,
    by less than a step and a half, if both together are at most two steps off.
    """
    key = onset.astype(np.int64) * 128 + pitch
    order = np.lexsort((tick, key))
    pair = np.flatnonzero((np.diff(key[order]) == 0) & (np.diff(tick[order]) > 0))
    first, second = order[pair], order[pair + 1]
    before = tick[first] - (onset[first] - 1) * scale
    after = (onset[second] + 1) * scale - tick[second]
    may_go_back = ~np.isin(key[first] - 128, key) & (onset[first] > 0)
    may_go_on = ~np.isin(key[second] + 128, key)
    back = may_go_back & ((before <= after) | ~may_go_on)
    onset = onset.copy()
    onset[first[back]] -= 1
    onset[second[may_go_on & ~back]] += 1
    return onset


def _tempos(notes: Notes, ticks: np.ndarray) -> np.ndarray:
    """Chooses indices into TEMPOS for bars, kept while within 1.5 % of the bar's own tempo."""
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
    """Returns the value in force at each tick (a change up to a sixteenth late counts), or -1."""
    # Of two ticks that are closer, a change in the middle counts for the second.
    late = np.diff(ticks, append=ticks[-1] + TICKS_PER_BEAT) // 2
    k = np.searchsorted(at, ticks + np.minimum(late - 1, TICKS_PER_BEAT // 4), side="right") - 1
    return np.where(k < 0, -1, value[np.maximum(k, 0)].astype(np.int16)).astype(np.int16)
