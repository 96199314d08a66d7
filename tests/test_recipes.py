"""The recipes of CONTRIBUTING.md, tried: each adds one thing and uses it."""

import dataclasses
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import strategies

from jaxmusic import config
from jaxmusic._src.codecs import registry
from jaxmusic._src.codecs.metrical.codec import MetricalCodec
from jaxmusic._src.commands import cli
from jaxmusic._src.data import builder, datasets
from jaxmusic._src.data.sources import Known
from jaxmusic._src.evaluate import statistics
from jaxmusic._src.formats import files
from jaxmusic._src.generate import composer
from jaxmusic._src.music import grid

CONTROL = '''
import numpy as np
from jaxmusic._src.music import controls

def find_register(notes, known):
    """Infers how high a piece lies: the mean pitch in sixths of the keyboard."""
    pitch = notes.pitch[notes.pitched]
    return np.array(int(pitch.mean()) * 6 // 128 if len(pitch) else -1, np.int16)

controls.CONTROLS += (
    controls.Control(
        name="register", kind="register", values=6, room=8, place="piece", find=find_register
    ),
)

# Nothing else is changed: the rest uses it.
import jax
import strategies
from jaxmusic import config
from jaxmusic._src.codecs.metrical.codec import MetricalCodec
from jaxmusic._src.generate.composer import Composer
from jaxmusic._src.generate.controls import Request
from jaxmusic._src.models import base

codec = MetricalCodec()
v = codec.vocabulary
assert codec.vocab_size == 1781 and v.start["bar"] == 721 and v.length["free"] == 56
piece = strategies.random_piece(11, 50)
tokens = codec.encode(piece)
stated = v.value[tokens[v.kind[tokens] == v.kinds["register"]]].tolist()
assert stated == [int(piece.controls["register"])]
again, dropped = codec.decode(tokens)
assert dropped == 0 and strategies.differences(strategies.as_decoded(piece), again) == []
without = codec.encode(piece, frozenset({"register"}))
assert len(without) == len(tokens) - 1
shape = config.Transformer(layers=1, width=32, heads=2, kv_heads=2, head_dim=16, hidden=64)
params = base.of(shape).init(shape, codec.vocab_size, jax.random.key(0))
made = Composer(shape, params, codec, 256)
(song,) = made.compose(made.planner(Request(4.0, wanted={"register": 2}, guidance=2.0)), 1)
assert codec.decode(song.tokens)[0].controls["register"] == 2
print("register 2")
'''


def test_a_control():
    """One row: stated, read back, left out, forced while sampling, and guided towards."""
    done = subprocess.run(
        [sys.executable, "-c", CONTROL],
        cwd=pathlib.Path(__file__).parent,
        capture_output=True,
        text=True,
    )
    assert done.stdout.endswith("register 2\n"), done.stderr


class Level(MetricalCodec):
    """The metrical codec with all notes equally loud."""

    KINDS = ("level",)
    VERSION = 1

    def __init__(self, settings=config.Codec(kind="level"), styles=("pop",)):  # noqa: B008
        """Lays out the vocabulary of the metrical codec."""
        super().__init__(settings, styles)

    def quantise(self, notes):
        """Quantises notes, and their loudness to one level."""
        return grid.quantise(notes.replace(velocity=np.full_like(notes.velocity, 64)))


def test_a_codec(monkeypatch, tmp_path):
    monkeypatch.setitem(registry.CODECS, "level", Level)
    monkeypatch.setitem(composer.KINDS, "level", composer.KINDS["metrical"])
    codec = registry.make_codec(config.Codec(kind="level"))
    assert registry.read_codec(codec.to_json()).fingerprint == codec.fingerprint
    piece, _ = codec.quantise(strategies.random_notes(3))
    piece = dataclasses.replace(piece, styles=("pop",))
    again, dropped = codec.decode(codec.encode(piece))
    assert dropped == 0 and set(again.velocity.tolist()) <= {4}
    assert strategies.differences(dataclasses.replace(piece, song=""), again) == []


def test_a_statistic(monkeypatch):
    mean = statistics.Statistic(
        title="mean pitch",
        unit="semitones",
        meaning="How high the piece lies.",
        of=lambda notes: float(notes.pitch.mean()),
    )
    monkeypatch.setitem(statistics.STATISTICS, "mean_pitch", mean)
    notes = strategies.random_notes(3)
    assert statistics.measure(notes)["mean_pitch"] == notes.pitch.mean()


def test_a_dataset(monkeypatch, tmp_path):
    def labels(root):
        return lambda file: Known(styles=("waltz",))

    monkeypatch.setitem(
        datasets.DATASETS,
        "mine",
        datasets.NamedDataset(
            title="three pieces",
            homepage="https://example.org",
            licence="CC0",
            citation="none",
            files=r"(?P<name>[^/]+\.mid)$",
            archive=None,
            labels=labels,
        ),
    )
    for number in range(3):
        notes = strategies.random_notes(number + 10, 80)
        files.write(notes.replace(end=max(notes.end, 20_000)), tmp_path / f"in/{number}.mid")
    options = config.Prepare(
        manual_dir=str(tmp_path / "in"),
        data_dir=str(tmp_path / "data"),
        min_notes=1,
        workers=1,
    )
    summary = builder.prepare(["mine"], options, progress=False)
    assert summary.name == "mine" and "waltz" in summary.styles


def test_a_command(monkeypatch, capsys):
    def greet(name: str = "you", times: int = 1) -> None:
        """Greets someone.

        Args:
          name: whom.
          times: how often.
        """
        print(f"hello {name}\n" * times, end="")

    monkeypatch.setitem(cli.COMMANDS, "greet", greet)
    with pytest.raises(SystemExit) as done:
        cli.main(["greet", "--name", "Clara", "--times", "2"])
    assert done.value.code == 0
    assert capsys.readouterr().out == "hello Clara\nhello Clara\n"
