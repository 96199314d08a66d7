"""Compiling the train step for TPUs that are not here."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from collections.abc import Sequence
from typing import Any

import jax

from jaxmusic import config as configs
from jaxmusic._src.cluster.topology import Topology
from jaxmusic._src.codecs.base import Codec
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.planning.arithmetic import Memory
from jaxmusic._src.train.step import Program, lowered

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def devices(topology: Topology) -> Sequence[jax.Device]:
    """Returns the TPUs of a topology, for which programs can be compiled but not run.

    Raises:
      UserError: there is no compiler for TPUs here, or no such slice.
    """
    if importlib.util.find_spec("libtpu") is None:
        raise UserError(
            "Install the compiler for TPUs with pip install 'jaxmusic[plan]': without it only GPUs "
            "can be planned for."
        )
    from jax.experimental import topologies

    options: dict[str, Any] = {"num_slices": topology.slices} if topology.slices > 1 else {}
    if topology.name.startswith("v4"):
        # Both cores of a chip as one device, as Cloud TPUs have it.
        options["chip_config_name"] = "megacore"
    try:
        return topologies.get_topology_desc(
            platform="tpu", topology_name=topology.name, **options
        ).devices
    except jax.errors.JaxRuntimeError as error:
        if "INVALID_ARGUMENT" not in str(error):
            raise
        shape = " x ".join(map(str, topology.shape))
        raise UserError(
            f"Choose another shape than {topology.name}: there are no slices of {shape} chips."
        ) from error


def compile_step(
    experiment: configs.Experiment, codec: Codec, topology: Topology, mesh: jax.sharding.Mesh
) -> tuple[str, Memory]:
    """Returns the compiled train step of an experiment as text, and what it needs on each chip.

    The text is empty if the compiler refused the step, because it needs too much memory.
    """
    program = Program(experiment, codec.vocab_size, codec.onset_tokens, mesh)
    ready = lowered(program, experiment.data)
    try:
        compiled = ready.compile()
    except jax.errors.JaxRuntimeError as error:
        memory = refused(str(error))
        if memory is None:
            raise
        return "", memory
    found: Any = compiled.memory_analysis()
    sizes = (
        found.argument_size_in_bytes,
        found.temp_size_in_bytes,
        found.output_size_in_bytes,
        found.generated_code_size_in_bytes,
    )
    total = sum(sizes) - found.alias_size_in_bytes
    try:
        text = compiled.as_text() or ""
    except jax.errors.JaxRuntimeError as error:
        version = importlib.metadata.version("libtpu")
        raise UserError(
            f"Install the compiler for TPUs that belongs to JAX {jax.__version__} with pip install "
            f"'jaxmusic[plan]': what libtpu {version} makes cannot be read."
        ) from error
    return text, Memory(*sizes, total, topology.chip.memory)


def refused(message: str) -> Memory | None:
    """Reads the memory that a program needs from the compiler's error; None for other errors."""
    size = r"\(?([\d.]+)([KMGT]?)B?\)?"
    found = re.search(rf"{size} exceeds available HBM {size}", message)
    found = found or re.search(rf"Used {size} of {size} hbm", message)
    if "RESOURCE_EXHAUSTED" not in message or found is None:
        return None
    total, available = (float(found[i]) * _UNITS[found[i + 1]] for i in (1, 3))
    return Memory(None, None, None, None, total, available)
