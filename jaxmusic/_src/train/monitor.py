"""What a run shows and writes down while it goes: a live line, a log and trackers."""

from __future__ import annotations

import contextlib
import math
import platform
import sys
import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import jax
from etils import epath
from tqdm.auto import tqdm

from jaxmusic import config as configs
from jaxmusic._src.cluster import peaks
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.models import base
from jaxmusic._src.runs import goodput, journal
from jaxmusic._src.runs.log import LOG, read_log
from jaxmusic._src.train import profiling, trackers
from jaxmusic._src.train.meter import Meter
from jaxmusic._src.train.objectives import Metrics


class Validation(NamedTuple):
    """Losses on the validation split.

    Attributes:
      loss: nats per token.
      loss_per_note: nats per note: all the tokens that it takes to state the music, shared among
        its notes. Unlike `loss` it can be compared between codecs.
      first: nats per token of the first batches alone, which every validation reads.
    """

    loss: float
    loss_per_note: float
    first: float


class Monitor:
    """Shows and records the progress of a run.

    The metrics of a step are read when the next step has been started, so that the device never
    waits for the host. A log line has the mean loss of the steps since the line before. Of several
    processes one records; all of them read the metrics and give up at the same step.
    """

    def __init__(
        self,
        run: epath.Path,
        experiment: configs.Experiment,
        step: int,
        seconds: float,
        vocab_size: int,
        *,
        began: float,
        progress: bool,
        record: bool,
    ):
        """Opens the log of a run.

        Args:
          run: the run's folder.
          experiment: its settings.
          step: steps made so far; what the log says about later ones is removed.
          seconds: time that the run has taken so far.
          vocab_size: tokens of the codec, for the FLOPs of a step.
          began: when this process started to work on the run, in seconds since 1970.
          progress: whether to show anything.
          record: whether to write anything: False in all processes of a run but one.
        """
        self._progress = progress and record
        # A run that is finished has nothing to add.
        record = record and step < experiment.steps
        self._every, self._patience = experiment.log_every, experiment.optimizer.patience
        self._seconds, self._started = seconds, time.perf_counter()
        lines = read_log(run, events=True) if record else []
        self._clock = goodput.Clock(goodput.past(lines, step, began), began)
        devices = jax.devices()
        peak = peaks.peak_flops(devices[0].device_kind) * len(devices)
        data = experiment.data
        flops = base.of(experiment.model).flops(experiment.model, vocab_size, data.context)
        self._log = journal.Journal(run / LOG, step) if record else None
        wanted = trackers.chosen(experiment.trackers) if record else []
        self._trackers = [make(run, experiment, step) for make in wanted]
        self._media = [t.media for t in self._trackers if hasattr(t, "media")]
        self._profiler = profiling.Profiler(run, experiment.profile if record else "")
        self._live = sys.stderr.isatty()
        self._bar = tqdm(
            total=experiment.steps,
            initial=step,
            unit="step",
            disable=not self._progress,
            mininterval=0.2 if self._live else 15,
            dynamic_ncols=True,
        )
        self._pending: tuple[int, Metrics] | None = None
        self._shown: dict[str, str] = {}
        self._made = self._begun = step
        self._steps, self._bad = experiment.steps, 0
        self._meter = Meter(flops * data.batch * data.context, peak)
        # An exception that is being handled around the run does not belong to it.
        self._outside = sys.exception()
        if record:
            start = {
                "start": 1 + sum("start" in line for line in lines),
                "devices": len(devices),
                "device": devices[0].device_kind,
                "host": platform.node(),
            }
            self.record(step, start | ({"peak_flops": peak} if peak else {}))

    @property
    def seconds(self) -> float:
        """Returns the run's time over all its starts, without what kills have lost."""
        return self._seconds + time.perf_counter() - self._started

    def note(self, text: str) -> None:
        """Shows a line above the live one."""
        if self._progress:
            tqdm.write(text, file=sys.stderr)

    @contextlib.contextmanager
    def waiting_for_data(self) -> Iterator[None]:
        """Counts the time inside as waiting for the data of the next step."""
        if self._profiler.begins(self._begun + 1):
            with self.aside("profiling"):
                self._profiler.start()
        start = time.perf_counter()
        self._clock.enter("data")
        yield
        self._clock.enter("training")
        self._meter.wait(time.perf_counter() - start)

    @contextlib.contextmanager
    def aside(self, doing: str) -> Iterator[None]:
        """Takes the time inside out of the training speed, and shows what is being done.

        Args:
          doing: one of `goodput.PARTS`.
        """
        self.flush()
        start = time.perf_counter()
        self._bar.set_description(doing, refresh=self._live)
        before = self._clock.enter(doing)
        if doing == "saving" and self._log:
            # A bucket has no line before it is asked to: no checkpoint without its lines.
            self._log.flush()
        yield
        self._clock.enter(before)
        self._bar.set_description("", refresh=self._live)
        spent = time.perf_counter() - start
        self._meter.aside(spent)
        if not self._bar.disable:
            # The time left is reckoned from training alone.
            self._bar.start_t += spent
            self._bar.last_print_t += spent
        if doing == "saving":
            self.record(self._made, {"checkpoint_seconds": spent})

    def doing(self, what: str) -> None:
        """Shows what is being done aside of training."""
        self._bar.set_description(what, refresh=False)
        self._bar.update(0)

    def step(self, step: int, metrics: Metrics) -> None:
        """Takes the metrics of a step that has been started, and reads those before."""
        self.flush()
        self._pending, self._begun = (step, metrics), step
        if self._profiler.ends(step):
            with self.aside("profiling"):
                self._end_profile()

    def flush(self) -> None:
        """Reads the metrics of the last step, waiting for it.

        Raises:
          UserError: if the updates of `optimizer.patience` steps in a row were left out.
        """
        if self._pending is None:
            return
        (self._made, metrics), self._pending = self._pending, None
        step, found = self._made, jax.device_get(metrics)
        self._bad = self._bad + 1 if found["skipped"] else 0
        if self._bad >= self._patience:
            finite = math.isfinite(found["nll"] + found["grad_norm"])
            why = "stood out" if finite else "was not a finite number"
            raise UserError(
                f"Lower optimizer.learning_rate and start a new run: the last {self._bad} updates "
                f"up to step {step} were left out, as the loss or the gradient {why}."
            )
        self._meter.step(found)
        self._bar.update()
        if step % self._every == 0:
            figures = self._meter.line()
            self._shown |= {
                "loss": f"{figures['loss']:.3f}",
                "tokens/s": f"{figures['tokens_per_s']:,.0f}",
                "data": f"{figures['data_wait']:.0%}",
            }
            if "mfu" in figures:
                self._shown["MFU"] = f"{figures['mfu']:.1%}"
            self._bar.set_postfix(self._shown, refresh=False)
            self.record(step, figures)

    def validation(
        self, step: int, found: Validation, others: Mapping[str, float] | None = None
    ) -> None:
        """Records a validation, and further figures of it by name."""
        self._shown["val"] = f"{found.loss:.3f}"
        losses = {
            "val_loss": found.loss,
            "val_loss_per_note": found.loss_per_note,
            "val_bits_per_note": found.loss_per_note / math.log(2),
        }
        self.record(step, {**losses, **(others or {})})

    def record(self, step: int, values: Mapping[str, float | str]) -> None:
        """Records figures of a step, by name, in the log and in all trackers."""
        if not self._log:
            return
        parts = self._clock.read()
        clock = {goodput.FIELD + name: round(seconds, 3) for name, seconds in parts.items()}
        values = {**values, "goodput": round(goodput.share(parts), 5), **clock}
        now = {"seconds": round(self.seconds, 3), "time": round(time.time(), 3)}
        self._log.write({"step": step, **values, **now})
        for tracker in self._trackers:
            tracker.record(step, values)

    @property
    def shows_media(self) -> bool:
        """Whether a tracker takes pictures and sound."""
        return bool(self._media)

    def media(self, step: int, name: str, suffix: str, data: bytes) -> None:
        """Hands a picture (.png) or sound (.wav) to the trackers that take them."""
        for take in self._media:
            take(step, name, suffix, data)

    def close(self) -> None:
        """Writes how the process ends, and closes everything."""
        self._end_profile()
        self._bar.close()
        if self._log:
            error = sys.exception()
            how = "finished" if self._made == self._steps else "stopped"
            if error is not self._outside:
                how = f"{type(error).__name__}: {error}".splitlines()[0][:200]
            self.record(self._made, {"end": how})
            self._log.close()
        for tracker in self._trackers:
            tracker.close()

    def _end_profile(self) -> None:
        where = self._profiler.stop()
        if where:
            self.note(
                f"A profile is in {where}: open it with TensorBoard (pip install tensorboard "
                "xprof), or its .trace.json.gz at ui.perfetto.dev."
            )
