"""Songs: whether altered copies and known versions are found among all music, and nothing else.

200 pieces of all sets with pitched tracks are altered in memory, before their beats are found: see
`altered`. The copies are then grouped with all files there are.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tqdm

from benchmarks import runner
from benchmarks.runner import Goal, Result, Table
from benchmarks.songs import SETS, files
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.data import songs
from jaxmusic._src.formats.midi import read_notes
from jaxmusic._src.music.beats import align
from jaxmusic._src.music.notes import Notes, make_notes

TICKS = (96, 120, 192, 220, 256, 384, 480, 960)
FEWEST = 32
GOAL, GOAL_MS, GOAL_BYTES = 0.95, 1, 10_000
LINES = (runner.FOLDER / "versions.txt").read_text().splitlines()
KNOWN = [tuple(line.split(" | ")) for line in LINES if not line.startswith("#")]
"""Files, without their endings, that are not altered: the first contains what each other does."""
POP909 = [group for group in KNOWN if all(stem.isdigit() for stem in group)]


class Piece(NamedTuple):
    """A file: its set, its name without ending, its notes as read and as aligned."""

    set: str
    stem: str
    read: Notes
    aligned: Notes


def altered(notes: Notes, rng: np.random.Generator, drop: str) -> Notes:
    """Makes another version of a piece as read from a file.

    The piece is moved by -6 to 6 semitones, within its range, and played 0.8 to 1.25 times as
    fast, on other ticks per beat, to which times are rounded.

    Args:
      notes: the piece in its file's ticks, with pitched notes.
      rng: random generator.
      drop: ``notes`` drops each note with probability 10 %, ``track`` one track that is not the
        only one with pitched notes.
    """
    pitch = notes.pitch.astype(np.int64)
    pitched = ~notes.is_drum
    low, high = max(-6, -pitch[pitched].min()), min(6, 127 - pitch[pitched].max())
    if drop == "notes":
        keep = rng.random(len(notes)) >= 0.1
    else:
        tracks = np.unique(notes.track)
        alone = np.unique(notes.track[pitched]) if pitched_tracks(notes) == 1 else []
        keep = notes.track != rng.choice(np.setdiff1d(tracks, alone))
    ticks = int(rng.choice([t for t in TICKS if t != notes.ticks_per_beat]))

    def scaled(at: np.ndarray) -> np.ndarray:
        return np.rint(at * (ticks / notes.ticks_per_beat)).astype(np.int64)

    onset, stop = scaled(notes.onset), scaled(notes.onset.astype(np.int64) + notes.duration)
    qpm = notes.tempo_qpm * rng.uniform(0.8, 1.25)
    return make_notes(
        onset[keep],
        (stop - onset)[keep],
        (pitch + rng.integers(low, high + 1) * pitched)[keep],
        notes.velocity[keep],
        notes.track[keep],
        program=notes.program,
        drum=notes.drum,
        tempos=tuple(zip(scaled(notes.tempo_tick).tolist(), qpm.tolist())),
        meters=tuple(zip(*map(list, (scaled(notes.meter_tick), notes.meter_num, notes.meter_den)))),
        ticks_per_beat=ticks,
    )


def pitched_tracks(notes: Notes) -> int:
    """Counts the tracks with notes other than drums."""
    return len(np.unique(notes.track[~notes.is_drum]))


def run(data: str = runner.DATA, count: int = 200) -> Result:
    """Alters pieces and groups them with all files.

    Args:
      data: folder of real music; from JAXMUSIC_DATA unless given.
      count: pieces that are altered; one half loses notes, the other a track.
    """
    pieces, rng = _read(data), np.random.default_rng(0)
    known = set(itertools.chain.from_iterable(KNOWN))
    chosen, drops = _choose(pieces, known, count, rng)
    copies = [
        align(altered(pieces[i].read, rng, drop))[0]
        for i, drop in zip(chosen, tqdm.tqdm(drops, "altering", leave=False))
    ]
    start = time.process_time()
    pop = [p for p in pieces if p.set == "pop909"]
    for piece in pop:
        songs.content(piece.aligned), songs.signature(piece.aligned)
    ms = (time.process_time() - start) * 1e3 / len(pop)
    everything = [p.aligned for p in pieces] + copies
    contents = [songs.content(notes) for notes in everything]
    signatures = [songs.signature(notes) for notes in everything]
    song = songs.group(contents, signatures, [""] * len(everything))
    found = [song[i] == song[len(pieces) + n] for n, i in enumerate(chosen)]
    wrong = _wrong(song, chosen, len(pieces))
    share, precision = float(np.mean(found)), sum(found) / max(1, sum(found) + wrong)
    parts = {
        drop: float(np.mean([f for f, d in zip(found, drops) if d == drop])) for drop in set(drops)
    }
    size = [s.nbytes + sys.getsizeof(c) for s, c in zip(signatures, contents)]
    melodic = [n for n, s in zip(size, signatures) if len(s)]
    real, pairs = _real(pieces, contents, signatures)
    return Result(
        [
            Table(
                ("what", "value"),
                [
                    ("altered copies grouped with their piece", share),
                    ("of those that lost a tenth of their notes", parts["notes"]),
                    ("of those that lost a track", parts["track"]),
                    ("right among the pairs with an altered copy or its piece", precision),
                    *real,
                    ("content and signature of a POP909 song (ms)", ms),
                    ("bytes of a piece in the index, mean", float(np.mean(melodic))),
                    ("bytes of a piece in the index, most", max(melodic)),
                ],
            )
        ],
        [
            runner.at_least("altered copies grouped with their piece", GOAL, share),
            runner.at_least("precision among pairs with an altered copy", GOAL, precision),
            Goal(f"known pairs of POP909 found: {len(POP909)}", str(pairs), pairs == len(POP909)),
            runner.at_most("content and signature of a POP909 song (ms)", GOAL_MS, ms),
            runner.at_most("bytes of a piece in the index of songs", GOAL_BYTES, max(melodic)),
        ],
        [
            f"{len(chosen)} pieces of all sets except groove, which has drums alone, as many of "
            f"each set as there are; grouped with all {len(pieces):,} files of at least {FEWEST} "
            "notes and their copies. Known versions are not altered.",
            "Known versions are listed in benchmarks/versions.txt. Most were found by an early "
            "form of this method and confirmed by title or melody; some are performances "
            "transcribed from sound, or other arrangements.",
        ],
    )


def _read(data: str) -> list[Piece]:
    pieces = []
    for name in SETS:
        for path in tqdm.tqdm(files(data, name), name, leave=False):
            try:
                read = read_notes(path)
            except UserError:
                continue
            if len(read) >= FEWEST:
                pieces.append(Piece(name, path.stem, read, align(read)[0]))
    return pieces


def _choose(
    pieces: Sequence[Piece], known: set[str], count: int, rng: np.random.Generator
) -> tuple[list[int], list[str]]:
    """Chooses pieces to alter, of each set in turn, and what each loses."""
    order = rng.permutation(len(pieces)).tolist()
    chosen: dict[int, str] = {}
    for drop in ("notes", "track"):
        good = [
            i
            for i in order
            if pieces[i].stem not in known
            and i not in chosen
            and pitched_tracks(pieces[i].read) >= (2 if drop == "track" else 1)
        ]
        sets = [[i for i in good if pieces[i].set == name] for name in SETS]
        turns = [i for row in itertools.zip_longest(*sets) for i in row if i is not None]
        chosen |= dict.fromkeys(turns[: count // 2], drop)
    return list(chosen), list(chosen.values())


def _wrong(song: Sequence[str], chosen: Sequence[int], first: int) -> int:
    """Counts pairs in one song with an altered copy or its piece, but not both."""
    copy_of = {first + n: i for n, i in enumerate(chosen)}
    tested = {*chosen, *copy_of}
    pairs = (p for c in _clusters(song) for p in itertools.combinations(c, 2))
    return sum(bool(tested & {a, b}) and copy_of.get(b) != a for a, b in pairs)


def _clusters(song: Sequence[str]) -> list[list[int]]:
    members: dict[str, list[int]] = {}
    for i, name in enumerate(song):
        members.setdefault(name, []).append(i)
    return [c for c in members.values() if len(c) > 1]


def _real(
    pieces: Sequence[Piece], contents: Sequence[str], signatures: Sequence[np.ndarray]
) -> tuple[list[tuple[str, int]], int]:
    """Groups the files as they are; returns rows and the number of known pairs of POP909."""
    count = len(pieces)
    song = songs.group(contents[:count], signatures[:count], [""] * count)
    of = {p.stem: name for p, name in zip(pieces, song)}
    known = {(group[0], other) for group in KNOWN for other in group[1:]}
    there = {(a, b) for a, b in known if a in of and b in of}
    found = {(a, b) for a, b in there if of[a] == of[b]}
    clusters = [c for c in _clusters(song) if any(len(signatures[i]) for i in c)]
    rows = [
        (f"known pairs of versions found, of {len(there)}", len(found)),
        (f"songs found of several files, of {len(set(song)):,}", len(clusters)),
        ("pieces of the largest song", max(map(len, clusters))),
        (f"exact copies among {count:,} files", len(pieces) - len(set(contents[:count]))),
    ]
    return rows, sum((a, b) in found for a, b in POP909)
