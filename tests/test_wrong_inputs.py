"""Wrong inputs: each is answered with a sentence, on the command line before JAX is imported."""

import pathlib
import subprocess
import sys

import pytest
import toys

import jaxmusic
from jaxmusic import config
from jaxmusic._src.codecs.metrical.codec import MetricalCodec
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.formats import files
from jaxmusic._src.models import transformer
from jaxmusic._src.music.notes import make_notes

SCRIPT = pathlib.Path(__file__).with_name("wrong_inputs.py")


def test_command_lines(tmp_path):
    """All in one process, in which JAX cannot be imported."""
    command = [sys.executable, str(SCRIPT), str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    *wrong, count = done.stdout.splitlines() or [done.stderr]
    assert not wrong, "\n".join(wrong)
    assert int(count) > 250


@pytest.fixture(scope="module")
def model():
    codec = MetricalCodec()
    tasks = config.Tasks(infill=0.1, accompany=0.1, harmonise=0.1, vary=0.1)
    experiment = config.Experiment(data=config.Data(context=512, tasks=tasks), model=toys.MODEL)
    params = transformer.init(toys.MODEL, codec.vocab_size, 0)
    return jaxmusic.MusicModel(experiment, codec, params, ("pop",))


NOTES = make_notes([0, 480], [480, 480], [60, 62], [80, 80], [0, 0])
NO_PIECES = (None, 3, [], b"", {}, type, "song.doc", "missing.mid", "", pathlib.Path("/"))
OPTIONS = (
    *({"style": 3}, {"style": "jazz"}, {"duration": -1}, {"duration": float("nan")}),
    *({"duration": []}, {"seed": -1}, {"seed": 1.5}, {"seed": "x"}, {"key": 3}, {"key": "H"}),
    *({"tempo": "fast"}, {"tempo": -1}, {"meter": 4}, {"instruments": 5}, {"chords": {}}),
    *({"instruments": ["piano", 3]}, {"form": 7}, {"energy": "loud"}, {"guidance": "x"}),
    *({"strict": "yes"}, {"controls": 1}, {"sampling": {}}, {"temperature": -1}, {"top_p": 0}),
    *({"nonsense": 1}, {"temprature": 1}, {"best_of": 0}, {"temperatures": 1}),
)


@pytest.mark.parametrize("music", NO_PIECES, ids=repr)
def test_what_is_no_piece(model, music, tmp_path):
    for call in (
        lambda: model.score(music),
        lambda: model.infill(music, "1"),
        lambda: model.accompany(music, "drums"),
        lambda: model.continue_piece(music),
        lambda: files.write(music, tmp_path / "x.mid"),
    ):
        with pytest.raises(UserError):
            call()


@pytest.mark.parametrize("options", OPTIONS, ids=repr)
def test_options_that_cannot_be(model, options):
    for call in (model.generate, model.stream):
        with pytest.raises(UserError):
            call(**options)


@pytest.mark.parametrize("path", ["missing", "", "/", __file__, "missing.safetensors"], ids=repr)
def test_what_is_no_model(path):
    with pytest.raises(UserError):
        jaxmusic.load(path)


@pytest.mark.parametrize("path", ["x", "x.doc", "/", f"{__file__}/x.mid"], ids=repr)
def test_where_nothing_can_be_written(path):
    with pytest.raises(UserError):
        jaxmusic.write(NOTES, path)


@pytest.mark.parametrize("bars", ["", "0", "x", "9", 1.5, None, [1]], ids=repr)
def test_what_names_no_bars(model, bars):
    for call in (model.infill, model.vary):
        with pytest.raises(UserError):
            call(NOTES, bars)
