"""Models, data and runs small enough for tests, shared so that each is compiled once."""

import functools
import pathlib

import numpy as np

from jaxmusic import config
from jaxmusic._src.codecs.registry import make_codec
from jaxmusic._src.generate.composer import Composer
from jaxmusic._src.models import transformer

MODEL = config.Transformer(layers=1, width=32, heads=2, kv_heads=1, head_dim=16, hidden=64)


def experiment(data_dir: pathlib.Path) -> config.Experiment:
    """Six steps of `MODEL` on the dataset `starter` in a folder."""
    return config.Experiment(
        data=config.Data(dataset="starter", data_dir=str(data_dir), context=256, batch=2),
        model=MODEL,
        optimizer=config.Optimizer(warmup=2),
        steps=6,
        eval_every=3,
        eval_batches=2,
        checkpoint_every=3,
        log_every=1,
    )


@functools.cache
def composer(kind: str = "metrical") -> Composer:
    """A composer with an untrained `MODEL` under a codec of some kind."""
    codec = make_codec(config.Codec(kind=kind))
    return Composer(MODEL, transformer.init(MODEL, codec.vocab_size, 0), codec, 256)


@functools.cache
def flat_composer(kind: str = "metrical") -> Composer:
    """A composer whose model gives each kind of token the same probability, whatever it has read.

    The first coordinate of the residual stream outweighs all others, and logits are read from it.
    """
    codec = make_codec(config.Codec(kind=kind))
    params = transformer.init(MODEL, codec.vocab_size, 0)
    for name in ("token", "position", "slot", "pitch"):
        params[name] = params[name].at[:, 0].set(30.0 * (name == "position"))
    sizes = np.bincount(codec.vocabulary.kind)[codec.vocabulary.kind]
    logits = -np.log(sizes) / MODEL.width**0.5
    return Composer(MODEL, params | {"token": params["token"].at[:, 0].set(logits)}, codec, 256)
