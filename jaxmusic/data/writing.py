"""Writing a dataset's shards: TFDS in the ArrayRecord format, without TensorFlow."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from etils import epath

from jaxmusic.data import record
from jaxmusic.data.catalog import CONFIG

Example = dict[str, Any]


def write_shards(
    folder: epath.Path, name: str, version: str, splits: Mapping[str, Callable[[], Iterator]]
) -> epath.Path:
    """Writes splits of records; TFDS chooses the number of shards by their size.

    Args:
      folder: an empty folder.
      name: of the dataset.
      version: of the dataset.
      splits: for each split that is not empty a function that yields its records in order.

    Returns:
      The folder with the shards, inside of `folder`.
    """
    import tensorflow_datasets as tfds

    class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
        """A dataset whose records are at hand."""

        VERSION = tfds.core.Version(version)
        BUILDER_CONFIGS = [  # noqa: RUF012
            tfds.core.BuilderConfig(name=CONFIG, version=version)
        ]

        def _info(self) -> Any:
            return tfds.core.DatasetInfo(
                builder=self,
                description="Aligned notes of pieces of music, as columns.",
                features=record.features(),
                disable_shuffling=True,
            )

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            del dl_manager
            return {split: enumerate(examples()) for split, examples in splits.items()}

        def _generate_examples(self) -> Any:
            raise NotImplementedError  # abstract in TFDS; the splits above are generators already

    Builder.name = name
    with _quiet(tfds):
        builder = Builder(
            config=Builder.BUILDER_CONFIGS[0], data_dir=folder, file_format="array_record"
        )
        builder.download_and_prepare()
    return epath.Path(builder.data_dir)


@contextlib.contextmanager
def _quiet(tfds: Any) -> Iterator[None]:
    """Keeps TFDS from speaking of downloads: there is a progress bar already."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        tfds.enable_progress_bar()
        logger.setLevel(level)
