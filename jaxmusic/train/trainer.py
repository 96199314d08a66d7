"""The training loop."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from etils import epath

from jaxmusic import config as configs
from jaxmusic.codecs.base import Codec
from jaxmusic.codecs.registry import make_codec
from jaxmusic.data.loader import Loader
from jaxmusic.errors import UserError
from jaxmusic.events import Batch, Events
from jaxmusic.parallel.hosts import Hosts
from jaxmusic.parallel.mesh import make_mesh
from jaxmusic.train import agreement, checkpoint
from jaxmusic.train import run as runs
from jaxmusic.train.monitor import Monitor, Validation
from jaxmusic.train.signals import Stop
from jaxmusic.train.step import Program, State, make_program
from jaxmusic.train.watchdog import ASIDE, Watchdog


@dataclasses.dataclass(frozen=True)
class Result:
    """How a call of `train` ended.

    Attributes:
      run: the run's folder.
      step: steps made; all of them are in the last checkpoint.
      signal: number of the signal that stopped the run before its end, 0 if none did.
      val_loss: nats per token on the validation split; None if it was not measured.
      val_loss_per_note: nats per note, likewise.
      seconds: time that the run has taken, over all its starts.
    """

    run: epath.Path
    step: int
    signal: int
    val_loss: float | None
    val_loss_per_note: float | None
    seconds: float

    @property
    def stopped(self) -> bool:
        """Whether a signal stopped the run before its end."""
        return self.signal != 0


def train(
    experiment: configs.Experiment,
    run: str | epath.Path,
    progress: bool = True,
    hosts: Hosts | None = None,
    watchdog: Watchdog | None = None,
) -> Result:
    """Trains a model, or goes on training it: a run goes on from its last checkpoint.

    The parameters at the end depend on the experiment and the dataset alone, bit for bit on the
    same devices, however often the run was stopped or killed. Ctrl-C, SIGTERM, SIGUSR1 and SIGUSR2
    let the present step end, save and return.

    Args:
      experiment: all settings.
      run: folder of the run, new or begun with the same settings; several processes share it.
      progress: whether to show progress on stderr.
      hosts: all processes of the run, see `jaxmusic.parallel.hosts.start`; None for this one alone.
      watchdog: told of all that moves; None for nobody.

    Returns:
      Where the run stands.

    Raises:
      UserError: something is wrong that the user can put right.
      Lost: another process is.
    """
    path = runs.folder(run)
    _check(experiment)
    hosts, watchdog = hosts or Hosts(), watchdog or Watchdog(0)
    if hosts.count != jax.process_count():
        raise UserError(
            "Start the processes of a run by jaxmusic.parallel.hosts.start, as jaxmusic train does."
        )
    with (
        runs.locked(path, hosts),
        runs.explained(path),
        Stop(hosts.several) as stop,
    ):
        session = _Session(experiment, path, progress, hosts, watchdog)
        try:
            result = _loop(session, stop)
        except BaseException:
            # To close the checkpoints would wait for the other processes.
            if not hosts.several:
                session.close()
            raise
        session.close()
        return result


def _loop(session: _Session, stop: Stop) -> Result:
    experiment, monitor = session.experiment, session.monitor
    state, step, found = session.state, session.step, session.found
    batches = session.data.iterate(step, jax.process_index(), jax.process_count())
    while step < experiment.steps and not stop.now(step):
        with monitor.waiting_for_data():
            batch = session.place(next(batches))
        with jax.transfer_guard("disallow"):
            state, metrics = session.train_step(state, batch)
        step, found = step + 1, None
        monitor.step(step, metrics)
        session.watchdog.moved()
        if _due(step, experiment.eval_every, experiment.steps):
            with session.aside("validating"):
                found = session.validate(step, state.params)
        if _due(step, experiment.checkpoint_every, experiment.steps):
            with session.aside("saving"):
                session.save(step, state, found)
    monitor.flush()
    with session.aside("saving"):
        if step != session.saved:
            session.save(step, state, found)
        session.checkpoints.wait()
    if step < experiment.steps:
        monitor.note(f"Saved at step {step}: run the same command again to go on.")
    return Result(
        run=session.run,
        step=step,
        signal=stop.signal if step < experiment.steps else 0,
        val_loss=found.loss if found else None,
        val_loss_per_note=found.loss_per_note if found else None,
        seconds=monitor.seconds,
    )


def _due(step: int, every: int, last: int) -> bool:
    return every > 0 and (step % every == 0 or step == last)


class _Session:
    """What the loop works with: data, steps, the state to start from, checkpoints and monitor.

    Attributes:
      run: the run's folder.
      experiment: the settings.
      data: the training split.
      checkpoints: the run's checkpoints.
      monitor: its display and log.
      state: the state to start from.
      step: steps it has made.
      saved: step of the last checkpoint.
      found: validation at `step`, if there was one.
      train_step: the compiled train step.
      watchdog: told of all that moves.
    """

    def __init__(
        self,
        experiment: configs.Experiment,
        run: epath.Path,
        progress: bool,
        hosts: Hosts,
        watchdog: Watchdog,
    ):
        stored = runs.claim(run, experiment)
        self.run, self.experiment, self.watchdog = run, experiment, watchdog
        self._open_data(stored)
        if stored is None:
            stored = runs.Stored(
                experiment,
                self.data.codec,
                self.data.dataset,
                self.data.manifest,
                self.data.styles,
            )
        _same_data(run, stored, self.data)
        patience = _patience(experiment)
        facts = agreement.facts(experiment, self.data, checkpoint.steps(run))
        hosts.agree("the comparison of settings", facts, patience)
        mesh = make_mesh(experiment.mesh)
        self._program = make_program(
            experiment, self.data.codec.vocab_size, self.data.codec.onset_tokens, mesh
        )
        # Only now is it sure that the settings make sense.
        runs.write(run, stored, hosts, patience)
        self.checkpoints = checkpoint.Checkpoints(run, experiment.keep)
        self.step = self.saved = self.checkpoints.latest() or 0
        self.state, info, origin = self._start()
        validation = info.get("validation")
        self.found = Validation(**validation) if validation else None
        show = progress and hosts.first
        self.monitor = Monitor(
            run, self.step, experiment.steps, experiment.log_every, show, info["seconds"]
        )
        self.monitor.note(f"{run}: {origin}.")
        if self.step < experiment.steps:
            with self.aside("compiling"):
                self.train_step = _compiled(self._program, experiment.data)
                # The first collective waits for less long than a compilation may take.
                hosts.barrier("the end of compiling", patience)
        watchdog.started()

    def _open_data(self, stored: runs.Stored | None) -> None:
        experiment = self.experiment
        data = experiment.data
        if stored:
            # A newer version of the dataset does not get into a run that has begun.
            codec, data = stored.codec, dataclasses.replace(data, dataset=stored.dataset)
        else:
            codec = make_codec(experiment.codec)
            source = experiment.resume_from or experiment.init_from
            if source:
                codec = _inherited(source, codec)
        self.data = Loader(data, codec, "train", experiment.seed)
        self._validation = None
        if experiment.eval_every:
            self._validation = Loader(data, self.data.codec, "validation", experiment.seed)

    def _start(self) -> tuple[State, dict[str, Any], str]:
        """The state to start from, what was saved with it, and where it comes from in words."""
        like, experiment = self._program.state, self.experiment
        if self.step:
            state, info = self.checkpoints.restore(self.step, like)
            done = self.step == experiment.steps
            origin = "finished at" if done else "going on from its own checkpoint of"
            return state, info, f"{origin} step {self.step}"
        if experiment.resume_from:
            step, state = checkpoint.restore_state(runs.folder(experiment.resume_from), like)
            if step >= experiment.steps:
                raise UserError(
                    f"Set steps to more than the {step} that {experiment.resume_from} has made."
                )
            self.step = step
            origin = f"going on from the state of {experiment.resume_from} at step {step}"
            return state, {"seconds": 0.0}, origin
        state, origin = self._program.initial(), "starting from scratch"
        if experiment.init_from:
            path = runs.folder(experiment.init_from)
            step, params = checkpoint.restore_params(path, like.params)
            state = state._replace(params=params)
            origin = f"starting from the weights of {experiment.init_from} at step {step}"
        return state, {"seconds": 0.0}, origin

    @contextlib.contextmanager
    def aside(self, doing: str) -> Iterator[None]:
        """For what is not a step: it has its own time, and is shown."""
        with self.watchdog.aside(doing), self.monitor.aside(doing):
            yield

    def place(self, batch: Batch) -> Batch:
        """Puts a whole batch, or this process's rows of it, where the steps want them."""
        shape = (self.experiment.data.batch, self.experiment.data.context)
        return jax.tree.map(
            lambda x: jax.make_array_from_process_local_data(self._program.batch, x, shape), batch
        )

    def validate(self, step: int, params: dict[str, jax.Array]) -> Validation:
        """Measures the loss on the first batches of the validation split; at the end on all."""
        assert self._validation is not None
        experiment = self.experiment
        batches = iter(self._validation.evaluation())
        if step < experiment.steps:
            batches = itertools.islice(batches, experiment.eval_batches)
        nll = weight = notes = 0.0
        first = math.nan
        for count, batch in enumerate(batches, start=1):
            self.monitor.doing(f"validating, batch {count}")
            self.watchdog.moved()
            sums = jax.device_get(self._program.evaluate(params, self.place(batch)))
            nll, weight, notes = nll + sums.nll, weight + sums.weight, notes + sums.notes
            if count <= experiment.eval_batches:
                first = nll / max(weight, 1)
        found = Validation(float(nll / max(weight, 1)), float(nll / max(notes, 1)), float(first))
        self.monitor.validation(step, found)
        return found

    def save(self, step: int, state: State, found: Validation | None) -> None:
        """Starts to save a checkpoint."""
        info = {
            "step": step,
            "seconds": self.monitor.seconds,
            "validation": found and found._asdict(),
            "dataset": self.data.dataset,
            "manifest": self.data.manifest,
            "codec": self.data.codec.fingerprint,
        }
        self.checkpoints.save(step, state, info, found.first if found else None)
        self.saved = step

    def close(self) -> None:
        """Ends background threads and closes files."""
        self.checkpoints.close()
        self.monitor.close()


def _compiled(program: Program, data: configs.Data) -> Any:
    row = jax.ShapeDtypeStruct((data.batch, data.context), np.int32, sharding=program.batch)
    weight = jax.ShapeDtypeStruct(row.shape, np.float32, sharding=program.batch)
    batch = Batch(Events(*[row] * len(Events._fields)), row, row, weight)
    return program.train.lower(program.state, batch).compile()


def _inherited(source: str, codec: Codec) -> Codec:
    """The codec of the run whose weights are taken, if it has the layout of the one asked for."""
    found = runs.read(source).codec
    if found.fingerprint != codec.fingerprint:
        theirs = found.config
        raise UserError(
            f"Set codec.kind to {theirs.kind}, codec.steps_per_beat to {theirs.steps_per_beat} and "
            f"codec.velocities to {theirs.velocities}, as in {source}, whose weights know only "
            "these tokens."
        )
    return found


def _patience(experiment: configs.Experiment) -> float:
    """Seconds that a process waits for the slowest one to come to the same place."""
    return ASIDE * (experiment.watchdog or configs.Experiment.watchdog)


def _same_data(run: epath.Path, stored: runs.Stored, data: Loader) -> None:
    if data.manifest != stored.manifest:
        raise UserError(
            f"Bring back the files of dataset {stored.dataset} that {run} was started with, or "
            "start a new run: those that are there now have other content."
        )


def _check(experiment: configs.Experiment) -> None:
    for name in ("steps", "eval_batches", "checkpoint_every", "keep", "log_every"):
        if getattr(experiment, name) < 1:
            raise UserError(f"Set {name} to at least 1, not {getattr(experiment, name)}.")
    if experiment.eval_every < 0:
        raise UserError("Set eval_every to at least 1, or to 0 for no validation.")
