"""Tokens: how many a note takes, what the grid loses, and how fast they are made, beside others.

All sides read the same files. MidiTok's REMI+ and MMM (over REMI) run on our grid (12 steps per
beat, 8 levels of loudness) with programs, tempos and meters; they take the files' own beats.
note_seq's performance encoding has no meter and no tempo: steps of 10 ms, 32 levels.
"""

from __future__ import annotations

import pathlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tqdm

from benchmarks import runner
from benchmarks.beats import SETS
from benchmarks.prepare import Peer
from benchmarks.runner import Options, Result, Row
from jaxmusic.codecs.metrical.codec import MetricalCodec
from jaxmusic.config import Codec
from jaxmusic.core.errors import UserError
from jaxmusic.data.sources import MusicFile, find
from jaxmusic.formats import midi, sequence
from jaxmusic.music import beat_grid, beats, harmony
from jaxmusic.music.notes import Notes
from jaxmusic.music.piece import Losses

CODEC, FUSED = MetricalCodec(), MetricalCodec(Codec(kind="fused"))
GRID = CODEC.config
GOALS = {"multitrack_pop": (2.5, 2.0), "freedoom": (2.5, 2.0), "pop909": (3.2, 2.65)}
"""Most tokens per note, default and fused."""
LARGEST = (1500, 3500)
LOSS, ENCODE, NOTE_SEQ, MIDITOK = 0.005, 1e6, 20.0, 5.0
WITHOUT = frozenset({"chords"})
"""What is not counted, because the others do not say it."""
FILES = 100
"""Files of each set that the peers read unless --count says otherwise; ours reads all."""
TIMED = 20
COLUMNS = ("metrical", "fused", "MidiTok REMI+", "MidiTok MMM", "note_seq Performance")

Cells = dict[str, Any]


def run(options: Options) -> Result:
    """Measures every set that is there."""
    data = options.folder("data")
    files = {name: sorted(data.glob(pattern)) for name, pattern in SETS.items()}
    files = {name: found for name, found in files.items() if found}
    if "pop909" not in files:
        raise SystemExit("Give --data a folder whose folder pop909 holds the POP909 dataset.")
    peers = Peers()
    rows: list[Row] = []
    for name in GOALS:
        if name in files:
            rows += _tokens_per_note(name, spread(files[name], options.count or FILES), peers)
    cells = {**peers.vocabularies, "metrical": CODEC.vocab_size, "fused": FUSED.vocab_size}
    small = all(c.vocab_size <= most for c, most in zip((CODEC, FUSED), LARGEST))
    rows.append(_row("vocabulary", "", cells, f"at most {LARGEST[0]} / {LARGEST[1]}", small))
    for name, found in files.items():
        rows.append(_lost(name, found))
    odd = find([data / "odd"]) if (data / "odd").is_dir() else []
    rows += _accepted(files["pop909"], odd)
    rows += _speeds(spread(files["pop909"], 3 * TIMED), peers, options.repeats)
    return Result(
        columns=("measure", "of", *COLUMNS),
        rows=tuple(rows),
        notes=(
            f"Tokens per note: every token but chords, divided by the notes in the files; up to "
            f"{options.count or FILES} files of each set, the same for all sides.",
            "Lost: notes merged, cut by a step or more, or drums out of range, on the grid of 12 "
            "steps that a dataset uses, of all files of a set.",
            "Speeds are notes per second of processor time. File to tokens takes the file's own "
            "beats on all sides, and files that all of them accept.",
        ),
    )


def spread(files: list[pathlib.Path], most: int) -> list[pathlib.Path]:
    """At most so many files, evenly spread."""
    return [files[i * len(files) // most] for i in range(most)] if len(files) > most else files


class Peers:
    """The other tokenizers, each from a path to the number of its tokens."""

    def __init__(self) -> None:
        miditok, self._symusic = runner.peer("miditok"), runner.peer("symusic")
        grid = {(0, 32): GRID.steps_per_beat}
        settings: Cells = {
            "beat_res": grid,
            "num_velocities": GRID.velocities,
            "use_tempos": True,
            "use_time_signatures": True,
            "use_programs": True,
        }
        remi = miditok.TokenizerConfig(**settings, one_token_stream_for_programs=True)
        mmm = miditok.TokenizerConfig(**settings, base_tokenizer="REMI")
        self.remi, self.mmm = miditok.REMI(remi), miditok.MMM(mmm)
        self.note_seq = Peer()
        self.vocabularies = {
            "MidiTok REMI+": len(self.remi),
            "MidiTok MMM": len(self.mmm),
            "note_seq Performance": 388,
        }

    def count(self, path: pathlib.Path, notes: Notes) -> Cells:
        """Tokens of a file on each side."""
        score = self._symusic.Score(path)
        return {
            "MidiTok REMI+": len(self.remi(score)),
            "MidiTok MMM": len(self.mmm(score)),
            "note_seq Performance": len(self.note_seq.performance(sequence.to_sequence(notes))),
        }

    def read(self, path: pathlib.Path) -> Any:
        """A file's tokens by REMI+."""
        return self.remi(self._symusic.Score(path))


def _tokens_per_note(name: str, files: list[pathlib.Path], peers: Peers) -> list[Row]:
    totals, notes = dict.fromkeys(COLUMNS, 0), 0
    for path in tqdm.tqdm(files, name, leave=False):
        read = midi.read_notes(path)
        piece, _ = CODEC.quantise(harmony.with_harmony(beats.align(read)[0]))
        sides = {"metrical": CODEC, "fused": FUSED}
        counts = {name: len(codec.encode(piece, WITHOUT)) for name, codec in sides.items()}
        for side, count in (counts | peers.count(path, read)).items():
            totals[side] += count
        notes += len(read)
    cells = {side: total / notes for side, total in totals.items()}
    most = GOALS[name]
    reached = cells["metrical"] <= most[0] and cells["fused"] <= most[1]
    goal = f"at most {most[0]} / {most[1]}"
    return [_row("tokens per note", f"{name}, {len(files)} files", cells, goal, reached)]


def _lost(name: str, files: list[pathlib.Path]) -> Row:
    losses = Losses()
    for path in tqdm.tqdm(files, name, leave=False):
        losses = losses + CODEC.quantise(beats.align(midi.read_notes(path))[0])[1]
    words = f"{name}: {losses.duplicate:,} merged, {losses.cut:,} cut, "
    words += f"{losses.drum_pitch:,} drums, of {losses.notes:,}; "
    words += f"{losses.regrouped:,} in shared slots"
    cells = {"metrical": f"{losses.share:.3%}"}
    return _row("notes lost", words, cells, f"at most {LOSS:.1%}", losses.share <= LOSS)


def _accepted(songs: list[pathlib.Path], odd: list[MusicFile]) -> list[Row]:
    """Files whose tokens decode to what was encoded."""
    rows = []
    paths = [pathlib.Path(file.path) for file in odd]
    for name, files, every in (("pop909", songs, True), ("odd", paths, False)):
        good = parsed = 0
        for path in tqdm.tqdm(files, name, leave=False):
            try:
                notes = midi.read_notes(path)
            except UserError:
                continue
            parsed += 1
            piece, _ = CODEC.quantise(beats.align(notes)[0])
            again, dropped = CODEC.decode(CODEC.encode(piece))
            good += not dropped and np.array_equal(piece.onset, again.onset)
        total = len(files) if every else parsed
        of = f"{name}, of {total} files" + ("" if every else f" that parse, of {len(files)}")
        rows.append(_row("encoded and decoded", of, {"metrical": good}, "all", good == total))
    return rows


def on_file_beats(path: pathlib.Path) -> np.ndarray:
    """Tokens of a file by our path without looking for beats."""
    notes = midi.read_notes(path)
    return CODEC.encode(CODEC.quantise(beat_grid.warp(notes, beat_grid.from_file(notes)))[0])


def _speeds(songs: list[pathlib.Path], peers: Peers, repeats: int) -> list[Row]:
    accepted = [s for s in tqdm.tqdm(songs, "asking note_seq") if peers.note_seq.takes(s)][:TIMED]
    read = [midi.read_notes(song) for song in accepted]
    notes = sum(map(len, read))
    aligned = [beats.align(n)[0] for n in read]

    def encode_all() -> None:
        for piece in aligned:
            CODEC.encode(CODEC.quantise(piece)[0])

    def over(do: Callable[[pathlib.Path], object]) -> Callable[..., object]:
        return lambda *songs: [do(song) for song in songs]

    start = time.process_time()
    for _ in range(repeats):
        encode_all()
    encoding = notes * repeats / (time.process_time() - start)
    ours, clock = over(on_file_beats), time.process_time
    beside = {
        "note_seq Performance": (NOTE_SEQ, over(peers.note_seq.tokens)),
        "MidiTok REMI+": (MIDITOK, over(peers.read)),
    }
    goal = f"at least {ENCODE:,.0f}"
    cells: Cells = {"metrical": encoding}
    of = f"{len(accepted)} songs of pop909"
    rows = [_row("quantise and encode, notes/s", of, cells, goal, encoding >= ENCODE)]
    for name, (least, theirs) in beside.items():
        ratio = runner.interleave(ours, theirs, repeats, [accepted], clock)
        cells = {"metrical": notes / ratio.ours_seconds, name: notes / ratio.peer_seconds}
        rows.append(_row("file to tokens, notes/s", of, cells))
        cells = {"metrical": round(ratio.median, 1), name: 1}
        of_ratio = f"least {ratio.min:.1f}, most {ratio.max:.1f}"
        goal = f"at least {least:g}"
        rows.append(_row("times as fast, median", of_ratio, cells, goal, ratio.median >= least))
    return rows


def _row(measure: str, of: str, cells: Cells, goal: str = "", reached: bool | None = None) -> Row:
    return Row((measure, of, *(cells.get(name, "") for name in COLUMNS)), goal, reached)
