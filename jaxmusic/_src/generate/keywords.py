"""Controls and sampling as keyword arguments of methods, see `jaxmusic.config.options`."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import secrets
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from jaxmusic import config
from jaxmusic._src.core import settings
from jaxmusic._src.core.errors import UserError
from jaxmusic.config.fields import SEEDS

F = TypeVar("F", bound=Callable[..., Any])


def shown(options: type) -> Callable[[F], F]:
    """Shows the members of a TypedDict in the signature of a function with ``**options``.

    So that `help` and the completion of notebooks name each of them, with its type and default.
    """
    groups = {"controls": config.Controls(), "sampling": config.Sampling()}
    defaults = {name: value for group in groups.values() for name, value in vars(group).items()}
    defaults |= groups

    def decorate(function: F) -> F:
        signature = inspect.signature(function)
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        only = inspect.Parameter.KEYWORD_ONLY
        extra = [
            inspect.Parameter(name, only, default=defaults[name], annotation=hint)
            for name, hint in typing.get_type_hints(options).items()
        ]
        shown = signature.replace(parameters=[*own, *extra])
        function.__signature__ = shown  # type: ignore[attr-defined]
        return function

    return decorate


def read(options: Mapping[str, Any], **named: Any) -> tuple[config.Controls, config.Sampling]:
    """Reads keyword arguments; draws a seed where there is none.

    Args:
      options: fields of controls and sampling, and these themselves under their names.
      **named: further fields, None for those that are not given.

    Raises:
      UserError: there is no such option, or it is of the wrong type or out of range.
    """
    values = dict(options) | {name: value for name, value in named.items() if value is not None}
    groups: list[Any] = []
    for name, kind in (("controls", config.Controls), ("sampling", config.Sampling)):
        group = values.pop(name, kind())
        if not isinstance(group, kind):
            raise UserError(f"{name} must be a config.{kind.__name__}, not {group!r}")
        groups.append(group)
    known = {field.name for group in groups for field in dataclasses.fields(group)}
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            there = f"do you mean {near[0]}?" if near else f"choose from {', '.join(sorted(known))}"
            raise UserError(f"there is no option {name!r}: {there}")
    controls, sampling = (settings.replaced(group, vars(group) | values) for group in groups)
    if controls.seed is None:
        controls = dataclasses.replace(controls, seed=secrets.randbelow(SEEDS))
    return controls, sampling
