"""The documents' commands and Python that compose and measure, run on a model that was trained.

The reader follows the README: prepares a folder of MIDI files, trains on it and composes.
The model is small and hardly trained; only what it was trained with matters.
"""

import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import docs_commands
import documents

from jaxmusic._src.commands import cli, composing
from jaxmusic._src.data import starter
from jaxmusic._src.formats import files
from jaxmusic._src.music.notes import Labels

_SIZES = dict(layers=1, width=32, heads=1, kv_heads=1, head_dim=32, hidden=64)
_LENGTHS = dict(steps=4, eval_every=4, eval_batches=1)
SMALL = [f"--model.{name.replace('_', '-')}={value}" for name, value in _SIZES.items()]
SMALL += [f"--{name.replace('_', '-')}={value}" for name, value in _LENGTHS.items()]
SMALL += ["--data.context=512", "--optimizer.warmup=1"]
"""What trains the experiments of the documents within seconds."""
SHORT = {"evaluate": ["--most", "4", "--shown", "1"]}
MODEL = ["--pieces", "2", "--requests", "1", "--duration", "0:20", "--request-duration", "0:10"]
"""Options with which commands take seconds; their results are tested elsewhere."""
PAGES = ("README.md", "composing.md", "controls.md", "formats.md", "originality.md", "reports.md")
RUN = ("convert", "evaluate", "compare", *composing.COMMANDS)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The folder of a reader, with runs that were trained."""
    path = tmp_path_factory.mktemp("home")
    before = os.getcwd(), os.environ["HOME"]
    os.chdir(path)
    os.environ["HOME"] = str(path)
    docs_commands.songs(path)
    for number, song in enumerate(starter.corpus(24)):
        files.write(song.replace(labels=Labels()), path / "midi" / "pop" / f"song{number}.mid")
        files.write(song, path / "midi" / "band" / f"song{number}.mid")
    for name, folder in (("pop", "pop"), ("folk", "mine"), ("starter", "band")):
        done(["prepare", f"midi/{folder}", "--name", name, "--style", "pop", "--test", "0.2"])
    tasks = [f"--data.tasks.{task}=0.1" for task in ("infill", "accompany", "harmonise", "vary")]
    runs = dict.fromkeys(("runs/pop", "runs/small", "runs/large"), "pop")
    for run, dataset in (runs | {"quickstart/runs/starter-1": "starter"}).items():
        line = ["train", "pop_cpu", "--data.dataset", dataset, "--run", run]
        done([*line, *SMALL, *tasks])
    done(["export", "runs/pop", "--out", "pop.safetensors"])
    (path / "real").symlink_to("midi/pop")
    (path / "data").symlink_to("jaxmusic/data")
    yield path
    os.chdir(before[0])
    os.environ["HOME"] = before[1]


def done(line):
    """Runs a command line to its end."""
    with pytest.raises(SystemExit) as ended:
        cli.main(line)
    assert not ended.value.code, line


def test_commands(home):
    lines = {
        tuple(docs_commands.words(example.text)): str(example)
        for example in docs_commands.commands()
        if example.page in PAGES
    }
    composing = {line: at for line, at in lines.items() if line[0] in RUN}
    for (name, *rest), at in composing.items():
        print(at, name, *rest)
        more = SHORT.get(name, []) + MODEL * (name == "evaluate" and "--model" in rest)
        done([name, *rest, *more])
    assert len(composing) > 15


@pytest.mark.parametrize(
    "page", sorted({"quickstart.md", "evaluation.md", "models.md", *PAGES} - {"formats.md"})
)
def test_python(home, page):
    """The blocks of a page in order, each with the names of those before."""
    names = {"data_dir": "jaxmusic/data"}
    for block in documents.blocks("python"):
        if block.page == page:
            if "measure_all(ours)" in block.text:
                names |= dict.fromkeys(("ours", "real"), [names["notes"]] * 8)
            if "copy_index.read" in block.text:
                names["notes"] = starter_song()
            exec(compile(block.text, str(block), "exec"), names)
    assert "jaxmusic" in names or "config" in names


def starter_song():
    """An aligned piece."""
    return next(iter(starter.corpus(1)))
