"""Filling in: given material comes back note for note, and written bars are as likely as real ones.

Parts (--only): given, infilled. Songs are those of the validation split that the run did not learn
from. Bits are those of the written portion of a task stream under the model, without its first
token, the bar token that always opens it: the other bar tokens and the end say that a bar is over.
Real bars and written ones stand in the same window, after the same given bars.
"""

from __future__ import annotations

import collections
import dataclasses
import math
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.endings import cut
from benchmarks.runner import Options, Result, Row, chosen_data, in_parts
from jaxmusic import config
from jaxmusic.codecs.layout import TASKS
from jaxmusic.codecs.tasks import Given
from jaxmusic.data import catalog, record
from jaxmusic.data.pieces import Pieces
from jaxmusic.generate import filling, merging
from jaxmusic.music.notes import Notes
from jaxmusic.music.piece import Piece

COLUMNS = ("part", "what", "task", "songs", "value")
SONGS = 20
"""Songs unless --count says otherwise."""
BARS = 16
"""Bars of each song in which material is given."""
HOLE = 4
"""Bars in a row that are infilled."""
TIMES = 4
"""Times that the same bars are infilled."""
ASKED: dict[str, dict[str, Any]] = {
    "continue": {"bars": 8},
    "infill": {"bars": "5-8"},
    "accompany": {"instruments": "bass, drums"},
    "harmonise": {"instruments": "piano"},
    "vary": {"bars": "1-4,9-12"},
}
"""What is asked of each task; accompany and harmonise are given the melody alone."""
_BAR = np.arange(1024)
GIVEN = {
    "continue": _BAR < 8,
    "infill": (_BAR < 4) | (_BAR >= 8),
    "vary": (_BAR < 4) | ((_BAR >= 8) & (_BAR < 12)),
}
"""The bars that this gives."""
GOAL = 0.05
"""Share by which bits per note of infilled bars may be off those of the real ones."""


def run(options: Options) -> Result:
    """The parts that are asked for, or both."""
    bench = Bench(options)
    return in_parts("filling", options, COLUMNS, {"given": bench.given, "infilled": bench.infilled})


class Bench:
    """A run and its held-out songs."""

    def __init__(self, options: Options):
        """Loads the run and opens its dataset."""
        self.model = options.model()
        self.count = options.count or SONGS
        data, _ = chosen_data(options)
        found = catalog.open_dataset(data.dataset, data.data_dir)
        self.songs = Pieces(found.path, "validation", self.model.codec)
        self.from_ = f"{found.name}:{found.version}'s validation split, step {self.model.step}."

    def given(self) -> tuple[list[Row], str]:
        """For each task the share of given notes that come back as they were."""
        rows = []
        for task in ASKED:
            kept = total = 0
            songs = tqdm(range(min(len(self.songs), self.count)), task, leave=False)
            for index in songs:
                music = cut(record.from_example(self.songs.example(index)), BARS)
                wanted, whole = perform(self.model, task, music, index)
                kept += sum((wanted & counted(whole)).values())
                total += sum(wanted.values())
            share = kept / max(total, 1)
            cells = ("given notes that come back", task, len(songs), share)
            rows.append(Row(cells, "1", share == 1 and total > 0))
        return rows, f"the first {BARS} bars of songs of {self.from_}"

    def infilled(self) -> tuple[list[Row], str]:
        """Bits per note of real bars and of bars written in their place at temperature 1."""
        bits, notes = collections.Counter[str](), collections.Counter[str]()
        songs, longer = 0, 0
        sampling = config.Sampling(temperature=1.0, top_p=1.0)
        for index in tqdm(range(len(self.songs)), "infill", leave=False):
            if songs == self.count:
                break
            piece = self._piece(index)
            if piece.bars < 3 * HOLE:
                continue
            real, written = self._streams(piece, index, sampling)
            if len(real) > self.model.experiment.data.context + 1:
                longer += 1
                continue
            songs += 1
            for name, streams in (("real", [real]), ("written", written)):
                for stream in streams:
                    found = self.score(stream)
                    bits[name] += found[0]
                    notes[name] += found[1]
        per_note = {name: bits[name] / max(notes[name], 1) for name in ("real", "written")}
        away = per_note["written"] / max(per_note["real"], 1e-9) - 1
        rows = [
            Row((f"bits per note, {name}", "infill", songs, value))
            for name, value in per_note.items()
        ]
        goal = f"at most {GOAL:g} either way"
        rows.append(
            Row(("written over real, less 1", "infill", songs, away), goal, abs(away) <= GOAL)
        )
        return rows, (
            f"{HOLE} bars in the middle of songs of {self.from_} Written {TIMES} times each: "
            f"{notes['real']} real notes, {notes['written']} written. {longer} songs were left "
            "out, whose real bars do not fit into the context."
        )

    def _piece(self, index: int) -> Piece:
        piece = self.songs[index]
        known = tuple(style for style in piece.styles if style in self.model.styles)
        return dataclasses.replace(piece, styles=known)

    def _streams(
        self, piece: Piece, seed: int, sampling: config.Sampling
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Task streams of one window: with the real bars, and with written ones."""
        model = self.model
        marked = np.zeros(piece.bars, bool)
        first = (piece.bars - HOLE) // 2
        marked[first : first + HOLE] = True
        given = Given(TASKS.index("infill"), marked, np.zeros(16, bool), chords=False)
        left = only(piece, given.notes(piece))
        left.chord[np.repeat(marked, 2)] = -1
        planner = filling.WindowPlanner(
            composer(model).grammar, model.experiment.data.context, left, given, frozenset()
        )
        part = piece.part(planner.start, planner.stop)
        real = model.codec.encode(part, given=planner.given)
        made = composer(model).compose(planner, seed, TIMES, sampling)
        return real, [composition.tokens for composition in made]

    def score(self, stream: np.ndarray) -> tuple[float, int]:
        """Bits and notes of the written portion of a task stream."""
        weight = written_portion(self.model.codec, stream)
        losses = self.model.scorer.stream(stream)
        notes = int((self.model.codec.onset_tokens[stream] * weight).sum())
        return float((losses * weight[1:]).sum()) / math.log(2), notes


def written_portion(codec: Any, stream: np.ndarray) -> np.ndarray:
    """Int [T]: 1 for the tokens after WRITE but for the bar token that opens what is written."""
    at = int(np.flatnonzero(stream == codec.write)[0])
    return (np.arange(len(stream)) > at + 1).astype(np.int64)


def composer(model: Any) -> Any:
    """What samples for a model; the only place here that looks inside of one."""
    return model._composer


def only(piece: Piece, rows: np.ndarray) -> Piece:
    """The piece with some of its notes (bool [N]) and chords of its own."""
    names = ("onset", "duration", "pitch", "velocity", "slot")
    columns: dict[str, Any] = {name: getattr(piece, name)[rows] for name in names}
    return dataclasses.replace(piece, **columns, chord=piece.chord.copy())


def perform(
    model: Any, task: str, music: Notes, seed: int
) -> tuple[collections.Counter[tuple[int, ...]], Notes]:
    """Does a task with a piece.

    Returns:
      The notes that are given, as `counted`, and the whole that came back.
    """
    options = dict(ASKED[task])
    if task in ("accompany", "harmonise"):
        music = melody(music)
        rows = np.ones(len(music), bool)
    else:
        rows = GIVEN[task][merging.read(music, model.codec).bar]
    if task == "continue":
        options["duration"] = math.ceil(float(music.seconds(music.end))) + 1.0
    (made,) = model.perform(task, music, controls=config.Controls(seed=seed), **options)
    return counted(music, rows), made.notes


def melody(notes: Notes) -> Notes:
    """The track of a piece that is highest on average, alone."""
    tracks = np.unique(notes.track[~notes.is_drum])
    highest = tracks[np.argmax([notes.pitch[notes.track == track].mean() for track in tracks])]
    rows = notes.track == highest
    columns = ("onset", "duration", "pitch", "velocity", "track")
    return notes.replace(**{name: getattr(notes, name)[rows] for name in columns})


def counted(notes: Notes, rows: np.ndarray | None = None) -> collections.Counter[tuple[int, ...]]:
    """Notes, or some rows of them, by all that they are, and how often each is there."""
    chosen = np.arange(len(notes)) if rows is None else np.flatnonzero(rows)
    columns = (notes.onset, notes.duration, notes.pitch, notes.velocity)
    track = notes.track[chosen]
    return collections.Counter(
        zip(
            *(column[chosen].tolist() for column in columns),
            notes.program[track].tolist(),
            notes.drum[track].tolist(),
        )
    )
