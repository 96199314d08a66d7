"""What a run shows and writes down while it goes: a live line, a log and TensorBoard."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

import jax
from etils import epath
from tqdm import tqdm

from jaxmusic.errors import UserError
from jaxmusic.train import run as runs
from jaxmusic.train.step import Metrics

LOG, TENSORBOARD = "log.jsonl", "tensorboard"
PATIENCE = 20
"""Steps in a row without a finite loss after which a run gives up."""


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
    waits for the host. A log line has the mean loss of the steps since the line before.
    """

    def __init__(
        self, run: epath.Path, step: int, steps: int, log_every: int, progress: bool, seconds: float
    ):
        """Opens the log of a run.

        Args:
          run: the run's folder.
          step: steps made so far; what the log says about later ones is removed.
          steps: steps in all.
          log_every: steps between lines.
          progress: whether to show anything.
          seconds: time that the run has taken so far.
        """
        from tensorboardX import SummaryWriter

        self._progress = progress
        self._every = log_every
        self._seconds, self._started = seconds, time.perf_counter()
        # Process 0 writes for all.
        first = jax.process_index() == 0
        self._log = (_shortened(run / LOG, step) if first else epath.Path(os.devnull)).open("a")
        self._board = SummaryWriter(
            str(run / TENSORBOARD), purge_step=step + 1, write_to_disk=first
        )
        self._live = sys.stderr.isatty()
        self._bar = tqdm(
            total=steps,
            initial=step,
            unit="step",
            disable=not progress,
            mininterval=0.2 if self._live else 15,
            dynamic_ncols=True,
        )
        self._pending: tuple[int, Metrics] | None = None
        self._shown: dict[str, str] = {}
        self._bad = 0
        self._clear()

    @property
    def seconds(self) -> float:
        """Time that the run has taken, over all its starts."""
        return self._seconds + time.perf_counter() - self._started

    def note(self, text: str) -> None:
        """Shows a line above the live one."""
        if self._progress:
            tqdm.write(text, file=sys.stderr)

    @contextlib.contextmanager
    def waiting_for_data(self) -> Iterator[None]:
        """Counts the time inside as waiting for data."""
        start = time.perf_counter()
        yield
        self._waited += time.perf_counter() - start

    @contextlib.contextmanager
    def aside(self, doing: str) -> Iterator[None]:
        """Takes the time inside out of the training speed, and shows what is being done."""
        self.flush()
        start = time.perf_counter()
        self._bar.set_description(doing, refresh=self._live)
        yield
        self._bar.set_description("", refresh=self._live)
        spent = time.perf_counter() - start
        self._aside += spent
        if not self._bar.disable:
            # The time left is reckoned from training alone.
            self._bar.start_t += spent
            self._bar.last_print_t += spent

    def doing(self, what: str) -> None:
        """Shows what is being done aside of training."""
        self._bar.set_description(what, refresh=False)
        self._bar.update(0)

    def step(self, step: int, metrics: Metrics) -> None:
        """Takes the metrics of a step that has been started, and reads those before."""
        self.flush()
        self._pending = (step, metrics)

    def flush(self) -> None:
        """Reads the metrics of the last step, waiting for it.

        Raises:
          UserError: if `PATIENCE` steps in a row were not finite.
        """
        if self._pending is None:
            return
        (step, metrics), self._pending = self._pending, None
        nll, weight, norm, rate, skipped = (float(x) for x in jax.device_get(metrics))
        self._bad = self._bad + 1 if skipped else 0
        if self._bad >= PATIENCE:
            raise UserError(
                f"Lower optimizer.learning_rate and start a new run: the loss of the last "
                f"{PATIENCE} steps up to step {step} was not a finite number."
            )
        self._skipped += int(skipped)
        if not skipped:
            self._nll += nll
            self._weight += weight
        self._tokens += weight
        self._bar.update()
        if step % self._every == 0:
            self._line(step, norm, rate)

    def validation(self, step: int, found: Validation) -> None:
        """Records a validation."""
        self._shown["val"] = f"{found.loss:.3f}"
        self._write(
            step,
            val_loss=found.loss,
            val_loss_per_note=found.loss_per_note,
            val_bits_per_note=found.loss_per_note / math.log(2),
        )

    def close(self) -> None:
        """Closes the log."""
        self._bar.close()
        self._log.close()
        self._board.close()

    def _line(self, step: int, norm: float, rate: float) -> None:
        spent = max(time.perf_counter() - self._since - self._aside, 1e-9)
        speed, waited = self._tokens / spent, self._waited / spent
        loss = self._nll / self._weight if self._weight else math.nan
        self._shown |= {"loss": f"{loss:.3f}", "tokens/s": f"{speed:,.0f}", "data": f"{waited:.0%}"}
        self._bar.set_postfix(self._shown, refresh=False)
        self._write(
            step,
            loss=loss,
            grad_norm=norm,
            learning_rate=rate,
            tokens_per_s=speed,
            data_wait=waited,
            skipped=self._skipped,
        )
        self._clear()

    def _write(self, step: int, **values: float) -> None:
        # JSON has no NaN: a value that is not finite is null.
        finite = {k: v if math.isfinite(v) else None for k, v in values.items()}
        self._log.write(json.dumps({"step": step, **finite, "seconds": self.seconds}) + "\n")
        self._log.flush()
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def _clear(self) -> None:
        self._since = time.perf_counter()
        self._nll = self._weight = self._tokens = self._waited = self._aside = 0.0
        self._skipped = 0


def read_log(run: str | epath.Path) -> list[dict[str, float]]:
    """The lines of a run's log; a last line that was cut off by a kill is left out."""
    path = runs.folder(run) / LOG
    lines = []
    for line in path.read_text().splitlines() if path.exists() else []:
        with contextlib.suppress(json.JSONDecodeError):
            lines.append(json.loads(line))
    return lines


def _shortened(path: epath.Path, step: int) -> epath.Path:
    """Removes the lines of later steps, which will be made and written again."""
    kept = [json.dumps(line) + "\n" for line in read_log(path.parent) if line["step"] <= step]
    new = path.parent / f"{path.name}.new"
    new.write_text("".join(kept))
    new.replace(path)
    return path
