"""What the steps since the last line of the log amount to: losses, speed and its spread."""

from __future__ import annotations

import collections
import math
import time

import numpy as np

from jaxmusic._src.train.objectives import Metrics

WINDOW = 500
"""Steps of which the percentiles of the step time are taken."""
PERCENTILES = (50, 90, 99)
LAST = ("grad_norm", "learning_rate")
"""Metrics of which the last value stands in the log; the others are means over the weight."""


class Meter:
    """Adds up steps between two lines of the log.

    The time of a step is that between the moments at which its metrics and those of the step
    before were read, less what was done aside of training: at a steady pace this is what the
    device needs, or what the data need, whichever is more.
    """

    def __init__(self, flops: float, peak: float):
        """Starts at zero.

        Args:
          flops: floating-point operations of a step on all devices.
          peak: floating-point operations a second that all devices can do; 0 if not known.
        """
        self._flops, self._peak = flops, peak
        self._times: collections.deque[float] = collections.deque(maxlen=WINDOW)
        self._read = time.perf_counter()
        self._last: dict[str, float] = {}
        self._clear()

    def wait(self, seconds: float) -> None:
        """Counts time in which the loop waited for data."""
        self._waited += seconds

    def aside(self, seconds: float) -> None:
        """Takes time out, as not spent on training."""
        self._since += seconds
        self._read += seconds

    def step(self, metrics: Metrics) -> None:
        """Counts a finished step, whose metrics are on the host."""
        now = time.perf_counter()
        self._times.append(now - self._read)
        self._read = now
        self._steps += 1
        found = {name: float(value) for name, value in metrics.items()}
        self._last = {name: found.pop(name) for name in LAST}
        self._tokens += found["weight"]
        if found.pop("skipped"):
            self._skipped += 1
        else:
            for name, value in found.items():
                self._sums[name] += value

    def line(self) -> dict[str, float]:
        """Returns the figures since the last line, by name, and resets them."""
        spent = max(time.perf_counter() - self._since, 1e-9)
        weight = self._sums.pop("weight", 0.0)
        losses = {"loss": self._sums.pop("nll", 0.0), **self._sums}
        out = {
            **{name: value / weight if weight else math.nan for name, value in losses.items()},
            "tokens_per_s": self._tokens / spent,
            "data_wait": self._waited / spent,
            "skipped": float(self._skipped),
        }
        if self._peak:
            # Model FLOPs utilisation (Chowdhery et al. 2022, appendix B): padding counts as work.
            out["mfu"] = self._flops * self._steps / spent / self._peak
        for rank, seconds in zip(PERCENTILES, np.percentile(self._times, PERCENTILES)):
            out[f"step_p{rank}"] = round(float(seconds), 6)
        out |= self._last
        self._clear()
        return out

    def _clear(self) -> None:
        self._since = time.perf_counter()
        self._sums: dict[str, float] = collections.defaultdict(float)
        self._tokens = self._waited = 0.0
        self._steps = self._skipped = 0
