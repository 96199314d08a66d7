"""The codecs there are, by name: made from a configuration, or read from a codec's JSON."""

from __future__ import annotations

from typing import TypedDict

from jaxmusic import config
from jaxmusic._src.codecs.base import Codec
from jaxmusic._src.codecs.metrical.codec import MetricalCodec
from jaxmusic._src.codecs.performance.codec import PerformanceCodec
from jaxmusic._src.core import outside
from jaxmusic._src.core.errors import UserError

CODECS: dict[str, type[Codec]] = {
    kind: codec for codec in (MetricalCodec, PerformanceCodec) for kind in codec.KINDS
}
"""Class of each `config.Codec.kind`."""


def make_codec(config: config.Codec) -> Codec:
    """Makes the codec of a configuration; raises UserError for an unknown kind or resolution."""
    if config.kind not in CODECS:
        raise UserError(f"codec.kind must be {_or()}, not {config.kind!r}")
    return CODECS[config.kind](config)  # type: ignore[call-arg]


class _Version(TypedDict):
    codec: str
    version: int


class _Described(TypedDict):
    steps_per_beat: int
    velocities: int
    styles: list[str]
    fingerprint: str


def read_codec(text: str | bytes, where: object = "the codec") -> Codec:
    """Reads what `Codec.to_json` wrote.

    Args:
      text: the JSON.
      where: what it is called, as in the name of its file.

    Raises:
      UserError: it is no such JSON, or this library's codec is another.
    """
    values = outside.parse(text, _Version, where)
    kind, version = values["codec"], values["version"]
    known = CODECS.get(kind)
    if known is None or version != known.VERSION:
        ours = f"{kind} version {known.VERSION}" if known else _or()
        raise UserError(
            f"Install the jaxmusic that the model was made with: the codec in {where} is {kind} "
            f"version {version}, and this jaxmusic has {ours}."
        )
    outside.checked(values, _Described, where)
    try:
        settings = config.Codec(values["steps_per_beat"], values["velocities"], kind)
        codec = known(settings, tuple(values["styles"]))  # type: ignore[call-arg]
    except UserError as error:
        said = str(error).rstrip(".")
        raise UserError(f"{outside.RESTORE}: {where} cannot be read ({said}).") from error
    if codec.fingerprint != values["fingerprint"]:
        raise UserError(f"{outside.RESTORE}: {where} does not match its fingerprint.")
    return codec


def _or() -> str:
    *first, last = CODECS
    return f"{', '.join(first)} or {last}"
