"""Originality: finds passages that a piece copies from training music.

A passage is a stretch of the highest notes of one track that lies, moved by one transposition, one
ratio of note values and one shift in time, on the highest notes of one track of a training piece
(`evaluate.passages`). The tempo in beats per minute does not matter. Drums are ignored.

All music shares scales, arpeggios and repeated notes. So the length of a passage is weighted by its
surprise in bits under a model of the training music without the song in question
(`evaluate.surprise`); repetitions within the passage count once. `BITS_PER_NOTE` bits are
one telling note.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from jaxmusic._src.data.melodic_lines import MelodicLines
from jaxmusic._src.evaluate import surprise
from jaxmusic._src.evaluate.copy_index import CopyIndex
from jaxmusic._src.evaluate.passages import Passage, Way, passages
from jaxmusic._src.evaluate.rhythm import onset_steps
from jaxmusic._src.music.meters import bar_lines
from jaxmusic._src.music.notes import TICKS_PER_BEAT, Notes

BITS_PER_NOTE = 4.0
"""Bits of surprise of one telling note: about those of a melody's note."""
COPIED = 28
"""Least telling notes of a copied passage; docs/originality.md has the reasons."""
STEP = TICKS_PER_BEAT // 12
"""Ticks per step of lines."""


@dataclasses.dataclass(frozen=True)
class Span:
    """A stretch of a piece.

    Attributes:
      start, end: ticks; the end is the last note's onset.
      bars: first and last bar, counted from 1.
      seconds: its begin and end.
    """

    start: int
    end: int
    bars: tuple[int, int]
    seconds: tuple[float, float]

    def __str__(self) -> str:
        """Describes the bars and the time."""
        first, last = self.bars
        bars = f"bar {first}" if first == last else f"bars {first}-{last}"
        return f"{bars} ({_clock(self.seconds[0])} to {_clock(self.seconds[1])})"


@dataclasses.dataclass(frozen=True)
class Match:
    """The longest passage of a piece, in telling notes, that it shares with a training piece.

    Attributes:
      telling: its length in telling notes; 0 if nothing is shared, and then the other fields are
        empty.
      notes: its notes on one line that have a partner.
      shared: notes of all pitched tracks within it that have a partner in any track.
      piece: number of the training piece in its split, -1 for none.
      name: the training piece's file.
      here, there: its span in the piece and in the training piece.
      transposition: semitones from the piece up to the training piece.
      stretch: factor of note values from the piece to the training piece.
      share: share of the piece's pitched notes that lie in any copied passage (of `COPIED` telling
        notes or more); 0 if there are none.
      passage, source: notes of both within `here` and `there`, from tick 0 on.
    """

    telling: float = 0.0
    notes: int = 0
    shared: int = 0
    piece: int = -1
    name: str = ""
    here: Span = Span(0, 0, (0, 0), (0.0, 0.0))
    there: Span = Span(0, 0, (0, 0), (0.0, 0.0))
    transposition: int = 0
    stretch: float = 1.0
    share: float = 0.0
    passage: Notes | None = None
    source: Notes | None = None

    @property
    def bars(self) -> int:
        """Number of bars it touches."""
        return self.here.bars[1] - self.here.bars[0] + 1 if self.notes else 0

    @property
    def seconds(self) -> float:
        """Its length in seconds."""
        return self.here.seconds[1] - self.here.seconds[0]

    @property
    def copied(self) -> bool:
        """Whether it is longer than different songs share by chance."""
        return self.telling >= COPIED

    def describe(self) -> str:
        """Describes the match in a sentence or two."""
        if not self.notes:
            return "No passage is shared with the training music."
        how = []
        if self.transposition:
            direction = "below" if self.transposition > 0 else "above"
            count = abs(self.transposition)
            how.append(f"{count} semitone{'s' * (count > 1)} {direction} it")
        if abs(self.stretch - 1) > 0.02:
            how.append(f"note values {1 / self.stretch:.3g} times as long")
        return (
            f"{self.here} share {self.notes} notes of a line ({self.telling:.0f} telling ones; "
            f"{self.shared} notes of all tracks) with {self.there} of {self.name}"
            f"{', ' if how else ''}{', '.join(how)}. "
            f"{self.share:.0%} of the piece's notes are in copied passages."
        )


def find(training: Sequence[CopyIndex], notes: Notes) -> Match:
    """Finds the longest passage that a piece shares with training music.

    Args:
      training: indices, from `copy_index.read` or `copy_index.build`.
      notes: an aligned piece (`music.beats.align`), not necessarily a whole one.

    Returns:
      A match, without notes if nothing is shared, as for pieces of drums alone or of fewer than
      nine onsets in every track.
    """
    lines = MelodicLines.of(notes)
    best, inside = Match(), np.zeros(len(notes), bool)
    for index in training:
        for passage, telling in _told(index, passages(index, lines)):
            if telling < COPIED and telling <= best.telling:
                continue
            way, source = passage.way, index.pieces[passage.way.piece]
            start, end = (int(lines.step[i]) for i in (passage.start, passage.stop - 1))
            mine = _coincide(notes, source, way, start, end)
            if telling >= COPIED:
                inside |= mine
            if telling > best.telling:
                here = _span(notes, start, end)
                there = _span(source, *index.columns.step[passage.partners[[0, -1]]].tolist())
                best = Match(
                    telling=telling,
                    notes=len(passage.partners),
                    shared=int(mine.sum()),
                    piece=way.piece,
                    name=index.name(way.piece),
                    here=here,
                    there=there,
                    transposition=way.transposition,
                    stretch=way.stretch,
                    passage=_cut(notes, here),
                    source=_cut(source, there),
                )
    pitched = int((~notes.is_drum).sum())
    return dataclasses.replace(best, share=float(inside.sum()) / max(pitched, 1))


def _told(index: CopyIndex, found: Sequence[Passage]) -> list[tuple[Passage, float]]:
    """Returns passages with their lengths in telling notes."""
    by_piece: dict[int, list[Passage]] = {}
    for passage in found:
        by_piece.setdefault(passage.way.piece, []).append(passage)
    out = []
    for piece, several in by_piece.items():
        grams = surprise.grams(index.lines([piece]))
        bits = surprise.bits(grams, index.music, index.versions(piece))
        for passage in several:
            rows = passage.partners - int(index.columns.first[piece])
            # Repeated grams count once; 0 is no gram.
            first = np.unique(grams[-1, rows], return_index=True)[1]
            new = grams[-1, rows] == 0
            new[first] = True
            out.append((passage, float(bits[rows][new].sum()) / BITS_PER_NOTE))
    return out


def _coincide(notes: Notes, source: Notes, way: Way, start: int, end: int) -> np.ndarray:
    """Marks pitched notes from step start to end that lie on pitched notes of the source [N]."""
    step = onset_steps(notes)
    inside = ~notes.is_drum & (step >= start) & (step <= end)
    theirs = ~source.is_drum
    known = np.unique(onset_steps(source)[theirs] * 256 + source.pitch[theirs])
    moved = np.rint(way.stretch * step + way.shift).astype(np.int64)
    pitch = notes.pitch.astype(np.int64) + way.transposition
    hit = np.zeros(len(notes), bool)
    for off in (-1, 0, 1):
        hit |= np.isin((moved + off) * 256 + pitch, known)
    return inside & hit & (pitch >= 0) & (pitch < 128)


def _span(notes: Notes, first: int, last: int) -> Span:
    """Makes the span from one step to another."""
    start, end = first * STEP, last * STEP
    line = bar_lines(notes, max(last + 1, -(-notes.end // STEP)), 12)[1]
    bars = np.searchsorted(line, [first, last], side="right")
    seconds = notes.seconds(np.array([start, end]))
    return Span(start, end, (int(bars[0]), int(bars[1])), (float(seconds[0]), float(seconds[1])))


def _cut(notes: Notes, span: Span) -> Notes:
    """Cuts all tracks of a span out of a piece, without labels."""
    near = STEP // 2
    rows = (notes.onset >= span.start - near) & (notes.onset <= span.end + near)
    columns = ("onset", "duration", "pitch", "velocity", "track")
    kept = {name: getattr(notes, name)[rows] for name in columns}
    kept["onset"] = np.maximum(kept["onset"] - span.start, 0).astype(np.int32)
    tempo = max(int(np.searchsorted(notes.tempo_tick, span.start, side="right")) - 1, 0)
    meter = max(int(np.searchsorted(notes.meter_tick, span.start, side="right")) - 1, 0)
    return notes.replace(
        **kept,
        tempo_tick=np.maximum(notes.tempo_tick[tempo:] - span.start, 0),
        tempo_qpm=notes.tempo_qpm[tempo:],
        meter_tick=np.maximum(notes.meter_tick[meter:] - span.start, 0),
        meter_num=notes.meter_num[meter:],
        meter_den=notes.meter_den[meter:],
        end=int((kept["onset"] + kept["duration"]).max(initial=span.end - span.start)),
        labels=type(notes.labels)(),
    )


def _clock(seconds: float) -> str:
    """Formats minutes and seconds, as in 1:07."""
    whole = int(seconds)
    return f"{whole // 60}:{whole % 60:02}"
