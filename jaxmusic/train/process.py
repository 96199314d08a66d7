"""One process of a run, from its start to its exit code."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

from jaxmusic import config as configs
from jaxmusic.cluster import exits, hosts
from jaxmusic.cluster.lines import LINGER, Lost
from jaxmusic.cluster.signals import ASKED
from jaxmusic.cluster.watchdog import Watchdog, leave
from jaxmusic.core.errors import explained
from jaxmusic.runs import folder as runs
from jaxmusic.train import trainer


def run(experiment: configs.Experiment, folder: str) -> int:
    """Trains as a program does: what goes wrong becomes a sentence and an exit code.

    A process of several leaves without waiting for the others, which may be lost, and without the
    caller: Python's own exit would wait for them.

    Args:
      experiment: all settings.
      folder: folder of the run.

    Returns:
      One of the codes of `jaxmusic.cluster.exits`.

    Raises:
      Exception: an error that the user can put right, where no other process has to hear of it.
    """
    peers = hosts.Hosts()
    with Watchdog(experiment.watchdog) as watchdog, leaving_at_once():
        watchdog.folder = runs.folder(folder)
        try:
            peers = hosts.start(experiment.hosts, ended)
            watchdog.name, watchdog.tell = peers.name, peers.tell
            result = trainer.train(experiment, folder, hosts=peers, watchdog=watchdog)
            peers.leave()
        except Lost as lost:
            peers.tell(str(lost), exits.PEER_LOST)
            ended(str(lost), None)
        except BaseException as error:
            if not peers.several:
                return _alone(error)
            _among_several(error, peers)
    return exits.after(result.signal)


@contextlib.contextmanager
def leaving_at_once() -> Iterator[None]:
    """While there is nothing to save, before the first step, a signal ends the process at once.

    It leaves with the code that says so, and not as if it had crashed. `Stop` takes over when the
    training begins.
    """

    def leave_now(number: int, frame: FrameType | None) -> None:
        leave("stopped; run the same command again to go on.", exits.after(number))

    numbers = [number for number in ASKED if number != signal.SIGINT]
    outside = {number: signal.signal(number, leave_now) for number in numbers}
    try:
        yield
    finally:
        for number, handler in outside.items():
            signal.signal(number, handler)


def ended(sentence: str, code: int | None) -> NoReturn:
    """Ends this process because another one is lost, or has ended the run for all."""
    # A mistake that the user must correct on one host ends the run on all hosts.
    mistake = code == exits.MISTAKE
    advice = "" if mistake else "; start all processes again to go on from the last checkpoint"
    leave(f"{sentence.rstrip('.')}{advice}.", exits.MISTAKE if mistake else exits.PEER_LOST)


def _alone(error: BaseException) -> int:
    """Returns the exit code for an unexpected error; user errors are re-raised."""
    if isinstance(error, KeyboardInterrupt | SystemExit) or explained(error):
        raise error
    traceback.print_exception(error)
    return exits.CRASHED


def _among_several(error: BaseException, peers: hosts.Hosts) -> NoReturn:
    """Tells the other processes what happened here, and leaves."""
    sentence, code = explained(error), exits.MISTAKE
    if isinstance(error, KeyboardInterrupt):
        sentence, code = "stopped", exits.INTERRUPTED
    if sentence is None:
        # Most often another process is lost, and the thread that watches for that is about to say
        # so and to end this process.
        time.sleep(LINGER)
        traceback.print_exception(error)
        sentence, code = f"{type(error).__name__}: {error}", exits.CRASHED
    peers.tell(sentence, code)
    sys.stdout.flush()
    leave(sentence, code)
