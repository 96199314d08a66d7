"""The benchmark of control, on models that are known."""

import types

import numpy as np

from benchmarks import control
from jaxmusic import config
from jaxmusic._src.codecs.metrical.codec import MetricalCodec
from jaxmusic._src.music.notes import PITCH_NAMES, make_notes

BAR, BEAT = 1920, 480


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


def measured(part, count=8):
    rows, goals, _ = control.Bench(Obedient(), count).kept(part)
    columns = ("pieces", *control.WAYS, "not requested")
    figures = {name: dict(zip(columns, cells)) for _, name, *cells in rows}
    return figures, {goal.measured.rsplit(" ", 1)[0]: goal.reached for goal in goals}


def test_obedient_model_reaches_goals_of_key_and_chords():
    keys, reached = measured("key")
    assert reached == dict.fromkeys(control.WAYS, True)
    assert keys["main key is the same"]["not requested"] < 0.6
    chords, reached = measured("chords")
    assert reached == dict.fromkeys(control.WAYS, True)
    assert chords["half bars with the same triad"]["not requested"] < 0.6
    assert chords["half bars with the same root"]["pieces"] == 8


def test_tempo_and_meter_hold_only_where_they_are_asked_for():
    for part, name in (("tempo", "within 1%"), ("meter", "all bars in it")):
        figures, reached = measured(part)
        assert reached == {"requested": True}
        assert figures[name]["requested"] == 1
        assert figures[name]["not requested"] < 1
        assert figures[name]["strict"] == ""


def test_instruments_that_are_not_played_are_counted():
    figures, reached = measured("instruments")
    # The obedient model plays only a piano.
    assert reached == {"requested": False}
    assert figures["others, per piece"]["requested"] == 1
    assert figures["silent, per piece"]["requested"] >= 1


def test_durations():
    rows, goals, note = control.Bench(Obedient(), 2).durations(seeds=2)
    assert [goal.reached for goal in goals] == [True] * 6
    assert len({goal.goal for goal in goals}) == 1
    assert len(rows) == 12 and note == "seeds 0 to 1"


def test_wishes_can_be_read_as_they_are_written():
    from jaxmusic._src.generate import controls

    codec = MetricalCodec()
    for part, requests in control.REQUESTS.items():
        stream = requests(np.random.default_rng(1))
        for _ in range(12):
            fields = {"duration": control.LENGTH} | next(stream).fields
            assert controls.read(config.Controls(**fields), codec) is not None, part
