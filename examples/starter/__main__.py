"""Composes a starter corpus of any size: `python -m examples.starter --help`."""

from __future__ import annotations

import pathlib
import sys

import tyro
from tqdm import tqdm

from examples.starter import file
from examples.starter.songs import compose
from jaxmusic import config
from jaxmusic._src.core.errors import UserError


def main(
    songs: int = 400,
    seed: int = 0,
    out: str = "",
    dataset: str = "",
    data_dir: str = config.Prepare().data_dir,
) -> None:
    """Composes band songs and writes them as a file, as a dataset, or as both.

    The defaults give the songs of jaxmusic/_src/data/starter.npz. A dataset of 2,000 songs:
    python -m examples.starter --songs 2000 --dataset starter

    Args:
      songs: number of songs.
      seed: seed of the corpus; corpora of different seeds share no song.
      out: file to write, ending in .npz.
      dataset: name of the dataset to prepare.
      data_dir: folder that holds the datasets.
    """
    if not out and not dataset:
        raise UserError("Give --out FILE, --dataset NAME or both.")
    seeds = file.seeds(songs, seed)
    if out:
        file.write(pathlib.Path(out).expanduser(), tqdm(seeds, "composing"))
        print(f"wrote {out}")
    if dataset:
        from jaxmusic._src.data import builder

        options = config.Prepare(name=dataset, data_dir=data_dir)
        print(builder.prepare_pieces(map(compose, seeds), options, songs))


if __name__ == "__main__":
    try:
        tyro.cli(main, prog="python -m examples.starter")
    except UserError as error:
        sys.exit(str(error))
