"""Runs a benchmark, keeps its result and writes the page that shows all results.

python -m benchmarks --list
python -m benchmarks tokens --data ~/music
python -m benchmarks tokens --help
python -m benchmarks --render
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import sys
import time
from collections.abc import Sequence

import tyro

from benchmarks import page, runner
from jaxmusic._src.core.errors import UserError

PAGE = runner.FOLDER.parent / "docs" / "benchmarks.md"
PATHS = ("--data", "--data-dir", "--faults", "--run")
"""Options whose values are written as capital words in the command of a result."""


def names() -> dict[str, str]:
    """Returns all benchmarks (modules with a function `run`) and their titles."""
    found = {}
    for path in sorted(runner.FOLDER.glob("*.py")):
        text = path.read_text()
        if "\ndef run(" in text and path.stem != "__main__":
            found[path.stem] = text.splitlines()[0].strip('"')
    return found


def run(name: str, words: Sequence[str]) -> dict[str, object]:
    """Runs a benchmark with its options, keeps the result and returns its record.

    A benchmark that takes long yields what it has found so far, and each is kept.
    """
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--label", default="")
    options, rest = parser.parse_known_args(words)
    label = options.label
    function = importlib.import_module(f"benchmarks.{name}").run
    start = time.perf_counter()
    found = tyro.cli(function, prog=f"python -m benchmarks {name}", args=rest)
    before = ["", *rest]
    shown = [f[2:].upper().replace("-", "_") if f in PATHS else w for f, w in zip(before, rest)]
    command = " ".join(["python -m benchmarks", name, *shown])
    if label:
        name, command = f"{name}-{label}", f"{command} --label {label}"
    for result in found if inspect.isgenerator(found) else [found]:
        record = runner.write(name, command, result, time.perf_counter() - start)
    return record


def main() -> int:
    """Does what the command line asks for; returns 1 if the benchmark cannot run."""
    known, words = names(), sys.argv[1:]
    if words[:1] == ["--render"]:
        page.render(PAGE)
    elif words and words[0] in known:
        try:
            record = run(words[0], words[1:])
            print(page.details([record]), page.goals([record]), sep="\n\n")
        except UserError as error:
            print(f"{words[0]}: {error}", file=sys.stderr)
            return 1
        page.render(PAGE)
    else:
        print(__doc__, *(f"{name:12} {title}" for name, title in known.items()), sep="\n")
        return 0 if words[:1] in ([], ["--list"], ["--help"]) else 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
