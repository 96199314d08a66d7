"""Writing what is missing of a given piece, window by window: infill, accompany, harmonise, vary.

A window is a part of the piece that fits into the model's context with what is to be written of it.
The first window begins with the first bars to be written; the next one sees them written.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from jaxmusic import config
from jaxmusic._src.codecs.base import Codec
from jaxmusic._src.codecs.metrical import task_grammar
from jaxmusic._src.codecs.metrical.grammar import Rules
from jaxmusic._src.codecs.metrical.grammar_tables import Constraints
from jaxmusic._src.codecs.tasks import Given, Holes, holes
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.generate.composer import Composer
from jaxmusic._src.generate.composition import Composition, Progress
from jaxmusic._src.generate.controls import Request
from jaxmusic._src.generate.planning import SILENT_BARS, constraints, repeated
from jaxmusic._src.generate.splice import COLUMNS, SourcePiece, added, merge
from jaxmusic._src.music.controls import of, stated_at
from jaxmusic._src.music.meters import METERS, TEMPOS, halves
from jaxmusic._src.music.notes import Labels, Notes
from jaxmusic._src.music.piece import Piece, canonical, changes

ROOM = 2.0
"""Room of a window, as a multiple of the tokens that are expected to be written."""
CORE = 0.75
"""Share of the context for the bars to be written; whole bars around them take what is left."""
TOKENS_PER_SLOT = 20
"""Tokens that an instrument is expected to take in a bar where nothing else tells."""
FEWEST_TOKENS = 24
"""Least room in tokens for which a bar is written at all."""
_HALVES = tuple(control.kind for control in stated_at("half"))
LISTED = 64
"""Length of the lists of bars to be written and of notes that ring into them."""
_LAST_NOTE = 12  # tokens by which a bar that is full may yet grow


class Plan(NamedTuple):
    """What the rules of B pieces follow from.

    Attributes:
      holes: what is to be written, with a leading axis B.
      constraints: further constraints, likewise.
      tokens: int32 [B], a bar with this many tokens closes as soon as it may.
    """

    holes: Holes
    constraints: Constraints
    tokens: Any


class WindowPlanner:
    """Writes in one window of a piece; see `planning.Planner`.

    A window always fits into the context, so that it never continues past it: bars close early
    enough.

    Attributes:
      start, stop: bars of the piece that the window shows.
      given: what is given of these.
    """

    def __init__(
        self,
        grammar: Any,
        context: int,
        piece: Piece,
        given: Given,
        drop: frozenset[str] = frozenset(),
        request: Request = Request(),  # noqa: B008
        joining: tuple[int, ...] = (),
    ):
        """Chooses the window.

        Args:
          grammar, context: as in every planner.
          piece: only what is given of it must be there.
          given: what is given of the whole piece.
          drop: names of controls to leave out.
          request: of these `strict`, the key and the branches count; the rest is in the piece.
          joining: slots that have to sound before the second half of the piece is over.

        Raises:
          UserError: a single bar does not fit into the context.
        """
        self.codec, self.piece, self.branches = grammar.codec, piece, request.branches
        self.start, self.stop, last = _window(self.codec.sizes(piece), piece, given, context)
        marked = given.marked[self.start : self.stop].copy()
        marked[last + 1 - self.start :] = False
        self.given = dataclasses.replace(given, marked=marked)
        part = piece.part(self.start, self.stop)
        stream = self.codec.encode(part, drop, self.given)
        self.prompt = stream[: np.flatnonzero(stream == self.codec.write)[0] + 1]
        self.holes = _roomy(holes(part, self.given))
        self.constraints = self._constraints(request, joining)
        self.tokens = (context - 1 - len(self.prompt)) // int(marked.sum()) - _LAST_NOTE
        if self.tokens < FEWEST_TOKENS:
            raise UserError(
                f"Take a model with a longer context than {context} tokens: what is given of bar "
                f"{self.start + 1 + int(np.argmax(marked))} leaves no room to write anything in it."
            )

    @staticmethod
    def rules(state: Any, plan: Plan) -> Rules:
        """Returns the rules of one piece after a state of its grammar (in `jit`)."""
        return Rules(
            bars=plan.holes.bars,
            silence=SILENT_BARS,
            steady=1,
            tokens=plan.tokens,
            hole=task_grammar.hole(state, plan.holes),
            constraints=plan.constraints,
        )

    def _constraints(self, request: Request, joining: tuple[int, ...]) -> Constraints:
        """Returns the constraints of the notes; header, chords and sections are in the prompt."""
        key = request.key if request.key >= 0 else int(self.piece.key[0])
        of_notes = Request(wanted={"key": key}, strict=request.strict)
        # Who joins does so in the first bar to be written from the middle of the piece on.
        written = np.flatnonzero(self.given.marked)
        late = written[written + self.start >= self.piece.bars // 2]
        missing = np.setdiff1d(joining, self.piece.slot)
        return constraints(of_notes, np.ones((len(METERS), len(TEMPOS)), bool))._replace(
            deadline=np.int32(late[0] + 1 if len(late) else self.stop - self.start + 1),
            sounded=np.int32(0xFFFF & ~sum(1 << int(slot) for slot in missing)),
        )

    def begin(self, count: int) -> tuple[list[np.ndarray], Plan]:
        """Returns the prompts of `count` pieces, and their plan."""
        plan = Plan(self.holes, self.constraints, np.int32(self.tokens))
        return [self.prompt] * count, repeated(plan, count)

    def count(self, state: Any, plan: Plan) -> tuple[np.ndarray, np.ndarray]:
        """Returns the bars written and to be written of each piece [B]."""
        return np.maximum(np.asarray(state.written) - 1, 0), np.asarray(plan.holes.count)

    def bars(self, stream: np.ndarray) -> int:
        """Counts the bars opened for writing in a stream."""
        v = self.codec.vocabulary
        opened = np.cumsum(stream == self.codec.write) * (v.kind[stream] == v.kinds["bar"])
        return int((opened > 0).sum())

    def finish(self, stream: np.ndarray) -> Notes:
        """Returns the notes of the window, those that are given and those that are written."""
        return self.codec.dequantise(self.codec.decode(stream)[0])

    def filled(self, stream: np.ndarray) -> Piece:
        """Returns the piece with what was written in the window."""
        part, _ = self.codec.decode(stream)
        part = dataclasses.replace(part, onset=part.onset + self.piece.bar_step[self.start])
        bar = self.piece.bar_of
        piece = _only(self.piece, (bar < self.start) | (bar >= self.stop))
        for kind in _HALVES:
            piece.controls[kind][2 * self.start : 2 * self.stop] = part.controls[kind]
        both = {n: np.concatenate([getattr(piece, n), getattr(part, n)]) for n in COLUMNS}
        joined, _, _ = canonical(**both, total=int(piece.bar_step[-1]))
        return dataclasses.replace(piece, **joined)


def fill(
    composer: Composer,
    source: SourcePiece,
    given: Given,
    drop: frozenset[str] = frozenset(),
    request: Request = Request(),  # noqa: B008
    joining: tuple[int, ...] = (),
    seed: int = 0,
    sampling: config.Sampling = config.Sampling(),  # noqa: B008
    progress: Progress | None = None,
) -> Composition:
    """Writes all that is to be written of a piece.

    Args:
      composer: samples.
      source: the piece, with the instruments that are to be written.
      given: what is given of it.
      drop, request, joining: as in `WindowPlanner`.
      seed, sampling, progress: as in `Composer.compose`.

    Returns:
      The given notes as they were with the written ones among them, and the tokens of all windows.

    Raises:
      UserError: a bar does not fit into the model's context, or sampling cannot be so.
    """
    if given.slots.any():  # a bar is more than what is written of it
        sampling = dataclasses.replace(sampling, repeats=0)
    piece, marked = _only(source.piece, given.notes(source.piece)), given.marked.copy()
    if not given.chords:
        for kind in _HALVES:
            piece.controls[kind][np.repeat(marked, 2)] = of(kind).default
    tokens: list[np.ndarray] = []
    total, bits, onsets = int(marked.sum()), 0.0, 0
    while marked.any():
        left = dataclasses.replace(given, marked=marked.copy())
        planner = WindowPlanner(
            composer.grammar, composer.context, piece, left, drop, request, joining
        )
        key = int(np.random.SeedSequence((seed, len(tokens))).generate_state(1)[0] >> 1)
        report = after(progress, total - int(marked.sum()), total)
        (window,) = composer.compose(planner, key, 1, sampling, report)
        tokens.append(window.tokens)
        heard = int(composer.codec.onset_tokens[window.tokens].sum())
        bits, onsets = bits + window.bits_per_note * heard, onsets + heard
        piece = planner.filled(window.tokens)
        marked[planner.start : planner.stop] &= ~planner.given.marked
    kept = ~given.marked[source.bar] | given.slots[source.slot[source.notes.track]]
    notes = _finished(composer.codec, source, given, kept, piece)
    written = added(notes, source, kept)
    return Composition(notes, np.concatenate(tokens), total, bits / max(onsets, 1), written)


def after(progress: Progress | None, before: int, total: int) -> Progress | None:
    """Returns a callback for a part of the work: `before` bars are finished, of a total."""
    return progress and (lambda bars, of: progress(before + min(bars, of), total))


def _finished(
    codec: Codec, source: SourcePiece, given: Given, kept: np.ndarray, piece: Piece
) -> Notes:
    """Returns the given notes that are kept and those written, in the ticks of the source."""
    piece = piece.transpose(-source.semitones)
    written = _only(piece, ~given.notes(piece))
    notes = codec.dequantise(written)
    unit = notes.ticks_per_beat // written.steps_per_beat
    onset = source.ticks(notes.onset // unit)
    stop = source.ticks((notes.onset + notes.duration) // unit)
    notes = notes.replace(onset=onset, duration=np.maximum(stop - onset, 1))
    end = min(source.ticks(piece.bar_step[-1]), (onset + notes.duration).max(initial=0))
    end = max(source.notes.end, int(end))
    whole = merge(source, kept, notes, np.flatnonzero(piece.programs >= 0), end)
    if not given.chords and (len(source.notes.labels.chord) or given.slots.any()):
        whole = whole.replace(labels=_with_chords(source, given, piece))
    return whole


def _with_chords(source: SourcePiece, given: Given, piece: Piece) -> Labels:
    """Returns the labels with the chords that were written in place of those of the bars."""
    labels = source.notes.labels
    before = source.piece.transpose(-source.semitones)
    columns: dict[str, Any] = {}
    for kind in _HALVES:
        name, written = of(kind).label, np.repeat(given.marked, 2)
        values = np.where(written, piece.controls[kind], before.controls[kind])
        new = np.flatnonzero(changes(values, of(kind).default) & (values >= 0))
        at = np.maximum(source.ticks(halves(piece.bar_step)[new]), 0)
        columns |= {f"{name}_tick": at.astype(np.int32), name: values[new].astype(np.uint8)}
    return dataclasses.replace(labels, **columns)


def _roomy(found: Holes) -> Holes:
    """Adds zeros to short lists: programs compiled for them serve most windows."""
    lists = {n: np.array(getattr(found, n)) for n in ("line", "steps", "left", "ringing")}
    for rows in lists.values():
        rows.resize((max(LISTED, len(rows)), *rows.shape[1:]), refcheck=False)
    return found._replace(**lists)


def _only(piece: Piece, rows: np.ndarray) -> Piece:
    """Returns the piece with some of its notes (bool [N]), and chords that may be written to."""
    columns: dict[str, Any] = {name: getattr(piece, name)[rows] for name in COLUMNS}
    controls = piece.controls | {kind: piece.controls[kind].copy() for kind in _HALVES}
    return dataclasses.replace(piece, **columns, controls=controls)


def _window(sizes: np.ndarray, piece: Piece, given: Given, context: int) -> tuple[int, int, int]:
    """Returns the first bar of a window, the bar after its last, and the last bar to be written.

    `sizes` (int [B + 1]) counts the tokens of a header and of what is given of each bar, which is
    all that there is of the piece.
    """
    marked = given.marked
    # Besides its own tokens a bar may have a mark, and a chord that is stated again.
    cost = sizes[1:].astype(np.int64) + 2
    if (~marked).any():
        expected = float(cost[~marked].mean())
    else:
        expected = 6 + TOKENS_PER_SLOT * int((~given.slots & (piece.programs >= 0)).sum())
    budget = context - int(sizes[0]) - 3
    with_writing = cost + marked * int(max(ROOM * expected, FEWEST_TOKENS) + _LAST_NOTE)
    todo = np.flatnonzero(marked)
    used = np.cumsum(with_writing[todo[0] : todo[-1] + 1])
    fitting = max(int((used <= CORE * budget).sum()), 1)
    last = int(todo[todo < todo[0] + fitting][-1])
    start, stop = int(todo[0]), last + 1
    room = budget - int(used[last - start])
    # Whole bars around, by turns before and after, so that the bars to be written are in the
    # middle; bars that are to be written later cannot be seen.
    before = after = True
    while before or after:
        before = start > 0 and cost[start - 1] <= room
        if before:
            start -= 1
            room -= int(cost[start])
        after = stop < len(marked) and not marked[stop] and cost[stop] <= room
        if after:
            room -= int(cost[stop])
            stop += 1
    return start, stop, last
