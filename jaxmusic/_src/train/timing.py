"""How long a training step takes on this machine."""

from __future__ import annotations

import time

import jax
import jax.numpy as jnp

from jaxmusic import config as configs
from jaxmusic._src.codecs.registry import make_codec
from jaxmusic._src.models.mesh import make_mesh
from jaxmusic._src.train.step import Program, abstract_batch

STEPS = 3


def seconds_per_step(experiment: configs.Experiment) -> float:
    """Compiles the experiment's step and times a few of them on made-up rows; keeps nothing.

    The time does not depend on what is in the rows.
    """
    codec = make_codec(experiment.codec)
    mesh = make_mesh(experiment.mesh)
    program = Program(experiment, codec.vocab_size, codec.onset_tokens, mesh)
    batch = jax.tree.map(
        lambda x: jax.device_put(jnp.ones(x.shape, x.dtype), x.sharding),
        abstract_batch(program, experiment.data),
    )
    state, _ = program.train(program.initial(), batch)
    jax.block_until_ready(state)
    start = time.perf_counter()
    for _ in range(STEPS):
        state, _ = program.train(state, batch)
    jax.block_until_ready(state)
    return (time.perf_counter() - start) / STEPS
