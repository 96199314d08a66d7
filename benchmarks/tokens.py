"""Tokens: how many a note takes, what the grid loses, and how fast they are made, beside others.

All sides read the same files. MidiTok's REMI+ and MMM (over REMI) run on our grid (12 steps per
beat, 8 levels of loudness) with programs, tempos and meters; they take the files' own beats.
note_seq's performance encoding has no meter and no tempo: steps of 10 ms, 32 levels.
"""

from __future__ import annotations

import pathlib
import time
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks import runner
from benchmarks.prepare import Peer
from benchmarks.runner import Goal, Result, Table
from benchmarks.songs import SETS, files, spread
from jaxmusic._src.codecs.metrical.codec import MetricalCodec
from jaxmusic._src.formats import midi, sequence
from jaxmusic._src.music import beat_grid, beats, harmony
from jaxmusic._src.music.notes import Notes
from jaxmusic._src.music.piece import Losses
from jaxmusic.config import Codec

CODEC, FUSED = MetricalCodec(), MetricalCodec(Codec(kind="fused"))
GRID = CODEC.config
GOALS = {"multitrack_pop": (2.5, 2.0), "freedoom": (2.5, 2.0), "pop909": (3.2, 2.65)}
"""Most tokens per note, default and fused."""
LARGEST = {"metrical": 2000, "fused": 4000}
LOSS, ENCODE, NOTE_SEQ, MIDITOK = 0.005, 1_000_000, 20, 5
WITHOUT = frozenset({"chords"})
"""Tokens that are not counted, because the other sides have none for them."""
TIMED = 20
OURS = {"metrical": CODEC, "fused": FUSED}
SIDES = (*OURS, "MidiTok REMI+", "MidiTok MMM", "note_seq Performance")


def run(data: str = runner.DATA, count: int = 100, repeats: int = 5) -> Result:
    """Measures all sets of real music.

    Args:
      data: folder of real music; from JAXMUSIC_DATA unless given.
      count: files of each set that all sides read; ours alone reads all.
      repeats: measurements of each side.
    """
    every = {name: found for name in SETS if (found := files(data, name))}
    peers = Peers()
    per_note, goals = [], []
    for name in [name for name in GOALS if name in every]:
        some = spread(every[name], count)
        found = _tokens_per_note(name, some, peers)
        per_note.append((f"tokens per note, {name}, {len(some)} files", *found.values()))
        for side, most in zip(OURS, GOALS[name]):
            goals.append(runner.at_most(f"tokens per note, {name}, {side}", most, found[side]))
    sizes = {name: codec.vocab_size for name, codec in OURS.items()} | peers.vocabularies
    per_note.append(("vocabulary", *sizes.values()))
    goals += [runner.at_most(f"vocabulary, {s}", n, sizes[s]) for s, n in LARGEST.items()]
    lost = {name: _lost(name, found) for name, found in every.items()}
    goals += [
        Goal(f"notes lost: at most {LOSS:.1%}", f"{name} {losses.share:.3%}", losses.share <= LOSS)
        for name, losses in lost.items()
    ]
    speeds, fast = _speeds(spread(every["pop909"], 3 * TIMED), peers, repeats)
    columns = ("set", "notes", "merged", "cut", "drums", "in shared slots", "lost")
    rows = [
        (n, x.notes, x.duplicate, x.cut, x.drum_pitch, x.regrouped, f"{x.share:.3%}")
        for n, x in lost.items()
    ]
    return Result(
        [Table(("measure", *SIDES), per_note), Table(columns, rows), speeds],
        [*goals, *fast],
        [
            "Tokens per note: every token but chords, divided by the notes in the files; up to "
            f"{count} files of each set, the same for all sides.",
            "Lost: notes merged, cut by a step or more, or drums out of range, on the grid of 12 "
            "steps that a dataset uses, of all files of a set.",
            "Speeds are notes per second of processor time. File to tokens takes the file's own "
            "beats on all sides, and files that all of them accept.",
        ],
    )


class Peers:
    """The other tokenizers, each from a path to the number of its tokens."""

    def __init__(self) -> None:
        """Imports them and puts MidiTok on our grid."""
        miditok, self._symusic = runner.peer("miditok"), runner.peer("symusic")
        settings: dict[str, Any] = {
            "beat_res": {(0, 32): GRID.steps_per_beat},
            "num_velocities": GRID.velocities,
            "use_tempos": True,
            "use_time_signatures": True,
            "use_programs": True,
        }
        remi = miditok.TokenizerConfig(**settings, one_token_stream_for_programs=True)
        mmm = miditok.TokenizerConfig(**settings, base_tokenizer="REMI")
        self.remi, self.mmm = miditok.REMI(remi), miditok.MMM(mmm)
        self.note_seq = Peer()
        sizes = (len(self.remi), len(self.mmm), 388)
        self.vocabularies = dict(zip(SIDES[len(OURS) :], sizes))

    def count(self, path: pathlib.Path, notes: Notes) -> list[int]:
        """Counts the tokens of a file on each side."""
        score = self._symusic.Score(path)
        performance = self.note_seq.performance(sequence.to_sequence(notes))
        return [len(self.remi(score)), len(self.mmm(score)), len(performance)]

    def read(self, path: pathlib.Path) -> Any:
        """Returns a file's tokens by REMI+."""
        return self.remi(self._symusic.Score(path))


def _tokens_per_note(name: str, files: list[pathlib.Path], peers: Peers) -> dict[str, float]:
    """Returns tokens per note of each side."""
    totals, notes = np.zeros(len(SIDES)), 0
    for path in tqdm(files, name, leave=False):
        read = midi.read_notes(path)
        piece, _ = CODEC.quantise(harmony.with_harmony(beats.align(read)[0]))
        totals += [
            *(len(c.encode(piece, WITHOUT)) for c in OURS.values()),
            *peers.count(path, read),
        ]
        notes += len(read)
    return dict(zip(SIDES, (totals / notes).tolist()))


def _lost(name: str, files: list[pathlib.Path]) -> Losses:
    """Adds up what the grid loses of a set."""
    losses = Losses()
    for path in tqdm(files, name, leave=False):
        losses = losses + CODEC.quantise(beats.align(midi.read_notes(path))[0])[1]
    return losses


def on_file_beats(path: pathlib.Path) -> np.ndarray:
    """Returns the tokens of a file by our path without looking for beats."""
    notes = midi.read_notes(path)
    return CODEC.encode(CODEC.quantise(beat_grid.warp(notes, beat_grid.from_file(notes)))[0])


def _speeds(songs: list[pathlib.Path], peers: Peers, repeats: int) -> tuple[Table, list[Goal]]:
    """Times all sides on songs that note_seq accepts."""
    accepted = [s for s in tqdm(songs, "asking note_seq") if peers.note_seq.takes(s)][:TIMED]
    read = [midi.read_notes(song) for song in accepted]
    notes, aligned = sum(map(len, read)), [beats.align(n)[0] for n in read]
    encoded = runner.in_turns(
        {"ours": lambda: [CODEC.encode(CODEC.quantise(piece)[0]) for piece in aligned]},
        repeats,
        time.process_time,
    )
    encoding = notes / float(np.mean(encoded["ours"]))
    of = f"{len(accepted)} songs of pop909"
    rows: list[tuple[Any, ...]] = [(f"quantise and encode, {of}", encoding, "", "", "", "")]
    goals = [runner.at_least("quantise and encode, notes/s", ENCODE, encoding)]
    beside = {
        "note_seq Performance": (NOTE_SEQ, peers.note_seq.tokens),
        "MidiTok REMI+": (MIDITOK, peers.read),
    }
    for name, (least, theirs) in beside.items():
        sides = {
            "ours": lambda: [on_file_beats(song) for song in accepted],
            "peer": lambda theirs=theirs: [theirs(song) for song in accepted],
        }
        seconds = runner.in_turns(sides, repeats, time.process_time)
        speeds = [notes / float(np.median(seconds[side])) for side in sides]
        ratios = runner.ratios(seconds["peer"], seconds["ours"])
        rows.append((f"file to tokens beside {name}, {of}", *speeds, *ratios))
        goals.append(runner.at_least(f"file to tokens, times as fast as {name}", least, ratios[1]))
    columns = ("notes/s", "jaxmusic", "peer", "ratio, least", "ratio, median", "ratio, most")
    return Table(columns, rows), goals
