"""Adapters: the parameters that a run trains, and merging them with frozen ones.

An adapter works on parameters as a flat dictionary. It is one class and one line in `ADAPTERS`; its
configuration is a dataclass in `jaxmusic.config`, a member of the union `config.Adapter`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import jax

from jaxmusic import config as configs
from jaxmusic._src.models.layout import Axes
from jaxmusic._src.models.params import Params


class Adapter(Protocol):
    """Trainable parameters beside a frozen base.

    Attributes:
      has_base: whether the parameters of the model are frozen; False if they are trained.
    """

    has_base: bool

    def init(self, params: Params, key: jax.Array) -> Params:
        """Initialises the trainable parameters from those of the base."""

    def axes(self, axes: Mapping[str, Axes]) -> dict[str, Axes]:
        """Returns the axes of the trainable parameters from those of the base."""

    def merge(self, base: Params, trained: Params) -> Params:
        """Returns the parameters of the whole model; differentiable in `trained`."""


class Full:
    """Trains the parameters of the model themselves."""

    has_base = False

    def __init__(self, config: configs.Full):
        """Takes its configuration."""

    def init(self, params: Params, key: jax.Array) -> Params:
        """Returns the parameters of the model."""
        return params

    def axes(self, axes: Mapping[str, Axes]) -> dict[str, Axes]:
        """Returns the axes of the parameters of the model."""
        return dict(axes)

    def merge(self, base: Params, trained: Params) -> Params:
        """Returns the trained parameters."""
        return trained


ADAPTERS: dict[str, Callable[[Any], Adapter]] = {configs.Full.KIND: Full}
"""Adapters by the kind of their configuration."""


def of(config: configs.Adapter) -> Adapter:
    """Makes the adapter of a configuration; raises UserError on an impossible setting."""
    return ADAPTERS[config.KIND](config)
