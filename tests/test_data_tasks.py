"""Tasks: what is drawn for parts of pieces, how rows hold it, and what a model is trained for."""

import dataclasses
import json

import data_music
import numpy as np
import pytest
import test_data_stream as streams
from data_music import same
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxmusic import config
from jaxmusic._src.codecs.layout import TASKS
from jaxmusic._src.codecs.metrical.codec import MetricalCodec
from jaxmusic._src.codecs.registry import make_codec
from jaxmusic._src.data import builder, starter, tasks
from jaxmusic._src.data.loader import Loader
from jaxmusic._src.music.controls import names
from jaxmusic._src.music.notes import make_notes
from jaxmusic._src.music.roles import melody_slot
from jaxmusic._src.runs import folder as runs
from jaxmusic._src.runs import weights
from jaxmusic._src.train import trainer
from jaxmusic.config import Codec, Data, Prepare, Tasks

CONTROLS = names()

CODEC = streams.CODEC
PIECES = streams.PIECES
ALL = Tasks(infill=0.25, accompany=0.25, harmonise=0.25, vary=0.25)
NONE = frozenset()
folder = streams.folder
load = streams.load


def drawn(name, seed):
    only = dataclasses.replace(Tasks(), **{name: 1.0})
    found = tasks.draw(only, np.random.default_rng(seed))
    assert TASKS[found.task] == name
    return found


def runs_of(marked):
    """Lengths of the runs of marked bars."""
    edges = np.flatnonzero(np.diff(marked.astype(int), prepend=0, append=0))
    return (edges[1::2] - edges[::2]).tolist()


def each_part(loader, rows):
    """Task, empty for none, and tokens of every part of rows."""
    v = loader.codec.vocabulary
    for g in rows:
        row = loader.row(g)
        for number in range(1, row.segment.max() + 1):
            tokens = row.events.token[row.segment == number]
            value = int(tokens[1]) - v.start["task"]
            yield TASKS[value] if 0 <= value < len(TASKS) else "", tokens


@pytest.mark.quick
@given(st.sampled_from(TASKS[1:]), st.integers(0, 10**6), st.integers(0, 19), st.integers(1, 40))
@settings(max_examples=200, deadline=None)
def test_something_is_given_and_something_is_left_to_write(name, seed, number, bars):
    part = PIECES[number].part(0, min(bars, PIECES[number].bars))
    found = tasks.given(drawn(name, seed), part, NONE)
    if found is None:
        assert part.bars == 1
        return
    assert TASKS[found.task] == name and len(found.marked) == part.bars
    notes = found.notes(part)
    assert not notes.all()
    lengths = runs_of(found.marked)
    sounding = np.bincount(part.slot, minlength=16) > 0
    if name == "infill":
        assert len(lengths) == 1 and lengths[0] <= part.bars // 2
        assert not found.slots.any() and not found.chords
    elif name == "vary":
        assert 1 <= len(lengths) <= 4 and 1 <= sum(lengths) < part.bars
        assert len(lengths) > 1 or part.bars < 4
        assert part.bars < 10 or 0.3 < sum(lengths) / part.bars < 0.7
        assert not found.slots.any() and found.chords
    else:
        first = np.flatnonzero(found.marked)[0]
        assert found.marked[first:].all() and first <= part.bars // 2
        assert (found.slots <= sounding).all() and 1 <= found.slots.sum() < sounding.sum()
        assert found.chords == (name == "accompany")
        if name == "harmonise":
            assert found.slots.tolist().index(True) == melody_slot(part.part(first, part.bars))


def test_draws_reach_all_that_they_may():
    part = PIECES[4].part(0, 42)
    infills = [tasks.given(drawn("infill", i), part, NONE).marked for i in range(600)]
    lengths = np.array([m.sum() for m in infills])
    assert lengths.min() == 1 and lengths.max() == 21
    assert 0.15 < np.mean(lengths == 1) < 0.3  # ln 2 / ln 22
    assert any(m[0] for m in infills) and any(m[-1] for m in infills)
    varied = [runs_of(tasks.given(drawn("vary", i), part, NONE).marked) for i in range(100)]
    assert {len(found) for found in varied} == {2, 3, 4}
    accompanied = [tasks.given(drawn("accompany", i), part, NONE) for i in range(300)]
    chosen = {tuple(np.flatnonzero(g.slots).tolist()) for g in accompanied}
    # A melody, chords and drums: all that is neither empty nor everything.
    assert chosen == {(0,), (1,), (15,), (0, 1), (0, 15), (1, 15)}
    opened = np.mean([not g.marked[0] for g in accompanied])
    assert 0.25 < opened < 0.42


def test_a_shorter_part_keeps_its_task():
    for name in ("infill", "vary"):
        for seed in range(40):
            task = drawn(name, seed)
            long, short = (tasks.given(task, PIECES[4].part(0, n), NONE) for n in (40, 20))
            assert abs(long.marked.mean() - short.marked.mean()) <= 0.08
            assert abs(np.flatnonzero(long.marked)[0] / 2 - np.flatnonzero(short.marked)[0]) <= 2.5


def lead_sheet(*tracks, drum=(), end=4 * 1920):
    """A quantised piece with the tracks' notes: (quarter, length in quarters, pitch)."""
    rows = [(480 * at, 480 * n, p, 90, t) for t, notes in enumerate(tracks) for at, n, p in notes]
    return CODEC.quantise(
        make_notes(
            *zip(*sorted(rows)),
            program=[0] * len(tracks),
            drum=[t in drum for t in range(len(tracks))],
            tempos=((0, 120.0),),
            end=end,
        )
    )[0]


@pytest.mark.quick
def test_the_melody_is_what_is_on_top_most_often():
    tune = [(q, 1, 72 + q % 5) for q in range(16)]
    bass = [(q, 2, 40) for q in range(0, 16, 2)]
    assert melody_slot(lead_sheet(bass, tune)) == 1
    assert melody_slot(lead_sheet(tune, bass)) == 0
    # A long high note sounds on above what begins meanwhile.
    held = [(0, 16, 90)]
    assert melody_slot(lead_sheet(tune, held)) == 1
    # Two high notes do not make a melody.
    assert melody_slot(lead_sheet(tune, [(0, 1, 100), (8, 1, 100)])) == 0
    hits = [(q, 1, 36 + q % 3) for q in range(16)]
    assert melody_slot(lead_sheet(hits, drum=(0,))) == -1
    assert melody_slot(lead_sheet(hits, tune, drum=(0,))) == 0
    assert melody_slot(lead_sheet(tune, tune)) == 0


def test_a_task_that_makes_no_sense_is_none():
    alone = lead_sheet([(q, 1, 60 + q % 7) for q in range(16)])
    assert tasks.given(drawn("accompany", 0), alone, NONE) is None
    assert tasks.given(drawn("harmonise", 0), alone, NONE) is None
    # Chords can be written under a melody that is alone, unless the stream has none.
    chords = alone.with_controls(chord=np.zeros(8, np.int16))
    assert tasks.given(drawn("harmonise", 0), chords, NONE) is not None
    assert tasks.given(drawn("harmonise", 0), chords, frozenset(["chords"])) is None
    assert tasks.given(drawn("infill", 0), alone.part(1, 2), NONE) is None
    assert tasks.given(drawn("vary", 0), alone.part(1, 2), NONE) is None
    first = lead_sheet([(0, 1, 60)])
    found = [tasks.given(drawn("infill", i), first, NONE) for i in range(20)]
    assert None in found and all(g is None or g.marked[0] for g in found)
    hits = lead_sheet([(q, 1, 36) for q in range(16)], drum=(0,))
    assert tasks.given(drawn("harmonise", 1), hits, NONE) is None


@pytest.mark.parametrize("kind", ["metrical", "fused"])
@pytest.mark.parametrize("context", [160, 512])
def test_rows_hold_whole_task_streams_of_real_parts(folder, kind, context):
    codec = make_codec(Codec(kind=kind))
    loader = load(folder, codec=codec, context=context, tasks=ALL, **streams.PLAIN)
    v = loader.codec.vocabulary
    found = {}
    rows = range(3 * loader.rows_per_epoch())
    for name, tokens in each_part(loader, rows):
        found[name] = found.get(name, 0) + 1
        part, dropped = loader.codec.decode(tokens)
        assert dropped == 0 and part.bars >= 1
        write = tokens == v.start["task"] + len(TASKS) + 1
        assert write.sum() == (name != "")
        if name:
            assert tokens[-1] == v.start["eos"] and not write[-2]
        whole = PIECES[int(part.styles[0].split()[1])]
        # Whether bars follow a task's part is said by its bar tokens alone.
        left = int(tokens[v.kind[tokens] == v.kinds["bar"]][0]) - v.start["bar"]
        start = whole.bars - 1 - left
        same = whole.part(start, start + part.bars)
        for column in ("onset", "pitch", "slot", "velocity", "meter", "tempo", "key", "section"):
            assert np.array_equal(getattr(part, column), getattr(same, column)), column
        assert np.array_equal(part.chord, same.chord)
    fill = [np.mean(loader.row(g).segment > 0) for g in rows]
    plain = load(folder, codec=codec, context=context, **streams.PLAIN)
    assert np.mean(fill) > np.mean([np.mean(plain.row(g).segment > 0) for g in rows]) - 0.12
    assert set(TASKS[1:]) <= set(found)
    if context == 512:
        total = sum(found.values())
        assert all(0.15 < found[name] / total < 0.35 for name in TASKS[1:])


def test_parts_without_a_task_are_as_they_were(folder):
    plain, some = load(folder), load(folder, tasks=Tasks(infill=0.2, vary=0.1))
    never = load(folder, tasks=Tasks(accompany=1e-12))
    kept = tasked = 0
    for g in range(3 * plain.rows_per_epoch()):
        assert same(plain.row(g), never.row(g))
        before = {tokens.tobytes() for _, tokens in each_part(plain, [g])}
        for name, tokens in each_part(some, [g]):
            tasked += name != ""
            if not name:
                kept += 1
                assert tokens.tobytes() in before
    assert kept > 3 * tasked / 2 > 10
    for a, b in zip(plain.evaluation(), some.evaluation(), strict=True):
        assert np.array_equal(a.events.token, b.events.token)


def test_tasks_are_drawn_anew_in_every_epoch(folder):
    loader = load(folder, tasks=Tasks(vary=0.5), transpose=0, drop_controls=0.0, context=4096)
    names = [set(), set()]
    for epoch in range(2):
        first = epoch * loader.rows_per_epoch()
        for name, tokens in each_part(loader, range(first, first + loader.rows_per_epoch())):
            if name:
                names[epoch].add(loader.codec.decode(tokens)[0].styles)
    assert names[0] and names[1] and names[0] != names[1]


def test_controls_are_those_that_pieces_have(folder, tmp_path):
    assert load(folder).controls() == CONTROLS
    assert load(folder, drop_controls=1.0).controls() == ()
    keyless = tuple(name for name in CONTROLS if name != "key")
    assert load(folder, where="key=unknown").controls() == keyless
    performance = make_codec(Codec(kind="performance"))
    assert load(folder, codec=performance).controls() == ("styles",)
    # One piece in thirty has all, which is too few; in a mixture the weights of rows count.
    bare = [data_music.tune(100 + i, 8) for i in range(29)]
    options = Prepare(data_dir=str(tmp_path), validation=0.0, test=0.0, harmony=False)
    known = streams.TUNES[1]
    for name, pieces in (("bare", [known, *bare]), ("known", streams.TUNES[:5])):
        builder.prepare_pieces(pieces, dataclasses.replace(options, name=name), progress=False)

    def controls(dataset):
        data = Data(dataset=dataset, data_dir=str(tmp_path), context=256, batch=2)
        return Loader(data, MetricalCodec()).controls()

    found = ("density", "roles")  # in the notes themselves
    assert controls("bare") == found
    assert controls("bare=9 known=1") == CONTROLS
    assert controls("bare=99 known=1") == found


def test_a_model_learns_all_tasks_and_says_what_it_was_trained_for(tmp_path):
    options = Prepare(name="tiny", data_dir=str(tmp_path), workers=1, validation=0.2, test=0.0)
    builder.prepare_pieces(starter.corpus(12), options, 12, progress=False)
    chances = Tasks(infill=0.3, accompany=0.2, harmonise=0.3, vary=0.2)
    experiment = config.Experiment(
        data=Data(dataset="tiny", data_dir=str(tmp_path), context=256, batch=4, tasks=chances),
        model=config.Transformer(layers=1, width=16, heads=2, kv_heads=1, head_dim=8, hidden=16),
        optimizer=config.Optimizer(learning_rate=1e-2, warmup=1),
        **dict(steps=8, eval_every=8, eval_batches=1, checkpoint_every=8, trackers=""),
    )
    trained = trainer.train(experiment, tmp_path / "run", progress=False)
    assert trained.step == 8
    read = Loader(experiment.data, runs.read(tmp_path / "run").codec, "train", experiment.seed)
    assert {name for name, _ in each_part(read, range(8 * 4))} >= set(TASKS[1:])
    batch = read.batch(0)
    last = np.diff(batch.segment, append=0) != 0
    assert np.array_equal(batch.weight > 0, (batch.segment > 0) & ~last)
    saved = weights.load(tmp_path / "run")
    assert saved.controls == CONTROLS and saved.experiment.data.tasks == chances
    assert json.loads((tmp_path / "run/data.json").read_text())["controls"] == list(CONTROLS)
    weights.export(tmp_path / "run", tmp_path / "toy.safetensors")
    assert weights.load(tmp_path / "toy.safetensors").controls == CONTROLS
