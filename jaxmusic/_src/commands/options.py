"""Options of commands, made from the groups of settings in `config`: names, help and values."""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import textwrap
import typing
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Annotated, Any, TypeVar

import tyro

F = TypeVar("F", bound=Callable[..., Any])
METAVARS = {
    **dict.fromkeys(("data_dir", "manual_dir"), "DIR"),
    **dict.fromkeys(("out", "wav", "png", "labels"), "FILE"),
    "duration": "TIME",
    "request_duration": "TIME",
    "key": "KEY",
    "meter": "METER",
    "style": "STYLE",
    "instruments": "LIST",
    "chords": "CHORDS",
    "form": "FORM",
    "energy": "LEVELS",
    "temperatures": "KIND=T",
    "where": "CONDITIONS",
    "split": "SPLIT",
    "name": "NAME",
    "beam_runner": "RUNNER",
    "off_grid": "WAY",
}
"""Names of values in the help; other numbers are N, other texts TEXT."""
TITLES = {
    "Controls": "music",
    "Sampling": "sampling",
    "Output": "output",
    "Prepare": "preparing",
    "Evaluation": "measuring",
}
"""Titles of groups of options in the help."""


@functools.cache
def texts(group: type) -> dict[str, str]:
    """Returns the description of each field of a dataclass: the string that follows it."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(group))).body
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for field, said in zip(tree.body, tree.body[1:]):
        if isinstance(field, ast.AnnAssign) and isinstance(said, ast.Expr):
            assert isinstance(field.target, ast.Name) and isinstance(said.value, ast.Constant)
            found[field.target.id] = " ".join(str(said.value.value).split())
    return found


def options(group: type, names: Iterable[str] | None = None) -> Any:
    """Makes the type of an argument whose fields are options.

    Args:
      group: a dataclass in `config` with a default for each field.
      names: fields to take; all by default.
    """
    hints, told, defaults = typing.get_type_hints(group), texts(group), group()
    fields: list[tuple[str, Any, Any]] = []
    for name in names or told:
        hint, default = hints[name], getattr(defaults, name)
        if str in typing.get_args(hint):
            hint = str  # what it means is read later
        settings: dict[str, Any] = {"help": told[name]}
        if hint is not bool:
            number = {int, float} & {hint, *typing.get_args(hint)}
            settings["metavar"] = METAVARS.get(name, "N" if number else "TEXT")
        if not default or default is True:  # the text says what that means
            settings["help_behavior_hint"] = ""
        marks = (tyro.conf.FlagCreatePairsOff,) if hint is bool else ()
        hint = Annotated[(hint, tyro.conf.arg(**settings), *marks)]
        fields.append((name, hint, dataclasses.field(default=default)))
    return dataclasses.make_dataclass(group.__name__, fields, frozen=True)


def grouped(command: F, only: Mapping[str, Iterable[str]] = MappingProxyType({})) -> F:
    """Turns arguments of a command that are groups of settings into options, field by field.

    Args:
      command: its arguments with such a group as their default are turned.
      only: fields to take of a group, by the name of its argument; else all.
    """
    signature, hints = inspect.signature(command), typing.get_type_hints(command, None, None, True)
    groups: dict[str, Any] = {
        p.name: type(p.default)
        for p in signature.parameters.values()
        if dataclasses.is_dataclass(p.default)
    }

    @functools.wraps(command)
    def run(*args: Any, **given: Any) -> Any:
        made = {n: group(**vars(given[n])) for n, group in groups.items() if n in given}
        return command(*args, **given | made)

    parameters = []
    for parameter in signature.parameters.values():
        name = parameter.name
        hint, default = hints.get(name, Any), parameter.default
        if name in groups:
            made = options(groups[name], only.get(name))
            title = TITLES[groups[name].__name__]
            hint = Annotated[made, tyro.conf.arg(name=title), tyro.conf.OmitArgPrefixes]
            default = made()
        parameters.append(parameter.replace(annotation=hint, default=default))
    del run.__wrapped__  # whose types the parser would read
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return typing.cast(F, run)
