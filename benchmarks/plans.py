"""Plans: whether the pretraining configs fit the TPUs they name, and how little they send.

Each is what `jaxmusic plan CONFIG --topology NAME --json` says, in a process of its own. Memory and
traffic are the compiler's; no TPU is there.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time

import tqdm

from benchmarks.runner import FOLDER, MissingPeer, Options, Result, Row

PLANS = {
    "pretrain_100m": "v5e:2x4",
    "pretrain_350m": "v5e:4x4",
    "pretrain_1b": "v5e:16x16",
    "pretrain_7b": "v5p:4x4x8",
}
MOST_SENT = 1.25
"""Bytes sent as a multiple of the least that fully sharded data parallelism needs, at most."""
LONGEST = 120.0
"""Seconds of a plan, at most."""


def run(options: Options) -> Result:
    """One plan after another."""
    if importlib.util.find_spec("libtpu") is None:
        raise MissingPeer("Run pip install -e .[plan] and try again: there is no libtpu.")
    rows: list[Row] = []
    for name, topology in tqdm.tqdm(PLANS.items(), desc="plans", leave=False):
        command = [sys.executable, "-m", "jaxmusic", "plan", name, "--topology", topology, "--json"]
        start = time.perf_counter()
        done = subprocess.run(
            command, cwd=FOLDER.parent, stdout=subprocess.PIPE, text=True, check=False
        )
        seconds = time.perf_counter() - start
        rows += _rows(name, json.loads(done.stdout), seconds)
    return Result(
        ("config", "hardware", "what", "value", "unit"),
        tuple(rows),
        notes=(
            "Sent over least: bytes that each chip sends in a step, read from the compiled "
            "program, over those of gathering all parameters twice and scattering all gradients "
            "once in bfloat16. A batch that is computed in parts gathers for every part.",
            "Times of a step and MFU are left out here: no device has confirmed them.",
        ),
    )


def _rows(name: str, plan: dict, seconds: float) -> list[Row]:
    where = (name, plan["topology"])
    memory, parts = plan["memory"], plan["accumulate"]
    used, there = memory["total"] / 2**30, memory["available"] / 2**30
    sent = plan["traffic"] / plan["least_traffic"] / parts
    of_each = "" if parts == 1 else f", for each of {parts} parts"
    return [
        Row((*where, "parameters", round(plan["parameters"] / 1e6, 1), "million")),
        Row(
            (*where, f"memory of {there:.1f} GiB of a chip", round(used, 2), "GiB"),
            "fits",
            plan["fits"],
        ),
        Row(
            (*where, f"sent over least{of_each}", round(sent, 3), ""),
            f"at most {MOST_SENT}",
            sent <= MOST_SENT,
        ),
        Row(
            (*where, "the whole plan", round(seconds, 1), "s"),
            f"at most {LONGEST:g} s",
            seconds <= LONGEST,
        ),
    ]
