"""The main loop of a reading process, see `jaxmusic.data.feeding`."""

from __future__ import annotations

import logging
import signal
from multiprocessing import connection

import numpy as np

from jaxmusic.codecs.registry import read_codec
from jaxmusic.data.loader import Loader


def serve(inbox_fd: int, outbox_fd: int) -> None:
    """Receives an order, then sends batches until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.disable(logging.WARNING)  # the process that started this one has warned already
    with connection.Connection(inbox_fd, writable=False) as inbox:
        order = inbox.recv()
    outbox = connection.Connection(outbox_fd, readable=False)
    loader = Loader(order.data, read_codec(order.codec), order.split, order.seed)
    step = order.start
    while True:
        columns = loader.columns(step, order.process_index, order.process_count)
        try:
            outbox.send_bytes(np.ascontiguousarray(columns).data)
        except BrokenPipeError:
            return
        step += order.stride
