"""Beat grids: how well onsets lie on the file's own beats and on those that are found."""

from __future__ import annotations

from benchmarks import beats
from benchmarks.runner import Options, Result, Row

COLUMNS = {
    "error_ms_12": "onset error, 12 steps (ms)",
    "error_ms_24": "onset error, 24 steps (ms)",
    "over_0.2": "pieces without a grid",
    "beat_f": "beat F",
    "downbeat_f": "downbeat F",
    "ms_per_piece": "ms per piece",
}
"""What is shown of `beats.run`'s rows."""
GOALS_MS = {"pop909/estimate": 1.9, "pop909/labels": 3.0}
"""Most that the onset error of POP909 may be on 12 steps, without and with its labelled beats."""


def run(options: Options) -> Result:
    """Every set of real music that is there; with --count at most so many pieces of each."""
    found = beats.run(options.folder("data"), options.count or None)
    rows = []
    for name, row in found.items():
        cells = (name, row["pieces"], *(row.get(key, "") for key in COLUMNS))
        if name in GOALS_MS:
            most = GOALS_MS[name]
            rows.append(Row(cells, f"at most {most} ms", row["error_ms_12"] <= most))
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
