"""Songs: whether altered copies and known versions are found among all music there is, and nothing
else, how large the index of a million pieces would be, and how long grouping takes.

200 pieces of all sets with pitched tracks are altered in memory, before their beats are found: see
`altered`. The copies are then grouped with all files there are.
"""

from __future__ import annotations

import itertools
import resource
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tqdm

from benchmarks import beats
from benchmarks.runner import Options, Result, Row
from jaxmusic.core.errors import UserError
from jaxmusic.data import songs
from jaxmusic.formats.midi import read_notes
from jaxmusic.music.beats import align
from jaxmusic.music.notes import Notes, make_notes

PIECES = 200
"""Pieces altered unless --count says otherwise; one half loses notes, the other a track."""
SYNTHETIC = 100_000
TICKS = (96, 120, 192, 220, 256, 384, 480, 960)
FEWEST = 32
GOAL, GOAL_MS, GOAL_BYTES = 0.95, 1.0, 10_000

POP909 = (("017", "018"), ("101", "103"), ("262", "805"), ("492", "666"))
KNOWN = (
    *POP909,
    # By title, a few of them other arrangements or played by others.
    ("102d06b3", "cf39a4e0"),
    ("014fa6b2", "fa933286"),
    ("063878c4-1", "063878c4"),
    ("0b9a4f76", "4102fac1"),
    ("17def9a9", "2a9b925d"),
    ("1d305124", "eb765813"),
    ("47815a30", "beethoven_opus10_1"),
    ("53b94624", "chpn-p5"),
    ("6daad2ca", "chpn-p22"),
    ("db8eb463", "8eba77b3", "7cd913ad"),
    ("983253fd", "schubert_d935_1"),
    ("9f7e27d8", "liz_et4"),
    ("a161a06c", "xmas3"),
    ("a202c0a1", "reelsr-t49", "reelsr-t66"),
    ("ae289d84", "mond_1"),
    ("c7ebe71f", "beethoven_opus10_3"),
    ("dc5e7fea-1", "dc5e7fea"),
    ("ebf5fe28", "ee29e456"),
    ("f24b663b-1", "f24b663b"),
    (
        *("Chopin, Frédéric, Études, Op.10, g0hoN6_HDVU", "chpn_op10_e01", "chpn_op10_e05"),
        *("Chopin_Etudes_Op10_g0hoN6_HDVU_no_12_cut", "chpn_op10_e12", "chpn_op25_e11"),
        *("Chopin_Etudes_Op10_g0hoN6_HDVU_no_9_cut", "chpn_op25_e2"),
    ),
    ("chpn_op10_e12", "Chopin_Etudes_Op10_g0hoN6_HDVU_no_12_cut"),
    ("Schubert_Impromptus_D899_24DugWBRkYg_cut_no_4", "schuim-4"),
    ("Schubert_Impromptus_D935_06OBNoeKWBw_cut_no_4", "schubert_d935_4"),
    ("Schubert_Fantasie_in_C_major_D760_lR43Ti4w5MM_cut_mov_1", "schub_d760_1"),
    ("Schubert_Fantasie_in_C_major_D760_lR43Ti4w5MM_cut_mov_2", "schub_d760_2"),
    ("Schubert_Fantasie_in_C_major_D760_lR43Ti4w5MM_cut_mov_4", "schub_d760_4"),
    ("Liszt_Hungarian_Rhapsody_No9_S244_9_JZfp5VsyIsc", "liz_rhap09"),
    # By comparing melodies; the tunes of Nottingham have no titles here.
    *(
        tuple(line.split())
        for line in (
            *("hpps15 reelsd-g65", "hpps24 hpps25", "hpps27 reelsh-l52", "hpps57 reelsr-t22"),
            *("jigs110 jigs111", "jigs114 jigs116", "jigs13 jigs330", "jigs133 jigs287"),
            *("jigs135 jigs136", "jigs155 jigs156", "jigs209 jigs335", "jigs237 jigs289"),
            *("jigs253 jigs257", "jigs255 jigs267", "jigs262 jigs55", "jigs282 jigs283"),
            *("jigs34 jigs37", "jigs68 jigs69", "playford8 reelsm-q39", "reelsa-c38 reelsa-c46"),
            *("reelsa-c42 reelsd-g74", "reelsa-c43 reelsr-t14", "reelsa-c56 reelsa-c57"),
            *("reelsa-c72 reelsa-c73", "reelsa-c74 reelsa-c75", "reelsd-g10 reelsd-g9"),
            *("reelsd-g18 reelsm-q69", "reelsd-g64 reelsm-q7", "reelsh-l16 reelsh-l17"),
            *("reelsh-l34 reelsh-l35", "reelsh-l36 reelsr-t85", "reelsh-l58 reelsh-l60"),
            *("reelsm-q10 reelsm-q11", "reelsm-q23 reelsr-t27", "reelsr-t53 reelsr-t54"),
            *("reelsr-t69 reelsr-t70 reelsr-t71", "reelsr-t82 reelsr-t84"),
            *("reelsu-z20 reelsu-z21", "reelsu-z8 reelsu-z9"),
        )
    ),
)
"""Files, without their endings, that are not altered: the first holds what each other does."""


class Piece(NamedTuple):
    """A file: its set, its name without ending, notes as read and as aligned."""

    set: str
    stem: str
    read: Notes
    aligned: Notes


def altered(notes: Notes, rng: np.random.Generator, drop: str) -> Notes:
    """Another version of a piece as read from a file.

    It is moved by -6 to 6 semitones (fewer where its range ends) and played 0.8 to 1.25 times as
    fast, on other ticks per beat, to which times are rounded.

    Args:
      notes: the piece in its file's ticks, with pitched notes.
      rng: where chance comes from.
      drop: ``notes`` leaves out every note with a chance of 10 %, ``track`` one track that is not
        the only one with pitched notes.
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
    """Number of tracks with notes that are no drums."""
    return len(np.unique(notes.track[~notes.is_drum]))


def run(options: Options) -> Result:
    """Alters and groups; see the module."""
    synthetic = _synthetic(options.count * 500 or SYNTHETIC)
    pieces = _read(options)
    rng = np.random.default_rng(0)
    known = set(itertools.chain.from_iterable(KNOWN))
    chosen, drops = _choose(pieces, known, options.count or PIECES, rng)
    copies = [
        align(altered(pieces[i].read, rng, drop))[0]
        for i, drop in zip(chosen, tqdm.tqdm(drops, "altering", leave=False))
    ]
    start = time.process_time()
    pop = [(songs.content(p.aligned), songs.signature(p.aligned)) for p in _of("pop909", pieces)]
    ms = (time.process_time() - start) * 1e3 / len(pop)
    everything = [p.aligned for p in pieces] + copies
    contents = [songs.content(notes) for notes in everything]
    signatures = [songs.signature(notes) for notes in everything]
    song = songs.group(contents, signatures, [""] * len(everything))
    found = [song[i] == song[len(pieces) + n] for n, i in enumerate(chosen)]
    wrong = _wrong(song, chosen, len(pieces))
    precision = sum(found) / max(1, sum(found) + wrong)
    parts = {drop: np.mean([f for f, d in zip(found, drops) if d == drop]) for drop in set(drops)}
    size = [s.nbytes + sys.getsizeof(c) for s, c in zip(signatures, contents)]
    melodic = [n for n, s in zip(size, signatures) if len(s)]
    return Result(
        columns=("what", "value"),
        rows=(
            _goal("altered copies grouped with their piece", np.mean(found), GOAL),
            Row(("of those that lost a tenth of their notes", float(parts["notes"]))),
            Row(("of those that lost a track", float(parts["track"]))),
            _goal("right among the pairs that an altered copy or its piece is in", precision, GOAL),
            *_real(pieces, contents, signatures),
            Row(
                ("content and signature of a POP909 song (ms)", ms),
                f"at most {GOAL_MS:g}",
                ms <= GOAL_MS,
            ),
            Row(("bytes of a piece in the index, mean", float(np.mean(melodic)))),
            Row(
                ("bytes of a piece in the index, most", max(melodic)),
                f"at most {GOAL_BYTES:,}",
                max(melodic) <= GOAL_BYTES,
            ),
            *synthetic,
        ),
        notes=(
            f"{len(chosen)} pieces of all sets but groove, whose pieces are drums alone, equally "
            f"many of each set while there are; grouped with all {len(pieces):,} files of at "
            f"least {FEWEST} notes and their copies. Versions known before were not altered.",
            "Known versions are listed in benchmarks/dedup.py. Most were found by an early form of "
            "this very method and confirmed by title or melody; some are performances transcribed "
            "from sound, or other arrangements.",
            "Synthetic signatures have 390 hashes in the mean, a third of them from a skewed pool; "
            "a fifth of the pieces have one half of the hashes of another one.",
        ),
    )


def _read(options: Options) -> list[Piece]:
    data, pieces = options.folder("data"), []
    for name, pattern in beats.SETS.items():
        for path in tqdm.tqdm(sorted(data.glob(pattern)), name, leave=False):
            try:
                read = read_notes(path)
            except UserError:
                continue
            if len(read) >= FEWEST:
                pieces.append(Piece(name, path.stem, read, align(read)[0]))
    if not _of("pop909", pieces):
        raise SystemExit("Give --data a folder whose folder pop909 holds the POP909 dataset.")
    return pieces


def _of(name: str, pieces: Sequence[Piece]) -> list[Piece]:
    return [p for p in pieces if p.set == name]


def _choose(
    pieces: Sequence[Piece], known: set[str], count: int, rng: np.random.Generator
) -> tuple[list[int], list[str]]:
    """Indices of pieces to alter, of each set in turn, and what each loses."""
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
        sets = [[i for i in good if pieces[i].set == name] for name in beats.SETS]
        turns = [i for row in itertools.zip_longest(*sets) for i in row if i is not None]
        chosen |= dict.fromkeys(turns[: count // 2], drop)
    return list(chosen), list(chosen.values())


def _wrong(song: Sequence[str], chosen: Sequence[int], first: int) -> int:
    """Pairs of one song that an altered copy or its piece is in, but not both."""
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
) -> list[Row]:
    """Rows about the files as they are."""
    count = len(pieces)
    song = songs.group(contents[:count], signatures[:count], [""] * count)
    of = {p.stem: name for p, name in zip(pieces, song)}
    known = {(group[0], other) for group in KNOWN for other in group[1:]}
    there = {(a, b) for a, b in known if a in of and b in of}
    found = {(a, b) for a, b in there if of[a] == of[b]}
    pop = sum(of[a] == of[b] for a, b in POP909)
    clusters = [c for c in _clusters(song) if any(len(signatures[i]) for i in c)]
    groups = [set(group) for group in KNOWN]
    new = [c for c in clusters if not any({pieces[i].stem for i in c} <= g for g in groups)]
    copies = len(pieces) - len(set(contents[:count]))
    return [
        Row(("known pairs of POP909 found", pop), f"{len(POP909)}", pop == len(POP909)),
        Row((f"known pairs of versions found, of {len(there)}", len(found))),
        Row((f"songs found of several files, of {len(set(song)):,}", len(clusters))),
        Row(("of these with a file not known to be a version", len(new))),
        Row(("pieces of the largest song", max(map(len, clusters)))),
        Row((f"exact copies among {count:,} files", copies)),
    ]


def _goal(what: str, value: float, goal: float) -> Row:
    return Row((what, float(value)), f"at least {goal:g}", bool(value >= goal))


def _synthetic(count: int) -> list[Row]:
    """Rows about grouping signatures made by chance, with the songs that they come from."""
    rng = np.random.default_rng(1)
    pool = rng.integers(0, 2**64, 2_000_000, dtype=np.uint64)
    signatures: list[np.ndarray] = []
    source: list[int] = []
    for i in tqdm.trange(count, desc="making signatures", leave=False):
        kept, size = pool[:0], int(np.clip(rng.lognormal(5.8, 0.7), 20, 3000))
        source.append(i)
        if i and rng.random() < 0.2:
            other = int(rng.integers(i))
            source[i], size = source[other], len(signatures[other])
            kept = signatures[other][rng.random(size) < 0.5]
        common = (size - len(kept)) // 3
        often = pool[(len(pool) ** rng.random(common)).astype(np.int64) - 1]
        own = rng.integers(0, 2**64, size - len(kept) - common, dtype=np.uint64)
        signatures.append(np.unique(np.concatenate([kept, often, own]))[: songs.SIZE])
    before, start = _peak(), time.process_time()
    song = songs.group([str(i) for i in range(count)], signatures, [""] * count)
    seconds = time.process_time() - start
    right = np.mean([int(name) == i for name, i in zip(song, source)])
    return [
        Row((f"seconds to group {count:,} synthetic pieces", seconds)),
        Row(("memory taken by that, at most (MiB)", _peak() - before)),
        Row(("synthetic pieces in the right song", float(right))),
    ]


def _peak() -> float:
    """The most memory that the process has had, in MiB."""
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes / 2**10
