"""What the training loop works with: data, steps, a state, checkpoints and a monitor."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import itertools
import math
import time
from collections.abc import Iterator
from typing import Any

import jax
from etils import epath

from jaxmusic import config as configs
from jaxmusic._src.cluster.hosts import Hosts
from jaxmusic._src.cluster.watchdog import ASIDE, Watchdog
from jaxmusic._src.codecs.base import Codec
from jaxmusic._src.codecs.registry import make_codec
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.core.events import Batch
from jaxmusic._src.data.loader import Loader
from jaxmusic._src.models import adapters, sharding
from jaxmusic._src.models.mesh import make_mesh
from jaxmusic._src.models.params import Params, fingerprint
from jaxmusic._src.runs import checkpoint, described, weights
from jaxmusic._src.runs import folder as runs
from jaxmusic._src.runs.state import State
from jaxmusic._src.train import agreement
from jaxmusic._src.train.monitor import Monitor, Validation
from jaxmusic._src.train.step import Program, lowered


class Session:
    """One start of a run, ready for its first step.

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
      validation: the validation split; None where the run does not validate.
      hosts: all processes of the run.
      watchdog: gets a heartbeat after every step.
    """

    def __init__(
        self,
        experiment: configs.Experiment,
        run: epath.Path,
        progress: bool,
        hosts: Hosts,
        watchdog: Watchdog,
    ):
        began = time.time()
        stored = runs.claim(run, experiment)
        self.run, self.experiment, self.watchdog = run, experiment, watchdog
        self.hosts = hosts
        self._shape = (experiment.data.batch, experiment.data.context)
        self._open_data(stored)
        data = self.data
        found = runs.Stored(
            experiment=experiment,
            codec=data.codec,
            dataset=data.dataset,
            manifest=data.manifest,
            styles=data.styles,
            controls=data.controls(),
            heard=data.heard(),
        )
        self._stored = stored = stored._replace(heard=found.heard) if stored else found
        if found.manifest != stored.manifest:
            raise UserError(
                f"Bring back the files of dataset {stored.dataset} that {run} was started with, or "
                "start a new run: those that are there now have other content."
            )
        patience = _patience(experiment)
        if hosts.several:
            facts = agreement.facts(experiment, data, runs.steps(run))
            hosts.agree("the comparison of settings", facts, patience)
        mesh = make_mesh(experiment.mesh)
        self._program = Program(experiment, data.codec.vocab_size, data.codec.onset_tokens, mesh)
        # Only now is it sure that the settings make sense.
        runs.write(run, stored, hosts, patience)
        self.checkpoints = checkpoint.Checkpoints(run, stored)
        self.step = self.saved = max(runs.steps(run), default=0)
        self.state, info, origin = self._start()
        frozen = self._program.frozen()
        self._frozen = {name: fingerprint(part) for name, part in frozen.items() if part}
        if info.get("frozen", self._frozen) != self._frozen:
            raise UserError(
                f"Bring back the frozen weights that {run} was trained with, or start a new run: "
                f"those of the {' and the '.join(self._frozen)} have other values now."
            )
        self.state = self.state._replace(frozen=frozen)
        validation = info.get("validation")
        self.found = Validation(**validation) if validation else None
        self.monitor = Monitor(
            run,
            experiment,
            step=self.step,
            seconds=info["seconds"],
            vocab_size=data.codec.vocab_size,
            began=began,
            progress=progress,
            record=hosts.first,
        )
        self.monitor.note(f"{run}: {origin}.")
        if self.step < experiment.steps:
            with self.aside("compiling"):
                self.train_step = lowered(self._program, experiment.data).compile()
                # The first collective waits for less long than a compilation may take.
                hosts.barrier("the end of compiling", patience)
        watchdog.moved()

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
        self.validation: Loader | None = None
        if experiment.eval_every:
            self.validation = Loader(data, self.data.codec, "validation", experiment.seed)

    def _start(self) -> tuple[State, dict[str, Any], str]:
        """Returns the state to start from, the JSON saved with it, and its origin in words."""
        like, experiment = self._program.state, self.experiment
        if self.step:
            state, info = self.checkpoints.restore(self.step, like)
            done = self.step == experiment.steps
            origin = "finished at" if done else "going on from its own checkpoint of"
            return state, info, f"{origin} step {self.step}"
        if experiment.resume_from:
            other = runs.folder(experiment.resume_from)
            step, state, differences = checkpoint.restore_state(other, like, self._stored)
            if step >= experiment.steps:
                raise UserError(
                    f"Set steps to more than the {step} that {experiment.resume_from} has made."
                )
            self.step = step
            origin = f"going on from the state of {experiment.resume_from} at step {step}"
            if differences:
                origin += f", which was made with {differences}"
            return state, {"seconds": 0.0}, origin
        state, origin = self._program.initial(), "starting from scratch"
        if experiment.init_from and not adapters.of(experiment.adapter).has_base:
            step, params = weights.restore_params(experiment.init_from, like.params)
            state = state.starting_from(params)
            origin = f"starting from the weights of {experiment.init_from} at step {step}"
        return state, {"seconds": 0.0}, origin

    @contextlib.contextmanager
    def aside(self, doing: str) -> Iterator[None]:
        """Gives what is not a step more time, its own place on the clock, and a word shown."""
        self.watchdog.moved(ASIDE)
        with self.monitor.aside(doing):
            yield
        self.watchdog.moved()

    def rows(self) -> tuple[int, int]:
        """Returns which block of a batch's rows this process reads, and the number of blocks."""
        return sharding.process_rows(self._program.batch, self._shape)

    def place(self, batch: Batch) -> Batch:
        """Puts this process's rows of a batch, or all of them, where the steps want them."""
        where, shape = self._program.batch, self._shape
        return jax.tree.map(
            lambda x: jax.make_array_from_process_local_data(where, x, shape), batch
        )

    def weights(self, state: State) -> Params:
        """Returns the parameters of the whole model, for whatever uses it between two steps."""
        return self._program.merged(state.weights, state.frozen)

    def validate(self, step: int, state: State) -> Validation:
        """Measures the loss on the first batches of the validation split; at the end on all."""
        assert self.validation is not None
        experiment = self.experiment
        batches = iter(self.validation.evaluation())
        if step < experiment.steps:
            batches = itertools.islice(batches, experiment.eval_batches)
        total: dict[str, float] = collections.defaultdict(float)
        first = math.nan
        for count, batch in enumerate(batches, start=1):
            self.monitor.doing(f"validating, batch {count}")
            self.watchdog.moved(ASIDE)
            sums = self._program.evaluate(state.weights, state.frozen, self.place(batch))
            for name, value in jax.device_get(sums).items():
                total[name] += value
            if count <= experiment.eval_batches:
                first = total["nll"] / max(total["weight"], 1)
        weight, notes = max(total.pop("weight"), 1), max(total.pop("notes"), 1)
        nll = total.pop("nll")
        found = Validation(float(nll / weight), float(nll / notes), float(first))
        others = {f"val_{name}": float(value / weight) for name, value in total.items()}
        self.monitor.validation(step, found, others)
        return found

    def wait(self, what: str) -> None:
        """Waits until all processes are there; `what` names the place, and no other before."""
        self.hosts.barrier(what, _patience(self.experiment))

    def save(self, step: int, state: State, found: Validation | None) -> None:
        """Starts to save a checkpoint."""
        info = {
            "seconds": self.monitor.seconds,
            "validation": found and found._asdict(),
            "frozen": self._frozen,
        }
        self.checkpoints.save(step, state, info, found.first if found else None)
        self.saved = step

    def close(self) -> None:
        """Ends background threads and closes files."""
        self.checkpoints.close()
        self.monitor.close()


def _inherited(source: str, codec: Codec) -> Codec:
    """Returns the codec of the run that gives the weights, if it has the requested layout."""
    found = described.described(source).codec
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
