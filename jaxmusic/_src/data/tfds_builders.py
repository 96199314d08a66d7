"""Named datasets as TFDS builders: `register()`, then ``tfds.data_source("jaxmusic_pop909")``.

The builders are called ``jaxmusic_NAME``. They prepare by `builder.prepare` with its defaults into
``DATA_DIR/NAME``, where `jaxmusic prepare NAME` puts it too, and read the latest version there:
both roads give the same records.
"""

from __future__ import annotations

import functools
from typing import Any

from jaxmusic._src.data import builder, catalog, datasets, record
from jaxmusic.config import Prepare


@functools.cache
def register() -> tuple[str, ...]:
    """Makes the named datasets known to TFDS; their names there."""
    return tuple(_builder(dataset).name for dataset in datasets.DATASETS)


def _builder(dataset: str) -> Any:
    """Returns the TFDS builder of a named dataset; TFDS registers it when it is defined."""
    import tensorflow_datasets as tfds

    known = datasets.DATASETS[dataset]

    class Builder(tfds.core.GeneratorBasedBuilder):
        """Prepares and reads a named dataset in the way of the command line."""

        name = f"jaxmusic_{dataset}"
        VERSION = tfds.core.Version(f"{record.FORMAT}.0.0")
        MANUAL_DOWNLOAD_INSTRUCTIONS = known.hint or None

        def _info(self) -> Any:
            return tfds.core.DatasetInfo(
                builder=self,
                description=f"{known.title}, as aligned notes. Licence: {known.licence}.",
                features=record.features(),
                homepage=known.homepage,
                citation=known.citation,
            )

        def is_prepared(self) -> bool:
            return bool(catalog.versions(dataset, self._data_dir_root))

        def download_and_prepare(self, *, download_config: Any = None, **_: Any) -> None:
            manual = getattr(download_config, "manual_dir", None)
            options = Prepare(data_dir=str(self._data_dir_root), manual_dir=str(manual or ""))
            builder.prepare([dataset], options)

        def as_data_source(self, split: Any = None, **options: Any) -> Any:
            folder = catalog.open_dataset(dataset, str(self._data_dir_root)).path
            return tfds.builder_from_directory(folder).as_data_source(split, **options)

        def _split_generators(self, dl_manager: Any) -> Any:
            raise NotImplementedError  # abstract in TFDS; download_and_prepare stands in for it

        def _generate_examples(self) -> Any:
            raise NotImplementedError

    return Builder
