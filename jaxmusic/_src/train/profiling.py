"""Profiles of some steps of a run: what the devices and the host did, by the microsecond."""

from __future__ import annotations

import pathlib
import re
import shutil
import tempfile

import jax
from etils import epath

from jaxmusic._src.core.errors import UserError

FOLDER = "profile"


def profiled(text: str) -> tuple[int, int]:
    """Reads the first and last step to profile; (0, 0) for none.

    Raises:
      UserError: the text is not of the form 20-24.
    """
    if not text:
        return 0, 0
    found = re.fullmatch(r"\s*(\d+)\s*-\s*(\d+)\s*", text)
    first, last = map(int, found.groups()) if found else (0, 0)
    if not 1 <= first <= last:
        raise UserError(f"Set profile to the first and the last step, as in 20-24, not {text!r}.")
    return first, last


class Profiler:
    """Writes a profile of some steps into the run's folder.

    The trace begins when the step before is finished and ends when the last one is, so the device
    waits for the host at these two places.
    """

    def __init__(self, run: epath.Path, steps: str):
        """Checks the steps, as `profiled` does; nothing is started yet."""
        self._first, self._last = profiled(steps)
        self._folder = run / FOLDER
        self._local = ""

    def begins(self, step: int) -> bool:
        """Tells whether the trace begins with this step; a resumed run may begin among them."""
        return not self._local and self._first <= step <= self._last

    def ends(self, step: int) -> bool:
        """Tells whether it ends after this step."""
        return bool(self._local) and step >= self._last

    def start(self) -> None:
        """Begins the trace."""
        options = jax.profiler.ProfileOptions()
        # Tracing Python's calls crashes now and then while other threads start or end, slows the
        # steps that are measured, and can fill the profile beyond what protobuf can write.
        options.python_tracer_level = 0
        # The profiler itself cannot write to every kind of bucket, so all go the same way.
        self._local = tempfile.mkdtemp(FOLDER)
        jax.profiler.start_trace(self._local, profiler_options=options)

    def stop(self) -> str:
        """Ends the trace; returns the folder that holds it, empty if none was begun."""
        if not self._local:
            return ""
        jax.profiler.stop_trace()
        local = pathlib.Path(self._local)
        for file in sorted(local.rglob("*")):
            if file.is_file():
                target = self._folder / file.relative_to(local).as_posix()
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(file.read_bytes())
        shutil.rmtree(local)
        self._local = ""
        # A profile is made once, even if the last steps are made again.
        self._first = self._last = 0
        return str(self._folder)
