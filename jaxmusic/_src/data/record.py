"""Records: an aligned piece as named columns, the way a dataset stores it, and back."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from jaxmusic._src.music.beats import Fit
from jaxmusic._src.music.notes import TICKS_PER_BEAT, Labels, Notes

FORMAT = 2
"""Raised when older readers would misread a record; the first number of a dataset's version."""

_COLUMNS: dict[str, Any] = {
    "onset": np.int32,
    "duration": np.int32,
    "pitch": np.uint8,
    "velocity": np.uint8,
    "track": np.int16,
    "program": np.uint8,
    "drum": np.uint8,
    "tempo_tick": np.int32,
    "tempo_qpm": np.float64,
    "meter_tick": np.int32,
    "meter_num": np.uint8,
    "meter_den": np.uint8,
}
_LABELS: dict[str, Any] = {
    field.name: field.default_factory().dtype.type
    for field in dataclasses.fields(Labels)
    if field.default_factory is not dataclasses.MISSING
}
"""All arrays of `Labels`, by the type of their empty ones."""


def features() -> Any:
    """Returns the TFDS features of a record.

    Columns are stored as bytes, which read several times faster than TFDS's default integers.
    Onsets are stored as differences, which compress well.
    """
    from tensorflow_datasets import features as tfds_features

    def column(dtype: Any) -> Any:
        return tfds_features.Tensor(shape=(None,), dtype=dtype, encoding="bytes")

    return tfds_features.FeaturesDict(
        {name: column(dtype) for name, dtype in (_COLUMNS | _LABELS).items()}
        | {
            "end": tfds_features.Scalar(np.int64),
            "styles": tfds_features.Sequence(tfds_features.Text()),
            "song": tfds_features.Text(),
            "path": tfds_features.Text(),
            "grid_source": tfds_features.Text(),
            "grid_error": column(np.float64),
        }
    )


def to_example(notes: Notes, path: str, fit: Fit) -> dict[str, Any]:
    """Returns the record of a piece.

    Args:
      notes: an aligned piece.
      path: where it comes from, relative to the folder that was given.
      fit: how it lies on its grid.
    """
    if notes.ticks_per_beat != TICKS_PER_BEAT:
        raise ValueError(
            f"only aligned pieces are stored; this one has {notes.ticks_per_beat} ticks per beat"
        )
    labels = notes.labels
    return {
        **{name: getattr(notes, name).astype(dtype) for name, dtype in _COLUMNS.items()},
        "onset": np.diff(notes.onset, prepend=np.int32(0)).astype(np.int32),
        **{name: getattr(labels, name).astype(dtype) for name, dtype in _LABELS.items()},
        "end": int(notes.end),
        "styles": list(labels.styles),
        "song": labels.song,
        # A file system may hold names that are no text.
        "path": path.encode("utf-8", "surrogateescape").decode("utf-8", "replace"),
        "grid_source": fit.source,
        "grid_error": np.array([fit.error_ms, fit.file_error_ms, fit.error], np.float64),
    }


def from_bytes(serialized: bytes) -> Notes:
    """Restores the piece of a record exactly.

    A record is a tf.Example whose columns are bytes already: TFDS takes three times as long.
    """
    from tensorflow_datasets.proto import tf_example_pb2

    feature = tf_example_pb2.Example.FromString(serialized).features.feature

    def columns(types: dict[str, Any]) -> dict[str, Any]:
        return {n: np.frombuffer(feature[n].bytes_list.value[0], t) for n, t in types.items()}

    found = columns(_COLUMNS)
    found["onset"] = np.cumsum(found["onset"], dtype=np.int32)
    found["drum"] = found["drum"].astype(bool)
    return Notes(
        **found,
        end=feature["end"].int64_list.value[0],
        labels=Labels(
            styles=tuple(style.decode() for style in feature["styles"].bytes_list.value),
            song=feature["song"].bytes_list.value[0].decode(),
            **columns(_LABELS),
        ),
    )
