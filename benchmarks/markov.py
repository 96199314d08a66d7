"""Pieces of an n-gram model, drawn under the same grammar and plan as a Transformer's."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from benchmarks import baseline, ngram
from jaxmusic import config
from jaxmusic.codecs.grammar import Grammar
from jaxmusic.codecs.metrical import MetricalCodec
from jaxmusic.data import loader
from jaxmusic.generate import controls, decoding
from jaxmusic.generate.planning import Planner, rules
from jaxmusic.music.notes import Notes

ORDER = 4
"""The order that `benchmarks.baseline` finds best on POP909."""


def train(data: config.Data, codec: MetricalCodec, copies: int) -> tuple[ngram.Model, Any]:
    """The best n-gram model of `benchmarks.baseline`, and the codec with the dataset's styles.

    It is counted on the training split as it is and transposed, without tasks, and its discounts
    are tuned on the validation split.

    Args:
      data: dataset, row length and augmentation.
      codec: of the tokens.
      copies: epochs of transposed pieces.
    """
    data = dataclasses.replace(data, tasks=config.Tasks())
    training, validation = (loader.Loader(data, codec, s) for s in ("train", "validation"))
    held_out = baseline.tokens(validation.evaluation(), validation.codec)
    _, counted = baseline.counted(training, copies)
    model = ngram.fit(counted.sequences, training.codec.vocab_size, ORDER)
    weights = np.concatenate(held_out.weights)
    return ngram.tune(model, held_out.sequences, weights), training.codec


def compose(
    model: ngram.Model,
    codec: MetricalCodec,
    style: str,
    durations: Sequence[float],
    context: int,
    seed: int = 0,
) -> list[Notes]:
    """Draws a piece of each duration (seconds) as `jaxmusic.MusicModel.compose` would.

    Grammar, plan and sampling options are the same; only bars that repeat are not held back.

    Args:
      model: over the tokens of the codec.
      codec: how music is written.
      style: one of the codec's, or empty.
      durations: of the pieces.
      context: of the Transformer beside it: a quarter of it is the most tokens of a bar.
      seed: random seed.
    """
    grammar = Grammar(codec)
    wishes = [controls.read(config.Controls(style, seconds), codec) for seconds in durations]
    planners = [Planner(grammar, context, wish) for wish in wishes]
    begun = [planner.begin(1) for planner in planners]
    plan: Any = jax.tree.map(lambda *x: np.concatenate(x), *(plan for _, plan in begun))
    settings = decoding.settings(config.Sampling(), codec.vocabulary)

    @jax.jit
    def advance(states: Any, tokens: Any) -> Any:
        def one(state: Any, token: Any, plan: Any) -> Any:
            return grammar.advance(state, token, rules(state, plan))

        return jax.vmap(one)(states, tokens, plan)

    @jax.jit
    def draw(states: Any, chances: Any, key: Any) -> Any:
        def one(state: Any, chance: Any, plan: Any, key: Any) -> Any:
            mask = grammar.mask(state, rules(state, plan))
            return decoding.draw(key, grammar.merge(jnp.log(chance)), mask, settings)

        return jax.vmap(one)(states, chances, plan, jax.random.split(key, len(chances)))

    streams = [list(prompts[0]) for prompts, _ in begun]  # all of the same style, and length
    states = jax.tree.map(lambda x: jnp.repeat(x[None], len(streams), 0), grammar.begin())
    known = [model.start() for _ in streams]
    end, key = codec.vocabulary.start["eos"], jax.random.key(seed)
    position = 0
    with tqdm(desc="drawing", unit=" tokens", delay=2) as shown:
        while True:
            tokens = [int(stream[min(position, len(stream) - 1)]) for stream in streams]
            states = advance(states, np.array(tokens, np.int32))
            known = [model.follow(state, token) for state, token in zip(known, tokens)]
            position += 1
            if position < len(streams[0]):
                continue
            ended = [stream[-1] == end for stream in streams]
            if all(ended):
                break
            chances = np.stack([model.following(state) for state in known]).astype(np.float32)
            drawn = np.asarray(draw(states, chances, jax.random.fold_in(key, position)))
            for stream, token, done in zip(streams, drawn, ended):
                if not done:
                    stream.append(int(token))
            shown.update()
    return [planner.finish(np.array(s, np.int32)) for planner, s in zip(planners, streams)]
