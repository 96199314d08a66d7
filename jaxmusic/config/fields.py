"""What a setting is free to do, kept beside the setting itself as metadata of its field."""

from __future__ import annotations

import dataclasses
from typing import Any


def resumable(default: Any) -> Any:
    """Declares a setting that may change when a run is resumed.

    It changes nothing that earlier steps have computed and, up to rounding, nothing that later
    ones will.
    """
    return dataclasses.field(default=default, metadata={"resumable": True})


def resumable_group(factory: Any) -> Any:
    """Declares a group of settings all of which are `resumable`."""
    return dataclasses.field(default_factory=factory, metadata={"resumable": True})


def local(default: Any) -> Any:
    """Declares a `resumable` setting of which each host of a run may have a value of its own."""
    return dataclasses.field(default=default, metadata={"resumable": True, "local": True})
