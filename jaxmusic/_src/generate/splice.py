"""Given and written notes together: what is given stays as it is, note for note.

A given piece is read onto the grid for the model, but what comes back is the piece as it was, in
its own ticks and with its own tempos; written notes are moved to its ticks and added.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from jaxmusic._src.codecs.metrical.codec import MetricalCodec
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.music import beats, harmony
from jaxmusic._src.music.bar_count import BarCount, count
from jaxmusic._src.music.beat_grid import ticks_at
from jaxmusic._src.music.controls import CONTROLS
from jaxmusic._src.music.grid import slots_of_tracks
from jaxmusic._src.music.notes import TICKS_PER_BEAT, Notes, make_notes, semitones_to_c
from jaxmusic._src.music.piece import DRUM_SLOT, PITCHED_SLOTS, Piece, canonical

COLUMNS = ("onset", "duration", "pitch", "velocity", "slot")
"""Columns of the notes of a piece."""


@dataclasses.dataclass(frozen=True, eq=False)
class SourcePiece:
    """A piece that is given.

    Attributes:
      notes: as it was read, in the ticks of its file.
      aligned: the same on its beats; rows may stand in another order.
      piece: the same on the grid. Keys and chords are those of its labels, or else found in it.
      step: int64 [N], where on the grid each row of `notes` begins.
      slot: int64 [T], slot of each track of `notes`.
      offset: seconds in `notes` at which `aligned` begins; negative for an upbeat at the start.
      harmonised: whether the chords are labelled, or enough voices sound to find them.
      semitones: how far the piece was moved, for a model that knows C major and A minor alone.
    """

    notes: Notes
    aligned: Notes
    piece: Piece
    step: np.ndarray
    slot: np.ndarray
    offset: float
    harmonised: bool
    semitones: int = 0

    @property
    def bar(self) -> np.ndarray:
        """Number of the bar, from 0, in which each row of `notes` begins (int64 [N])."""
        return np.searchsorted(self.piece.bar_step, self.step, side="right") - 1

    def with_instruments(self, programs: tuple[int, ...], drums: bool) -> SourcePiece:
        """Adds slots for further instruments, in the order of the codec.

        Args:
          programs: General MIDI programs, each of which becomes a slot of its own.
          drums: whether there is to be a slot for drums.

        Raises:
          UserError: there are more than 15 pitched slots then.
        """
        piece = self.piece
        pitched = piece.programs[:DRUM_SLOT]
        old = np.flatnonzero(pitched >= 0)
        together = np.concatenate([pitched[old], np.array(programs, np.int16)])
        if len(together) > PITCHED_SLOTS:
            raise UserError(
                f"Ask for fewer instruments: with the {len(old)} of the piece there are "
                f"{len(together)}, and the model writes for {PITCHED_SLOTS} besides drums."
            )
        order = np.argsort(together, kind="stable")
        table = np.full(16, -1, np.int16)
        table[: len(order)] = together[order]
        kit = int(piece.programs[DRUM_SLOT])
        table[DRUM_SLOT] = 0 if drums and kit < 0 else kit
        moved = np.arange(16)
        moved[old] = np.argsort(order)[: len(old)]
        columns: dict[str, Any] = {name: getattr(piece, name) for name in COLUMNS}
        columns["slot"] = moved[piece.slot]
        columns, _, _ = canonical(**columns, total=int(piece.bar_step[-1]))
        controls = dict(piece.controls)
        for control in CONTROLS:
            if control.place == "slot":
                values = control.unknown(piece.bars)
                values[moved[old]] = controls[control.kind][old]
                controls[control.kind] = values
            elif control.find and control.place == "bar":
                # What the notes of all instruments together come to is not known.
                controls[control.kind] = control.unknown(piece.bars)
        slot = np.where(self.slot == DRUM_SLOT, DRUM_SLOT, moved[self.slot])
        piece = dataclasses.replace(piece, **columns, programs=table, controls=controls)
        return dataclasses.replace(self, piece=piece, slot=slot)

    def bar_count(self) -> BarCount:
        """Returns the bars that people count, beside those of the piece."""
        found = self.offset + self.aligned.seconds(self.piece.bar_step * self._scale)
        return count(self.notes, self.aligned, self.offset, found)

    @property
    def _scale(self) -> int:
        return TICKS_PER_BEAT // self.piece.steps_per_beat

    def ticks(self, step: np.ndarray) -> np.ndarray:
        """Converts steps of the grid to the ticks of `notes` (int64) at the same second."""
        aligned = np.asarray(step, np.int64) * self._scale
        seconds = self.offset + self.aligned.seconds(aligned)
        return np.rint(ticks_at(self.notes, seconds)).astype(np.int64)


def read(notes: Notes, codec: MetricalCodec, normalised: bool = False) -> SourcePiece:
    """Reads a given piece, in the ticks of its file.

    `normalised` moves it to C major or A minor, for a model that knows no other keys
    (`config.Data.normalise`).

    Raises:
      UserError: it has no notes.
    """
    if not len(notes):
        raise UserError("Give a piece that has notes: there are none in this one.")
    aligned, _ = beats.align(notes)
    labelled = len(aligned.labels.chord) > 0
    aligned = harmony.with_harmony(aligned)
    piece, _ = codec.quantise(aligned)
    key = int(np.bincount(piece.key).argmax()) if (piece.key >= 0).all() else -1
    semitones = semitones_to_c(key) if normalised and key >= 0 else 0
    if not len(piece):
        raise UserError("Give a piece with other notes than drums that General MIDI does not have.")
    scale = TICKS_PER_BEAT // piece.steps_per_beat
    # Both are sorted by onset, and alignment keeps the order of onsets.
    step = (aligned.onset.astype(np.int64) + scale // 2) // scale
    offset = beats.offset(notes, aligned)
    return SourcePiece(
        notes=notes,
        aligned=aligned,
        piece=piece.transpose(semitones),
        step=np.minimum(step, piece.bar_step[-1] - 1),
        slot=slots_of_tracks(aligned),
        offset=offset,
        harmonised=labelled or voices(piece) >= harmony.VOICES,
        semitones=semitones,
    )


def voices(piece: Piece) -> float:
    """Returns the mean number of simultaneous pitched notes, over steps with any."""
    onset, duration = piece.onset[piece.pitched], piece.duration[piece.pitched]
    steps = int((onset + duration).max(initial=0)) + 1
    change = np.bincount(onset, minlength=steps) - np.bincount(onset + duration, minlength=steps)
    sounding = np.cumsum(change)
    return float(sounding.sum() / max((sounding > 0).sum(), 1))


def merge(
    source: SourcePiece, kept: np.ndarray, written: Notes, slots: np.ndarray, end: int
) -> Notes:
    """Returns the rows of a piece that are kept, untouched, and written notes among them.

    A written note that would begin on a pitch while a note that is kept sounds there in the same
    track is left out, since a file could not tell the two apart; one that would reach into
    another note ends where that begins.

    Args:
      source: the given piece.
      kept: bool [N], rows of its notes.
      written: notes in the ticks of the source; the tempos, meters, labels and track numbers of
        the result are not taken from them.
      slots: int [T], slot of each track of `written`. Notes of a slot go to the track of the
        source that has most notes in it, or to a new one.
      end: length of the result in ticks; written notes end by then.
    """
    given = source.notes
    track, program, drum = _tracks(source, written, slots)
    new = _columns(written, (written.onset >= 0) & (written.onset < end))
    new |= {"stop": np.minimum(new["stop"], end), "track": track[new["track"]]}
    old = _columns(given, kept)
    new = _without_collisions(new, old)
    onset, stop, pitch, velocity, voice = (np.concatenate([old[n], new[n]]) for n in old)
    merged = make_notes(onset, stop - onset, pitch, velocity, voice, program, drum)
    names = ("onset", "duration", "pitch", "velocity", "track", "program", "drum")
    return given.replace(**{name: getattr(merged, name) for name in names}, end=end)


def _columns(notes: Notes, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Returns columns of some rows of notes (int64), with their ends for durations."""
    onset = notes.onset[rows].astype(np.int64)
    others = {name: getattr(notes, name)[rows] for name in ("pitch", "velocity", "track")}
    return {"onset": onset, "stop": onset + notes.duration[rows]} | {
        name: values.astype(np.int64) for name, values in others.items()
    }


def added(whole: Notes, source: SourcePiece, kept: np.ndarray) -> np.ndarray:
    """Masks the rows of a merged piece that were not given."""

    def keys(notes: Notes) -> np.ndarray:
        # No two notes of a track begin at once on one pitch, or `merge` leaves the new one out.
        voice = notes.track.astype(np.int64) * 128 + notes.pitch
        return voice << 32 | notes.onset

    return ~np.isin(keys(whole), keys(source.notes)[kept])


def _tracks(
    source: SourcePiece, written: Notes, slots: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Assigns written tracks to tracks of the result; returns their programs and drum flags too."""
    given = source.notes
    count = np.bincount(given.track, minlength=len(given.program))
    program, drum = given.program.tolist(), given.drum.tolist()
    track = np.zeros(len(slots), np.int64)
    used = np.unique(written.track)
    for number in used.tolist():
        slot = int(slots[number])
        home = np.flatnonzero((source.slot == slot) & (count > 0))
        if len(home):
            track[number] = home[np.argmax(count[home])]
            continue
        track[number] = len(program)
        program.append(int(written.program[number]))
        drum.append(slot == DRUM_SLOT)
    return track, np.array(program, np.uint8), np.array(drum, bool)


def _without_collisions(
    new: dict[str, np.ndarray], old: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Selects new notes that can sound beside old ones in a file, see `merge`."""
    both = {name: np.concatenate([old[name], new[name]]) for name in old}
    fresh = np.arange(len(both["onset"])) >= len(old["onset"])
    far = int(both["stop"].max(initial=0)) + 1
    voice = (both["track"] * 128 + both["pitch"]) * far
    begins, stops = voice + both["onset"], voice + both["stop"]
    order = np.lexsort((fresh, begins))
    sounding = np.maximum.accumulate(np.where(fresh, 0, stops)[order])
    again = np.append(False, np.diff(begins[order]) == 0)
    order = order[~fresh[order] | ((sounding <= begins[order]) & ~again)]
    following = np.append(begins[order][1:], np.iinfo(np.int64).max)
    stops = (np.minimum(stops[order], following) - voice[order])[fresh[order]]
    return {name: values[order[fresh[order]]] for name, values in both.items()} | {"stop": stops}
