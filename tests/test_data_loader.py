"""The loader: batches that are a function of step and seed, and an evaluation of every note."""

import dataclasses

import data_music
import numpy as np
import pytest
from data_music import columns, same

from jaxmusic._src.codecs.metrical.codec import MetricalCodec
from jaxmusic._src.codecs.registry import make_codec
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.data import catalog
from jaxmusic._src.data.builder import prepare, prepare_pieces
from jaxmusic._src.data.loader import Loader
from jaxmusic.config import Codec, Data, Prepare, Tasks

CONTEXT, BATCH = 256, 4


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("data"))
    tunes = [data_music.tune(i, 4 + 5 * (i % 6), styles=("waltz", "odd one")) for i in range(24)]
    prepare_pieces(
        tunes, Prepare(name="tunes", data_dir=folder, validation=0.3), 24, progress=False
    )
    return Data(dataset="tunes", data_dir=folder, context=CONTEXT, batch=BATCH)


@pytest.fixture(scope="module")
def validation(data):
    return Loader(data, MetricalCodec(), "validation")


def notes_of(loader):
    table = loader.streams[0]._pieces
    return sum(len(table[i]) for i in range(len(table)))


@pytest.mark.quick
@pytest.mark.parametrize("kind", ("metrical", "fused", "performance"))
def test_rows_hold_parts_one_after_the_other(data, kind):
    plain = dataclasses.replace(data, drop_controls=0.0, transpose=2)
    train = Loader(plain, make_codec(Codec(velocities=32, kind=kind)), "train", seed=5)
    codec = train.codec
    for step in range(-(-train.rows_per_epoch() // BATCH)):
        batch = train.batch(step)
        assert all(c.shape == (BATCH, CONTEXT) for c in columns(batch))
        assert [c.dtype for c in columns(batch)] == [np.int32] * 8 + [np.float32]
        assert np.all(batch.segment[:, 0] == 1)
        for row in batch.segment:
            used = np.count_nonzero(row)
            assert set(np.diff(row[:used]).tolist()) <= {0, 1} and not row[used:].any()
        padding = batch.segment == 0
        assert not batch.weight[padding].any() and np.all(batch.events.token[padding] == codec.PAD)
        for row in range(BATCH):
            for number in range(1, batch.segment[row].max() + 1):
                here = batch.segment[row] == number
                events = [column[row][here] for column in batch.events]
                tokens, target = batch.events.token[row][here], batch.target[row][here]
                assert all(map(np.array_equal, codec.events(tokens), events))
                assert np.array_equal(target[:-1], tokens[1:]) and target[-1] == codec.PAD
                assert batch.weight[row][here].tolist() == [1.0] * (len(tokens) - 1) + [0.0]
                piece, dropped = codec.decode(tokens)
                assert dropped == 0 and piece.bars >= 1 and piece.styles
    onsets = sum(codec.onset_tokens[b.events.token].sum() for b in train.evaluation())
    assert onsets == notes_of(train) > 0


def test_a_batch_is_a_function_of_step_and_seed(data):
    train, again, other = (Loader(data, MetricalCodec(), seed=seed) for seed in (5, 5, 6))
    far = train.rows_per_epoch() * 7 // BATCH
    for step in (far, 0, 2):
        assert same(train.batch(step), again.batch(step))
    assert not same(train.batch(0), train.batch(1))
    assert not same(train.batch(0), other.batch(0))


def test_an_epoch_holds_every_note_once(data):
    plain = dataclasses.replace(data, transpose=0, drop_controls=0.0, batch=1)
    loader = Loader(plain, MetricalCodec(), "train")
    rows = loader.streams[0].plan(0)
    assert rows.truncated == 0 and len(rows) == loader.rows_per_epoch()
    onsets = sum(
        loader.codec.onset_tokens[loader.batch(step).events.token].sum()
        for step in range(loader.rows_per_epoch())
    )
    assert onsets == notes_of(loader)


def test_controls_are_dropped_in_training_only(data):
    always = Loader(dataclasses.replace(data, drop_controls=1.0), MetricalCodec(), "train")
    never = Loader(dataclasses.replace(data, drop_controls=0.0), MetricalCodec(), "train")
    first = never.codec.vocabulary.start["style"]
    last = first + len(never.codec.styles)

    def styles(batches):
        return sum(
            int(((b.events.token >= first) & (b.events.token < last)).sum()) for b in batches
        )

    assert styles([always.batch(0)]) == 0 < styles([never.batch(0)])
    held_out = Loader(dataclasses.replace(data, drop_controls=1.0), MetricalCodec(), "validation")
    assert styles(held_out.evaluation()) > 0


@pytest.mark.quick
def test_evaluation_covers_every_note_once_and_is_finite(validation):
    batches = list(validation.evaluation())
    token = np.concatenate([b.events.token for b in batches])
    weight = np.concatenate([b.weight for b in batches])
    assert validation.codec.onset_tokens[token].sum() == notes_of(validation)
    assert all(b.events.token.shape == (BATCH, CONTEXT) for b in batches)
    rows = len(validation.streams[0].plan(None))
    assert len(batches) == -(-rows // BATCH)
    assert weight[:rows].any(axis=1).all() and not weight[rows:].any()
    assert all(same(a, b) for a, b in zip(batches, validation.evaluation()))


def test_bars_longer_than_the_context_are_cut_and_said(data, caplog):
    short = Loader(dataclasses.replace(data, context=40), MetricalCodec(), "train")
    assert short.streams[0].plan(0).truncated > 0
    assert (
        f"{short.streams[0].plan(0).truncated} bars of the train split of tunes:2.0.0"
        in caplog.text
    )
    batch = short.batch(0)
    assert batch.events.token.shape == (BATCH, 40) and batch.weight.sum() > 0


def test_another_resolution_is_measured_once(data):
    codec = MetricalCodec(Codec(steps_per_beat=24, velocities=16))
    loader = Loader(data, codec, "train")
    kept = catalog.open_dataset("tunes", data.data_dir).path / "sizes"
    path = kept / f"{codec.fingerprint}-train.npz"
    assert path.exists()
    first = loader.batch(0)
    path.write_bytes(b"damaged")
    assert same(Loader(data, codec, "train").batch(0), first)
    assert sorted(p.name for p in kept.iterdir() if p.name.startswith(".")) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dataset": ""}, "Name a prepared dataset"),
        ({"dataset": "a=0"}, "Give a a weight above 0, as in a=2, instead of '0'"),
        ({"dataset": "a=-1 b=1"}, "Give a a weight above 0"),
        ({"dataset": "a b=x"}, "Give b a weight above 0"),
        ({"dataset": "a=1 a=2"}, "Name a once"),
        ({"dataset": "none_such"}, r"There is no dataset 'none_such' .*\(tunes\)"),
        ({"dataset": "tunes:3.0.0"}, "There is no version 3.0.0 .* it has 2.0.0"),
        ({"dataset": "Tunes!"}, "cannot be called"),
        ({"normalise": True}, "Set data.transpose to 0 with data.normalise"),
        ({"tasks": Tasks(0.5, 0.3, 0.2, 0.1)}, "at most 1 together, not to 1.1"),
    ],
)
def test_what_cannot_be_opened_is_said(data, change, words):
    with pytest.raises(UserError, match=words):
        Loader(dataclasses.replace(data, **change), MetricalCodec())


def test_tasks_want_a_codec_with_bars(data):
    tasks = dataclasses.replace(data, tasks=Tasks(vary=0.1))
    with pytest.raises(UserError, match=r"data\.tasks to 0 with the performance codec"):
        Loader(tasks, make_codec(Codec(kind="performance")))


def test_missing_splits_and_other_formats(data, tmp_path, monkeypatch):
    options = Prepare(name="one", data_dir=str(tmp_path), test=0.0)
    prepare_pieces([data_music.tune(0)], options, progress=False)
    one = dataclasses.replace(data, dataset="one", data_dir=str(tmp_path))
    assert Loader(one, MetricalCodec()).pieces == 1
    with pytest.raises(UserError, match=r"has no validation split \(it has train\)"):
        Loader(one, MetricalCodec(), "validation")
    monkeypatch.setattr(catalog.record, "FORMAT", 3)
    with pytest.raises(UserError, match="another record format"):
        Loader(one, MetricalCodec())


def test_real_music(music, tmp_path):
    files = [str(music / "multitrack_pop"), str(music / "pop909" / "POP909" / "00*")]
    options = Prepare(name="pop", style="pop", data_dir=str(tmp_path), workers=1)
    summary = prepare(files, options, progress=False)
    assert summary.pieces >= 18
    data = Data(dataset="pop", data_dir=str(tmp_path), context=4096, batch=2)
    loader = Loader(data, MetricalCodec())
    assert loader.streams[0].plan(0).fill(4096) > 0.95
    used = [np.mean(loader.batch(step).segment > 0) for step in range(8)]
    assert np.mean(used) > 0.93
    held_out = Loader(data, MetricalCodec(), "validation")
    onsets = sum(held_out.codec.onset_tokens[b.events.token].sum() for b in held_out.evaluation())
    assert onsets == notes_of(held_out)
