"""A vocabulary is a list of named ranges of token ids; everything else is derived from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import numpy as np


class Vocabulary:
    """Token ids 0 ... size - 1, divided into named ranges (kinds) of consecutive ids.

    Attributes:
      names: names of the kinds, in order.
      size: number of tokens.
      start: first token of each kind, by name.
      length: number of tokens of each kind, by name.
      kind: int32 [size], number of each token's kind (its index in `names`).
      value: int32 [size], place of each token in its range.
    """

    def __init__(self, ranges: Sequence[tuple[str, int]]):
        """Lays out the ranges one after another, from token 0 on."""
        self.names = tuple(name for name, _ in ranges)
        lengths = np.array([length for _, length in ranges])
        starts = np.concatenate([[0], np.cumsum(lengths)])
        self.size = int(starts[-1])
        self.start = dict(zip(self.names, starts[:-1].tolist()))
        self.length = dict(zip(self.names, lengths.tolist()))
        self.kind = np.repeat(np.arange(len(lengths)), lengths).astype(np.int32)
        self.value = (np.arange(self.size) - starts[:-1][self.kind]).astype(np.int32)
        self.kinds = {name: i for i, name in enumerate(self.names)}

    def describe(self, token: int) -> str:
        """Describes a token in words, e.g. ``pitch 60``."""
        if not 0 <= token < self.size:
            return f"unknown {token}"
        name = self.names[self.kind[token]]
        return f"{name} {self.value[token]}" if self.length[name] > 1 else name

    def fingerprint(self, version: int) -> str:
        """Hashes the layout, on which the meaning of a checkpoint's tokens depends."""
        layout = json.dumps([version, [[n, self.length[n]] for n in self.names]])
        return hashlib.sha256(layout.encode()).hexdigest()[:16]
