"""Command lines that cannot be right, made by kind of fault; run as a program it tries them all."""

import contextlib
import io
import json
import pathlib
import sys

import numpy as np

from jaxmusic import config
from jaxmusic._src.codecs.registry import make_codec
from jaxmusic._src.commands import cli
from jaxmusic._src.core import settings
from jaxmusic._src.formats import files
from jaxmusic._src.music.notes import make_notes

COMPOSING = ("generate", "continue", "infill", "accompany", "harmonise", "vary")
GIVEN = COMPOSING[1:]
MODELS = ("missing", "song.mid", "empty", "junk.safetensors", "none.safetensors", "unfinished")
SONGS = ("missing.mid", "empty", "none.mid", "junk.mid", "song.txt", "silent.mid", "junk.musicxml")
CONTROLS = (
    *("--style techno", "--style pop=-1", "--key H", "--meter 7/9", "--meter four"),
    *("--tempo -5", "--tempo 1e9", "--tempo nan", "--tempo x", "--duration 0", "--duration x"),
    *("--duration -1:00", "--duration 99:00:00", "--chords X", "--chords |", "--form verse"),
    *("--form verse0", "--form solo4", "--energy 9", "--energy 1", "--instruments theremin"),
    *("--instruments 99,piano", "--guidance -1", "--guidance inf", "--density -1", "--seed -1"),
    *("--seed 99999999999999999999", "--seed x", "--temperature -1", "--temperature nan"),
    *("--top-p 2", "--top-k -1", "--min-p 7", "--best-of 0", "--repeats -1", "--count 0"),
    *("--temperatures pitch", "--temperatures x=1", "--step 99", "--originality -1"),
    *("--nonsense 1", "--tempo", "--form A4 --duration 1:00 --key"),
)
OUTPUTS = (
    *("--out song.doc", "--out song", "--out song.mid/x.mid", "--out folder.mid"),
    *("--png song.jpg", "--png folder.png", "--wav song.mp3", "--wav song.mid/x.wav"),
)
BARS = ("0", "999", "a", "9-8", "1-", "1,,2", "0:10", "0:12-0:10", "9:00-9:10", "1-999", "")
TRAINING = (
    *("", "nothing", "missing.py", "raises.py", "other.py", "syntax.py", "pop_cpu"),
    *("pop_cpu --run song.mid", "pop_cpu --run song.mid/x", "pop_cpu --run new --steps x"),
    *(f"pop_cpu --run new --data.data-dir data {x}" for x in (
        *("--data.dataset none", "--data.dataset NO!", "--data.dataset a=b=c", "--model rnn9"),
        *("--init-from missing", "--init-from song.mid", "--resume-from missing", "--restarts -1"),
    )),
)  # fmt: skip
OTHERS = (
    *("", "compose", "--nonsense"),
    *("prepare", "prepare missing", "prepare empty", "prepare song.txt", "prepare junk.mid"),
    *(f"prepare song.mid --data-dir data {x}" for x in (
        *("--name A!", "--validation 2", "--test -1", "--labels missing.csv", "--where x"),
        *("--off-grid maybe", "--data-dir song.mid", "--beam-runner Nothing", "--workers -1"),
    )),
    *("convert song.mid", "convert song.mid song.doc", "convert song.mid song.mid"),
    *("convert song.mid song.mid/x.png", "convert song.mid folder.png"),
    *("evaluate", "evaluate --songs empty", "evaluate --songs song.mid"),
    *("evaluate --songs missing --reference missing", "evaluate --model run --songs empty"),
    *("evaluate --model run --split train", "evaluate --model run --pieces 0"),
    *("evaluate --model run --out song.mid", "evaluate --model run --temperature -1"),
    *("compare", "compare missing", "compare song.mid", "compare empty", "compare run --out a.pdf"),
    *("status", "status missing", "status song.mid", "status empty"),
    *("export run --out model.bin", "export run --out song.mid/m.safetensors"),
    *("export run --step 7", "export run --dtype int8", "list", "list songs"),
    *("list styles --model missing",),
    *("list styles --model song.mid", "quickstart missing --out new", "quickstart --minutes 0"),
    *("quickstart --minutes nan", "quickstart --out song.mid", "quickstart --songs -1"),
    *("plan nothing", "plan pop_cpu --topology x", "plan pop_cpu --slices 0 --topology v5e:2x4"),
)  # fmt: skip


def made(folder):
    """Makes the files that the command lines name, and returns these."""
    at = np.arange(64)
    melody = make_notes(at * 240, at * 0 + 200, 60 + at % 12, at * 0 + 80, at * 0)
    files.write(melody, folder / "song.mid")
    silent = (folder / "song.mid").read_bytes()[:14] + b"MTrk\0\0\0\4\0\xff\x2f\0"
    texts = {
        "song.txt": b"la la la",
        "none.mid": b"",
        "junk.mid": b"MThd" + bytes(range(200)),
        "silent.mid": silent,
        "junk.musicxml": b"<score-partwise><part>",
        "junk.safetensors": bytes(range(256)),
        "none.safetensors": b"",
        "raises.py": b"def experiment():\n    return 1 / 0\n",
        "other.py": b"x = 1\n",
        "syntax.py": b"def experiment(:\n",
    }
    for name, content in texts.items():
        (folder / name).write_bytes(content)
    for name in ("empty", "folder.mid", "folder.png"):
        (folder / name).mkdir()
    tasks = config.Tasks(infill=0.1, accompany=0.1, harmonise=0.1, vary=0.1)
    experiment = config.Experiment(data=config.Data(tasks=tasks, drop_controls=0.1))
    codec = make_codec(experiment.codec)
    data = {"dataset": "songs:2.0.0", "manifest": "a", "styles": ["pop"]}
    for name in ("run", "unfinished"):
        run = folder / name
        run.mkdir()
        (run / "experiment.json").write_text(settings.to_json(experiment))
        (run / "codec.json").write_text(codec.to_json())
        (run / "data.json").write_text(json.dumps(data | {"controls": list(codec.CONTROLS)}))
    (folder / "run" / "checkpoints" / "10").mkdir(parents=True)
    return lines()


def lines():
    """All wrong command lines, as lists of words."""
    needs = {
        "infill": ["--bars", "2-3"],
        "vary": ["--keep", "1"],
        "accompany": ["--instruments", "drums"],
    }

    def composing(command, model="run", song="song.mid", more=""):
        given = [song] if command in GIVEN else []
        return [command, *given, "--model", model, *needs.get(command, []), *words(more)]

    yield from (composing(c, model=m) for c in COMPOSING for m in MODELS)
    yield from (composing(c, song=s) for c in GIVEN for s in SONGS)
    yield from (["convert", s, "new.mid"] for s in SONGS)
    yield from (composing("generate", more=m) for m in CONTROLS)
    yield from (composing(c, more=m) for c in COMPOSING for m in OUTPUTS)
    yield from (["infill", "song.mid", "--model", "run", "--bars", b] for b in BARS)
    yield from (["vary", "song.mid", "--model", "run", "--keep", b] for b in (*BARS, "1-8"))
    yield from (["continue", "song.mid", "--model", "run", "--bars", b] for b in ("99", "-1", "x"))
    yield from (["infill", "song.mid", "--model", "run", "--bars", "2", "--tempo", "90"],)
    yield from (["accompany", "song.mid", "--model", "run"],)
    yield from (["train", *words(t)] for t in TRAINING)
    yield from (["export", m] for m in MODELS)
    yield from (["evaluate", "--model", m] for m in MODELS)
    yield from (words(other) for other in OTHERS)


def words(text):
    return text.split()


def main(folder):
    """Runs all of them in a folder; prints what is wrong with an answer, and how many there are."""
    count = 0
    sys.modules["jax"] = None  # to import it is an error: an answer may not take seconds
    for line in made(pathlib.Path(folder)):
        said, code, error = io.StringIO(), None, ""
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            try:
                cli.main(line)
            except SystemExit as exit_:
                code = exit_.code
            except BaseException as raised:
                error = f"{type(raised).__name__}: {raised}"
        count += 1
        if error or code != 2 or "Traceback" in said.getvalue():
            print("WRONG", " ".join(line), "->", error or code, said.getvalue()[-300:])
    print(count)


if __name__ == "__main__":
    main(sys.argv[1])
