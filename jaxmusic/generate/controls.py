"""Controls as people write them, read into numbers."""

from __future__ import annotations

import dataclasses

from jaxmusic import config
from jaxmusic.codecs.base import Codec
from jaxmusic.generate.length import check_duration, parse_duration

DURATION = 180.0
"""Seconds of a piece of which nothing else is said."""


@dataclasses.dataclass(frozen=True)
class Wishes:
    """What is asked for, as numbers.

    Attributes:
      seconds: duration.
      styles: names of styles.
    """

    seconds: float = DURATION
    styles: tuple[str, ...] = ()


def read(controls: config.Controls, codec: Codec) -> Wishes:
    """Reads controls.

    Raises:
      UserError: what is asked for cannot be, or contradicts itself.
    """
    duration = controls.duration
    seconds = parse_duration(duration) if isinstance(duration, str) and duration else duration
    styles = tuple(controls.style.split())
    codec.style_tokens(styles)
    return Wishes(check_duration(float(seconds or DURATION)), styles)
