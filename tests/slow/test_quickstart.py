"""The quickstart as a user runs it, in small."""

import os
import signal
import subprocess
import sys
import time
import wave

import mido
import pytest

COMMAND = [
    sys.executable,
    "-c",
    "from jaxmusic._src.commands.cli import main; main()",
    "quickstart",
]


def quickstart(*args, **environment):
    """Runs `jaxmusic quickstart` in a process of its own."""
    return subprocess.run(
        [*COMMAND, *map(str, args)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=900,
    )


def check_piece(folder, stem):
    assert mido.MidiFile(folder / f"{stem}.mid").length == pytest.approx(180.0, abs=0.05)
    assert (folder / f"{stem}.png").stat().st_size > 20_000


def test_starter_corpus(tmp_path):
    done = quickstart("--out", tmp_path, "--minutes", "0.2", "--songs", "40")
    assert done.returncode == 0, done.stderr
    check_piece(tmp_path, "song-starter-1")
    with wave.open(str(tmp_path / "song-starter-1.wav")) as sound:
        assert (sound.getnchannels(), sound.getframerate()) == (2, 44_100)
        assert sound.getnframes() / 44_100 >= 180.0
    assert str(tmp_path / "song-starter-1.mid") in done.stdout
    assert "jaxmusic train pop_cpu" in done.stdout


def test_own_music_without_sound(tmp_path, music):
    """Where the renderer has no wheel, everything else is there and one sentence says so."""
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "midirenderer.py").write_text("raise ImportError('no wheel for this platform')")
    path = os.pathsep.join([str(blocked), os.environ.get("PYTHONPATH", "")])
    out = tmp_path / "out"
    options = (music / "nottingham", "--out", out, "--minutes", "0.1")
    done = quickstart(*options, PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    check_piece(out, "song-music-1")
    assert not (out / "song-music-1.wav").exists()
    assert "pip install" in done.stdout


def test_ctrl_c_while_training_leaves(tmp_path):
    """It saves and ends, and does not go on to compose with a model that is not done."""
    process = subprocess.Popen(
        [*COMMAND, "--out", str(tmp_path), "--minutes", "5", "--songs", "12"]
    )
    log = tmp_path / "runs/starter-1/log.jsonl"
    while process.poll() is None and not (log.exists() and '"loss"' in log.read_text()):
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=300) == 130
    assert list((tmp_path / "runs/starter-1/checkpoints").iterdir())
    assert not list(tmp_path.glob("song-*"))
