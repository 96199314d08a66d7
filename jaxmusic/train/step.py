"""The train step and the validation step: pure functions, compiled once for a mesh."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxmusic import config as configs
from jaxmusic.core.errors import UserError
from jaxmusic.core.events import Batch, Events
from jaxmusic.models import sharding, transformer
from jaxmusic.models.attention import kernels as attention
from jaxmusic.models.layout import Layout
from jaxmusic.models.loss import summed_losses, token_losses
from jaxmusic.models.params import axes_of, named, unnamed
from jaxmusic.runs.state import State
from jaxmusic.train import spikes
from jaxmusic.train.optimizer import averaged, make_optimizer, make_schedule


class Metrics(NamedTuple):
    """What a train step reports, a float [] each.

    Attributes:
      nll: summed negative log-likelihood of the weighted targets, in nats.
      weight: number of weighted targets.
      grad_norm: global norm of the gradient before clipping.
      learning_rate: rate of this update.
      skipped: 1 if the update was left out because it was not finite or stood out, else 0.
    """

    nll: jax.Array
    weight: jax.Array
    grad_norm: jax.Array
    learning_rate: jax.Array
    skipped: jax.Array


class Sums(NamedTuple):
    """What a validation step reports: sums over a batch, a float [] each.

    Attributes:
      nll: negative log-likelihood of the weighted targets, in nats.
      weight: number of weighted targets.
      notes: number of notes among them.
    """

    nll: jax.Array
    weight: jax.Array
    notes: jax.Array


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
    """A model, its optimiser and their layout on a mesh, ready to run.

    Attributes:
      state: abstract `State`, whose shapes carry the shardings that a state must have.
      batch: sharding of every array of a batch.
      initial: makes the first state of a run.
      train: (state, batch) -> (state, metrics); the state passed in is used up.
      evaluate: (params, batch) -> sums.
    """

    state: State
    batch: NamedSharding
    initial: Callable[[], State]
    train: jax.stages.Wrapped
    evaluate: jax.stages.Wrapped


def lowered(program: Program, data: configs.Data) -> jax.stages.Lowered:
    """The train step for batches of that size, ready to be compiled."""
    row = jax.ShapeDtypeStruct((data.batch, data.context), np.int32, sharding=program.batch)
    weight = jax.ShapeDtypeStruct(row.shape, np.float32, sharding=program.batch)
    batch = Batch(Events(*[row] * len(Events._fields)), row, row, weight)
    return program.train.lower(program.state, batch)


def _beside(opt_state: Any, params: Any, where: dict[str, NamedSharding], everywhere: Any) -> Any:
    """Shardings of an optimiser's state: what belongs to a parameter lies where that does."""

    def place(path: tuple[Any, ...], leaf: Any) -> NamedSharding:
        # Whatever the optimiser, what it keeps for parameters has their names.
        names = [key.key for key in path if isinstance(key, jax.tree_util.DictKey)]
        for name in reversed(names):
            if name in where:
                return sharding.of_moment(where[name], params[name].shape, leaf.shape)
        return everywhere

    return jax.tree_util.tree_map_with_path(place, opt_state)


def _divided(batch: Batch, parts: int, constrain: Any) -> Batch:
    """The batch as [parts, rows, T]; every part has rows of every device."""

    def divide(x: jax.Array) -> jax.Array:
        x = x.reshape(x.shape[0] // parts, parts, *x.shape[1:]).swapaxes(0, 1)
        return constrain(x, (None, "batch", "sequence"))

    return jax.tree.map(divide, batch)


def _summed(gradient: Callable[..., Any], parts: Batch, key: Any) -> Any:
    """Gradients and losses of parts, summed."""

    def one(total: Any, scanned: tuple[Batch, Any]) -> tuple[Any, None]:
        part, number = scanned
        found = gradient(part, key if key is None else jax.random.fold_in(key, number))
        return jax.tree.map(jnp.add, total, found), None

    count = jnp.arange(parts.target.shape[0])
    first = jax.tree.map(lambda x: x[0], parts)
    zero = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(gradient, first, key)
    )
    return jax.lax.scan(one, zero, (parts, count))[0]


def make_program(
    experiment: configs.Experiment,
    vocab_size: int,
    onset_tokens: np.ndarray,
    mesh: Mesh,
    rules: sharding.ShardingRules | None = None,
) -> Program:
    """Builds the steps of an experiment for a mesh; nothing is compiled yet.

    Args:
      experiment: model, optimiser, batch, steps and seed are read from it.
      vocab_size: tokens of the codec.
      onset_tokens: bool [vocab_size], True for tokens that each stand for one note.
      mesh: where everything lives.
      rules: how arrays are split over it; None for the default ones.

    Raises:
      UserError: settings make no sense, or do not divide over the mesh.
    """
    rules = sharding.ShardingRules() if rules is None else rules
    settings, parts = experiment.optimizer, experiment.accumulate
    if experiment.z_loss < 0:
        raise UserError(f"Set z_loss to 0 or more, not {experiment.z_loss}.")
    data = experiment.data
    rows = sharding.batch_sharding(mesh, rules, data.batch, parts, data.context)
    activations = Layout(mesh, functools.partial(sharding.spec, rules, mesh=mesh))
    attention.check(experiment.model, data.context, activations)
    everywhere: Any = NamedSharding(mesh, PartitionSpec())

    def make() -> Any:
        return transformer.make(experiment.model, vocab_size, experiment.seed)

    graphdef, abstract = jax.eval_shape(make)
    where = named(sharding.shardings(abstract, mesh, rules))
    sharding.check_used(mesh, (where, rows))
    optimizer = make_optimizer(settings, experiment.steps, axes_of(abstract))
    schedule = make_schedule(settings, experiment.steps)

    def initial() -> State:
        params = named(make()[1])
        zero = jnp.zeros((), jnp.int32)
        average = params if settings.ema else {}
        usual = spikes.nothing_yet(params["token"].dtype) if settings.spike else None
        return State(params, optimizer.init(params), zero, zero, average, usual)

    shape = jax.eval_shape(initial)
    layout = State(
        where,
        _beside(shape.opt_state, shape.params, where, everywhere),
        everywhere,
        everywhere,
        where if settings.ema else {},
        jax.tree.map(lambda _: everywhere, shape.usual),
    )

    def logits_of(params: dict[str, jax.Array], batch: Batch, key: Any = None) -> jax.Array:
        weights = unnamed(abstract, params)
        return transformer.apply(graphdef, weights, batch.events, batch.segment, key, activations)

    def gradients(state: State, batch: Batch) -> tuple[dict[str, jax.Array], jax.Array]:
        """Those of the mean loss over the whole global batch, however it is divided."""
        total = jnp.maximum(batch.weight.sum(), 1)
        key = None
        if experiment.model.dropout:
            key = jax.random.fold_in(jax.random.key(experiment.seed), state.step)

        def gradient(part: Batch, key: Any) -> tuple[dict[str, jax.Array], jax.Array]:
            def mean_loss(params: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
                logits = logits_of(params, part, key)
                loss, nll = summed_losses(logits, part.target, part.weight, experiment.z_loss)
                return loss / total, nll

            grads, nll = jax.grad(mean_loss, has_aux=True)(state.params)
            # Summed where they will be used, not everywhere.
            return jax.lax.with_sharding_constraint(grads, where), nll

        if parts == 1:
            return gradient(batch, key)
        return _summed(gradient, _divided(batch, parts, activations.constrain), key)

    def train(state: State, batch: Batch) -> tuple[State, Metrics]:
        grads, nll = gradients(state, batch)
        weight, norm = batch.weight.sum(), optax.global_norm(grads)
        made = state.step - state.skipped
        found = jnp.stack([nll / jnp.maximum(weight, 1), norm])
        good = jnp.isfinite(found).all()
        usual = state.usual
        if usual is not None:
            good &= ~spikes.stands_out(usual, found, settings.spike)
            usual = spikes.updated(usual, found)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        average = averaged(state.average, params, settings.ema, made)
        new = State(params, opt_state, state.step, state.skipped, average, usual)
        new = jax.tree.map(lambda new, old: jnp.where(good, new, old), new, state)
        bad = 1 - good.astype(jnp.int32)
        new = new._replace(step=state.step + 1, skipped=state.skipped + bad)
        return new, Metrics(nll, weight, norm, schedule(made), bad.astype(jnp.float32))

    def evaluate(params: dict[str, jax.Array], batch: Batch) -> Sums:
        onsets = jnp.asarray(onset_tokens)[batch.target]
        nll = token_losses(logits_of(params, batch), batch.target) * batch.weight
        return Sums(nll.sum(), batch.weight.sum(), (onsets * batch.weight).sum())

    return Program(
        state=jax.tree.map(
            lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
            shape,
            layout,
        ),
        batch=rows,
        initial=jax.jit(initial, out_shardings=layout),
        train=jax.jit(
            train,
            in_shardings=(layout, rows),
            out_shardings=(layout, everywhere),
            donate_argnums=0,
        ),
        evaluate=jax.jit(evaluate, in_shardings=(where, rows), out_shardings=everywhere),
    )
