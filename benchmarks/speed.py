"""Speed: tokens per second of training and sampling on a CPU beside Transformers on PyTorch."""

from __future__ import annotations

from benchmarks import throughput
from benchmarks.runner import Options, Result, Row, peer

GOALS = {"training": 1.2, "generation": 3.0}
"""Smallest median ratio of each kind of work, jaxmusic over PyTorch."""

WHY_TRAINING_IS_SLOWER = (
    "Where our training step goes: of 2.9 core-seconds 1.3 are attention, 1.0 the other products, "
    "which run at 327 GFLOP/s beside PyTorch's 380, and the rest norms, rotations and activations. "
    "PyTorch takes 2.1 in all. The five products of attention's backward pass take half of its "
    "time, because XLA:CPU writes every block of scores to memory between them, where PyTorch has "
    "one fused kernel. Tried without gain: chunks of 64 and 256, a loop over rows or heads, sums "
    "instead of updates for the gradients of keys and values, XLA's flags for vectors of 512 bits, "
    "fast mathematics, XNNPACK and other fusions. With all products in bfloat16 that are summed in "
    "float32, which this machine has instructions for, our step takes 2.4 core-seconds; PyTorch's "
    "autocast takes 1.1. What is missing is a fused kernel for XLA:CPU."
)


def run(options: Options) -> Result:
    """Both kinds of work, each side in turns."""
    for module in ("torch", "transformers"):
        peer(module)
    found = throughput.run(rounds=options.repeats)
    rows = []
    for work, goal in GOALS.items():
        ours, theirs, ratio = (found[work][side] for side in ("jaxmusic", "pytorch", "ratio"))
        rows.append(
            Row(
                (
                    work,
                    round(ours["median"]),
                    round(theirs["median"]),
                    *(round(ratio[key], 2) for key in ("min", "median", "max")),
                ),
                f"median ratio at least {goal:g}",
                ratio["median"] >= goal,
            )
        )
    return Result(
        columns=(
            "work",
            "jaxmusic (tokens/s)",
            "PyTorch (tokens/s)",
            "ratio, least",
            "ratio, median",
            "ratio, most",
        ),
        rows=tuple(rows),
        notes=(
            f"{found['parameters']:,} parameters beside {found['peer_parameters']:,}; training "
            f"{found['shape']}, sampling one piece; {options.repeats} repeats in turns.",
            WHY_TRAINING_IS_SLOWER,
        ),
    )
