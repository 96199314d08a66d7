"""Settings as JSON and as names on the command line, for any dataclass of `jaxmusic.config`."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import reprlib
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from jaxmusic._src.core import outside
from jaxmusic._src.core.errors import UserError

T = TypeVar("T")


def to_json(config: Any) -> str:
    """Writes a dataclass as indented JSON; a member of a union has its `KIND` as ``kind``."""
    return json.dumps(plain(config), indent=2)


def plain(config: Any) -> dict[str, Any]:
    """Returns a dataclass as dictionaries, as `to_json` writes it."""
    out = {"kind": config.KIND} if hasattr(config, "KIND") else {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        out[field.name] = plain(value) if dataclasses.is_dataclass(value) else value
    return out


def flat(config: Any) -> dict[str, Any]:
    """Returns every setting by its name on the command line, as in ``model.layers``."""
    return {name: value for name, value, _ in _walk(config, "", frozenset())}


def marked(config: Any, mark: str) -> set[str]:
    """Returns the names, as in `flat`, of the settings whose field has a mark in its metadata."""
    return {name for name, _, marks in _walk(config, "", frozenset()) if mark in marks}


def _walk(
    config: Any, where: str, marks: frozenset[str]
) -> Iterator[tuple[str, Any, frozenset[str]]]:
    if hasattr(config, "KIND"):
        yield f"{where}kind", config.KIND, marks
    for field in dataclasses.fields(config):
        value, own = getattr(config, field.name), marks | set(field.metadata)
        if dataclasses.is_dataclass(value):
            yield from _walk(value, f"{where}{field.name}.", own)
        else:
            yield f"{where}{field.name}", value, own


def from_json(
    cls: type[T],
    text: str | bytes,
    where: object = "the settings",
    remedy: str = outside.RESTORE,
) -> T:
    """Reads what `to_json` wrote.

    Args:
      cls: the dataclass.
      text: the JSON.
      where: what it is called, as in the name of its file.
      remedy: what to do where it is wrong, which opens the message.

    Raises:
      UserError: it is no such JSON, has an unknown field, or a value of a wrong type or range.
    """
    values = outside.parse(text, dict[str, Any], where, remedy)
    try:
        return _build(cls, values, "")
    except ValueError as error:
        raise UserError(f"{remedy}: {where} cannot be read ({str(error).rstrip('.')}).") from error


def members(hint: Any) -> dict[str, Any]:
    """Returns the dataclasses of a union by their `KIND`; empty for any other type."""
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return {cls.KIND: cls for cls in kinds if hasattr(cls, "KIND")}


def replaced(config: T, values: Mapping[str, Any]) -> T:
    """Returns a dataclass with other values for some fields.

    Integers become floats where a field takes these, and lists of a field that is declared as
    `jaxmusic.config.fields.listed` become text.

    Raises:
      UserError: a field takes no value of that type.
    """
    hints, changed = typing.get_type_hints(type(config)), {}
    for field in dataclasses.fields(config):  # type: ignore[arg-type]
        if field.name not in values:
            continue
        value, hint = values[field.name], hints[field.name]
        if (separator := field.metadata.get("separator")) and isinstance(value, list | tuple):
            value = separator.join(map(str, value))
        try:
            changed[field.name] = _of_type(hint, value)
        except TypeError as error:
            raise UserError(f"{field.name} must be {error}, not {value!r}") from None
    return dataclasses.replace(config, **changed)  # type: ignore[type-var]


def _of_type(hint: Any, value: Any) -> Any:
    """Returns a value as one of the types of a hint; raises TypeError, which names these."""
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if getattr(value, "ndim", None) == 0:  # a number of NumPy's
        value = value.item()
    if float in kinds and isinstance(value, int) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):  # a range says what is wrong with it
            value = float(value)
    if type(value) not in kinds:
        names = [kind.__name__ for kind in kinds if kind is not types.NoneType]
        raise TypeError(" or ".join(names))
    return value


def _build(cls: Any, values: Any, where: str) -> Any:
    if not isinstance(values, dict):
        shown = reprlib.repr(values)
        raise ValueError(f"{where or cls.__name__} must be an object, not {shown}")
    if kinds := members(cls):
        values = dict(values)
        kind = values.pop("kind", next(iter(kinds)))
        if not isinstance(kind, str) or kind not in kinds:
            shown = reprlib.repr(kind)
            raise ValueError(f"{where}kind must be {' or '.join(kinds)}, not {shown}")
        cls = kinds[kind]
    hints = typing.get_type_hints(cls)
    unknown = sorted(set(values) - {f.name for f in dataclasses.fields(cls)})
    if unknown:
        names = ", ".join(f.name for f in dataclasses.fields(cls))
        raise ValueError(f"{where}{unknown[0]} is not a field of {cls.__name__}; it has: {names}")
    out = {}
    for name, value in values.items():
        hint = hints[name]
        if dataclasses.is_dataclass(hint) or members(hint):
            out[name] = _build(hint, value, f"{where}{name}.")
        else:
            try:
                out[name] = _of_type(hint, value)
            except TypeError as error:
                shown = reprlib.repr(value)
                raise ValueError(f"{where}{name} must be {error}, not {shown}") from None
    return cls(**out)
