"""What all processes of a run must have in common before they start."""

from __future__ import annotations

import hashlib
import pathlib
from collections.abc import Sequence
from typing import Any

import jax

from jaxmusic import config as configs
from jaxmusic._src.core import settings
from jaxmusic._src.data.loader import Loader
from jaxmusic.version import __version__


def facts(experiment: configs.Experiment, data: Loader, steps: Sequence[int]) -> dict[str, Any]:
    """Collects what must be the same in all processes, by name, in short values.

    Args:
      experiment: the settings.
      data: the training split.
      steps: steps of the run's checkpoints: hosts that see others have another disk before them.
    """
    shared = settings.flat(experiment)
    for name in settings.marked(experiment, "local"):
        del shared[name]
    own = [device for device in jax.devices() if device.process_index == jax.process_index()]
    return {
        **shared,
        "dataset": f"{data.dataset} of content {data.manifest[:12]}",
        "codec": data.codec.fingerprint[:12],
        "last checkpoint in the run's folder": steps[-1] if steps else "none",
        "jaxmusic": f"{__version__} of source {_source()}",
        "jax": jax.__version__,
        "kind of devices": own[0].device_kind,
        "number of devices": len(own),
    }


def _source() -> str:
    """Hashes the package's source files."""
    package = pathlib.Path(__file__).resolve().parents[2]
    total = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        total.update(str(path.relative_to(package)).encode() + b"\0" + path.read_bytes())
    return total.hexdigest()[:12]
