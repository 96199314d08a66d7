"""One process of a run, from its start to its exit code."""

from __future__ import annotations

import contextlib
import os
import traceback
from typing import NoReturn

from jaxmusic import config as configs
from jaxmusic._src.cluster import exits, hosts
from jaxmusic._src.cluster.watchdog import Watchdog
from jaxmusic._src.core.errors import explained
from jaxmusic._src.train import trainer


def run(experiment: configs.Experiment, folder: str) -> int:
    """Trains as a program does; a process of several leaves at once when something goes wrong.

    A mistake of the user ends the run at the other processes too. Whatever goes wrong in a process
    without others is raised.

    Args:
      experiment: all settings.
      folder: folder of the run.

    Returns:
      One of the codes of `cluster.exits`.
    """
    peers = hosts.Hosts()
    with Watchdog(experiment.watchdog) as watchdog:
        try:
            peers = hosts.start(experiment.hosts)
            peers.listen(lambda sentence: _leave(sentence, exits.MISTAKE))
            result = trainer.train(experiment, folder, hosts=peers, watchdog=watchdog)
            peers.leave()
        except BaseException as error:
            if not peers.several:
                raise
            if isinstance(error, KeyboardInterrupt):
                _leave("stopped", exits.INTERRUPTED)
            if sentence := explained(error):
                with contextlib.suppress(Exception):
                    peers.tell(sentence)
                _leave(sentence, exits.MISTAKE)
            traceback.print_exception(error)
            again = "start all processes again to go on from the last checkpoint."
            _leave(again, exits.CRASHED)
    return exits.after(result.signal)


def _leave(sentence: str, code: int) -> NoReturn:
    """Ends the process at once; Python's own exit would wait for the other processes."""
    with contextlib.suppress(OSError):
        os.write(2, f"\njaxmusic: {sentence}\n".encode())
    os._exit(code)
