"""Settings as JSON and as names on the command line, for any dataclass of `jaxmusic.config`."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from typing import Any, TypeVar

T = TypeVar("T")


def to_json(config: Any) -> str:
    """A dataclass as indented JSON."""
    return json.dumps(dataclasses.asdict(config), indent=2)


def flat(config: Any) -> dict[str, Any]:
    """Every setting of a dataclass by its name on the command line, as in ``model.layers``."""
    out: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            out |= {f"{field.name}.{name}": inner for name, inner in flat(value).items()}
        else:
            out[field.name] = value
    return out


def from_json(cls: type[T], text: str) -> T:
    """Reads what `to_json` wrote; raises ValueError on an unknown field or a wrong type."""
    return _build(cls, json.loads(text), "")


def _build(cls: Any, values: Any, where: str) -> Any:
    if not isinstance(values, dict):
        raise ValueError(f"{where or cls.__name__} must be an object, not {values!r}")
    hints = typing.get_type_hints(cls)
    unknown = sorted(set(values) - {f.name for f in dataclasses.fields(cls)})
    if unknown:
        names = ", ".join(f.name for f in dataclasses.fields(cls))
        raise ValueError(f"{where}{unknown[0]} is not a field of {cls.__name__}; it has: {names}")
    out = {}
    for name, value in values.items():
        hint = hints[name]
        if dataclasses.is_dataclass(hint):
            out[name] = _build(hint, value, f"{where}{name}.")
        else:
            kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
            if float in kinds and isinstance(value, int) and not isinstance(value, bool):
                value = float(value)
            if type(value) not in kinds:
                raise ValueError(f"{where}{name} must be {hint}, not {value!r}")
            out[name] = value
    return cls(**out)
