"""Report: how long a report on 100 songs beside 800 takes, from files to the page.

Songs are the first of POP909, the reference is all of them. The time is that of `jaxmusic evaluate
--songs DIR --reference DIR` in a process of its own, start and progress bars included.
"""

from __future__ import annotations

import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile
import time

from benchmarks.runner import Options, Result, Row
from benchmarks.songs import pop909_folders

SONGS = 100
"""Songs that are reported on unless --count says otherwise."""
SECONDS = 180.0


def run(options: Options) -> Result:
    """Makes a report and times it."""
    folders = pop909_folders(options.folder("data"))
    with tempfile.TemporaryDirectory() as name:
        home = pathlib.Path(name)
        for what, chosen in (("songs", folders[: options.count or SONGS]), ("real", folders)):
            (home / what).mkdir()
            for folder in chosen:
                shutil.copy(folder / f"{folder.name}.mid", home / what)
        command = [sys.executable, "-m", "jaxmusic", "evaluate", "--songs", str(home / "songs")]
        command += ["--reference", str(home / "real"), "--out", str(home / "out")]
        before = _spent()
        start = time.perf_counter()
        subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
        seconds = time.perf_counter() - start
        spent = _spent() - before
        report = json.loads((home / "out" / "report.json").read_text())
        size = (home / "out" / "report.html").stat().st_size
    songs, real = (report["sets"][side]["songs"] for side in ("ours", "real"))
    return Result(
        columns=("what", "value"),
        rows=(
            Row(
                (f"seconds for {songs} songs beside {real}", seconds),
                f"at most {SECONDS:g}",
                seconds <= SECONDS,
            ),
            Row(("seconds of processor time, of all its processes", spent)),
            Row(("megabytes of the page", size / 1e6)),
        ),
        notes=("Files are read and measured by as many processes as there are cores.",),
    )


def _spent() -> float:
    """Processor seconds of the processes that ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
