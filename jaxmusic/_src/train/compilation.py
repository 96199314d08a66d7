"""Keeping compiled programs, so that the same command starts at once the second time."""

from __future__ import annotations

import hashlib
import pathlib
import platform

import jax

from jaxmusic._src.core import paths

MAX_BYTES = 1 << 30
"""The programs that were not used for longest are deleted where all together are larger."""


def keep_compiled() -> None:
    """Has JAX keep what takes over a second to compile, in ``~/.cache/jaxmusic/programs``.

    For programs only: a library must not change the settings of who imports it. A folder set with
    ``JAX_COMPILATION_CACHE_DIR`` is left alone. What is loaded is the very program that was
    compiled before, so that a resumed run computes the same bits. Machines that share a home
    folder but not the kind of CPU get folders of their own. No folder grows beyond `MAX_BYTES`.
    """
    if jax.config.values["jax_compilation_cache_dir"]:
        return
    jax.config.update("jax_compilation_cache_dir", str(paths.cache() / "programs" / _machine()))
    jax.config.update("jax_compilation_cache_max_size", MAX_BYTES)


def _machine() -> str:
    """Hashes the instruction set of this machine's CPU."""
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    text = f"{platform.machine()} {platform.processor()} {flags}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]
