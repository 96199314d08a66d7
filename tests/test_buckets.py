"""Runs, models and datasets in a bucket: the real clients, against a server that is one."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import threading
import time

import bucket
import data_music
import jax
import pytest
import train_fakes as fakes
from train_fakes import params, same

from jaxmusic import config
from jaxmusic._src.codecs.metrical.codec import MetricalCodec
from jaxmusic._src.core import leases, paths
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.data import catalog, local_cache
from jaxmusic._src.data.builder import prepare_pieces
from jaxmusic._src.data.loader import Loader
from jaxmusic._src.runs import described, journal, weights
from jaxmusic._src.runs import folder as runs
from jaxmusic._src.train import session, trainer
from jaxmusic._src.train.monitor import read_log

SCRIPT = pathlib.Path(fakes.__file__)
HOLDER = """
import time
from jaxmusic._src.core import leases, paths
leases.BEAT = leases.SETTLE = 0.1
with leases.leased(paths.absolute("gs://bucket/lost"), "busy"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(scope="module", autouse=True)
def store():
    with bucket.serving() as (address, store), pytest.MonkeyPatch.context() as patch:
        for name, value in bucket.environment(address).items():
            patch.setenv(name, value)
        pytest.importorskip("gcsfs")
        yield store


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path_factory):
    monkeypatch.setattr(leases, "BEAT", 0.1)
    monkeypatch.setattr(leases, "DEAD", 1.0)
    monkeypatch.setattr(leases, "SETTLE", 0.05)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def losses(run):
    return [(line["step"], line.get("loss"), line.get("val_loss")) for line in read_log(run)]


@pytest.fixture(scope="module")
def whole(fake_run):
    """The same run on local disk."""
    return fake_run[0]


def test_a_run_lives_in_a_bucket(whole, store, fake_data, monkeypatch):
    run = "gs://bucket/runs/a"

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="unforeseen"):
        patch.setattr(session, "Loader", fakes.interrupted(6))
        trainer.train(fakes.experiment(), run, progress=False)
    assert trainer.train(fakes.experiment(), run, progress=False).step == fakes.STEPS
    assert losses(run) == losses(whole)
    assert runs.steps(paths.absolute(run)) == [2, 6]
    assert runs.best(paths.absolute(run)) == 6
    assert same(params(run), params(whole)) and same(params(run, 2), params(whole, 2))
    assert "runs/a/lock" not in store.objects
    assert any(name.startswith("runs/a/tensorboard/") for name in store.objects)
    with pytest.raises(UserError, match="steps back to 6"):
        trainer.train(fakes.experiment(steps=8), run, progress=False)
    del store.objects["runs/a/experiment.json"]
    with pytest.raises(UserError, match="runs/a holds checkpoints and is not"):
        trainer.train(fakes.experiment(), run, progress=False)


def test_a_killed_run_in_a_bucket_ends_in_the_same_bits(whole, store):
    run = "gs://bucket/runs/killed"
    options = ["--run", run, "--checkpoint-every", "1", "--eval-every", "5"]
    command = [sys.executable, "-m", "jaxmusic", "train", str(SCRIPT), *options]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    # Killed while the second checkpoint is on its way into the bucket.
    begun = "runs/killed/checkpoints/2/"
    while process.poll() is None and not any(n.startswith(begun) for n in list(store.objects)):
        time.sleep(0.001)
    process.kill()
    process.communicate()
    assert f"{begun}commit_success.txt" not in store.objects
    assert runs.steps(paths.absolute(run)) == [1]
    done = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr
    assert runs.steps(paths.absolute(run))[-1] == fakes.STEPS
    assert same(params(run, fakes.STEPS), params(whole, fakes.STEPS))
    steps = [step for step, loss, _ in losses(run) if loss is not None]
    assert steps == [1, 2, 3, 4, 5, 6]


def test_a_model_is_exported_to_and_loaded_from_a_bucket(whole):
    file = "gs://bucket/models/toy.safetensors"
    weights.export(whole, file)
    assert same(params(file), params(whole))
    with pytest.MonkeyPatch.context() as patch:  # its header is enough to describe it
        patch.setattr(paths, "copy", lambda *_: pytest.fail("the whole file was fetched"))
        assert described.described(file).heard == described.described(whole).heard
    with pytest.raises(UserError, match="no file gs://bucket/models/none"):
        weights.load("gs://bucket/models/none.safetensors")


def test_a_bucket_that_refuses_and_kinds_that_cannot_be(store, fake_data):
    store.down = True
    try:
        with pytest.raises(UserError, match="Check that there is gs://bucket/runs/b"):
            trainer.train(fakes.experiment(), "gs://bucket/runs/b", progress=False)
        with pytest.raises(UserError, match="Check that there is gs://bucket/data"):
            catalog.open_dataset("pop", "gs://bucket/data")
    finally:
        store.down = False
    with pytest.raises(UserError, match="gs:// or s3://, not ftp"):
        trainer.train(fakes.experiment(), "ftp://bucket/runs", progress=False)


def test_a_lease_is_held_by_one_and_outlives_only_the_living():
    path = paths.absolute("gs://bucket/lease")
    with leases.leased(path, "busy"), pytest.raises(UserError, match="busy"):
        leases.leased(path, "busy").__enter__()
    assert not path.exists()
    # Of a process of another machine that is dead, or not seen for long.
    other = {"owner": "x", "machine": "elsewhere", "process": 1, "beat": 3}
    path.write_text(json.dumps(other))
    start = time.monotonic()
    with leases.leased(path, "busy"):
        assert time.monotonic() - start >= leases.DEAD
    # Of a process of this machine that is gone: nobody waits.
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    path.write_text(json.dumps(other | {"machine": leases._machine(), "process": gone.pid}))
    start = time.monotonic()
    with leases.leased(path, "busy"):
        assert time.monotonic() - start < leases.DEAD


def test_who_has_lost_a_lease_ends(store):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n", process.stderr.read()
    path = paths.absolute("gs://bucket/lost")
    taken = json.dumps({"owner": "y", "machine": "elsewhere", "process": 1, "beat": 0})
    while process.poll() is None:
        path.write_text(taken)
        time.sleep(0.05)
    assert process.returncode == 1
    assert "another process has taken gs://bucket/lost" in process.stderr.read()
    assert json.loads(path.read_text())["owner"] == "y"


def test_a_journal_grows_in_a_bucket(store, monkeypatch):
    path = paths.absolute("gs://bucket/journal.jsonl")
    lines = journal.Journal(path, 0)
    lines.write({"step": 1, "loss": float("nan")})
    lines.write({"step": 2})
    lines.flush()
    assert journal.read(path) == [{"step": 1, "loss": None}, {"step": 2}]
    lines.write({"step": 3})
    store.down = True
    with pytest.raises(OSError):
        lines.flush()
    store.down = False
    lines.close()
    assert [x["step"] for x in journal.read(path)] == [1, 2, 3]
    again = journal.Journal(path, 1)
    again.close()
    assert [x["step"] for x in journal.read(path)] == [1]
    assert path.read_text() == '{"step": 1, "loss": null}\n'


@pytest.fixture(scope="module")
def tunes(tmp_path_factory):
    """A dataset on local disk, and its options."""
    folder = tmp_path_factory.mktemp("data")
    options = config.Prepare(name="tunes", data_dir=str(folder), validation=0.3)
    prepare_pieces(map(data_music.tune, range(12)), options, 12, progress=False)
    return options


def test_a_dataset_is_made_for_a_bucket_and_read_from_it(tunes, store, monkeypatch, tmp_path):
    there = dataclasses.replace(tunes, data_dir="gs://bucket/data")
    summary = prepare_pieces(map(data_music.tune, range(12)), there, 12, progress=False)
    assert summary.path == "gs://bucket/data/tunes/notes/2.0.0"
    home = "data/tunes/notes/2.0.0"
    order = [name for name, _ in sorted(store.objects.items(), key=lambda item: item[1][1])]
    assert [n for n in order if n.startswith("data/")][-1] == f"{home}/summary.json"
    # What was made is kept as if it had been fetched.
    data = config.Data(dataset="tunes", data_dir=there.data_dir, context=256, batch=2)
    store.log.clear()
    rows = Loader(data, MetricalCodec()).batch(3)
    assert not any("array_record" in path and "alt=media" in path for _, path in store.log)
    local = Loader(dataclasses.replace(data, data_dir=tunes.data_dir), MetricalCodec())
    assert same(jax.tree.leaves(rows), jax.tree.leaves(local.batch(3)))
    # The same again is nothing new, and other options are the next version.
    again = prepare_pieces(map(data_music.tune, range(12)), there, 12, progress=False)
    assert not again.is_new and again.path == summary.path
    other = dataclasses.replace(there, style="pop")
    assert prepare_pieces(map(data_music.tune, range(12)), other, 12, False).version == "2.0.1"
    assert catalog.names(there.data_dir) == ["tunes"]
    with pytest.raises(UserError, match="There is no dataset 'pop' in gs://bucket/data"):
        catalog.open_dataset("pop", there.data_dir)
    # Another machine.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = catalog.open_dataset("tunes:2.0.0", there.data_dir)
    assert os.fspath(found.path).startswith(str(tmp_path))
    assert same(
        jax.tree.leaves(rows),
        jax.tree.leaves(
            Loader(dataclasses.replace(data, dataset="tunes:2.0.0"), MetricalCodec()).batch(3)
        ),
    )


def copied(tunes, store, name):
    """The dataset as somebody copied it into the bucket by hand; its folder there."""
    source = pathlib.Path(tunes.data_dir) / "tunes/notes/2.0.0"
    for path in source.rglob("*"):
        if path.is_file():
            store.put(
                f"{name}/tunes/notes/2.0.0/{path.relative_to(source)}", path.read_bytes(), None
            )
    return paths.absolute(f"gs://bucket/{name}/tunes/notes/2.0.0")


def published(tunes, store, name):
    """A dataset that was made for a bucket: its folder there, and where its local copy lies."""
    local = local_cache.fetch(copied(tunes, store, f"{name}-by-hand"), catalog.SUMMARY, False)
    home = paths.absolute(f"gs://bucket/{name}/tunes/notes/2.0.0")
    local_cache.publish(local, home, catalog.SUMMARY, progress=False)
    return home, local_cache._place(home, (home / catalog.SUMMARY).read_text())


def test_files_that_are_not_what_was_written_are_named(tunes, store):
    home, place = published(tunes, store, "damaged")
    with pytest.raises(UserError, match="made by another machine"):
        local_cache.publish(place, home, catalog.SUMMARY, progress=False)
    place.rmtree()
    name = next(n for n in store.objects if n.startswith("damaged/") and "array_record" in n)
    data = bytearray(store.objects[name][0])
    data[len(data) // 2] ^= 1
    store.put(name, bytes(data), None)
    with pytest.raises(UserError, match=f"its {name.split('/')[-1]} is not what was written"):
        local_cache.fetch(home, catalog.SUMMARY, progress=False)


def test_two_processes_copy_once_and_a_killed_copy_goes_on(tunes, store, monkeypatch):
    home, place = published(tunes, store, "shared")
    place.rmtree()

    class Killed(BaseException):
        pass

    original, count = paths.copy, []

    def dies(source, target, bar):
        if len(count) == 3:
            target.write_text("half of")
            raise Killed
        count.append(source.name)
        return original(source, target, bar)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(paths, "copy", dies)
        local_cache.fetch(home, catalog.SUMMARY, progress=False)
    assert not place.exists()
    store.log.clear()
    found = []
    threads = [
        threading.Thread(
            target=lambda: found.append(local_cache.fetch(home, catalog.SUMMARY, False))
        )
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [place] * 3
    read = [path for _, path in store.log if "alt=media" in path and "%2Ffiles.json" not in path]
    read = [path.split("%2F")[-1].split("?")[0] for path in read]
    read = [name for name in read if name != catalog.SUMMARY]
    assert len(read) == len(set(read)) and not set(read) & set(count)
    assert {name.split("/")[-1] for name in local_cache._walk(place)} >= {*read, *count}
