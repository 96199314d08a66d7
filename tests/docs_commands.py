"""Tries the commands of the documents, up to the point at which they import JAX.

Run as a program, in an empty folder, which then holds what the documents suppose that a reader has:
songs, datasets and runs. As the songs are MIDI files, the runs know no sections.
"""

import contextlib
import io
import json
import os
import pathlib
import re
import sys

import data_music
import documents
import numpy as np
from safetensors.numpy import save_file

from jaxmusic import config
from jaxmusic._src.codecs.registry import make_codec
from jaxmusic._src.commands import cli
from jaxmusic._src.core import settings
from jaxmusic._src.data import builder
from jaxmusic._src.formats import files
from jaxmusic._src.music.notes import make_notes
from jaxmusic._src.runs import described

NAMES = {
    **{"CONFIG": "pop_cpu", "NAME": "mine", "DIR": "runs/new", "FOLDER": "~/midi"},
    **{"RUN": "runs/pop", "POP": "runs/new"},
    **{"DATA/pop909/POP909": "~/midi", "DATA_DIR": "~/jaxmusic/data", "N": "1"},
    **{"...": "pop_cpu", "…": "pop_cpu", "runs/*": "runs/pop", "--watch": "--json"},
    # Restarts are processes of their own; downloads are tried by tests of datasets.
    **{"--restarts": "--seed", "pop909": "~/midi", "lakh_full": "~/midi"},
}
"""What stands for words of the documents that are placeholders, or that cannot be tried."""
OTHERS = {
    "jaxmusic train NAME --run DIR": "jaxmusic train pop_cpu --run runs/new",
    "jaxmusic compare RUN RUN": "jaxmusic compare runs/small runs/large",
    "jaxmusic train … --restarts 10": "jaxmusic train … --run runs/new",
    "jaxmusic train --restarts N": "jaxmusic train pop_cpu --run runs/new",
    "jaxmusic train ... --codec.kind fused": "jaxmusic train ... --codec.kind fused --run runs/new",
    "jaxmusic prepare groove --manual-dir ~/downloads/groove": "jaxmusic prepare ~/midi",
    "jaxmusic prepare --off-grid keep": "jaxmusic prepare ~/midi --off-grid keep",
}
"""What stands for commands that the documents abbreviate."""


LONG = "--songs samples"
"""Of the command that runs to its end and takes long; tests/slow/test_docs_runs.py runs it."""


def commands():
    """All commands of the documents that have arguments."""
    return [c for c in documents.commands() if len(documents.words(c.text)) > 1]


def words(command):
    """The arguments of a command of the documents, for the folder of `reader`."""
    own = [NAMES.get(word, word) for word in documents.words(OTHERS.get(command, command))]
    own = [re.sub(r"^gs://bucket/", "~/", word) for word in own]
    return [word.replace("~", os.environ["HOME"]) for word in own]


def songs(home):
    """Writes songs into the folder of a reader."""
    for name, count in (("midi/pop", 6), ("midi/mine", 2), ("scores", 1), ("samples", 2)):
        data_music.folder(home / name, count)
    files.write(data_music.tune(1), home / "song.mid")
    files.write(data_music.tune(2), home / "my.mid")
    at = np.arange(128)
    melody = make_notes(at * 240, 0 * at + 200, 60 + at % 12, 0 * at + 80, 0 * at)
    files.write(melody, home / "melody.mid")
    tunes = (f"X:{i}\nT:{i}\nM:6/8\nL:1/8\nK:D\nABc def|\n\n" for i in (1, 2, 3))
    (home / "jigs.abc").write_text("".join(tunes))
    chorale = [[60 + i % 12, 64, 55, 48] for i in range(64)]
    for name in ("Jsb16thSeparated.json", "chorales.json"):
        (home / name).write_text(json.dumps({"train": [chorale], "test": [chorale[::-1]]}))
    (home / "labels.csv").write_text("path,style\npop/tune000.mid,rock\n")


def reader(home):
    """Makes the folder of a reader: songs, datasets, and what says that there are runs."""
    songs(home)
    data_dir = str(home / "jaxmusic" / "data")
    pieces = [data_music.tune(i, styles=["pop"]) for i in range(6)]
    for name in ("pop", "mine", "lakh", "folk", "starter"):
        builder.prepare_pieces(pieces, config.Prepare(name=name, data_dir=data_dir), progress=False)
    tasks = config.Tasks(infill=0.1, accompany=0.1, harmonise=0.1, vary=0.1)
    data = config.Data(tasks=tasks, drop_controls=0.1, dataset="pop", data_dir=data_dir)
    codec = make_codec(config.Codec())
    known = [name for name in codec.CONTROLS if name != "sections"]
    for name in ("runs/pop", "runs/small", "runs/large", "runs/a", "quickstart/runs/starter-1"):
        folder = home / name
        has = list(codec.CONTROLS) if "starter" in name else known
        about = {"dataset": "pop:2.0.0", "manifest": "a", "styles": ["pop"], "controls": has}
        (folder / "checkpoints" / "10").mkdir(parents=True)
        (folder / "experiment.json").write_text(settings.to_json(config.Experiment(data=data)))
        (folder / "codec.json").write_text(codec.to_json())
        (folder / "data.json").write_text(json.dumps(about))
    own = next(block for block in documents.blocks("python") if "My experiment" in block.text)
    (home / "my.py").write_text(own.text)
    header = {
        **{"format": "jaxmusic", "version": described.FORMAT, "codec": codec.to_json()},
        **{"experiment": settings.to_json(config.Experiment(data=data)), "step": "10"},
        **{"styles": '["pop"]', "controls": json.dumps(known)},
    }
    save_file({"norm": np.ones(1, np.float32)}, home / "pop.safetensors", header)


def run(line):
    """Runs a command line; returns why it was refused, or nothing if it went as far as JAX."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            cli.main(line)
        except ModuleNotFoundError as error:
            return "" if error.name in ("jax", "jax.numpy") else f"{error}"
        except SystemExit as done:
            return said.getvalue() if done.code else ""
    return "it did not end"


def main():
    """Tries all commands; prints those that are refused, and the number of all."""
    reader(pathlib.Path(os.environ["HOME"]))
    sys.modules["jax"] = None
    tried = [example for example in commands() if LONG not in example.text]
    for example in tried:
        if refused := run(words(example.text)):
            print(f"{example}: {example.text}\n    {refused.strip()[-300:]}")
    print(len(tried))


if __name__ == "__main__":
    main()
