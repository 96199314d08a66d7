"""Real and faulty files come back, as the benchmark of round trips counts their events."""

import os
import pathlib
import random

import numpy as np
import pytest

from benchmarks import roundtrip
from jaxmusic._src.formats import files, midi
from jaxmusic._src.music.notes import make_notes

FAULTS = pathlib.Path(os.environ.get("JAXMUSIC_DATA") or "none").parent / "faults"
MOST_BYTES = 30_000
"""Size of the largest file that is tried, so that many are."""
REFUSED = {"m22_delta_huge.mid", "m36_div0.mid"}
UNJUDGED = {
    *("m14_riff.mid", "m14_riff.rmi", "m30_ntrks_wrong.mid", "m48_emptyfile.mid", "m49_text.mid"),
    "m50_macbinary.mid",
}
LOST = {
    "m01_zero_length.mid": {"ends of notes"},  # one tick later
    "m08_den33.mid": {"meters"},
    "m09_num0.mid": {"meters"},
    "m12_cc7_ff.mid": {"controllers"},  # of 255, which mido takes for 127
    "m17_smpte24.mid": {"ticks per quarter"},  # it has none
    "m21_tempo_max.mid": {"tempos"},
}
"""What is rightly left out of a file, see docs/formats.md."""


def lost(path):
    """Kinds of events that do not come back by any way; or who refuses the file."""
    found = roundtrip.trips(path)
    return (
        found if isinstance(found, str) else {kind for (_, kind), n in found.items() if n["lost"]}
    )


def test_real_files_come_back(music):
    paths = [path for path in music.rglob("*.mid") if path.stat().st_size < MOST_BYTES]
    some = random.Random(3).sample(sorted(paths), 25)
    found = {path.name: lost(path) for path in some}
    assert {name: kinds for name, kinds in found.items() if kinds - {"ends of notes"}} == {}


def test_faulty_files_come_back(music):
    if not FAULTS.is_dir():
        pytest.skip(f"there is no folder {FAULTS}")
    found = {path.name: lost(path) for path in sorted(FAULTS.glob("m*"))}
    assert {name for name, kinds in found.items() if kinds == "jaxmusic"} == REFUSED
    assert {name for name, kinds in found.items() if kinds == "mido"} == UNJUDGED
    rest = {name: kinds for name, kinds in found.items() if kinds and not isinstance(kinds, str)}
    assert rest == LOST


def test_scores_come_back(music):
    paths = sorted((music / "openewld").rglob("*.mxl"))
    some = random.Random(0).sample(paths, len(paths))
    score = next(filter(roundtrip.plain, some))
    assert lost(score) == set()


def test_the_end_of_a_piece_without_labels_comes_back(tmp_path):
    files.write(make_notes([0], [480], [60], [80], [0], end=1920), tmp_path / "a.mid")
    files.convert(tmp_path / "a.mid", tmp_path / "b.mid")
    assert midi.read_notes(tmp_path / "b.mid").end == 1920
    was, now = (roundtrip.midi_events((tmp_path / f"{n}.mid").read_bytes()) for n in "ab")
    assert was == now


def test_the_judge_misses_nothing(tmp_path):
    notes = make_notes([0, 480], [480, 480], [60, 62], [80, 80], [0, 0])
    files.write(notes, tmp_path / "a.mid")
    whole = roundtrip.midi_events((tmp_path / "a.mid").read_bytes())
    files.write(notes.replace(pitch=notes.pitch + np.uint8(1)), tmp_path / "a.mid")
    other = roundtrip.midi_events((tmp_path / "a.mid").read_bytes())
    count = roundtrip.compare("MIDI", whole, other)
    whole = {"events": 2, "lost": 2, "added": 2, "files": 1, "files with a loss": 1}
    assert count["MIDI", "notes"] == whole
    assert count["MIDI", "tempos"]["events"] == 1 and not count["MIDI", "tempos"]["lost"]
