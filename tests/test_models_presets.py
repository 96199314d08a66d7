"""The presets: what they count, and that their shapes are what kernels and meshes want."""

import dataclasses
import pathlib

import jax
import pytest

from jaxmusic import config as configs
from jaxmusic._src.codecs import registry
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.models import base, transformer
from jaxmusic.config import presets

VOCAB = registry.make_codec(configs.Codec()).vocab_size
COUNTS = {
    "5m": 5_351_424,
    "20m": 20_335_872,
    "50m": 49_673_600,
    "100m": 100_707_584,
    "200m": 194_833_152,
    "350m": 350_700_288,
    "1b": 995_241_216,
    "3b": 3_026_459_136,
    "7b": 6_988_083_200,
    "10b": 9_920_034_816,
}


def costs(model):
    """Parameters and FLOPs of a token with the default codec and rows of 4,096 tokens."""
    return base.num_parameters(model, VOCAB), base.of(model).flops(model, VOCAB, 4096)


def test_names_say_the_number_of_parameters():
    assert list(presets.MODELS) == list(COUNTS)
    page = (pathlib.Path(__file__).parents[1] / "docs" / "models.md").read_text()
    for name, count in COUNTS.items():
        model = presets.model(name)
        parameters, flops = costs(model)
        assert parameters == count
        said = float(name[:-1]) * {"m": 1e6, "b": 1e9}[name[-1]]
        assert count == pytest.approx(said, rel=0.1)
        # Six operations for every weight of a matrix, and attention besides.
        assert 1 < flops / (6 * count) < 2.3
        shape = f"| {model.layers} | {model.width} | {model.heads} / {model.kv_heads} |"
        row = f"{shape} {model.head_dim} | {model.hidden} | {model.dtype} |"
        assert f"| {name} {row} {parameters:,} | {flops / 1e6:,.0f} |" in page


@pytest.mark.quick
def test_shapes_suit_kernels_and_meshes():
    for name, model in presets.MODELS.items():
        transformer.check(model)
        assert model.heads * model.head_dim == model.width
        large = name not in ("5m", "20m", "50m")
        assert model.dtype == ("bfloat16" if large else "float32")
        if large:
            assert model.head_dim == 128
            assert model.width % 128 == model.hidden % 128 == 0
        if name.endswith("b"):
            assert model.kv_heads < model.heads
            assert model.kv_heads % 8 == model.hidden % 8 == 0


@pytest.mark.quick
def test_counting_allocates_nothing():
    before = len(jax.live_arrays())
    huge = dataclasses.replace(presets.model("10b"), layers=10_000)
    assert base.num_parameters(huge, VOCAB) > 1e12
    assert len(jax.live_arrays()) == before


@pytest.mark.quick
def test_unknown_preset():
    with pytest.raises(UserError, match=r"5m, 20m, .*10b, not .2b."):
        presets.model("2b")
