"""One side of the comparison on a GPU, in a process of its own: jaxmusic or PyTorch.

    python -m benchmarks.gpu_sides jaxmusic 350m SECONDS REPEATS

Each line of the output that begins with `MARK` is a JSON object: first the model, then each trial
as soon as it is made, so that nothing is lost if the process is killed.
"""

from __future__ import annotations

import dataclasses
import gc
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from benchmarks.llama import VOCAB, llama
from jaxmusic import config as configs
from jaxmusic._src.core.events import MAX_PITCHES, MAX_POSITIONS, MAX_SLOTS, Batch, Events

MARK = "@"
PARTS = 4
"""Parts of a packed row: the median piece has about a thousand tokens."""
GAIN = 1.01
"""A larger batch is tried as long as the one before was faster by this factor."""


class Shape(NamedTuple):
    """A size of model and what is varied.

    Attributes:
      model: the model.
      context: tokens of a row.
      batches: numbers of rows to try, ascending.
      remats: values of `config.Transformer.remat` to try.
      block: seconds of training in one measurement.
    """

    model: configs.Transformer
    context: int
    batches: tuple[int, ...]
    remats: tuple[str, ...]
    block: float


def shape(size: str) -> Shape:
    """Returns the preset of that name in rows of 4,096, or "toy" for a run on any CPU."""
    if size == "toy":
        toy = configs.Transformer(2, 64, 2, 1, 32, 128, dtype="bfloat16")
        return Shape(toy, 128, (1, 2), ("products",), 0.05)
    from jaxmusic.config import presets

    batches = {"100m": (8, 16, 32, 64), "350m": (4, 8, 16, 32), "1b": (2, 4, 8, 16)}
    remats = ("products", "attention", "nothing")
    return Shape(presets.model(size), 4096, batches[size], remats, 0.8)


Trial = Callable[[str, int], dict[str, Any]]


def search(
    trial: Trial, ways: Sequence[str], batches: Sequence[int], seconds: float
) -> Iterator[dict[str, Any]]:
    """Tries every way with larger and larger batches, until memory, gain or time run out.

    A further way begins at the best batch of the one before: it needs less memory, and is slower
    at the same batch.

    Args:
      trial: (way, batch) -> a dictionary with "seconds", the times of some steps.
      ways: names of what is varied besides the batch, such as the rematerialisation.
      batches: rows of a step, ascending.
      seconds: time for all trials; each is expected to take as long as the one before.

    Yields:
      Each trial, or its "error", with "way" and "batch".
    """
    begun, took, first = time.monotonic(), 0.0, batches[0]
    for way in ways:
        speed = 0.0
        for batch in [b for b in batches if b >= first]:
            start = time.monotonic()
            if start - begun + took > seconds:
                return
            try:
                found = trial(way, batch)
            except Exception as error:
                # A kernel that does not run is a finding too; the next way may work.
                text = f"{type(error).__name__}: {error}"
                memory = "RESOURCE_EXHAUSTED" in text or "out of memory" in text.lower()
                found = {"error": "out of memory" if memory else text.splitlines()[0][:300]}
            gc.collect()
            took = time.monotonic() - start
            yield {"way": way, "batch": batch, "took": round(took, 1), **found}
            if "error" in found:
                break
            now = batch / statistics.median(found["seconds"])
            if now < speed * GAIN:
                break
            speed, first = now, batch


def timed(step: Callable[[], None], wait: Callable[[], None], block: float, repeats: int) -> Any:
    """Returns seconds of a step, from `repeats` blocks of steps of about `block` seconds each."""
    step()
    wait()
    start = time.perf_counter()
    step()
    wait()
    count = max(1, round(block / (time.perf_counter() - start)))
    out = []
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(count):
            step()
        wait()
        out.append((time.perf_counter() - start) / count)
    return out


def rows(batch: int, context: int, parts: int) -> Batch:
    """Makes rows of random events, each in `parts` parts of random lengths."""
    rng = np.random.default_rng(0)
    sizes = (VOCAB, context, MAX_POSITIONS, 64, MAX_SLOTS, MAX_PITCHES)
    events = Events(*(rng.integers(0, n, (batch, context)).astype(np.int32) for n in sizes))
    segment = np.ones((batch, context), np.int32)
    for row in segment:
        for cut in rng.choice(np.arange(1, context), parts - 1, replace=False):
            row[cut:] += 1
    target = rng.integers(0, VOCAB, (batch, context)).astype(np.int32)
    return Batch(events, target, segment, np.ones((batch, context), np.float32))


def jaxmusic(size: str, repeats: int) -> tuple[dict[str, Any], Trial, tuple[str, ...]]:
    """Returns our side: the step of `jaxmusic train`, with every rematerialisation."""
    import tempfile

    import jax

    from jaxmusic._src.cluster.peaks import peak_flops
    from jaxmusic._src.models import base
    from jaxmusic._src.models.mesh import make_mesh
    from jaxmusic._src.train.step import Program

    # The same small programs are compiled again for every trial.
    jax.config.update("jax_compilation_cache_dir", tempfile.mkdtemp())
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    model, context, _, remats, block = shape(size)
    kind = jax.devices()[0].device_kind
    about = {
        "device": kind,
        "context": context,
        "peak": peak_flops(kind),
        "parameters": base.num_parameters(model, VOCAB),
        "flops": base.of(model).flops(model, VOCAB, context),
    }

    def trial(remat: str, batch: int) -> dict[str, Any]:
        experiment = configs.Experiment(
            model=dataclasses.replace(model, remat=remat),
            data=configs.Data(context=context, batch=batch),
            mesh=configs.Mesh(),
        )
        onsets = np.zeros(VOCAB, bool)
        program = Program(experiment, VOCAB, onsets, make_mesh(experiment.mesh))
        whole, packed = (
            jax.device_put(rows(batch, context, parts), program.batch) for parts in (1, PARTS)
        )
        compiled = program.train.lower(program.state, whole).compile()
        state = program.initial()
        found: dict[str, Any] = {}
        for name, batch_of_rows in (("seconds", whole), ("packed", packed)):

            def step(given: Batch = batch_of_rows) -> None:
                nonlocal state
                state, _ = compiled(state, given)

            found[name] = timed(step, lambda: jax.block_until_ready(state), block, repeats)
        memory = compiled.memory_analysis()
        used = memory.argument_size_in_bytes + memory.temp_size_in_bytes
        used += memory.output_size_in_bytes - memory.alias_size_in_bytes
        return {**found, "gib": used / 2**30}

    return about, trial, remats


def pytorch(size: str, repeats: int) -> tuple[dict[str, Any], Trial, tuple[str, ...]]:
    """Returns the peer: Transformers' Llama of the same shape, compiled, with flash attention.

    It gets whole rows and no mask, which is its fastest way; parameters are float32 under
    autocast, as ours are, or all bfloat16.
    """
    import torch
    import transformers
    from torch.nn.attention import SDPBackend, sdpa_kernel

    model, context, _, _, block = shape(size)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    # The toy runs on CPUs, and not every machine has a compiler for C++.
    backend = "inductor" if device == "cuda" else "aot_eager"
    torch.set_float32_matmul_precision("high")

    def flash(
        module: Any, q: Any, k: Any, v: Any, mask: Any, scaling: float = 1.0, **unused: Any
    ) -> tuple[Any, None]:
        """Computes attention [B, T, H, D] of q [B, H, T, D].

        Under torch.compile, "sdpa" makes a mask, and with a mask there is no flash attention; a
        kind of attention that is not registered gets none.
        """
        assert mask is None
        out = torch.nn.functional.scaled_dot_product_attention(
            q, k, v, is_causal=True, scale=scaling, enable_gqa=q.shape[1] != k.shape[1]
        )
        return out.transpose(1, 2).contiguous(), None

    transformers.AttentionInterface.register("causal_sdpa", flash)

    def trial(way: str, batch: int) -> dict[str, Any]:
        torch.compiler.reset()
        dtype = torch.bfloat16 if way == "bfloat16" else torch.float32
        net = llama(model, context, "causal_sdpa").to(device, dtype).train()
        optimizer = torch.optim.AdamW(
            net.parameters(), lr=1e-4, betas=(0.9, 0.98), weight_decay=0.1, fused=True
        )
        tokens, target = (torch.randint(0, VOCAB, (batch, context)).to(device) for _ in range(2))

        def loss(tokens: Any, target: Any) -> Any:
            logits = net(input_ids=tokens, use_cache=False).logits.float()
            return torch.nn.functional.cross_entropy(logits.view(-1, VOCAB), target.view(-1))

        compiled = torch.compile(loss, backend=backend)

        def step() -> None:
            with (
                torch.autocast(device, torch.bfloat16, enabled=way == "autocast"),
                sdpa_kernel(SDPBackend.FLASH_ATTENTION),
            ):
                found = compiled(tokens, target)
            found.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        def wait() -> None:
            if device == "cuda":
                torch.cuda.synchronize()

        if device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        seconds = timed(step, wait, block, repeats)
        used = torch.cuda.max_memory_allocated() if device == "cuda" else 0
        return {"seconds": seconds, "gib": used / 2**30}

    parameters = sum(p.numel() for p in llama(model, context, "causal_sdpa").parameters())
    about = {"parameters": parameters, "context": context}
    return about, trial, ("autocast", "bfloat16")


SIDES = {"jaxmusic": jaxmusic, "pytorch": pytorch}


def main() -> None:
    """Prints the model and every trial."""
    start, (side, size, seconds, repeats) = time.monotonic(), sys.argv[1:]
    about, trial, ways = SIDES[side](size, int(repeats))
    left = float(seconds) - (time.monotonic() - start)
    trials = search(trial, ways, shape(size).batches, left)
    for values in itertools.chain([about], trials):
        print(MARK + json.dumps(values), flush=True)


if __name__ == "__main__":
    main()
