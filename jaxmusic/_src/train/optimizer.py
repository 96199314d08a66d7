"""The optimiser: clipping, AdamW or Muon, the schedule of the learning rate, and the average."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax
from optax.contrib import MuonDimensionNumbers

from jaxmusic import config as configs
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.models.layout import Axes

NamedAxes = Mapping[str, Axes]
"""Names of the axes of each parameter, by its name."""
_ADAM_RMS = 0.2
"""Root mean square of AdamW's updates, to which Muon's are scaled (Liu et al. 2025)."""


def make_schedule(config: configs.Optimizer, steps: int) -> optax.Schedule:
    """Makes the learning-rate schedule, counted in updates from 0.

    It rises linearly so that update `warmup - 1` has the peak. ``cosine`` then falls along half a
    cosine to `final` times the peak at the last update (Loshchilov and Hutter 2017); ``wsd`` stays
    and falls linearly over the last `decay` of all updates (warm-up, stable, decay; Hu et al. 2024,
    MiniCPM).

    Args:
      config: shape, peak, warm-up and final share.
      steps: updates in all.

    Returns:
      A function from the number of updates made so far to the rate of the next one.

    Raises:
      UserError: if the warm-up is not shorter than the run, or the schedule is none.
    """
    if config.warmup >= steps:
        raise UserError(
            f"Set optimizer.warmup to fewer than the {steps} steps of the run, not {config.warmup}."
        )
    if config.schedule not in _FALLING:
        raise UserError(
            f"Set optimizer.schedule to {' or '.join(_FALLING)}, not {config.schedule!r}."
        )
    falling = _FALLING[config.schedule]

    def rate(count: jax.Array) -> jax.Array:
        # The widest type there is: float32, or float64 where JAX enables it.
        update = jnp.asarray(count, float) + 1
        rising = update / max(config.warmup, 1)
        share = jnp.clip((update - config.warmup) / (steps - config.warmup), 0, 1)
        decay = min(1.0, config.decay * steps / (steps - config.warmup))
        fallen = config.final + (1 - config.final) * falling(share, decay)
        return config.learning_rate * jnp.where(update <= config.warmup, rising, fallen)

    return rate


_FALLING: dict[str, Callable[[jax.Array, float], jax.Array]] = {
    "cosine": lambda share, decay: 0.5 * (1 + jnp.cos(jnp.pi * share)),
    "wsd": lambda share, decay: jnp.clip((1 - share) / decay, 0, 1),
}
"""From 1 to 0 over the share of the updates after the warm-up that are made, of which the last
`decay` are for the decay."""


def make_optimizer(
    config: configs.Optimizer, steps: int, axes: NamedAxes
) -> optax.GradientTransformation:
    """Makes the optimiser `config.name`, after clipping to a global norm.

    Weight decay applies to matrices: those of the layers, stacked as they are, and the embeddings;
    not to the scales of norms.

    Args:
      config: its settings.
      steps: updates in all, for the schedule.
      axes: names of the axes of each parameter.

    Raises:
      UserError: there is no such optimiser or schedule, or the warm-up is too long.
    """
    if config.name not in OPTIMIZERS:
        raise UserError(f"Set optimizer.name to {' or '.join(OPTIMIZERS)}, not {config.name!r}.")
    steer = OPTIMIZERS[config.name](config, make_schedule(config, steps), axes)
    return optax.chain(optax.clip_by_global_norm(config.clip), *steer)


Arrays = dict[str, jax.Array]


def averaged(average: Arrays, params: Arrays, decay: float, made: jax.Array) -> Arrays:
    """Updates the running average of the parameters.

    The average starts at the first parameters, and its decay rises from 1 / 10 to `decay`, so that
    they are soon forgotten: min(decay, (1 + t) / (10 + t)) after t updates.

    Args:
      average: the average so far, by name; empty where none is kept.
      params: the parameters after the update, by name.
      decay: share of the average that stays.
      made: int32 [], updates before this one.
    """

    def moved(old: jax.Array, new: jax.Array) -> jax.Array:
        keep = jnp.minimum(decay, (1 + made) / (10 + made)).astype(old.dtype)
        return old + (1 - keep) * (new - old)

    return {name: moved(old, params[name]) for name, old in average.items()}


Steer = tuple[optax.GradientTransformation, ...]


def _adamw(config: configs.Optimizer, rate: optax.Schedule, axes: NamedAxes) -> Steer:
    """Makes AdamW (Loshchilov and Hutter 2019)."""
    return (
        optax.scale_by_adam(b1=config.b1, b2=config.b2),
        optax.add_decayed_weights(config.weight_decay, mask=_matrices(axes)),
        optax.scale_by_learning_rate(rate),
    )


def _muon(config: configs.Optimizer, rate: optax.Schedule, axes: NamedAxes) -> Steer:
    """Makes Muon (Jordan et al. 2024) for the matrices of the layers, AdamW for all else.

    Both look ahead along their momentum (Nesterov), as Optax's `muon` has it. Updates are as large
    as AdamW's, so that learning rates carry over (Liu et al. 2025).
    """
    return (
        optax.contrib.muon(
            rate,
            weight_decay=config.weight_decay,
            adam_b1=config.b1,
            adam_b2=config.b2,
            adam_weight_decay=config.weight_decay,
            weight_decay_mask=_matrices(axes),
            muon_weight_dimension_numbers={name: _sides(a) for name, a in axes.items()},
            consistent_rms=_ADAM_RMS,
        ),
    )


OPTIMIZERS: dict[str, Callable[[configs.Optimizer, optax.Schedule, NamedAxes], Steer]] = {
    "adamw": _adamw,
    "muon": _muon,
}
"""What `config.Optimizer.name` may be: any other of Optax's is one more line, such as

    "lion": lambda c, rate, axes: (optax.lion(rate, c.b1, c.b2, mask=_matrices(axes)),),

and what it keeps for the parameters is split over the mesh as they are."""


def _matrices(axes: NamedAxes) -> dict[str, bool]:
    """Tells which parameters are matrices, stacked over layers or not."""
    return {name: len([a for a in names if a != "layers"]) >= 2 for name, names in axes.items()}


def _sides(names: Axes) -> MuonDimensionNumbers | None:
    """Returns the input and output axes of a layer's matrix; None for other parameters.

    One of the two sides is the residual stream, ``embed``; heads and their width are one side.
    """
    if names[0] != "layers" or len(names) < 3:
        return None
    inner = tuple(range(1, len(names)))
    if names[1] == "embed":
        return MuonDimensionNumbers(inner[:1], inner[1:])
    return MuonDimensionNumbers(inner[:-1], inner[-1:])
