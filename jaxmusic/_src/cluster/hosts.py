"""The processes of a run: finding one another, agreeing, and ending together.

JAX's coordination service, which process 0 hosts, does the work: it keeps heartbeats, barriers and
a few values that any process can set. A process that loses another one is aborted by JAX, and its
supervisor starts it again. One process is a run of one, for which nothing is started.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, NoReturn

import jax

from jaxmusic import config as configs
from jaxmusic._src.core.errors import UserError

ENVIRONMENT = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
CLUSTERS = ("slurm", "ompi", "gcetpu", "gketpu")
"""Environments, by JAX's names, that are asked about what the variables above leave open."""
END = "jaxmusic/end"
"""Name of the value by which a process ends the run for all; empty when the run is finished."""
LINGER = 2.0
"""Seconds that the others have to read why the run ends, as the values are gone with process 0."""
NEVER = 10**9
"""Milliseconds: eleven days, longer than one start of a run lasts."""


class Place(NamedTuple):
    """Where a process stands among those of its run; first arguments of JAX's `initialize`.

    Attributes:
      address: name and port of process 0.
      processes: how many there are.
      number: of this one.
      devices: numbers of the accelerators that belong to this process; None for all of its host.
    """

    address: str
    processes: int
    number: int
    devices: list[int] | None


class Hosts:
    """The processes of a run, as one of them sees them.

    Attributes:
      index: number of this process.
      count: processes.
      name: what to call this one, as in ``process 1 on node7``.
    """

    def __init__(self, index: int = 0, count: int = 1):
        self.index, self.count = index, count
        self.name = f"process {index} on {socket.gethostname()}"
        self._listening: threading.Thread | None = None
        self._ending = False

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
          jax.errors.JaxRuntimeError: naming the processes that did not come.
        """
        if self.several:
            _client().wait_at_barrier(what, int(1000 * seconds))

    def agree(self, what: str, facts: Mapping[str, Any], seconds: float) -> None:
        """Checks that this process states the same facts as process 0; also a barrier.

        Raises:
          UserError: naming what differs and where.
          jax.errors.JaxRuntimeError: as `barrier`.
        """
        if not self.several:
            return
        ours = {name: str(value) for name, value in facts.items()}
        if self.first:
            _client().key_value_set(what, json.dumps([self.name, ours]))
        else:
            found = _client().blocking_key_value_get(what, int(1000 * seconds))
            first, theirs = json.loads(found)
            differences = [
                f"{name} is {theirs.get(name)} on {first}, {ours.get(name)} on {self.name}"
                for name in sorted(ours.keys() | theirs)
                if ours.get(name) != theirs.get(name)
            ]
            if differences:
                raise UserError(
                    "Start every process with the same settings, data, code and devices: "
                    f"{'; '.join(differences)}."
                )
        self.barrier(what, seconds)

    def listen(self, ended: Callable[[str], NoReturn]) -> None:
        """Calls a function in another thread when another process has ended the run."""

        def wait() -> None:
            try:
                sentence = _client().blocking_key_value_get(END, NEVER)
            except jax.errors.JaxRuntimeError:
                return  # process 0 is lost: JAX ends this process
            if sentence and not self._ending:
                if self.first:
                    time.sleep(LINGER)
                ended(sentence)

        if self.several:
            self._listening = threading.Thread(target=wait, name="listening", daemon=True)
            self._listening.start()

    def tell(self, sentence: str) -> None:
        """Ends the run at all other processes, which say why; this one has to end next."""
        if self.several:
            self._ending = True
            _client().key_value_set(END, f"{self.name}: {sentence}")
            time.sleep(LINGER)

    def leave(self) -> None:
        """Ends the connection to the other processes, when all have done their work."""
        if self._listening:
            if self.first:
                _client().key_value_set(END, "")
            self._listening.join()
            jax.distributed.shutdown()


def start(patience: configs.Hosts) -> Hosts:
    """Finds the other processes of the run, if the environment says that there are any.

    To be called before anything touches a device. Where a process does not come, JAX aborts this
    one.

    Args:
      patience: how long to wait for the others.

    Raises:
      UserError: the environment says only half, or JAX has been started already.
    """
    if jax.distributed.is_initialized():
        raise UserError(
            f"Set {', '.join(ENVIRONMENT)} instead of calling jax.distributed.initialize: training "
            "starts it, so as to notice when a process is lost."
        )
    place = find(int(patience.start))
    if place is None:
        return Hosts()
    _join(place, patience)
    return Hosts(place.number, place.processes)


def find(seconds: int) -> Place | None:
    """Reads the role of this process from the environment; None if it is the only one.

    ``JAX_COORDINATOR_ADDRESS``, ``JAX_NUM_PROCESSES`` and ``JAX_PROCESS_ID`` come first; what they
    leave open is asked of Slurm, Open MPI, and the metadata of TPU pods, within `seconds`.
    """
    # The only way to ask JAX what `jax.distributed.initialize` would do.
    from jax._src.clusters import ClusterEnv

    address, *numbers = (os.environ.get(name) for name in ENVIRONMENT)
    count, index = (int(text) if text and text.isdigit() else None for text in numbers)
    kinds = (kind for kind in ClusterEnv._cluster_types if kind.name in CLUSTERS)
    cluster = next((kind for kind in kinds if kind.is_env_present()), None)
    devices = None
    if cluster and None in (address, count, index):
        count = cluster.get_process_count() if count is None else count
        if count > 1:
            index = cluster.get_process_id() if index is None else index
            port = os.environ.get("JAX_COORDINATOR_PORT")
            address = address or cluster.get_coordinator_address(seconds, port)
        if cluster.name in ("slurm", "ompi") and not _alone_on_its_host():
            local = cluster.get_local_process_id()
            devices = None if local is None else [local]
    if count == 1 or not (cluster or address or any(numbers)):
        return None
    if address is None or ":" not in address or count is None or index is None or index >= count:
        given = ", ".join(f"{name}={os.environ.get(name, '')}" for name in ENVIRONMENT)
        raise UserError(
            f"Set {ENVIRONMENT[0]} to HOST:PORT, {ENVIRONMENT[1]} to the number of processes and "
            f"{ENVIRONMENT[2]} to a number from 0 below it, or none of them, not {given}."
        )
    return Place(address, count, index, devices)


def _alone_on_its_host() -> bool:
    """Tells whether the launcher started one process per host, which uses all its accelerators."""
    slurm = os.environ.get("SLURM_STEP_TASKS_PER_NODE", os.environ.get("SLURM_TASKS_PER_NODE", ""))
    ours = os.environ.get("OMPI_COMM_WORLD_LOCAL_SIZE", slurm)
    return ours.partition("(")[0] == "1"


def _join(place: Place, patience: configs.Hosts) -> None:
    """Starts JAX's coordination and waits for the other processes."""
    us = f"process {place.number} of {place.processes}"
    said = f"{us}: waiting for the others at {place.address}, up to {patience.start:g} s"
    print(said, file=sys.stderr, flush=True)
    # At NONE, which the command line sets, JAX aborts without saying which process is lost.
    os.environ["GRPC_VERBOSITY"] = "ERROR"
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(
        *place,
        cluster_detection_method="deactivate",
        initialization_timeout=int(patience.start),
        heartbeat_timeout_seconds=int(patience.lost),
        shutdown_timeout_seconds=int(patience.start),
    )


def _client() -> Any:
    """Returns the connection to JAX's coordination service; there is no public name for it."""
    from jax._src import distributed

    return distributed.global_state.client
