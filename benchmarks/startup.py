"""Starting: the time to import jaxmusic, to install it and to go through the quickstart.

The installation goes into a fresh virtual environment, without pip's cache, from whatever
package index pip is set to; its seconds are mostly that index's.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import venv

import tqdm

from benchmarks.runner import FOLDER, Options, Result, Row

IMPORTS = 7
"""Fresh interpreters whose median import time counts."""
NOT_SOURCE = (".*", "__pycache__", "*.egg-info", "build", "dist", "runs", "quickstart")
TIMED_IMPORT = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"


def run(options: Options) -> Result:
    """Imports in fresh interpreters; installs and runs the quickstart where asked to."""
    rows = []
    for module in ("jaxmusic", "jax", "numpy"):
        seconds = statistics.median(import_seconds(module) for _ in range(IMPORTS))
        rows.append(Row((f"import {module} (median of {IMPORTS})", round(seconds, 3), "s")))
    with tempfile.TemporaryDirectory() as folder:
        if options.install:
            rows += _install(pathlib.Path(folder))
        if options.quickstart:
            rows.append(_quickstart(pathlib.Path(folder) / "quickstart"))
    return Result(("what", "value", "unit"), tuple(rows))


def import_seconds(module: str) -> float:
    """Seconds that a fresh interpreter spends importing a module."""
    command = [sys.executable, "-c", TIMED_IMPORT.format(module)]
    done = subprocess.run(command, cwd=FOLDER.parent, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def _install(folder: pathlib.Path) -> list[Row]:
    """Seconds and bytes of `pip install .` in a fresh environment."""
    source, environment = folder / "source", folder / "venv"
    # Building leaves files beside the sources: let them be beside a copy.
    shutil.copytree(FOLDER.parent, source, ignore=shutil.ignore_patterns(*NOT_SOURCE))
    with tqdm.tqdm(total=2, desc="installing", leave=False) as bar:
        venv.create(environment, with_pip=True)
        (packages,) = environment.glob("lib/python*/site-packages")
        before = size(packages)
        bar.update()
        start = time.perf_counter()
        command = [
            str(environment / "bin" / "python"),
            "-m",
            "pip",
            "install",
            "--no-cache-dir",
            "-q",
        ]
        subprocess.run([*command, str(source)], check=True)
        seconds = time.perf_counter() - start
        bar.update()
    count = len(list(packages.glob("*.dist-info")))
    return [
        Row(("pip install . into a fresh environment", round(seconds, 1), "s")),
        Row(("what it put there", round((size(packages) - before) / 2**20), "MiB")),
        Row(("packages there", count, "")),
    ]


def size(folder: pathlib.Path) -> int:
    """Bytes of all files below a folder."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file() and not p.is_symlink())


def _quickstart(folder: pathlib.Path) -> Row:
    """Seconds of the whole quickstart, from prepare to the composed piece."""
    main = "import sys; from jaxmusic.cli import main; sys.exit(main())"
    start = time.perf_counter()
    command = [sys.executable, "-c", main, "quickstart", "--out", str(folder)]
    # As on the first day: nothing compiled is kept from earlier runs.
    environment = os.environ | {"XDG_CACHE_HOME": str(folder.parent / "cache")}
    subprocess.run(command, cwd=FOLDER.parent, check=True, env=environment)
    return Row(("jaxmusic quickstart", round(time.perf_counter() - start, 1), "s"))
