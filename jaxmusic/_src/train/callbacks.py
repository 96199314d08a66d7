"""Callbacks, which look at the model now and then while it trains and change nothing in it.

A callback is a class with `every` that is made from the session and called with the steps made and
the weights. `config.Experiment.callbacks` names those of a run; add your own to `CALLBACKS`. A
callback that fails is reported and written to the log, and training continues.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import jax

from jaxmusic import config as configs
from jaxmusic._src.core.errors import UserError, explained
from jaxmusic._src.models.params import Params
from jaxmusic._src.train import samples
from jaxmusic._src.train.session import Session


class Callback(Protocol):
    """What a callback is.

    Attributes:
      every: steps from one call to the next; it is called after the last step as well. 0 for never.
    """

    every: int

    def __call__(self, step: int, params: Params) -> None:
        """Looks at the weights that compose.

        Args:
          step: steps made.
          params: arrays on the first device, by name; they are gone after the call.
        """


CALLBACKS: dict[str, Callable[[Session], Callback]] = {"samples": samples.Samples}
"""Callbacks that an experiment can name; add your own before the training starts."""


def check(experiment: configs.Experiment) -> None:
    """Raises UserError if an experiment wants a callback that cannot be."""
    for name in experiment.callbacks.split():
        if name not in CALLBACKS:
            raise UserError(
                f"Set callbacks to some of: {' '.join(CALLBACKS)}, or add {name!r} to "
                "jaxmusic.train.callbacks.CALLBACKS in the Python file of your config."
            )
    samples.check(experiment.samples)


class Callbacks:
    """The callbacks of a run; the first of several processes calls them, and the others wait."""

    def __init__(self, session: Session):
        """Makes the callbacks; a run that is finished has none."""
        self._session, self._said = session, set[str]()
        self._callbacks: dict[str, Callback] = {}
        experiment = session.experiment
        if session.step >= experiment.steps:
            return
        made = {name: CALLBACKS[name](session) for name in experiment.callbacks.split()}
        made = {name: callback for name, callback in made.items() if callback.every}
        weights = session.state.weights.values()
        if made and session.hosts.several and not all(x.is_fully_replicated for x in weights):
            session.monitor.note(
                f"Nothing comes of the callbacks {' and '.join(made)}: no process has all of the "
                "parameters. Compose from checkpoints with jaxmusic generate meanwhile."
            )
            return
        self._callbacks = made

    def after(self, step: int, weights: Params) -> None:
        """Calls those whose turn it is after a step."""
        last = step == self._session.experiment.steps
        due = {n: call for n, call in self._callbacks.items() if last or step % call.every == 0}
        if not due:
            return
        with self._session.aside("composing"):
            if self._session.hosts.first:
                params = {name: _here(x) for name, x in weights.items()}
                for name, callback in due.items():
                    try:
                        callback(step, params)
                    except Exception as error:
                        self._failed(name, step, error)
            self._session.wait(f"the callbacks after step {step}")

    def _failed(self, name: str, step: int, error: Exception) -> None:
        """Writes a failure down, and says it the first time."""
        lines = (explained(error) or f"{type(error).__name__}: {error}").splitlines()
        sentence = f"{name}: {lines[0][:300]}"
        self._session.monitor.record(step, {"callback_failed": sentence})
        if sentence not in self._said:
            self._said.add(sentence)
            self._session.monitor.note(
                f"The training goes on, but after step {step} this went wrong in {sentence}"
            )


def _here(x: jax.Array) -> jax.Array:
    """Moves an array to the first device of this process."""
    whole = x.addressable_data(0) if x.is_fully_replicated else x
    return jax.device_put(whole, jax.local_devices()[0])
