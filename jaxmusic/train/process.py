"""One process of a run, from its start to its exit code."""

from __future__ import annotations

import contextlib
import traceback
from typing import NoReturn

from jaxmusic import config as configs
from jaxmusic.cluster import exits, hosts
from jaxmusic.cluster.watchdog import Watchdog
from jaxmusic.core.errors import explained
from jaxmusic.train import trainer


def run(experiment: configs.Experiment, folder: str) -> int:
    """Trains as a program does; a process of several leaves at once when something goes wrong.

    Python's own exit would wait for the other processes, which may be lost.

    Args:
      experiment: all settings.
      folder: folder of the run.

    Returns:
      One of the codes of `jaxmusic.cluster.exits`.

    Raises:
      Exception: whatever went wrong, where there are no other processes.
    """
    peers = hosts.Hosts()
    with Watchdog(experiment.watchdog) as watchdog:
        try:
            peers = hosts.start(experiment.hosts)
            peers.listen(lambda sentence: exits.leave(sentence, exits.MISTAKE))
            result = trainer.train(experiment, folder, hosts=peers, watchdog=watchdog)
            peers.leave()
        except BaseException as error:
            if peers.several:
                _leave(error, peers)
            raise
    return exits.after(result.signal)


def _leave(error: BaseException, peers: hosts.Hosts) -> NoReturn:
    """Leaves with a sentence and a code; a mistake ends the run at the other processes too."""
    if isinstance(error, KeyboardInterrupt):
        exits.leave("stopped", exits.INTERRUPTED)
    if sentence := explained(error):
        with contextlib.suppress(Exception):
            peers.tell(sentence)
        exits.leave(sentence, exits.MISTAKE)
    traceback.print_exception(error)
    exits.leave("start all processes again to go on from the last checkpoint.", exits.CRASHED)
