"""Records: an aligned piece as named columns, the way a dataset stores it, and back."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from jaxmusic.music.beats import Fit
from jaxmusic.music.notes import TICKS_PER_BEAT, Labels, Notes

FORMAT = 2
"""Raised when older readers would misread a record; the first number of a dataset's version."""

_COLUMNS: dict[str, Any] = {
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
    """The TFDS features of a record.

    Columns are stored as bytes, which read several times faster than TFDS's default integers.
    Onsets are stored as differences, which compress well.
    """
    from tensorflow_datasets import features as tfds_features

    def column(dtype: Any) -> Any:
        return tfds_features.Tensor(shape=(None,), dtype=dtype, encoding="bytes")

    columns = {"onset": np.int32, "duration": np.int32} | _COLUMNS | _LABELS
    return tfds_features.FeaturesDict(
        {name: column(dtype) for name, dtype in columns.items()}
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
    """The record of a piece.

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
        "onset": np.diff(notes.onset, prepend=np.int32(0)).astype(np.int32),
        "duration": notes.duration.astype(np.int32),
        **{name: getattr(notes, name).astype(dtype) for name, dtype in _COLUMNS.items()},
        **{name: getattr(labels, name).astype(dtype) for name, dtype in _LABELS.items()},
        "end": int(notes.end),
        "styles": list(labels.styles),
        "song": labels.song,
        # A file system may hold names that are no text.
        "path": path.encode("utf-8", "surrogateescape").decode("utf-8", "replace"),
        "grid_source": fit.source,
        "grid_error": np.array([fit.error_ms, fit.file_error_ms, fit.error], np.float64),
    }


def from_example(example: dict[str, Any]) -> Notes:
    """The piece of a record, exactly as it was stored."""
    columns = {name: example[name].astype(dtype) for name, dtype in _COLUMNS.items()}
    return Notes(
        onset=np.cumsum(example["onset"], dtype=np.int32),
        duration=example["duration"],
        **columns | {"drum": columns["drum"].astype(bool)},
        end=int(example["end"]),
        labels=Labels(
            styles=tuple(_text(s) for s in example["styles"]),
            song=_text(example["song"]),
            **{name: example[name] for name in _LABELS},
        ),
    )


def from_bytes(serialized: bytes) -> Notes:
    """The piece of a record as it lies in a shard.

    It is what TFDS and `from_example` make of it, in a third of the time: a record is a tf.Example
    whose columns are bytes already.
    """
    from tensorflow_datasets.proto import tf_example_pb2

    feature = tf_example_pb2.Example.FromString(serialized).features.feature
    types = {"onset": np.int32, "duration": np.int32} | _COLUMNS | _LABELS
    columns = {n: np.frombuffer(feature[n].bytes_list.value[0], t) for n, t in types.items()}
    return from_example(
        columns
        | {
            "end": feature["end"].int64_list.value[0],
            "styles": feature["styles"].bytes_list.value,
            "song": feature["song"].bytes_list.value[0],
        }
    )


def fit_of(example: dict[str, Any]) -> Fit:
    """How the piece of a record lies on its grid."""
    error_ms, file_error_ms, error = example["grid_error"].tolist()
    return Fit(
        source=_text(example["grid_source"]),
        error_ms=error_ms,
        file_error_ms=file_error_ms,
        error=error,
    )


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
