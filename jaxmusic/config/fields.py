"""Markers of settings, kept as metadata of their fields."""

from __future__ import annotations

import dataclasses
from typing import Any


def resumable(default: Any) -> Any:
    """Declares a setting that may change when a run is resumed.

    It affects no earlier steps, and later ones only by rounding.
    """
    return dataclasses.field(default=default, metadata={"resumable": True})


def resumable_group(factory: Any) -> Any:
    """Declares a group of `resumable` settings."""
    return dataclasses.field(default_factory=factory, metadata={"resumable": True})


def local(default: Any) -> Any:
    """Declares a `resumable` setting that may differ between the hosts of a run."""
    return dataclasses.field(default=default, metadata={"resumable": True, "local": True})


def listed(separator: str) -> Any:
    """Declares a text, empty by default, that may also be given as a list of its parts."""
    return dataclasses.field(default="", metadata={"separator": separator})
