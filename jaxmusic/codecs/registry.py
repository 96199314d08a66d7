"""The codecs there are, by name: made from a configuration, or read from a codec's JSON."""

from __future__ import annotations

import json

from jaxmusic import config
from jaxmusic.codecs.base import Codec
from jaxmusic.codecs.metrical.codec import MetricalCodec
from jaxmusic.codecs.performance.codec import PerformanceCodec
from jaxmusic.core.errors import UserError

CODECS: dict[str, type[Codec]] = {
    kind: codec for codec in (MetricalCodec, PerformanceCodec) for kind in codec.KINDS
}
"""Class of each `config.Codec.kind`."""


def make_codec(config: config.Codec) -> Codec:
    """The codec of a configuration; raises UserError for a kind or resolution that is none."""
    if config.kind not in CODECS:
        raise UserError(f"codec.kind must be {_or()}, not {config.kind!r}")
    return CODECS[config.kind](config)  # type: ignore[call-arg]


def read_codec(text: str) -> Codec:
    """Reads what `Codec.to_json` wrote; raises UserError where this library's codec is another."""
    values = json.loads(text)
    kind, version = values.get("codec"), values.get("version")
    known = CODECS.get(kind)
    if known is None or version != known.VERSION:
        ours = f"{kind} version {known.VERSION}" if known else _or()
        raise UserError(
            f"this model's codec is {kind} version {version} and this jaxmusic has {ours}: "
            "install the one it was made with"
        )
    settings = config.Codec(values["steps_per_beat"], values["velocities"], kind)
    codec = known(settings, tuple(values["styles"]))  # type: ignore[call-arg]
    if codec.fingerprint != values["fingerprint"]:
        raise UserError("the codec file does not match its fingerprint: restore the original")
    return codec


def _or() -> str:
    *first, last = CODECS
    return f"{', '.join(first)} or {last}"
