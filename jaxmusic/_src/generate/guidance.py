"""One piece seen in several ways: with and without its controls, in one style and another.

Classifier-free guidance (Ho & Salimans 2022) samples from
``g log p(token | controls) + (1 - g) log p(token)``: two branches with the weights g and 1 - g. A
mix of styles is a branch for each style, with the weights of the mix.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from jaxmusic._src.codecs.base import Codec
from jaxmusic._src.music.controls import hidden, stated_at

OPENINGS = ("slot", "pitch", "drum")
"""Kinds of tokens that may open a note after a position."""


@dataclasses.dataclass(frozen=True)
class Branch:
    """How a model sees the pieces, and how much its word counts.

    Attributes:
      weight: of the branch's log-probabilities; the weights of all branches add up to 1. The first
        one should see most: it alone counts for tokens that another does not see.
      drop: names of controls that are hidden.
      styles: names of styles that stand in place of those of the stream, of which there must be at
        least as many; None leaves the stream's.
    """

    weight: float = 1.0
    drop: frozenset[str] = frozenset()
    styles: tuple[str, ...] | None = None


def table(codec: Codec, branch: Branch) -> np.ndarray:
    """Returns the token that a branch sees for each drawn one (int32 [V]); PAD for none."""
    kinds = codec.vocabulary.kinds
    unseen = [kinds[name] for name in hidden(branch.drop) if name in kinds]
    if branch.styles is not None:
        unseen.append(kinds["style"])
    tokens = np.arange(codec.vocab_size, dtype=np.int32)
    return np.where(np.isin(codec.vocabulary.kind, unseen), codec.PAD, tokens).astype(np.int32)


def seen(codec: Codec, tokens: np.ndarray, branch: Branch) -> np.ndarray:
    """Hides what a branch may not see of a stream (int32 [T]) as PAD.

    Without its PAD tokens it is the stream that ``codec.encode`` writes with the same `drop`: a
    position that was named for a hidden chord alone is hidden too.
    """
    v = codec.vocabulary
    tokens = np.asarray(tokens, np.int32)
    out = table(codec, branch)[tokens]
    if branch.styles is not None and "styles" not in branch.drop:
        places = np.flatnonzero(v.kind[tokens] == v.kinds["style"])
        styles = codec.style_tokens(branch.styles)
        if len(styles) > len(places):
            raise ValueError(f"{len(styles)} styles do not fit into {len(places)} places")
        out[places[: len(styles)]] = styles
    out[stranded(codec, tokens, branch)] = codec.PAD
    return out


def stranded(codec: Codec, tokens: np.ndarray, branch: Branch) -> np.ndarray:
    """Finds the places of position tokens that only hidden controls follow."""
    unseen = table(codec, branch)[tokens] == codec.PAD
    if not hides_halves(codec, branch):
        return np.zeros(0, np.int64)
    v = codec.vocabulary
    kind = v.kind[tokens]
    opens = np.isin(kind, [v.kinds[name] for name in OPENINGS])
    at = np.flatnonzero(kind == v.kinds["position"])
    # The first token after each position that is seen; at the end nothing is known yet.
    seen_at = np.append(np.flatnonzero(~unseen), len(tokens))
    after = seen_at[np.searchsorted(seen_at, at, side="right")]
    known = after < len(tokens)
    at, after = at[known], after[known]
    return at[(after > at + 1) & ~opens[after]]


def hides_halves(codec: Codec, branch: Branch) -> bool:
    """Tells whether a branch hides controls that stand at positions."""
    kinds = {control.kind for control in stated_at("half")}
    return bool(kinds & hidden(branch.drop) & codec.vocabulary.kinds.keys())
