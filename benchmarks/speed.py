"""Speed: tokens per second of training and sampling on a CPU beside Transformers on PyTorch."""

from __future__ import annotations

from benchmarks import throughput
from benchmarks.runner import Options, Result, Row, peer

GOALS = {"training": 1.0, "generation": 1.0}
"""Smallest median ratio of each kind of work, jaxmusic over PyTorch."""


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
        ),
    )
