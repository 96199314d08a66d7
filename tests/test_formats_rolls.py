"""Piano rolls in JSON: voices, held notes, rests, and what is none."""

import json

import pytest

from jaxmusic._src.core.errors import NoNotes, UserError
from jaxmusic._src.formats import files, rolls

VOICES = {"train": [[[60, -1], [60, 64], [62, 64]]], "test": [[[None, 50]], [[float("nan"), -1]]]}
STEPS = {"train": [[[60, 64], [60], [], [60, 60]]]}


def written(tmp_path, splits, name="a.json"):
    data = splits if isinstance(splits, str | bytes) else json.dumps(splits)
    (tmp_path / name).write_bytes(data.encode() if isinstance(data, str) else data)
    return str(tmp_path / name)


def rows(notes):
    step = rolls.TICKS_PER_STEP
    columns = (notes.onset // step, notes.duration // step, notes.pitch, notes.track)
    return [tuple(row) for row in zip(*(column.tolist() for column in columns))]


@pytest.mark.quick
@pytest.mark.parametrize(
    ("splits", "piece", "expected"),
    [
        (VOICES, "train1", [(0, 2, 60, 0), (1, 2, 64, 1), (2, 1, 62, 0)]),
        (VOICES, "test1", [(0, 1, 50, 1)]),
        (STEPS, "train1", [(0, 2, 60, 0), (0, 1, 64, 0), (3, 1, 60, 0)]),
    ],
)
def test_notes_are_runs_of_a_pitch_in_a_voice(tmp_path, splits, piece, expected):
    notes = files.read_notes(f"{written(tmp_path, splits)}#{piece}")
    assert rows(notes) == expected
    assert len(notes.program) == (2 if splits is VOICES else 1)


def test_the_name_tells_the_step_and_the_length_counts_rests(tmp_path):
    for name, ticks in (("x-16th.json", 480), ("x-8th.json", 240), ("X-Quarter.JSON", 120)):
        path = written(tmp_path, {"valid": [[[60], [], [], []]]}, name)
        notes = rolls.read_notes(path + "#valid1")
        assert (notes.ticks_per_beat, notes.end) == (ticks, 480)
        assert rolls.piece_names(path) == [(path + "#valid1", "validation")]


def test_a_file_that_is_written_again_is_read_again(tmp_path):
    for pitch in (60, 61):
        path = written(tmp_path, {"train": [[[pitch]]]})
        assert rolls.read_notes(path + "#train1").pitch.tolist() == [pitch]


@pytest.mark.parametrize(
    "splits",
    [
        "",
        "{",
        "[" * 100_000,
        [],
        {},
        {"train": 3},
        {"train": []},
        {"dev": [[[60]]]},
        {"train": [[60]]},
        {"train": [[[200]]]},
        {"train": [[[60.5]]]},
        {"train": [[["a"]]]},
        {"train": [[[[60]]]]},
        {"train": [[{"pitch": 60}]]},
        {"train": [[[10**400]]]},
        b"\xff\xfe\xff",
    ],
)
def test_what_is_no_piano_roll_is_a_sentence(tmp_path, splits):
    path = written(tmp_path, splits)
    with pytest.raises(UserError, match="piano rolls"):
        rolls.piece_names(path)


@pytest.mark.parametrize("piece", ["", "#train2", "#train0", "#dev1"])
def test_pieces_are_named(tmp_path, piece):
    with pytest.raises(UserError, match="train1 to train1, test1 to test2"):
        files.read_notes(written(tmp_path, VOICES) + piece)


def test_silence_has_no_notes(tmp_path):
    with pytest.raises(NoNotes):
        files.read_notes(written(tmp_path, VOICES) + "#test2")


def test_real_chorales(music):
    path = str(music / "polyphonic" / "jsb_16th_separated.json")
    pieces = rolls.piece_names(path)
    assert len(pieces) == 305
    splits = json.loads((music / "polyphonic" / "jsb_16th_separated.json").read_text())
    for name, number in (("train", 0), ("train", 100), ("valid", 75)):
        notes = rolls.read_notes(f"{path}#{name}{number + 1}")
        roll = [[-1] * 4 for _ in splits[name][number]]
        for onset, length, pitch, voice in rows(notes):
            for step in range(onset, onset + length):
                roll[step][voice] = pitch
        assert roll == splits[name][number]
