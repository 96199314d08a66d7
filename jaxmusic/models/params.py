"""Parameters of a model by name, and the names of their axes."""

from __future__ import annotations

from typing import Any

import jax
from flax import nnx


def named(params: nnx.State) -> dict[str, Any]:
    """Parameters as a flat dictionary, such as ``{"layers.query": ...}``."""
    flat, _ = jax.tree_util.tree_flatten_with_path(params)
    return {
        ".".join(part.key for part in path if isinstance(part, jax.tree_util.DictKey)): leaf
        for path, leaf in flat
    }


def unnamed(like: nnx.State, values: dict[str, Any]) -> nnx.State:
    """The reverse of `named`, for parameters of the same shape as `like`."""
    return jax.tree.unflatten(jax.tree.structure(like), [values[name] for name in named(like)])


def axes_of(params: nnx.State) -> dict[str, tuple[str, ...]]:
    """Names of the axes of each parameter, by its name."""
    variables = jax.tree.leaves(params, is_leaf=lambda leaf: isinstance(leaf, nnx.Variable))
    return dict(zip(named(params), [v.get_metadata()["axes"] for v in variables]))
