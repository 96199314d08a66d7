"""Base and fields of settings: ranges of numbers and other marks, kept as metadata of the fields.

Every number has a range, an interval as in `core.ranges`.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from jaxmusic._src.core import ranges

SEEDS = 2**32
"""Number of random seeds."""
SEED = f"[0, {SEEDS - 1}]"
STEP = "[0, 2147483647]"
"""Of steps, which the train step counts in an int32."""
SIZE, COUNT, MANY = "[1, 1048576]", "[0, 1000000000]", "[1, 1000000000]"
"""Of lengths of an axis of an array; of numbers of things, none among them; of at least one."""
WORKERS = "[0, 1024]"


class Settings:
    """Base of all groups of settings; a number out of the range of its field is a UserError."""

    _group: ClassVar[str] = ""

    def __init_subclass__(cls, group: str = "", **rest: Any) -> None:
        """Keeps the name that the group has in an experiment, which precedes those of fields."""
        super().__init_subclass__(**rest)
        cls._group = f"{group}." if group else ""

    def __post_init__(self) -> None:
        """Checks all numbers."""
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            if allowed := field.metadata.get("range"):
                value, kinds = getattr(self, field.name), str(field.type).split(" | ")
                if (value is None and "None" in kinds) or (type(value) is str and "str" in kinds):
                    continue
                ranges.check(self._group + field.name, value, allowed, "float" not in kinds)


def number(default: Any, allowed: str, **marks: bool) -> Any:
    """Declares a number and its range."""
    return dataclasses.field(
        default=default, metadata=marks | ({"range": allowed} if allowed else {})
    )


def resumable(default: Any, allowed: str = "") -> Any:
    """Declares a setting, a number if it has a range, that may change when a run is resumed.

    It affects no earlier steps, and later ones only by rounding.
    """
    return number(default, allowed, resumable=True)


def resumable_group(factory: Any) -> Any:
    """Declares a group of `resumable` settings."""
    return dataclasses.field(default_factory=factory, metadata={"resumable": True})


def local(default: Any, allowed: str = "") -> Any:
    """Declares a `resumable` setting that may differ between the hosts of a run."""
    return number(default, allowed, resumable=True, local=True)


def listed(separator: str) -> Any:
    """Declares a text, empty by default, that may also be given as a list of its parts."""
    return dataclasses.field(default="", metadata={"separator": separator})
