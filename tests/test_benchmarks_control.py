"""The benchmark of control, on models that are known."""

import types

import numpy as np
import pytest

from benchmarks import control, runner
from benchmarks.runner import Options, Row
from jaxmusic import config
from jaxmusic.codecs.metrical.codec import MetricalCodec
from jaxmusic.music.notes import PITCH_NAMES, make_notes

BAR, BEAT = 1920, 480


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "RESULTS", tmp_path)
    return tmp_path


class Obedient:
    """A model that plays what it is asked for: a triad on every beat; C major where it is not."""

    step = 7
    experiment = types.SimpleNamespace(data=config.Data(dataset="starter"))

    def compose(self, controls, count, progress):
        del progress
        seconds = controls.duration
        if isinstance(seconds, str):
            minutes, rest = seconds.split(":")
            seconds = 60 * int(minutes) + int(rest)
        tempo = controls.tempo or 120.0
        beats = max(int(seconds * tempo / 60), 1)
        meter = tuple(map(int, controls.meter.split("/"))) if controls.meter else (4, 4)
        names = controls.chords.split() or (self._cadence(controls.key) if controls.key else ["C"])
        rows = []
        for beat in range(beats):
            name = names[beat // 4 % len(names)]
            root, minor = PITCH_NAMES.index(name.removesuffix("m")), name.endswith("m")
            pitches = (36 + root, 60 + root, 63 + (not minor) + root, 67 + root)
            rows += [(beat * BEAT, BEAT, pitch, 80, 0) for pitch in pitches]
        notes = make_notes(
            *zip(*rows),
            tempos=((0, controls.tempo or beats * 60 / seconds),),
            meters=((0, *meter),),
            end=beats * BEAT,
        )
        return [types.SimpleNamespace(notes=notes)] * count

    def _cadence(self, key):
        tonic, m = PITCH_NAMES.index(key.removesuffix("m")), "m" * key.endswith("m")
        fourth, fifth = (PITCH_NAMES[(tonic + i) % 12] for i in (5, 7))
        return [key, fourth + m, fifth, key]


def bench(monkeypatch, count=8):
    found = control.Bench(Options(count=count, run="unused"))
    monkeypatch.setattr(control.Bench, "model", Obedient())
    return found


def cells(rows):
    return {(row.cells[0], row.cells[1]): row for row in rows}


def test_who_obeys_in_key_and_chords_reaches_the_goals_and_who_is_not_asked_does_not(monkeypatch):
    parts = bench(monkeypatch).parts()
    keys = cells(parts["key"]()[0])
    assert keys["main key is the same", "asked"].reached
    assert keys["main key is the same", "not asked"].cells[3] < 0.6
    assert keys["main key is the same", "strict"].reached
    assert keys["main key is the same", "not asked"].reached is None
    chords = cells(parts["chords"]()[0])
    assert chords["half bars with the same triad", "asked"].reached
    assert chords["half bars with the same triad", "not asked"].cells[3] < 0.6
    assert chords["half bars with the same root", "guidance 2"].cells[2] == 8


def test_tempo_and_meter_hold_only_where_they_are_asked_for(monkeypatch):
    parts = bench(monkeypatch).parts()
    for part, name in (("tempo", "within 1%"), ("meter", "all bars in it")):
        rows = cells(parts[part]()[0])
        asked = rows[name, "asked"]
        assert asked.cells[3] == 1 and asked.reached
        assert rows[name, "not asked"].cells[3] < 1


def test_instruments_that_are_not_played_are_counted(monkeypatch):
    rows = cells(bench(monkeypatch).parts()["instruments"]()[0])
    # The obedient model has nothing but a piano.
    assert rows["every one and no other", "asked"].reached is False
    assert rows["others, per piece", "asked"].cells[3] == 1
    assert rows["silent, per piece", "asked"].cells[3] >= 1


def test_every_duration_is_measured_to_the_twentieth_of_a_second(monkeypatch):
    rows, note = bench(monkeypatch, count=2).parts()["duration"]()
    assert [row.reached for row in rows if row.goal] == [True] * 6
    assert "seeds 0 to 1" in note


def test_wishes_can_be_read_as_they_are_written():
    from jaxmusic.generate import controls

    codec = MetricalCodec()
    for part, wishes in control.WISHES.items():
        stream = wishes(np.random.default_rng(1))
        for _ in range(12):
            fields = {"duration": control.LENGTH} | next(stream).fields
            assert controls.read(config.Controls(**fields), codec) is not None, part


def test_parts_that_are_not_measured_now_keep_their_rows(results, monkeypatch):
    parts = {
        "one": lambda: ([Row((1.0,)), Row((2.0,), "2", True)], "first."),
        "two": lambda: ([Row((3.0,))], "first."),
    }
    columns = ("part", "value")
    runner.in_parts("control", Options(), columns, parts)
    parts["two"] = lambda: ([Row((4.0,), "5", False)], "again.")
    found = runner.in_parts("control", Options(only="two"), columns, parts)
    assert [row.cells for row in found.rows] == [("one", 1.0), ("one", 2.0), ("two", 4.0)]
    assert [row.reached for row in found.rows] == [None, True, False]
    assert [note.split(".")[0] for note in found.notes] == ["one: first", "two: again"]
    assert (results / "control.json").exists()
    with pytest.raises(SystemExit, match="one, two"):
        runner.in_parts("control", Options(only="three"), columns, parts)


def test_the_command_of_a_result_made_in_parts_makes_all_of_them():
    command = Options(data="", only="key", count=4).command("control")
    assert command == "python -m benchmarks control --count 4"


class Forgetful:
    """A model that gives back what it was given but for the first note."""

    codec = MetricalCodec()

    def perform(self, task, music, controls, **asked):
        del task, controls, asked
        rows = np.arange(len(music)) > 0
        columns = ("onset", "duration", "pitch", "velocity", "track")
        notes = music.replace(**{name: getattr(music, name)[rows] for name in columns})
        return [types.SimpleNamespace(notes=notes)]
