"""The status of a run as text for a terminal of 80 columns."""

from __future__ import annotations

import itertools
import sys
import textwrap
import time
from collections.abc import Sequence

from jaxmusic.core.errors import UserError
from jaxmusic.runs import status as statuses
from jaxmusic.runs.status import Status

BAR, CURVE = 30, 40
"""Columns of the progress bar and of a loss curve."""
COLOURS = {"training": 32, "finished": 32, "finishing": 32, "starting": 36, "stopped": 33}
"""ANSI colours of states; the others are red."""
BLOCKS, PLAIN_BLOCKS = "▁▂▃▄▅▆▇█", "_.,-=*#"


INDENT = " " * 14
EVERY = 2.0
"""Seconds between two looks of `--watch`."""


def show(folders: Sequence[str], as_json: bool, watch: bool) -> int:
    """Prints the status of runs, perhaps again and again until Ctrl-C.

    Args:
      folders: folders of runs.
      as_json: print a line of JSON for each run instead of text.
      watch: print again every `EVERY` seconds; a terminal shows the new one in place of the old.

    Returns:
      0; 1 if one of the folders is not that of a run, which is said in a sentence.
    """
    if not folders:
        raise UserError("Name the folder of a run, or several.")
    wrong = False
    try:
        wrong = _show(folders, as_json, watch and sys.stdout.isatty())
        while watch:
            time.sleep(EVERY)
            wrong = _show(folders, as_json, sys.stdout.isatty())
    except KeyboardInterrupt:
        # Ctrl-C is how one stops watching.
        if not watch:
            raise
    return int(wrong)


def _show(folders: Sequence[str], as_json: bool, clear: bool) -> bool:
    """Prints the status of runs once; whether one of the folders is none."""
    tty = sys.stdout.isatty()
    unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    found, wrong = [], []
    for folder in folders:
        try:
            status = statuses.status(folder)
            found.append(status.to_json() if as_json else text(status, tty, unicode))
        except UserError as error:
            wrong.append(f"jaxmusic: {error}")
    if clear:
        print("\x1b[H\x1b[2J", end="")
    if found:
        print(("\n" if as_json else "\n\n").join(found), flush=True)
    if wrong:
        print("\n".join(wrong), file=sys.stderr)
    return bool(wrong)


def text(status: Status, colour: bool = False, unicode: bool = True) -> str:
    """The status as lines of at most 80 columns.

    Args:
      status: what to show.
      colour: use ANSI colours.
      unicode: use blocks for bars and curves instead of ASCII.
    """
    rows = [
        ("because", f"\n{INDENT}".join(textwrap.wrap(status.reason, 66))),
        ("", _progress(status, unicode)),
        ("loss", _curve(status.losses, status.train.get("loss"), unicode)),
        ("validation", _validation(status, unicode)),
        ("speed", _speed(status)),
        ("step time", _step_time(status)),
        ("optimiser", _optimiser(status)),
        ("goodput", _goodput(status)),
        ("", _parts(status)),
        ("checkpoints", _checkpoints(status)),
        ("starts", _starts(status)),
    ]
    head = f"{_paint(status.run, 1, colour)}  " + _paint(
        status.state, COLOURS.get(status.state, 31), colour
    )
    if status.written and status.state not in ("finished", "training"):
        head += f", last line {ago(time.time() - status.written)} ago"
    body = [f"  {_paint(f'{name:11}', 2, colour)} {row}" for name, row in rows if row]
    return "\n".join([head, *body])


def sparkline(values: Sequence[float], width: int = CURVE, unicode: bool = True) -> str:
    """A curve of at most `width` columns, each the mean of its share of the values."""
    blocks = BLOCKS if unicode else PLAIN_BLOCKS
    width = min(width, len(values))
    edges = [len(values) * i // width for i in range(width + 1)] if width else []
    means = [sum(values[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]
    low, high = (min(means), max(means)) if means else (0.0, 0.0)
    scale = (len(blocks) - 1) / (high - low) if high > low else 0.0
    return "".join(blocks[round((mean - low) * scale)] for mean in means)


def duration(seconds: float) -> str:
    """Seconds as 20 ms, 42 s, 3:07 min, 2:15 h or 3.4 days."""
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 60:
        return f"{seconds:.3g} s"
    if seconds < 3600:
        return f"{int(seconds // 60)}:{int(seconds % 60):02} min"
    if seconds < 72 * 3600:
        return f"{int(seconds // 3600)}:{int(seconds % 3600 // 60):02} h"
    return f"{seconds / 86400:.1f} days"


def ago(seconds: float) -> str:
    """How long something is ago, in whole seconds."""
    return duration(round(seconds)) if seconds >= 0.5 else "0 s"


def _paint(text: str, code: int, colour: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if colour else text


def _progress(status: Status, unicode: bool) -> str:
    share = min(status.step / max(status.steps, 1), 1.0)
    full = round(share * BAR)
    bar = ("█" * full + "░" * (BAR - full)) if unicode else "#" * full + "." * (BAR - full)
    out = f"{bar} {share:6.1%}  step {status.step:,} of {status.steps:,}"
    if status.left is None or status.step >= status.steps:
        return out
    if status.ends is None:
        return f"{out}\n{INDENT}{duration(status.left)} of training left"
    end = time.strftime("%a %d %b %H:%M", time.localtime(status.ends))
    return f"{out}\n{INDENT}{duration(status.left)} left, until {end}"


def _curve(points: Sequence[tuple[int, float]], last: float | None, unicode: bool) -> str:
    if not points:
        return ""
    shown = "not finite" if last is None else f"{last:.4f}"
    return f"{shown:10} {sparkline([value for _, value in points], unicode=unicode)}"


def _validation(status: Status, unicode: bool) -> str:
    if not status.val_losses:
        return ""
    step, best = min(status.val_losses, key=lambda point: point[1])
    curve = _curve(status.val_losses, status.val_losses[-1][1], unicode)
    return f"{curve}\n{INDENT}lowest {best:.4f} at step {step:,}"


def _speed(status: Status) -> str:
    train, start = status.train, status.start
    if "tokens_per_s" not in train:
        return ""
    out = f"{train['tokens_per_s']:,.0f} tokens/s"
    if "mfu" in train:
        each = start.get("peak_flops", 0) / max(start.get("devices", 1), 1) / 1e12
        out += f", MFU {train['mfu']:.1%} of {start.get('devices', 1)} x {each:,.0f} TFLOP/s"
    if "device" in start and "mfu" in train:
        out += f" ({start['device']})"
    return out


def _step_time(status: Status) -> str:
    train = status.train
    ranks = [f"p{r} {duration(train[f'step_p{r}'])}" for r in (50, 90, 99) if f"step_p{r}" in train]
    waits = [f"waiting for data {train['data_wait']:.1%}"] if "data_wait" in train else []
    return ", ".join(ranks + waits)


def _optimiser(status: Status) -> str:
    train = status.train
    names = {"learning_rate": "learning rate", "grad_norm": "gradient norm"}
    found = [f"{names[n]} {train[n]:.3g}" for n in names if train.get(n) is not None]
    return ", ".join([*found, f"{status.skipped} updates left out"]) if train else ""


def _goodput(status: Status) -> str:
    if status.goodput is None:
        return ""
    return f"{status.goodput:.1%} of {duration(sum(status.parts.values()))} since the first start"


def _parts(status: Status) -> str:
    shown = [f"{name} {duration(s)}" for name, s in status.parts.items() if s >= 0.05]
    lines: list[str] = [""]
    for item in shown:
        if lines[-1] and len(lines[-1]) + len(item) > 62:
            lines.append("")
        lines[-1] += f", {item}" if lines[-1] else item
    return f",\n{INDENT}".join(lines)


def _checkpoints(status: Status) -> str:
    saved = status.checkpoints
    if not saved.steps:
        return "none yet"
    names = [f"{s:,}" + (" (best)" if s == saved.best else "") for s in saved.steps]
    if len(names) > 4:
        names = [names[0], "...", *names[-3:]]
    out = f"{', '.join(names)}\n{INDENT}{size(saved.bytes)} each, last "
    out += f"{ago(time.time() - saved.written)} ago"
    if saved.blocked is not None:
        out += f", each held up the steps for {duration(saved.blocked)}"
    return out


def size(count: int) -> str:
    """Bytes as kB, MB, GB or TB."""
    amount = count / 1000
    for unit in ("kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:.3g} TB"


def _starts(status: Status) -> str:
    if status.starts is None:
        return ""
    where = status.start
    return (
        f"{status.starts}, the last on {where.get('host', 'an unknown host')} "
        f"with {where.get('devices', 1)} x {where.get('device', 'unknown')}"
    )
