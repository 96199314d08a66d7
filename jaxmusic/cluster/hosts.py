"""The processes of a run: finding one another, agreeing, and noticing when one is lost.

One process is a run of one: nothing is started for it, and all that follows is trivially true.
"""

from __future__ import annotations

import ctypes
import dataclasses
import os
import signal
import socket
from collections.abc import Callable, Mapping
from typing import Any

import jax

from jaxmusic import config as configs
from jaxmusic.cluster.lines import Lines, called, listed
from jaxmusic.cluster.roll import host_lines, join_lines
from jaxmusic.core.errors import UserError

ENVIRONMENT = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
CLUSTERS = ("slurm", "ompi", "gcetpu", "gketpu")
"""Environments, by JAX's names, that are asked about what the variables above leave open."""
MARGIN = 30
"""Seconds by which JAX's own time limits are longer than ours: it aborts without a sentence."""


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a process stands among those of its run.

    Attributes:
      address: name and port of process 0.
      count: processes.
      index: number of this one.
      devices: numbers of the accelerators that belong to this process; None for all of its host.
    """

    address: str
    count: int
    index: int
    devices: list[int] | None


class Hosts:
    """The processes of a run, as one of them sees them.

    Attributes:
      index: number of this process.
      count: processes.
      name: what to call this one, as in ``process 1 on node7``.
    """

    def __init__(self, lines: Lines | None = None):
        self._lines = lines
        self.index = lines.index if lines else 0
        self.count = len(lines.names) if lines else 1
        self.name = lines.names[lines.index] if lines else called(0, socket.gethostname())

    @property
    def first(self) -> bool:
        """Whether this process writes for all."""
        return self.index == 0

    @property
    def several(self) -> bool:
        """Whether there are others."""
        return self.count > 1

    def barrier(self, what: str, seconds: float) -> None:
        """Waits until all processes are here.

        Args:
          what: name of the barrier, never used before.
          seconds: how long to wait.

        Raises:
          Lost: naming the processes that did not come.
        """
        if self._lines:
            self._lines.ask(what, None, seconds, lambda values: None)

    def agree(self, what: str, facts: Mapping[str, Any], seconds: float) -> None:
        """Checks that all processes state the same facts; also a barrier.

        Raises:
          UserError: at every process, naming what differs and where.
          Lost: as `barrier`.
        """
        if self._lines:
            names = self._lines.names
            differences = self._lines.ask(
                what, dict(facts), seconds, lambda found: _differences(found, names)
            )
            if differences:
                raise UserError(
                    "Start every process with the same settings, data, code and devices: "
                    f"{differences}."
                )

    def tell(self, sentence: str, code: int) -> None:
        """Ends the run at all other processes, which say why and exit likewise."""
        if self._lines:
            self._lines.tell(sentence, code)

    def leave(self) -> None:
        """Ends the connection to the other processes, when all have done their work."""
        if self._lines:
            jax.distributed.shutdown()
            self._lines.leave()


_started: Hosts | None = None


def start(patience: configs.Hosts, ended: Callable[[str, int | None], None]) -> Hosts:
    """Finds the other processes of the run, if the environment says that there are any.

    To be called before anything touches a device. In a process that has called it before, this
    returns what it found then.

    Args:
      patience: how long to wait for the others.
      ended: called in another thread when one of them is lost or ends the run, see `Lines`.

    Raises:
      Lost: somebody did not come.
      UserError: the environment says only half, or JAX has been started already.
    """
    global _started
    if _started is None:
        if jax.distributed.is_initialized():
            raise UserError(
                f"Set {', '.join(ENVIRONMENT)} instead of calling jax.distributed.initialize: "
                "training starts it, so as to notice when a process is lost."
            )
        place = find(patience)
        _started = _joined(place, patience, ended) if place else Hosts()
    return _started


def find(patience: configs.Hosts) -> Place | None:
    """What the environment says of this process; None where it is the only one.

    ``JAX_COORDINATOR_ADDRESS``, ``JAX_NUM_PROCESSES`` and ``JAX_PROCESS_ID`` come first; what they
    leave open is asked of Slurm, Open MPI, and the metadata of TPU pods.
    """
    # The only way to ask JAX what `jax.distributed.initialize` would do.
    from jax._src.clusters import ClusterEnv

    address, *numbers = (os.environ.get(name) for name in ENVIRONMENT)
    try:
        count, index = (None if text is None else int(text) for text in numbers)
    except ValueError as error:
        raise UserError(f"Set {' and '.join(ENVIRONMENT[1:])} to numbers ({error}).") from error
    devices = None
    if None in (address, count, index):
        kinds = (kind for kind in ClusterEnv._cluster_types if kind.name in CLUSTERS)
        cluster = next((kind for kind in kinds if kind.is_env_present()), None)
        if cluster:
            count = cluster.get_process_count() if count is None else count
            if count > 1:
                index = cluster.get_process_id() if index is None else index
                port = os.environ.get("JAX_COORDINATOR_PORT")
                wait = int(patience.start)
                address = address or cluster.get_coordinator_address(wait, port)
            if cluster.name in ("slurm", "ompi") and not _alone_on_its_host():
                local = cluster.get_local_process_id()
                devices = None if local is None else [local]
    if count == 1 or (address, count, index) == (None, None, None):
        return None
    values = dict(zip(ENVIRONMENT, (address, count, index)))
    missing = [name for name, value in values.items() if value is None]
    if missing:
        raise UserError(f"Set {' and '.join(missing)} too, or none of {', '.join(ENVIRONMENT)}.")
    assert address is not None and count is not None and index is not None
    if not 0 <= index < count or ":" not in address:
        raise UserError(
            f"Set JAX_PROCESS_ID to a number below JAX_NUM_PROCESSES={count}, and "
            f"JAX_COORDINATOR_ADDRESS to HOST:PORT: they are {index} and {address!r}."
        )
    return Place(address, count, index, devices)


def _alone_on_its_host() -> bool:
    """Whether the launcher started one process on each host: it then uses all its accelerators."""
    slurm = os.environ.get("SLURM_STEP_TASKS_PER_NODE", os.environ.get("SLURM_TASKS_PER_NODE", ""))
    ours = os.environ.get("OMPI_COMM_WORLD_LOCAL_SIZE", slurm)
    return ours.partition("(")[0] == "1"


def _joined(
    place: Place, patience: configs.Hosts, ended: Callable[[str, int | None], None]
) -> Hosts:
    """Calls the roll, then starts JAX's own coordination on the same port."""
    name, _, port = place.address.rpartition(":")
    host = socket.gethostname()
    if place.index:
        names, found = join_lines(
            (name.strip("[]"), int(port)), place.index, place.count, host, patience.start
        )
    else:
        bind = os.environ.get("JAX_COORDINATOR_BIND_ADDRESS", f":{port}").rpartition(":")
        listen = (bind[0].strip("[]").strip(":"), int(bind[2]))
        try:
            names, found = host_lines(listen, place.count, host, patience.start)
        except OSError as error:
            raise UserError(
                f"Choose another port than {listen[1]} for JAX_COORDINATOR_ADDRESS: it cannot be "
                f"opened on {host} ({error.strerror})."
            ) from error
    lines = Lines(place.index, names, found, patience.lost, ended)
    _delay_aborts()
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(
        place.address,
        place.count,
        place.index,
        local_device_ids=place.devices,
        cluster_detection_method="deactivate",
        initialization_timeout=int(patience.start) + MARGIN,
        heartbeat_timeout_seconds=int(patience.lost) + MARGIN,
        shutdown_timeout_seconds=MARGIN,
    )
    return Hosts(lines)


def _delay_aborts() -> None:
    """Has ``abort`` wait for some seconds, in which our lines say which process is lost.

    JAX aborts a process as soon as its connection to process 0 breaks, a moment before the thread
    that watches our line to process 0 gets to say so. The C function ``sleep`` is allowed in a
    handler of signals; called as one it sleeps for SIGABRT's number, 6, in seconds, and then the
    process ends as it would have.
    """
    libc = ctypes.CDLL(None)
    libc.signal.argtypes, libc.signal.restype = [ctypes.c_int, ctypes.c_void_p], ctypes.c_void_p
    libc.signal(signal.SIGABRT, ctypes.cast(libc.sleep, ctypes.c_void_p))


def _differences(found: list[dict[str, Any]], names: list[str]) -> str:
    """Which facts differ, and who states what."""
    parts = []
    for fact in sorted(set().union(*found)):
        who: dict[str, list[str]] = {}
        for name, facts in zip(names, found):
            who.setdefault(str(facts.get(fact, "nothing")), []).append(name)
        if len(who) > 1:
            said = ", ".join(f"{value} on {listed(where)}" for value, where in who.items())
            parts.append(f"{fact} is {said}")
    return "; ".join(parts)
