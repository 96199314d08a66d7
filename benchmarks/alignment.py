"""Beat grids: how well onsets lie on the file's own beats and on those that are found."""

from __future__ import annotations

from benchmarks import beats
from benchmarks.runner import Options, Result, Row

COLUMNS = {
    "error_ms_12": "onset error, 12 steps (ms)",
    "over_0.2": "pieces without a grid",
    "beat_f": "beat F",
    "downbeat_f": "downbeat F",
    "ms_per_piece": "ms per piece",
}
"""What is shown of `beats.run`'s rows."""
GOAL_MS = 1.9
"""Onset error of POP909 on grids found without labels: that of its annotated beats."""


def run(options: Options) -> Result:
    """Every set of real music that is there; with --count at most so many pieces of each."""
    found = beats.run(options.folder("data"), options.count or None)
    rows = []
    for name, row in found.items():
        cells = (name, row["pieces"], *(row.get(key, "") for key in COLUMNS))
        if name == "pop909/estimate":
            rows.append(Row(cells, f"at most {GOAL_MS} ms", row["error_ms_12"] <= GOAL_MS))
        else:
            rows.append(Row(cells))
    return Result(
        columns=("set/grid", "pieces", *COLUMNS.values()),
        rows=tuple(rows),
        notes=(
            "file: the file's own quarters. estimate: what is found without labels. labels: "
            "POP909's beat_midi.txt, with which beat and downbeat F-measures (70 ms) compare.",
        ),
    )
