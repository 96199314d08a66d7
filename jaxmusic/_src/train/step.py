"""The train step and the validation step: pure functions, compiled once for a mesh."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxmusic import config as configs
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.core.events import Batch, Events
from jaxmusic._src.models import adapters, base, sharding
from jaxmusic._src.models.layout import Axes, Layout
from jaxmusic._src.models.params import NOTHING, Frozen, Output, Params
from jaxmusic._src.runs import weights
from jaxmusic._src.runs.state import State
from jaxmusic._src.train import objectives, spikes
from jaxmusic._src.train.objectives import Metrics
from jaxmusic._src.train.optimizer import averaged, make_optimizer, make_schedule


class Program:
    """A model, its objective and optimiser, and their layout on a mesh, ready to run.

    Attributes:
      state: abstract `State`, whose shapes carry the shardings that a state must have.
      batch: sharding of every array of a batch.
      initial: () -> the first state of a run, without what is frozen.
      train: (state, batch) -> (state, metrics); the state passed in is used up. Metrics are those
        of the objective, "weight" (its number of terms), "grad_norm" (before clipping),
        "learning_rate" and "skipped" (1 if the update was left out, as it was not finite or an
        outlier).
      evaluate: (params, frozen, batch) -> sums, see `Objective.evaluate`.
    """

    def __init__(
        self,
        experiment: configs.Experiment,
        vocab_size: int,
        onset_tokens: np.ndarray,
        mesh: Mesh,
    ):
        """Builds the steps of an experiment for a mesh; nothing is compiled yet.

        Args:
          experiment: model, objective, adapter, optimiser, batch, steps and seed are read from it.
          vocab_size: tokens of the codec.
          onset_tokens: bool [vocab_size], True for tokens that each stand for one note.
          mesh: where everything lives.

        Raises:
          UserError: settings make no sense, or do not divide over the mesh.
        """
        data, settings, model = experiment.data, experiment.optimizer, experiment.model
        rows = sharding.batch_sharding(mesh, data.batch, experiment.accumulate, data.context)
        self._experiment, self._vocab_size = experiment, vocab_size
        self._onset_tokens, self.batch = onset_tokens, rows
        self._layout = Layout(mesh)
        family, self._adapter = base.of(model), adapters.of(experiment.adapter)
        family.check(model, data.context, self._layout)

        axes, whole = family.axes(model, vocab_size), base.abstract_params(model, vocab_size)
        key = jax.eval_shape(lambda: jax.random.key(0))
        trained = jax.eval_shape(self._adapter.init, whole, key)
        trained_axes = self._adapter.axes(axes)
        self._where = where = sharding.shardings(trained_axes, trained, mesh)
        self._objective = objectives.of(experiment.objective)
        self._frozen = {
            "base": _base(experiment, axes, whole) if self._adapter.has_base else NOTHING,
            "objective": self._objective.frozen(vocab_size),
        }
        beside: dict[str, Any] = {
            name: sharding.shardings(part.axes, part.shapes, mesh)
            for name, part in self._frozen.items()
        }
        sharding.check_used(mesh, (where, beside, rows))
        self._optimizer = make_optimizer(settings, experiment.steps, trained_axes)
        self._schedule = make_schedule(settings, experiment.steps)

        everywhere = NamedSharding(mesh, PartitionSpec())
        shape = jax.eval_shape(self._initial)
        first = jax.tree.map(lambda _: everywhere, shape)._replace(
            params=where,
            opt_state=_beside(shape.opt_state, shape.params, where, everywhere),
            average=where if settings.ema else {},
        )
        places = first._replace(frozen=beside)
        self.state = jax.tree.map(
            lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
            shape._replace(frozen={name: dict(part.shapes) for name, part in self._frozen.items()}),
            places,
        )
        self.initial = jax.jit(self._initial, out_shardings=first)
        self.train = jax.jit(
            self._train,
            in_shardings=(places, rows),
            out_shardings=(places, everywhere),
            donate_argnums=0,
        )
        self.evaluate = jax.jit(
            self._evaluate, in_shardings=(where, beside, rows), out_shardings=everywhere
        )

    def merged(self, params: Params, frozen: dict[str, Params]) -> Params:
        """Returns the parameters of the whole model."""
        return self._adapter.merge(frozen["base"], params)

    def frozen(self) -> dict[str, Params]:
        """Loads what a step reads and never changes, laid out as `state.frozen`."""
        return {name: part.load(self.state.frozen[name]) for name, part in self._frozen.items()}

    def _initial(self) -> State:
        experiment, settings = self._experiment, self._experiment.optimizer
        model = experiment.model
        whole = base.of(model).init(model, self._vocab_size, experiment.seed)
        params = self._adapter.init(whole, jax.random.key(experiment.seed))
        dtype = jnp.result_type(*params.values())
        zero = jnp.zeros((), jnp.int32)
        return State(
            params=params,
            opt_state=self._optimizer.init(params),
            step=zero,
            skipped=zero,
            average=params if settings.ema else {},
            usual=spikes.nothing_yet(dtype) if settings.spike else None,
            frozen={name: {} for name in self._frozen},
        )

    def _train(self, state: State, batch: Batch) -> tuple[State, Metrics]:
        grads, loss, metrics = self._gradients(state, batch)
        weight, norm = self._objective.weight(batch), optax.global_norm(grads)
        rate = self._schedule(state.step - state.skipped)
        state, good = self._update(state, grads, jnp.stack([loss, norm]))
        bad = 1 - good.astype(jnp.int32)
        state = state._replace(step=state.step + 1, skipped=state.skipped + bad)
        return state, {
            **metrics,
            "weight": weight,
            "grad_norm": norm,
            "learning_rate": rate,
            "skipped": bad.astype(jnp.float32),
        }

    def _evaluate(self, params: Params, frozen: dict[str, Params], batch: Batch) -> Metrics:
        network, onsets = self._network(params, frozen), jnp.asarray(self._onset_tokens)
        return self._objective.evaluate(network, frozen["objective"], batch, onsets)

    def _network(self, params: Params, frozen: dict[str, Params]) -> objectives.Network:
        """Returns the model at some trained parameters, as a function of batch and dropout key."""
        model, whole = self._experiment.model, self.merged(params, frozen)

        def apply(batch: Batch, key: jax.Array | None) -> Output:
            return base.of(model).apply(
                whole, model, batch.events, batch.segment, key=key, layout=self._layout
            )

        return apply

    def _gradients(self, state: State, batch: Batch) -> tuple[Params, jax.Array, Metrics]:
        """Returns gradients and value of the mean loss over the whole global batch, and metrics.

        They are the same, up to rounding, into however many parts the batch is divided.
        """
        total = jnp.maximum(self._objective.weight(batch), 1)
        key, parts = None, self._experiment.accumulate
        if getattr(self._experiment.model, "dropout", 0):
            key = jax.random.fold_in(jax.random.key(self._experiment.seed), state.step)

        def gradient(part: Batch, key: Any) -> tuple[Params, jax.Array, Metrics]:
            def mean_loss(params: Params) -> tuple[jax.Array, Metrics]:
                network = self._network(params, state.frozen)
                loss, metrics = self._objective.loss(network, state.frozen["objective"], part, key)
                return loss / total, metrics

            (loss, metrics), grads = jax.value_and_grad(mean_loss, has_aux=True)(state.params)
            # Summed where they will be used, not everywhere.
            return jax.lax.with_sharding_constraint(grads, self._where), loss, metrics

        if parts == 1:
            return gradient(batch, key)
        return _summed(gradient, _divided(batch, parts, self._layout.constrain), key)

    def _update(self, state: State, grads: Params, found: jax.Array) -> tuple[State, jax.Array]:
        """Applies an update, unless its loss or gradient is not finite or an outlier.

        Args:
          state: the state before it.
          grads: gradients of what is trained.
          found: float [2], loss and norm of the gradient.

        Returns:
          The state, and whether it was updated (bool []).
        """
        settings, made = self._experiment.optimizer, state.step - state.skipped
        good, usual = jnp.isfinite(found).all(), state.usual
        if usual is not None:
            good &= ~spikes.stands_out(usual, found, settings.spike)
            usual = spikes.updated(usual, found)
        updates, opt_state = self._optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        average = averaged(state.average, params, settings.ema, made)
        new = state._replace(params=params, opt_state=opt_state, average=average, usual=usual)
        kept = jax.tree.map(lambda new, old: jnp.where(good, new, old), new, state)
        return kept._replace(frozen=state.frozen), good


def abstract_batch(program: Program, data: configs.Data) -> Batch:
    """Returns the shapes of a batch of that size, with their shardings."""
    row = jax.ShapeDtypeStruct((data.batch, data.context), np.int32, sharding=program.batch)
    weight = jax.ShapeDtypeStruct(row.shape, np.float32, sharding=program.batch)
    return Batch(Events(*[row] * len(Events._fields)), row, row, weight)


def lowered(program: Program, data: configs.Data) -> jax.stages.Lowered:
    """Makes the train step for batches of that size, ready to be compiled."""
    return program.train.lower(program.state, abstract_batch(program, data))


def _base(
    experiment: configs.Experiment,
    axes: Mapping[str, Axes],
    shapes: Mapping[str, jax.ShapeDtypeStruct],
) -> Frozen:
    """Returns the base under an adapter: the weights that the run starts from."""

    def load(like: Mapping[str, jax.ShapeDtypeStruct]) -> Params:
        return weights.restore_params(experiment.init_from, dict(like))[1]

    if not experiment.init_from:
        raise UserError("Set init_from to the model whose weights the adapter changes.")
    return Frozen(axes, shapes, load)


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
    """Splits the batch into [parts, rows, T]; every part has rows of every device."""

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

    first = jax.tree.map(lambda x: x[0], parts)
    zero = jax.tree.map(jnp.zeros_like, jax.eval_shape(gradient, first, key))
    return jax.lax.scan(one, zero, (parts, jnp.arange(len(parts.target))))[0]
