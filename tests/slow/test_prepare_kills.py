"""Killing a preparation at any moment leaves no dataset that is half there."""

import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import data_music
import pytest

from jaxmusic._src.codecs.metrical.codec import MetricalCodec
from jaxmusic._src.data import catalog
from jaxmusic._src.data.builder import prepare
from jaxmusic._src.data.pieces import Pieces
from jaxmusic.config import Prepare

SCRIPT = """
import sys
from jaxmusic.config import Prepare
from jaxmusic._src.data.builder import prepare
print("start", flush=True)
prepare([sys.argv[1]], Prepare(name="tunes", data_dir=sys.argv[2], workers=1), progress=False)
print("done", flush=True)
"""


def start(source, data_dir):
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(source), str(data_dir)],
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": ":".join(p for p in sys.path if p), "PATH": "/usr/bin:/bin"},
    )
    assert process.stdout.readline() == "start\n"
    return process


def whole(data_dir):
    """Versions that a reader finds, each read to its last record."""
    found = catalog.versions("tunes", str(data_dir))
    for version in found:
        dataset = catalog.open_dataset(f"tunes:{version}", str(data_dir))
        for split, count in dataset.splits.items():
            store = Pieces(dataset.path, split, MetricalCodec())
            assert len(store) == count
            assert all(len(store[i]) for i in range(count))
    return found


@pytest.fixture(scope="module")
def midi(tmp_path_factory):
    return data_music.folder(tmp_path_factory.mktemp("midi"), 60)


def test_kills_at_random_moments(midi, tmp_path):
    begin = time.monotonic()
    assert start(midi, tmp_path / "time").wait() == 0
    lasts = time.monotonic() - begin
    options = Prepare(name="tunes", data_dir=str(tmp_path / "data"), workers=1)
    dice = random.Random(1)
    for _ in range(8):
        process = start(midi, tmp_path / "data")
        time.sleep(dice.uniform(0, lasts))
        process.send_signal(signal.SIGKILL)
        process.wait()
        if versions := whole(tmp_path / "data"):
            assert versions == ["2.0.0"]
            shutil.rmtree(tmp_path / "data")
    summary = prepare([str(midi)], options, progress=False)
    assert summary.pieces == 60
    assert whole(tmp_path / "data") == [summary.version]
    left = sorted(p.name for p in (tmp_path / "data" / "tunes").iterdir())
    assert left == [".lock", "notes"]


def test_a_good_version_survives_a_kill_during_the_next(midi, tmp_path):
    options = Prepare(name="tunes", data_dir=str(tmp_path), workers=1)
    first = prepare([str(midi / "a")], options, progress=False)
    for wait in (0.3, 0.8, 1.2):
        process = start(midi, tmp_path)
        time.sleep(wait)
        process.kill()
        process.wait()
        if whole(tmp_path) != ["2.0.0"]:
            assert whole(tmp_path) == ["2.0.0", "2.0.1"]
            break
    assert catalog.open_dataset("tunes:2.0.0", str(tmp_path)).summary["content"] == first.content


def test_workers_end_with_a_killed_parent(midi, tmp_path):
    process = start(midi, tmp_path)
    listing = ["ps", "-o", "pid=", "--ppid", str(process.pid)]
    children: list[str] = []
    while not children and process.poll() is None:
        children = subprocess.run(listing, capture_output=True, text=True).stdout.split()
    assert children
    process.kill()
    process.wait()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        alive = [p for p in children if pathlib.Path(f"/proc/{p}").exists()]
        if not alive:
            break
        time.sleep(0.1)
    assert not alive
