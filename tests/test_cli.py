"""Tests the command line: every step once, help with examples, one sentence for every mistake."""

import dataclasses
import json
import re
import shlex

import data_music
import mido
import pytest

import jaxmusic
from jaxmusic import config
from jaxmusic._src.commands import cli
from jaxmusic._src.core import settings
from jaxmusic._src.formats import files
from jaxmusic._src.music.notes import make_notes


def run(capsys, *argv):
    """Exit code, stdout and stderr of a command."""
    with pytest.raises(SystemExit) as exit_:
        cli.main([str(a) for a in argv])
    captured = capsys.readouterr()
    return exit_.value.code, captured.out, captured.err


def fails(capsys, *argv, names, parsed=True):
    """Checks that a command ends with one sentence that names this, and no traceback."""
    got, _, err = run(capsys, *argv)
    assert got == 2, err
    assert names.lower() in err.lower()
    assert "Traceback" not in err
    if parsed:
        last = [line for line in err.splitlines() if line.strip()][-1]
        assert last.startswith("jaxmusic: ")


def song(path, transpose=0):
    """A small MIDI file: an ostinato of eighth notes."""
    count = 64
    pitches = [60 + transpose + (i * 7 + i // 8) % 12 for i in range(count)]
    onsets = [i * 240 for i in range(count)]
    files.write(make_notes(onsets, [230] * count, pitches, [80] * count, [0] * count), path)


def duration_of(path):
    return mido.MidiFile(path).length


def test_from_files_to_a_fine_tuned_piece(tmp_path, capsys):
    for i in range(8):
        files.write(data_music.tune(i, bars=8), tmp_path / f"midi/{'ab'[i % 2]}/song {i}.MID")
    data, small = (
        tmp_path / "data",
        ["--steps", "2", "--optimizer.warmup", "1", "--eval-every", "1", "--model.layers", "1"],
    )
    small += ["--data.dataset", "mine", "--data.data-dir", data, "--data.context", "256"]
    for task in ("infill", "accompany", "harmonise", "vary"):
        small += [f"--data.tasks.{task}", "0.2"]
    small += ["--data.batch", "2", "--model.width", "32", "--model.heads", "2"]
    small += ["--model.kv-heads", "1", "--model.head-dim", "16", "--model.hidden", "64"]
    code, out, _ = run(
        *(capsys, "prepare", tmp_path / "midi", "--name", "mine", "--style", "pop"),
        *("--data-dir", data, "--min-notes", "8"),
    )
    assert code == 0
    assert "mine" in out
    assert run(capsys, "train", "starter_cpu", "--run", tmp_path / "run", *small)[0] == 0
    tuned = tmp_path / "tuned"
    code, _, err = run(
        capsys, "train", "starter_cpu", "--run", tuned, *small, "--init-from", tmp_path / "run"
    )
    assert code == 0
    assert "weights of" in err
    target = tmp_path / "song.mid"
    code, out, _ = run(
        *(capsys, "generate", "--model", tuned, "--style", "pop", "--duration", "0:12"),
        *("--count", "2", "--out", target, "--png", tmp_path / "song.png"),
    )
    assert code == 0
    for i in (1, 2):
        assert duration_of(tmp_path / f"song-{i}.mid") == pytest.approx(12.0, abs=0.05)
        assert (tmp_path / f"song-{i}.png").stat().st_size > 5_000
    given = tmp_path / "midi/a/song 0.MID"
    prompt = files.read_notes(given)
    for command, *words in (
        ("continue", "--bars", "2", "--duration", "0:12"),
        ("infill", "--bars", "3-4"),
        ("accompany", "--instruments", "banjo"),
        ("harmonise",),
        ("vary", "--keep", "1-6"),
    ):
        code, out, err = run(capsys, command, "--model", tuned, given, *words, "--out", target)
        seed, wrote = out.splitlines()
        assert code == 0 and seed.startswith("seed ") and wrote == f"wrote {target}", err
        done = files.read_notes(target)
        assert done.ticks_per_beat == prompt.ticks_per_beat
        if command in ("accompany", "harmonise"):
            assert len(done) > len(prompt) and len(done.program) > len(prompt.program)
        if command == "continue":
            assert duration_of(target) == pytest.approx(12.0, abs=0.05)
    lines = [json.loads(line) for line in (tuned / "log.jsonl").read_text().splitlines()]
    assert any("val_loss" in line for line in lines)


@pytest.mark.quick
def test_usage(capsys):
    code, out, _ = run(capsys, "--help")
    assert code == 0 and max(map(len, out.splitlines())) <= 80
    assert re.findall(r"^  (\w+) ", out, re.MULTILINE) == list(cli.COMMANDS)
    assert re.findall(r"^(\w+):$", out, re.MULTILINE) == list(cli.GROUPS)
    assert run(capsys) == (2, out, "")
    assert run(capsys, "--version")[:2] == (0, f"jaxmusic {jaxmusic.__version__}\n")
    fails(capsys, "compose", names="compose", parsed=False)
    fails(capsys, "generate", "--model", "x", "--temprature", "1", names="temprature", parsed=False)


@pytest.mark.quick
@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_shows_examples_with_options_that_exist(command, capsys):
    code, out, _ = run(capsys, command, "--help")
    assert code == 0 and cli.COMMANDS[command].__doc__.splitlines()[0].rstrip(".") in out
    examples = [shlex.split(line) for line in re.findall(r"^  jaxmusic (.*)$", out, re.MULTILINE)]
    own = [words for words in examples if words[0] == command]
    assert own
    rest = [line for line in out.splitlines() if not line.startswith("  jaxmusic")]
    flags = set(re.findall(r"--[\w.-]+", "\n".join(rest)))
    for words in own:
        assert {word for word in words if word.startswith("--")} <= flags
    assert {words[0] for words in examples} <= set(cli.COMMANDS)


def test_mistakes_of_prepare(tmp_path, capsys):
    empty, texts, bad = tmp_path / "empty", tmp_path / "texts", tmp_path / "bad"
    for folder in (empty, texts, bad):
        folder.mkdir()
    (texts / "a.txt").write_text("no music")
    (bad / "a.mid").write_bytes(b"MThd\0\0\0\6\0\1\0\1")
    data = ["--data-dir", tmp_path / "data", "--name", "x"]
    fails(capsys, "prepare", tmp_path / "none", *data, names="none")
    fails(capsys, "prepare", empty, *data, names="empty")
    fails(capsys, "prepare", texts, *data, names="texts")
    fails(capsys, "prepare", bad, *data, names="cannot be read")
    assert not list((tmp_path / "data").rglob("*.array_record*"))


def test_mistakes_of_train(toy_run, starter_data, tmp_path, capsys):
    here = ["--data.data-dir", starter_data, "--data.dataset"]
    new = ["--run", tmp_path / "run"]
    fails(capsys, "train", names="config")
    fails(capsys, "train", "nowhere.py", *new, names="nowhere.py")
    fails(capsys, "train", "starter_cpu", *new, *here, "none", names="none")
    fails(capsys, "train", "starter_cpu", *new, *here, "starter:9.9.9", names="9.9.9")
    fails(capsys, "train", "starter_cpu", *new, "--model.lairs", "3", names="lairs", parsed=False)
    fails(capsys, "train", "starter_cpu", "--run", toy_run, *here, "starter", names="toy")
    assert not (tmp_path / "run/checkpoints").exists()


def test_mistakes_of_generate(toy_run, tmp_path, capsys):
    out, ok = tmp_path / "song.mid", ["--model", toy_run, "--duration", "10"]
    fails(capsys, "generate", "--model", tmp_path, "--out", out, names="run")
    fails(capsys, "generate", "--model", tmp_path / "none", "--out", out, names="none")
    fails(capsys, "generate", *ok[:2], "--duration=9:99:99", "--out", out, names="duration")
    fails(capsys, "generate", *ok, "--out", out, "--style", "jazz", names="jazz")
    fails(capsys, "generate", *ok, "--out", out, "--count", "0", names="count")
    fails(capsys, "generate", *ok, "--out", out, "--top-p", "0", names="top_p")
    fails(capsys, "generate", *ok, "--out", tmp_path / "song.txt", names=".mid")
    fails(capsys, "generate", *ok, "--out", out, "--wav", tmp_path / "song.mp3", names=".wav")
    fails(capsys, "generate", *ok, "--out", out, "--step", "12345", names="12345")
    fails(capsys, "generate", "--out", out, names="model", parsed=False)
    assert not out.exists()


def test_mistakes_of_tasks(toy_run, tmp_path, capsys):
    song(tmp_path / "song.mid")
    here = ["--model", toy_run, tmp_path / "song.mid", "--out", tmp_path / "out.mid"]
    fails(capsys, "infill", *here, "--bars", "1-2", names="--data.tasks.infill")
    fails(capsys, "continue", *here, "--bars", "99", names="bars")
    fails(capsys, "continue", *here, "--tempo", "90", names="tempo", parsed=False)
    fails(capsys, "continue", "--model", toy_run, tmp_path / "none.mid", names="none.mid")
    fails(capsys, "infill", *here, names="--bars", parsed=False)
    fails(capsys, "vary", *here, names="--keep", parsed=False)
    assert not (tmp_path / "out.mid").exists()


@pytest.mark.quick
@pytest.mark.parametrize("command", ["generate", *config.TASK_OPTIONS])
def test_help_names_every_control_that_a_command_takes_and_no_other(command, capsys):
    code, out, _ = run(capsys, command, "--help")
    assert code == 0
    controls = {field.name for field in dataclasses.fields(config.Controls)}
    takes = controls if command == "generate" else set(config.task_controls(command))
    for name in controls | {field.name for field in dataclasses.fields(config.Sampling)}:
        flag = "no-ending" if name == "ending" else name.replace("_", "-")
        assert (f" --{flag} " in out) == (name in takes or name not in controls)


def test_convert(tmp_path, capsys):
    song(tmp_path / "a.mid")
    (tmp_path / "tunes.abc").write_text("X:1\nK:C\nCDEF|\n\nX:2\nK:D\nABcd|\n")
    for source, target, head in (
        *(("a.mid", "b.musicxml", b"<?xml"), ("b.musicxml", "c.mxl", b"PK")),
        *(("c.mxl", "d.mid", b"MThd"), ("tunes.abc#2", "e.xml", b"<?xml")),
        ("tunes.abc#1", "f.png", b"\x89PNG"),
    ):
        code, out, err = run(capsys, "convert", tmp_path / source, tmp_path / target)
        assert (code, out) == (0, f"wrote {tmp_path / target}\n"), err
        assert (tmp_path / target).read_bytes().startswith(head)
    assert len(mido.MidiFile(tmp_path / "d.mid").tracks) == 2
    new = tmp_path / "new.mid"
    fails(capsys, "convert", tmp_path / "none.mid", new, names="none.mid")
    fails(capsys, "convert", tmp_path / "a.mp3", new, names="a.mp3")
    fails(capsys, "convert", tmp_path / "a.mid", tmp_path / "a.abc", names="a.abc")
    fails(capsys, "convert", tmp_path / "tunes.abc", new, names="tunes.abc")
    fails(capsys, "convert", tmp_path / "a.mid", names="OUT", parsed=False)
    assert not new.exists()


@pytest.mark.parametrize("config_name", ["pop_cpu", "own.py"])
def test_a_file_in_place_of_the_folder_of_a_run(tmp_path, monkeypatch, capsys, config_name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(
        "from jaxmusic import config\n\n\ndef experiment():\n    return config.Experiment()\n"
    )
    song(tmp_path / "song.mid")
    for run_folder in ("song.mid", "song.mid/run"):
        fails(capsys, "train", config_name, "--run", run_folder, names="song.mid is a file")


@pytest.mark.quick
@pytest.mark.parametrize(
    ("argv", "name"),
    [
        ("train pop_cpu --run r --optimizer.learning-rate -1", "optimizer.learning_rate"),
        ("train pop_cpu --run r --data.batch 0", "data.batch"),
        ("train pop_cpu --run r --model.layers -2", "model.layers"),
        ("train pop_cpu --run r --seed 99999999999999999999", "seed"),
        ("plan pop_cpu --optimizer.b1 nan", "optimizer.b1"),
        ("generate --model r --seed 99999999999999999999", "seed"),
        ("generate --model r --count 0", "count"),
        ("generate --model r --top-p inf", "top_p"),
        ("evaluate --model r --pieces 0", "pieces"),
        ("prepare songs --min-seconds -1", "min_seconds"),
        ("quickstart --seed -1", "seed"),
        ("quickstart --songs 0", "songs"),
    ],
)
def test_numbers_out_of_range_are_refused_by_name(tmp_path, monkeypatch, capsys, argv, name):
    monkeypatch.chdir(tmp_path)
    fails(capsys, *argv.split(), names=f"{name} must be", parsed=False)
    assert not list(tmp_path.iterdir())


def test_experiments_survive_json():
    experiment = dataclasses.replace(config.Experiment(), steps=7)
    assert settings.from_json(config.Experiment, settings.to_json(experiment)) == experiment
    with pytest.raises(ValueError, match="lairs"):
        settings.from_json(config.Experiment, '{"model": {"lairs": 3}}')
    with pytest.raises(ValueError, match="steps"):
        settings.from_json(config.Experiment, '{"steps": "many"}')
