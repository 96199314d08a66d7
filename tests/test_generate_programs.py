"""What is compiled, and what comes out, from one process to the next."""

import json
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np

from jaxmusic import config
from jaxmusic.codecs.metrical.codec import MetricalCodec
from jaxmusic.generate import decoding
from jaxmusic.generate.composer import Composer
from jaxmusic.generate.controls import Wishes
from jaxmusic.generate.sampler import bucket
from jaxmusic.models import transformer

CODEC = MetricalCodec()
SHAPE = config.Transformer(layers=1, width=32, heads=2, kv_heads=1, head_dim=16, hidden=64)

SCRIPT = """
import hashlib, json, sys
import jax
from jax import monitoring
from jaxmusic.train import compilation

compilation.keep_compiled()
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
seen = {"hits": 0, "misses": 0}
def count(event, **_):
    for name in seen:
        seen[name] += event == f"/jax/compilation_cache/cache_{name}"
monitoring.register_event_listener(count)
from test_generate_programs import toy, made

tokens = [piece.tokens.tobytes() for piece in made(toy(), int(sys.argv[1]))]
print(json.dumps([hashlib.sha256(b"".join(tokens)).hexdigest(), seen]))
"""


def toy(context=256):
    params = transformer.init(SHAPE, CODEC.vocab_size, 0)
    return Composer(SHAPE, params, CODEC, context)


def made(composer, seconds, count=1):
    return composer.compose(composer.planner(Wishes(float(seconds))), 7, count)


def test_another_process_composes_the_same_and_compiles_nothing(tmp_path):
    """In one process, in another, and after another request that needed the same programs."""
    here = pathlib.Path(__file__).parent
    path = os.pathsep.join([str(here), *sys.path])
    env = os.environ | {"XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": path}
    env.pop("JAX_COMPILATION_CACHE_DIR", None)

    def run(seconds):
        command = [sys.executable, "-c", SCRIPT, str(seconds)]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    first, counts = run(200)
    assert counts["misses"] > 0
    second, counts = run(200)
    assert second == first and counts["hits"] > 0 and counts["misses"] == 0
    other, counts = run(190)
    assert other != first and counts["misses"] == 0
    composer = toy()
    again, twice = made(composer, 200)[0], made(composer, 200)[0]
    assert np.array_equal(again.tokens, twice.tokens)


def test_rows_of_a_batch_have_the_logits_that_they_have_alone():
    composer = toy()
    planner = composer.planner(Wishes(600.0))
    sampling = decoding.settings(config.Sampling(), CODEC.vocabulary)

    def nats(pieces):
        prompts, plan = planner.begin(len(pieces))
        keys = jax.vmap(jax.random.key)(jnp.asarray(pieces))
        for p in composer.sampler.fill(prompts, prompts, planner, plan, keys, sampling):
            end = int(p.index) + 1
        return np.asarray(p.tokens)[:, :end], np.asarray(p.nats)[:, :end]

    tokens, together = nats([1, 2, 3])
    for row, piece in enumerate((1, 2, 3)):
        alone_tokens, alone = nats([piece])
        length = alone_tokens.shape[1]
        assert np.array_equal(alone_tokens[0], tokens[row, :length])
        np.testing.assert_allclose(alone[0], together[row, :length], atol=1e-4)


def test_caches_grow_in_few_sizes():
    sizes = sorted({bucket(n) for n in range(1, 16385)})
    assert sizes == [512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384]
    assert all(bucket(n) >= n for n in range(1, 16385))
