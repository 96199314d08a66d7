"""The training loop."""

from __future__ import annotations

import dataclasses

import jax
from etils import epath

from jaxmusic import config as configs
from jaxmusic._src.cluster.hosts import Hosts
from jaxmusic._src.cluster.signals import Stop
from jaxmusic._src.cluster.watchdog import Watchdog
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.runs import folder as runs
from jaxmusic._src.train import callbacks, profiling, trackers
from jaxmusic._src.train.session import Session


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
    """Trains a model, or continues a run from its last checkpoint.

    The parameters at the end depend on the experiment and the dataset alone, bit for bit on the
    same devices, however often the run was stopped or killed. Ctrl-C, SIGTERM, SIGUSR1 and SIGUSR2
    let the present step end, save and return.

    Args:
      experiment: all settings.
      run: folder of the run, new or begun with the same settings; several processes share it.
      progress: whether to show progress on stderr.
      hosts: all processes of the run, see `cluster.hosts.start`; None for this one alone.
      watchdog: gets a heartbeat after every step; optional.

    Returns:
      Where the run stands.

    Raises:
      UserError: something is wrong that the user can put right.
    """
    path = runs.folder(run)
    _check(experiment)
    hosts, watchdog = hosts or Hosts(), watchdog or Watchdog(0)
    if hosts.count != jax.process_count():
        raise UserError(
            "Start the processes of a run by jaxmusic.cluster.hosts.start, as jaxmusic train does."
        )
    with (
        runs.locked(path, hosts),
        runs.explained(path),
        Stop(hosts.several) as stop,
    ):
        session = Session(experiment, path, progress, hosts, watchdog)
        try:
            result = _loop(session, callbacks.Callbacks(session), stop)
        except BaseException:
            # To close the checkpoints would wait for the other processes.
            if not hosts.several:
                session.close()
            raise
        session.close()
        return result


def _loop(session: Session, calls: callbacks.Callbacks, stop: Stop) -> Result:
    experiment, monitor = session.experiment, session.monitor
    state, step, found = session.state, session.step, session.found
    batches = session.data.iterate(step, *session.rows())
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
                found = session.validate(step, state)
        # Before the checkpoint, so that a resumed run starts from weights that callbacks have seen.
        calls.after(step, session.weights(state))
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


def _check(experiment: configs.Experiment) -> None:
    trackers.chosen(experiment.trackers)
    profiling.profiled(experiment.profile)
    callbacks.check(experiment)
