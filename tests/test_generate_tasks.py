"""Tasks with a given piece: what is given comes back untouched, whatever the model says."""

import collections
import dataclasses

import data_music
import mido
import numpy as np
import pytest
import toys
from hypothesis import given as with_
from hypothesis import settings
from strategies import notes as random_notes

import jaxmusic
from benchmarks.roundtrip import midi_events
from jaxmusic import config
from jaxmusic._src.codecs.metrical.codec import MetricalCodec
from jaxmusic._src.codecs.metrical.grammar import Grammar
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.data import starter
from jaxmusic._src.formats import files, midi_writing
from jaxmusic._src.formats import sequence as sequences
from jaxmusic._src.generate import infilling, orders, splice
from jaxmusic._src.generate.composition import Composition
from jaxmusic._src.models import transformer
from jaxmusic._src.music.notes import make_notes

CODEC = MetricalCodec()
GRAMMAR = Grammar(CODEC)
CONTEXT = 512
NONE = np.zeros(0, np.int32)


@pytest.fixture(scope="module")
def model():
    tasks = config.Tasks(infill=0.1, accompany=0.1, harmonise=0.1, vary=0.1)
    experiment = config.Experiment(data=config.Data(context=CONTEXT, tasks=tasks), model=toys.MODEL)
    params = transformer.init(toys.MODEL, CODEC.vocab_size, 0)
    return jaxmusic.MusicModel(experiment, CODEC, params, ("pop", "jazz"))


@pytest.fixture(scope="module")
def song():
    """Sixteen bars of a band, in the ticks of a file."""
    whole = next(starter.corpus(1, first=53))
    return only(whole, whole.onset < 16 * 4 * 480).replace(end=16 * 4 * 480)


def only(notes, rows):
    """Some rows of notes."""
    names = ("onset", "duration", "pitch", "velocity", "track")
    return notes.replace(**{name: getattr(notes, name)[rows] for name in names})


def melody(notes, track=1):
    return only(notes, notes.track == track)


def rows(notes):
    """Each note with all there is to it, and how often it is there."""
    return collections.Counter(
        zip(
            *(getattr(notes, name).tolist() for name in ("onset", "duration", "pitch", "velocity")),
            notes.program[notes.track].tolist(),
            notes.is_drum.tolist(),
        )
    )


def bars_of(notes):
    """Bar of each note of a song in 4/4 at 480 ticks, from 1."""
    return notes.onset // (4 * 480) + 1


class Oracle:
    """A composer that writes what was there: the bars of the window, as they are in a piece."""

    def __init__(self, piece, context):
        self.piece, self.context, self.codec, self.grammar = piece, context, CODEC, GRAMMAR
        self.windows = []

    def compose(self, planner, seed, count, sampling, progress):
        part = self.piece.part(planner.start, planner.stop)
        stream = CODEC.encode(part, given=planner.given)
        assert np.array_equal(stream[: len(planner.prompt)], planner.prompt)
        self.windows.append(planner)
        return [Composition(planner.finish(stream), stream, planner.bars(stream))]


def refilled(notes, source, given, context=2**15):
    oracle = Oracle(source.piece, context)
    return infilling.fill(oracle, source, given), oracle


def some_given(source, task, seed):
    """What a task gives of a piece, or None where there is nothing to write or to go by."""
    rng = np.random.default_rng(seed)
    piece, marked, slots = source.piece, np.ones(source.piece.bars, bool), np.zeros(16, bool)
    if task in ("infill", "vary"):
        marked = rng.random(piece.bars) < 0.5
    else:
        slots[rng.permutation(np.unique(piece.slot))[: max(len(np.unique(piece.slot)) // 2, 1)]] = 1
    if not marked.any() or (marked.all() and not slots.any()):
        return None
    return orders.given_of(task, marked, slots)


def check_refilled(notes, seed, tasks=("infill", "accompany", "harmonise", "vary")):
    source = splice.read(notes, CODEC)
    for task in tasks:
        given = some_given(source, task, seed)
        if given is None:
            continue
        done, _ = refilled(notes, source, given)
        kept = ~given.marked[source.bar] | given.slots[source.slot[notes.track]]
        assert rows(done.notes) >= rows(only(notes, kept))
        # A note that is written again counts as written even if it was there before.
        assert rows(only(done.notes, ~done.written)) == rows(only(notes, kept))
        for name in ("tempo_tick", "tempo_qpm", "meter_tick", "ticks_per_beat"):
            assert np.array_equal(getattr(done.notes, name), getattr(notes, name))
        # No more is written than was missing on the grid, which moves some notes over a bar line.
        assert done.written.sum() <= (~given.notes(source.piece)).sum()


@settings(max_examples=60, deadline=None)
@with_(random_notes(max_tracks=6))
def test_what_is_given_of_random_pieces_stays(notes):
    if len(notes) and len(CODEC.quantise(notes)[0]):
        check_refilled(notes, len(notes))


def test_what_is_given_of_real_pieces_stays(music):
    count = 0
    for folder in ("pop909", "mutopia", "nottingham", "groove", "piano_midi_de", "multitrack_pop"):
        found = sorted(
            p for p in (music / folder).rglob("*") if p.suffix.lower() in (".mid", ".midi")
        )
        for path in found[:: max(len(found) // 3, 1)][:3]:
            check_refilled(files.read_notes(path), count, ("infill", "accompany"))
            count += 1
    assert count


def test_a_piece_that_is_written_anew_in_small_windows_is_the_same_piece(song):
    source = splice.read(song, CODEC)
    for task in ("infill", "accompany", "vary"):
        given = some_given(source, task, 1)
        done, oracle = refilled(song, source, given, 1024)
        assert len(oracle.windows) > 1 or task == "infill"
        for window in oracle.windows:
            assert len(window.prompt) + window.tokens * int(window.given.marked.sum()) < 1024
        again = splice.read(done.notes, CODEC).piece
        for name in ("onset", "duration", "pitch", "slot"):
            assert np.array_equal(getattr(again, name), getattr(source.piece, name))


def test_infill_sees_both_sides(song):
    source = splice.read(song, CODEC)
    given = orders.given_of("infill", source.bar_count().chosen("8-9")[0], np.zeros(16, bool))
    window = infilling.WindowPlanner(GRAMMAR, 1500, source.piece, given)
    assert window.start < 7 and window.stop > 9
    assert abs((7 - window.start) - (window.stop - 9)) <= 1


def test_written_notes_leave_given_ones_alone():
    """In a file two notes of one pitch and track could not be told apart."""
    given = make_notes([0, 960], [480, 480], [60, 60], [80, 80], [0, 0], end=1920)
    source = splice.read(given, CODEC)
    slots = np.flatnonzero(source.piece.programs >= 0)
    written = make_notes(
        *([240, 480, 480, 960, 0], [100, 960, 10, 9, 100], [60, 60, 60, 60, 62]),
        *([70] * 5, [0] * 5),
    )
    merged = splice.merge(source, np.ones(2, bool), written, slots, 1920)
    assert rows(merged) == rows(given) + collections.Counter(
        {(480, 480, 60, 70, 0, False): 1, (0, 100, 62, 70, 0, False): 1}
    )


def test_further_instruments_take_their_places():
    notes = data_music.tune(1, bars=4)
    source = splice.read(notes, CODEC)
    more = source.with_instruments((33, 0), True)
    pitched = more.piece.programs[:15]
    used = pitched[pitched >= 0]
    assert np.all(np.diff(used) >= 0) and {0, 33} <= set(used.tolist())
    assert more.piece.programs[15] >= 0
    was = source.piece.programs[source.piece.slot]
    assert np.array_equal(more.piece.programs[more.piece.slot], was)
    assert np.array_equal(more.piece.programs[more.slot], source.piece.programs[source.slot])
    with pytest.raises(UserError, match="fewer"):
        source.with_instruments(tuple(range(15)), False)


# With a model, trained or not.


@pytest.mark.parametrize("duration, bars", ((30.0, 4), ("0:17.3", 3), ("12 bars", 3), (41, 3)))
def test_continue_keeps_the_prompt_and_lasts_as_long_as_asked(model, song, duration, bars):
    (done,) = model.perform("continue", song, bars, style="pop", duration=duration, seed=0)
    out, line = done.notes, bars * 4 * 480
    assert rows(only(out, out.onset < line)) == rows(only(song, bars_of(song) <= bars))
    assert np.array_equal(done.written, out.onset >= line) and done.written.any()
    assert (out.onset.astype(np.int64) + out.duration <= out.end).all()
    before, after = out.tempo_qpm[out.tempo_tick < line][-1], out.tempo_qpm[-1]
    assert abs(after / before - 1) <= 0.01
    assert done.bars == bars + -(-(out.end - line) // (4 * 480))
    if duration == "12 bars":
        assert done.bars == 12 and out.end == 12 * 4 * 480
    else:
        seconds = 17.3 if isinstance(duration, str) else duration
        assert float(out.seconds(out.end)) == pytest.approx(seconds, abs=1e-6)


def test_infill_writes_in_its_bars_alone(model, song):
    (done,) = model.perform("infill", song, "3-4", style="pop", seed=0)
    inside = np.isin(bars_of(done.notes), (3, 4))
    assert inside.any()
    assert rows(only(done.notes, ~inside)) == rows(only(song, ~np.isin(bars_of(song), (3, 4))))
    (again,) = model.perform("infill", song, "3-4", style="pop", seed=0)
    assert rows(again.notes) == rows(done.notes)
    (other,) = model.perform("infill", song, "3-4", style="pop", seed=1)
    assert rows(other.notes) != rows(done.notes)


def test_accompany_adds_the_instruments_asked_for(model, song):
    lead = melody(song)
    (done,) = model.perform("accompany", lead, instruments="bass, drums", chords="C G Am F", seed=0)
    assert rows(done.notes) >= rows(lead)
    added = rows(done.notes) - rows(lead)
    assert {(program, drum) for *_, program, drum in added} == {(33, False), (0, True)}


def test_instruments_join_a_piece_that_ends_on_a_bar_line(model):
    """What is given ends where others would enter, and what is to be written begins with a bar."""
    bar = 4 * 480
    lead = make_notes([0, 480, bar], [480, 480, bar], [60, 64, 60], [80] * 3, [0] * 3)
    (done,) = model.perform("accompany", lead, instruments="bass, drums", seed=0)
    assert rows(done.notes) > rows(lead)
    assert set(zip(done.notes.program, done.notes.drum)) == {(0, False), (33, False), (0, True)}


def test_controls_hold_in_what_is_written(model, song):
    (done,) = model.perform(
        "accompany", melody(song), instruments="bass", key="C", strict=True, seed=0
    )
    bass = only(done.notes, done.notes.program[done.notes.track] == 33)
    assert len(bass) and set((bass.pitch % 12).tolist()) <= {0, 2, 4, 5, 7, 9, 11}
    (done,) = model.perform(
        "continue", song, 3, form="chorus4", chords="C G", instruments="trumpet", seed=0
    )
    notes, line = done.notes, 3 * 4 * 480
    assert notes.end == 7 * 4 * 480 and done.bars == 7
    later = notes.labels.chord_tick >= line
    assert notes.labels.chord_tick[later].tolist() == [line + i * 4 * 480 for i in range(4)]
    assert notes.labels.chord[later].tolist() == [0, 7, 0, 7]
    assert notes.labels.section[notes.labels.section_tick >= line].tolist() == [2]
    new = only(notes, notes.program[notes.track] == 56)
    assert len(new) and rows(only(notes, notes.onset < line)) == rows(only(song, song.onset < line))


def test_harmonise_writes_chords_and_a_part_that_plays_them(model, song):
    labels = dataclasses.replace(song.labels, **dict.fromkeys(("chord_tick", "chord"), NONE))
    bare = melody(song).replace(labels=labels)
    (done,) = model.perform("harmonise", bare, seed=0)
    assert rows(done.notes) >= rows(bare)
    assert {program for *_, program, _ in rows(done.notes) - rows(bare)} == {0}


def test_vary_keeps_what_is_to_be_kept(model, song):
    (done,) = model.perform("vary", song, "1-12,15", seed=0)
    written, was = (np.isin(bars_of(n), (13, 14, 16)) for n in (done.notes, song))
    assert rows(only(done.notes, ~written)) == rows(only(song, ~was))
    assert written.any()


def test_sequences_and_files_are_given_and_come_back(model, song, tmp_path):
    files.write(song, tmp_path / "song.mid")
    read = files.read_notes(tmp_path / "song.mid")
    done = sequences.from_sequence(model.infill(tmp_path / "song.mid", "16", seed=0))
    same = sequences.from_sequence(model.infill(sequences.to_sequence(read), "16", seed=0))
    assert rows(done) == rows(same)
    early = np.isin(bars_of(read), 16, invert=True)
    assert rows(done) >= rows(only(read, early))


@pytest.mark.parametrize(
    "task, bars, options",
    [
        ("continue", 0, {"duration": "20 bars"}),
        ("infill", "3-4", {}),
        ("accompany", "", {"instruments": "flute"}),
        ("harmonise", "", {"instruments": "organ"}),
        ("vary", "1-12", {}),
    ],
)
def test_all_that_a_file_says_comes_back(model, song, tmp_path, task, bars, options):
    files.write(melody(song) if task == "harmonise" else song, tmp_path / "song.mid")
    file = mido.MidiFile(tmp_path / "song.mid")
    for number, track in enumerate(file.tracks[1:]):
        channel = next(m.channel for m in track if not m.is_meta)
        track[0].name = f"My part {number}"
        for control, value in ((7, 90), (64, 127)):
            message = {"control": control, "value": value, "channel": channel}
            track.insert(1, mido.Message("control_change", **message))
        track.insert(1, mido.Message("pitchwheel", channel=channel, pitch=100 * number))
        track.insert(1, mido.MetaMessage("lyrics", text="la"))
    file.save(tmp_path / "mine.mid")
    (done,) = model.perform(task, tmp_path / "mine.mid", bars, seed=0, **options)
    kinds = ("names of tracks", "controllers", "pitch bends", "lyrics")
    given, out = (
        {event for event in midi_events(data) if event[0] in kinds}
        for data in ((tmp_path / "mine.mid").read_bytes(), midi_writing.midi_bytes(done.notes))
    )
    assert len(given) > 4 and out >= given


REFUSED = (
    ("bars 1 to 16", "infill", "9-17", {}),
    ("does not name bars", "infill", "nine", {}),
    ("does not name bars", "vary", "1-4,", {}),
    ("nothing is left", "vary", "1-16", {}),
    ("Keep some bars", "infill", "1-16", {}),
    ("drums already", "accompany", "", {"instruments": "drums"}),
    ("which instruments", "accompany", "", {}),
    ("krumhorn", "accompany", "", {"instruments": "krumhorn"}),
    ("1 to 16 bars", "continue", 17, {}),
    ("seconds or more", "continue", 8, {"duration": 10}),
    ("bars or more", "continue", 8, {"duration": "8 bars"}),
    ("not both", "continue", 8, {"duration": 60, "form": "verse8"}),
    ("leave tempo out", "infill", "3", {"tempo": 100}),
    ("leave instruments out", "vary", "3", {"instruments": "piano"}),
    ("'tempoo'", "vary", "3", {"tempoo": 100}),
    ("no task", "transcribe", "", {}),
    ("count", "infill", "3", {"count": 0}),
)


@pytest.mark.parametrize("reason, task, bars, options", REFUSED)
def test_what_cannot_be_is_one_sentence(model, song, reason, task, bars, options):
    with pytest.raises(UserError, match=reason):
        model.perform(task, song, bars, **options)


def test_what_cannot_be_harmonised_is_refused(model, song):
    for reason, rows in (("has notes", np.zeros(len(song), bool)), ("but drums", song.is_drum)):
        with pytest.raises(UserError, match=reason):
            model.perform("harmonise", only(song, rows))


@pytest.mark.quick
def test_a_model_says_what_it_was_not_trained_for():
    from jaxmusic._src.codecs.performance.codec import PerformanceCodec
    from jaxmusic._src.generate.capabilities import Capabilities

    data = config.Data(tasks=config.Tasks(infill=0.1), drop_controls=0.1)
    capabilities = Capabilities(CODEC, ("pop",), ("styles",), data)
    capabilities.read(config.Controls(style="pop"), "infill")
    capabilities.read(config.Controls(), "continue")
    with pytest.raises(UserError, match=r"data\.tasks\.vary"):
        capabilities.read(config.Controls(), "vary")
    capabilities.read(config.Controls(style="pop", guidance=2.0))
    always = dataclasses.replace(capabilities, data=dataclasses.replace(data, drop_controls=0.0))
    always.read(config.Controls(style="pop"))
    with pytest.raises(UserError, match=r"data\.drop-controls"):
        always.read(config.Controls(style="pop", guidance=2.0))
    with pytest.raises(UserError, match="not trained with keys"):
        capabilities.read(config.Controls(key="Am"))
    with pytest.raises(UserError, match="leave form out"):
        capabilities.read(config.Controls(form="verse8"))
    played = dataclasses.replace(
        capabilities, codec=PerformanceCodec(config.Codec(kind="performance"))
    )
    with pytest.raises(UserError, match="no bars"):
        played.read(config.Controls(), "continue")
