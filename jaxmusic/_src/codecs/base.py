"""What every codec is: a vocabulary, a list of styles, and the way between pieces and tokens."""

from __future__ import annotations

import abc
import dataclasses
import json
from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np

from jaxmusic import config
from jaxmusic._src.codecs.layout import MAX_STYLES
from jaxmusic._src.codecs.tasks import Given
from jaxmusic._src.codecs.vocabulary import Vocabulary
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.core.events import Events
from jaxmusic._src.music import controls
from jaxmusic._src.music.notes import Notes
from jaxmusic._src.music.piece import Losses

C = TypeVar("C", bound="Codec")


class Codec(abc.ABC):
    """Notes to a piece, a piece to tokens, and back.

    A piece is what the codec quantises notes to, and its type is the codec's own. It has `bars`
    (units by which it may be cut) and `pitched` (which notes transposing moves), and
    `part(start, stop)` and `transpose(semitones)` make other pieces of it. What is lost is lost in
    `quantise`, which counts it: ``decode(encode(piece))`` is the piece.

    Attributes:
      config: which codec, and its resolution.
      styles: names of the style tokens, in order; at most 64.
      vocabulary: names and ranges of the tokens.
      vocab_size: number of tokens.
      fingerprint: hash of the layout; names of styles are not part of it.
      onset_tokens: bool [vocab_size], True for tokens that each stand for exactly one note.
    """

    KINDS: ClassVar[tuple[str, ...]]
    """Values of `config.Codec.kind` that mean this codec."""
    VERSION: ClassVar[int]
    """Raised when tokens change their meaning."""
    CONTROLS: ClassVar[tuple[str, ...]] = controls.names()
    """Names of the controls that its streams can state or leave out."""
    ONSETS: ClassVar[tuple[str, ...]]
    """Kinds of tokens that each stand for exactly one note."""
    UNIT: ClassVar[str] = "bars"
    """What pieces may be cut at: bars, or seconds. Tasks and most controls need bars."""
    TIME: ClassVar[str]
    """Resolution of time in words; may name a field of `config`."""
    PAD: int
    """The token that fills rows."""

    def __init__(
        self, config: config.Codec, styles: Sequence[str], ranges: Sequence[tuple[str, int]]
    ):
        """Lays out the vocabulary.

        Args:
          config: which codec, and its resolution.
          styles: names of styles.
          ranges: name and number of tokens of each kind.
        """
        if config.kind not in self.KINDS:
            raise UserError(f"kind must be {' or '.join(self.KINDS)} here, not {config.kind!r}")
        if config.velocities not in (8, 16, 32):
            raise UserError(f"velocities must be 8, 16 or 32, not {config.velocities}")
        if len(styles) > MAX_STYLES:
            raise UserError(f"a codec holds {MAX_STYLES} styles, not {len(styles)}")
        self.config = config
        self.styles = tuple(styles)
        self.vocabulary = Vocabulary(ranges)
        self.vocab_size = self.vocabulary.size
        self.fingerprint = self.vocabulary.fingerprint(self.VERSION)
        self.PAD = self.vocabulary.start["pad"]
        self.onset_tokens = self.is_kind(*self.ONSETS)

    @abc.abstractmethod
    def quantise(self, notes: Notes) -> tuple[Any, Losses]:
        """Quantises aligned notes; returns the piece and what is lost."""

    @abc.abstractmethod
    def dequantise(self, piece: Any) -> Notes:
        """Returns the notes of a piece; `quantise` restores the piece."""

    @abc.abstractmethod
    def header(
        self, piece: Any, drop: frozenset[str] = frozenset(), given: Given | None = None
    ) -> list[int]:
        """Encodes what comes before the first bar; see `encode`."""

    @abc.abstractmethod
    def body(
        self, piece: Any, drop: frozenset[str] = frozenset(), given: Given | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Encodes bars; returns tokens [T] and their steps [T], see `encode`."""

    def encode(
        self, piece: Any, drop: frozenset[str] = frozenset(), given: Given | None = None
    ) -> np.ndarray:
        """Encodes a piece or a part of one as tokens (int32 [T]).

        Args:
          piece: what is encoded.
          drop: names of `CONTROLS` to leave out.
          given: makes a task stream, which tells first what is given and then what is not, and
            always ends with the end token. In a plain stream that stands only if nothing of the
            whole piece follows.

        Raises:
          UserError: an unknown style, or a task in a codec that has none.
        """
        body, _ = self.body(piece, drop, given)
        ends = given is not None or piece.bars_after == 0
        end = [self.vocabulary.start["eos"]] if ends else []
        return np.concatenate([self.header(piece, drop, given), body, end]).astype(np.int32)

    @abc.abstractmethod
    def decode(self, tokens: np.ndarray) -> tuple[Any, int]:
        """Decodes a stream; returns the piece and the number of invalid tokens.

        Never raises: what has no meaning where it stands is left out and counted.
        """

    def sizes(self, piece: Any) -> np.ndarray:
        """Bounds of the number of tokens (int32 [B + 1]): of a header, and of each bar.

        ``encode(piece.part(a, b))`` has at most ``sizes[0] + sizes[1 + a : 1 + b].sum()`` tokens.
        A task stream may have more.
        """
        bar = np.searchsorted(piece.bar_step[1:-1], self.body(piece)[1], side="right")
        header = len(self.header(piece)) + self.restated(piece)
        return np.concatenate([[header], np.bincount(bar, minlength=piece.bars)]).astype(np.int32)

    @abc.abstractmethod
    def restated(self, piece: Any) -> int:
        """Returns a bound of the tokens that a part has besides those of the whole piece."""

    @abc.abstractmethod
    def events(self, tokens: np.ndarray) -> Events:
        """Returns the event tensors of a stream with a header, see `core.events.Events`."""

    def note_index(self, piece: Any, tokens: np.ndarray) -> np.ndarray:
        """Returns the row of the note in `piece` that each token writes (int32 [T]), -1 for none.

        Args:
          piece: what `decode` made of the tokens.
          tokens: a stream that opens with a header.
        """
        events = self.events(np.asarray(tokens, np.int32))
        slot = getattr(piece, "slot", np.zeros(len(piece), np.int64))

        def moment(time: Any, slot: Any, pitch: Any) -> np.ndarray:
            voice = np.asarray(slot, np.int64) * 256 + np.asarray(pitch, np.int64)
            return (np.asarray(time, np.int64) << 20) + voice

        # No two notes of a piece begin at one moment in one slot at one pitch.
        keys = moment(piece.onset, slot, piece.pitch)
        wanted = moment(events.time, events.slot, events.pitch)
        if not len(keys):
            return np.full(len(wanted), -1, np.int32)
        order = np.argsort(keys)
        found = np.searchsorted(keys, wanted, sorter=order)
        row = order[np.minimum(found, len(keys) - 1)]
        return np.where(keys[row] == wanted, row, -1).astype(np.int32)

    def is_kind(self, *names: str) -> np.ndarray:
        """Returns a mask of tokens of some kinds, bool [vocab_size]."""
        return np.isin(self.vocabulary.kind, [self.vocabulary.kinds[name] for name in names])

    @property
    def resolution(self) -> str:
        """Of time and loudness, in words; bits compare only where it is the same."""
        time = self.TIME.format(**dataclasses.asdict(self.config))
        return f"{time}, {self.config.velocities} levels of loudness"

    def with_styles(self: C, names: Sequence[str]) -> C:
        """Returns the codec with further style names."""
        new = tuple(dict.fromkeys(n for n in names if n not in self.styles))
        return type(self)(self.config, self.styles + new)  # type: ignore[call-arg]

    def style_index(self, name: str) -> int:
        """Returns the number of a style; raises a UserError that lists the known ones."""
        if name not in self.styles:
            raise UserError(f"unknown style {name!r}: choose from {', '.join(self.styles)}")
        return self.styles.index(name)

    def opening(self, piece: Any, drop: frozenset[str], task: int | None = None) -> list[int]:
        """Returns the first tokens of a stream: ``bos [task] [part] style*``, styles ascending."""
        start = self.vocabulary.start
        tokens = [start["bos"]]
        tokens += [] if task is None else [start["task"] + task]
        tokens += [start["part"]] if piece.bars_before else []
        return tokens if "styles" in drop else tokens + self.style_tokens(piece.styles)

    def style_tokens(self, names: Sequence[str]) -> list[int]:
        """Returns the tokens of styles, ascending; raises UserError for an unknown one."""
        return sorted(self.vocabulary.start["style"] + self.style_index(s) for s in set(names))

    def known_tokens(self, tokens: np.ndarray) -> tuple[np.ndarray, int, bool]:
        """Returns tokens (int64 [T]) up to the end token, without padding and unknown ids.

        Returns:
          The tokens, how many others there were besides padding, and whether the end was there.
        """
        given = np.asarray(tokens, np.int64).ravel()
        given = given[given != self.PAD]
        stream = given[(given >= 0) & (given < self.vocab_size)]
        ends = np.flatnonzero(stream == self.vocabulary.start["eos"])
        stream = stream[: ends[0]] if len(ends) else stream
        return stream, len(given) - len(stream) - (len(ends) > 0), len(ends) > 0

    def style_names(self, values: np.ndarray) -> tuple[str, ...]:
        """Returns the names of style tokens, without duplicates and unnamed ones."""
        return tuple(dict.fromkeys(self.styles[v] for v in values if v < len(self.styles)))

    def to_json(self) -> str:
        """Returns the codec as a small JSON object, which `codecs.registry.read_codec` reads."""
        values = {
            "codec": self.config.kind,
            "version": self.VERSION,
            "fingerprint": self.fingerprint,
            "steps_per_beat": self.config.steps_per_beat,
            "velocities": self.config.velocities,
            "styles": self.styles,
        }
        return json.dumps(values, indent=2)
