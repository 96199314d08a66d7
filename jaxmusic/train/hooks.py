"""Hooks: what looks at the model now and then while it trains, and leaves the training as it is.

A hook is a class with `every` that is made from the session and called with the steps made and the
weights. Which ones a run has, `config.Experiment.hooks` names. Another one joins by its entry in
`HOOKS`. A hook that fails is reported and written to the log, and training continues.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import jax

from jaxmusic import config as configs
from jaxmusic.core.errors import UserError, explained
from jaxmusic.train import samples
from jaxmusic.train.session import Session

Params = dict[str, jax.Array]


class Hook(Protocol):
    """What a hook is.

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


Factory = Callable[[Session], Hook]
HOOKS: dict[str, Factory] = {"samples": samples.Samples}
"""Hooks that an experiment can name; add your own before the training starts."""


def check(experiment: configs.Experiment) -> None:
    """Raises UserError if an experiment wants a hook that cannot be."""
    for name in experiment.hooks.split():
        if name not in HOOKS:
            raise UserError(
                f"Set hooks to some of: {' '.join(HOOKS)}, or add {name!r} to "
                "jaxmusic.train.hooks.HOOKS in the Python file of your config."
            )
    samples.check(experiment.samples)


class Hooks:
    """The hooks of a run; of several processes the first one calls them, and the others wait."""

    def __init__(self, session: Session):
        """Makes the hooks; a run that is finished has none."""
        self._session, self._said = session, set[str]()
        self._hooks: dict[str, Hook] = {}
        experiment = session.experiment
        if session.step >= experiment.steps:
            return
        made = {name: HOOKS[name](session) for name in experiment.hooks.split()}
        self._hooks = {name: hook for name, hook in made.items() if hook.every}
        weights = session.state.weights.values()
        if session.hosts.several and not all(x.is_fully_replicated for x in weights):
            if self._hooks:
                names = " and ".join(self._hooks)
                session.monitor.note(
                    f"Nothing comes of the hooks {names}: no process has all of the parameters. "
                    "Compose from checkpoints with jaxmusic generate meanwhile."
                )
            self._hooks = {}

    def after(self, step: int, weights: Params) -> None:
        """Calls the hooks whose turn it is after a step."""
        last = step == self._session.experiment.steps
        due = {n: hook for n, hook in self._hooks.items() if last or step % hook.every == 0}
        if not due:
            return
        with self._session.aside("composing"):
            if self._session.hosts.first:
                params = {name: _here(x) for name, x in weights.items()}
                for name, hook in due.items():
                    try:
                        hook(step, params)
                    except Exception as error:
                        self._failed(name, step, error)
            self._session.wait(f"the hooks after step {step}")

    def _failed(self, name: str, step: int, error: Exception) -> None:
        """Writes a failure down, and says it the first time."""
        lines = (explained(error) or f"{type(error).__name__}: {error}").splitlines()
        sentence = f"{name}: {lines[0][:300]}"
        self._session.monitor.record(step, {"hook_failed": sentence})
        if sentence not in self._said:
            self._said.add(sentence)
            self._session.monitor.note(
                f"The training goes on, but after step {step} this went wrong in {sentence}"
            )


def _here(x: jax.Array) -> jax.Array:
    """An array on the first device of this process."""
    whole = x.addressable_data(0) if x.is_fully_replicated else x
    return jax.device_put(whole, jax.local_devices()[0])
