"""jaxmusic trains music models in JAX at any scale, and composes with them.

>>> import jaxmusic
>>> model = jaxmusic.load("runs/pop")
>>> sequence = model.generate(style="pop", duration=180.0, seed=1)
>>> jaxmusic.write(sequence, "song.mid")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from jaxmusic._src.core.errors import Cancelled, UserError
from jaxmusic.version import __version__

if TYPE_CHECKING:
    from jaxmusic._src.formats.files import read, write
    from jaxmusic._src.generate.composition import Composition
    from jaxmusic._src.model import MusicModel, load

__all__ = [
    "Cancelled",
    "Composition",
    "MusicModel",
    "UserError",
    "__version__",
    "load",
    "read",
    "write",
]

# Imported when first used, so that importing jaxmusic is quick and touches no device.
_HOMES = {
    "Composition": "jaxmusic._src.generate.composition",
    "load": "jaxmusic._src.model",
    "MusicModel": "jaxmusic._src.model",
    "read": "jaxmusic._src.formats.files",
    "write": "jaxmusic._src.formats.files",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'jaxmusic' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
