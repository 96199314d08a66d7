"""Mixtures of datasets, and selections of their pieces, in one stream of rows."""

import dataclasses
import itertools
import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys
import time
from fractions import Fraction

import data_music
import numpy as np
import pytest
from data_music import columns, same
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxmusic._src.codecs.metrical.codec import MetricalCodec
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.data import catalog, metadata, mixture
from jaxmusic._src.data.builder import prepare_pieces
from jaxmusic._src.data.loader import Loader
from jaxmusic._src.data.mixture import Member, Mixture, block
from jaxmusic.config import Data, Prepare

CONTEXT, BATCH = 256, 8
EVERYTHING = dict(tempo_scale=0.1, velocity_scale=0.2, drop_tracks=0.3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("data"))
    for name, first, count, style in (("a", 0, 16, "folk"), ("b", 100, 10, "odd one")):
        tunes = [
            data_music.tune(first + i, 4 + 5 * (i % 4), i % 2 == 0, (style,)) for i in range(count)
        ]
        options = Prepare(name=name, data_dir=folder, validation=0.3)
        prepare_pieces(tunes, options, progress=False)
    options = Prepare(name="lone", data_dir=folder, validation=0.0, test=0.0)
    prepare_pieces([data_music.tune(500, 20)], options, progress=False)
    return folder


def load(folder, dataset, split="train", seed=3, **changes):
    data = Data(dataset=dataset, data_dir=folder, context=CONTEXT, batch=BATCH)
    return Loader(dataclasses.replace(data, **changes), MetricalCodec(), split, seed)


@pytest.mark.quick
def test_names_and_weights():
    assert mixture.parse("pop") == [Member("pop", Fraction(1))]
    assert mixture.parse("pop:2.0.2=5") == [Member("pop:2.0.2", Fraction(5))]
    two = mixture.parse("pop=3  lakh_full:2.0.0=0.5")
    assert two == [Member("pop", Fraction(3)), Member("lakh_full:2.0.0", Fraction(1, 2))]
    assert block(two).tolist() == [6, 1]
    assert mixture.join(two) == "pop=3 lakh_full:2.0.0=1/2"
    assert mixture.parse(mixture.join(two)) == two
    assert mixture.join([Member("pop:2.0.0", Fraction(5))]) == "pop:2.0.0"
    assert block(mixture.parse("a=4 b=2 c=2")).tolist() == [2, 1, 1]


def test_large_weights_become_the_nearest_shares():
    counts = block(mixture.parse("a=123457 b=76543 c=31"))
    assert counts.sum() == mixture.MOST and counts[2] == 1
    assert np.abs(counts / mixture.MOST - np.array([123457, 76543, 31]) / 200031).max() < 1e-3
    with pytest.raises(UserError, match="Give b a larger weight"):
        block(mixture.parse("a=1000000 b=1"))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.integers(0, 99))
def test_every_member_has_its_share_and_its_rows_in_order(weights, seed):
    mix = Mixture(np.array(weights), seed)
    total = sum(weights)
    rows = [mix.row(g) for g in range(3 * total)]
    for m, weight in enumerate(weights):
        assert [n for member, n in rows if member == m] == list(range(3 * weight))
        assert [member for member, _ in rows[:total]].count(m) == weight
    again = Mixture(np.array(weights), seed)
    far = 10**9 * total
    for g in (far + total - 1, 0, far):
        assert again.row(g) == mix.row(g)
    counts = [n for member, n in map(mix.row, range(far, far + total)) if member == 0]
    assert sorted(counts) == list(range(10**9 * weights[0], (10**9 + 1) * weights[0]))


def test_rows_of_a_mixture_are_rows_of_its_datasets(folder):
    mixed = load(folder, "a=2 b=1", **EVERYTHING)
    alone = [load(folder, name, **EVERYTHING) for name in "ab"]
    assert mixed.dataset == "a:2.0.0=2 b:2.0.0=1"
    assert mixed.styles == ("folk", "odd one") and mixed.pieces == sum(a.pieces for a in alone)
    codecs = [mixed.codec.styles, alone[1].codec.styles]
    assert codecs[0] == codecs[1]
    seen = [0, 0]
    for g in range(60):
        member, number = mixed._mixture.row(g)
        assert number == seen[member]
        seen[member] += 1
        assert same(mixed.row(g), alone[member].row(number))
    assert seen == [40, 20]


def test_the_same_batch_on_any_number_of_processes(folder):
    loader = load(folder, "a=3 b=2", **EVERYTHING)
    for start in (0, 10**6):
        whole = [loader.batch(start + i) for i in range(2)]
        for count in (1, 2, 4, 8):
            shares = [itertools.islice(loader.iterate(start, p, count), 2) for p in range(count)]
            for step, blocks in enumerate(zip(*shares)):
                for i, column in enumerate(columns(whole[step])):
                    joined = np.concatenate([columns(b)[i] for b in blocks])
                    assert np.array_equal(joined, column)
    with pytest.raises(UserError, match="cannot be shared by 3 processes"):
        loader.iterate(0, 0, 3)


def test_reading_processes_give_the_same_batches(folder):
    loader = load(folder, "a=3 b=2", workers=2, where="bars=5..", **EVERYTHING)
    for index in (0, 1):
        batches = loader.iterate(10**6, index, 2)
        for step in range(3):
            whole, found = loader.batch(10**6 + step), next(batches)
            for mine, column in zip(columns(found), columns(whole)):
                half = column[index * BATCH // 2 : (index + 1) * BATCH // 2]
                assert np.array_equal(mine, half) and mine.dtype == half.dtype


def test_a_reading_process_that_dies_is_said(folder):
    batches = load(folder, "a", workers=1).iterate()
    next(batches)
    (worker,) = multiprocessing.active_children()
    worker.kill()
    with pytest.raises(RuntimeError, match="terminated unexpectedly with exit code -9"):
        for _ in batches:
            pass


KILLED = """
import dataclasses, multiprocessing, os, signal, sys
import test_data_mixture
if __name__ == "__main__":
    batches = test_data_mixture.load(sys.argv[1], "a", workers=2).iterate()
    next(batches)
    print(*[child.pid for child in multiprocessing.active_children()], flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_reading_processes_end_with_the_process_that_reads(folder, tmp_path):
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    variables = os.environ | {"PYTHONPATH": str(pathlib.Path(__file__).parent)}
    before = set(os.listdir("/dev/shm"))
    command = [sys.executable, str(script), folder]
    done = subprocess.run(command, env=variables, stdout=subprocess.PIPE, text=True)
    workers = [pathlib.Path("/proc", pid) for pid in done.stdout.split()]
    assert done.returncode == -signal.SIGKILL and len(workers) == 2
    deadline = time.monotonic() + 30
    while any(worker.exists() for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(worker.exists() for worker in workers)
    assert {name for name in set(os.listdir("/dev/shm")) - before if "psm" in name} == set()


def test_the_name_of_a_mixture_opens_it_again(folder):
    first = load(folder, "a=1.5 b")
    again = load(folder, first.dataset)
    assert again.dataset == first.dataset == "a:2.0.0=3/2 b:2.0.0=1"
    assert again.manifest == first.manifest
    assert all(same(first.batch(i), again.batch(i)) for i in range(3))


def test_manifests_tell_data_apart(folder):
    whole = load(folder, "a")
    assert whole.manifest == catalog.open_dataset("a", folder).summary["content"]
    assert load(folder, "a", where="tempo=1..").manifest == whole.manifest  # the same pieces
    others = [
        load(folder, "a", where="bars=5.."),
        load(folder, "a=2 b=1"),
        load(folder, "a=1 b=2"),
        load(folder, "b=1 a=2"),
        load(folder, "a=2 b=1", where="bars=5.."),
    ]
    assert len({x.manifest for x in (whole, *others)}) == 6


def test_validation_is_all_of_all_datasets(folder, caplog):
    mixed = load(folder, "a=100 b=1", "validation")
    alone = [load(folder, name, "validation") for name in "ab"]
    notes = [
        sum(int(x.codec.onset_tokens[b.events.token].sum()) for b in x.evaluation())
        for x in (mixed, *alone)
    ]
    assert notes[0] == notes[1] + notes[2] == mixed.notes > 0
    with_lone = load(folder, "a lone", "validation")
    assert "left out of the validation loss: Dataset lone:2.0.0 has no validation" in caplog.text
    assert with_lone.pieces == alone[0].pieces
    with pytest.raises(UserError, match=r"lone:2.0.0 has no validation split"):
        load(folder, "lone", "validation")
    styled = load(folder, "a b", "validation", where="style=odd-one")
    assert "left out of the validation loss: No piece of the validation split of a" in caplog.text
    assert styled.pieces == alone[1].pieces and styled.styles == ("odd one",)


def test_a_selection_uses_matching_pieces_only(folder):
    with_drums = load(folder, "a b", where="has=drums bars=9..")
    found = [stream._pieces[i] for stream in with_drums.streams for i in stream._chosen.tolist()]
    assert found and len(found) == with_drums.pieces < load(folder, "a b").pieces
    assert all(piece.bars >= 9 and (piece.slot == 15).any() for piece in found)
    assert with_drums.notes == sum(map(len, found))


def test_a_selection_is_kept_beside_the_shards_and_copies_nothing(folder):
    found = catalog.open_dataset("b", folder)
    before = {p.name for p in found.path.iterdir()} | {"facts"}
    load(folder, "b", where="tempo=1..500")
    kept = found.path / "facts" / f"{metadata.VERSION}-train.npz"
    stamp = kept.stat().mtime
    assert load(folder, "b", where="tempo=100..110").pieces < found.splits["train"]
    assert kept.stat().mtime == stamp
    assert {p.name for p in found.path.iterdir()} == before


def test_styles_are_those_of_the_selection(folder):
    data = {"where": "style=odd-one"}
    with pytest.raises(UserError, match=r"No piece of the train split of a:2.0.0 matches"):
        load(folder, "a b", **data)
    assert load(folder, "b", **data).styles == ("odd one",)
    with pytest.raises(UserError, match="No piece has the style 'jazz': there are folk, odd-one"):
        load(folder, "a b", where="style=jazz")
