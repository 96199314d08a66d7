"""Commands about music in files: prepare and convert."""

from __future__ import annotations

import os
from typing import Annotated

import tyro

from jaxmusic import config
from jaxmusic._src.commands.options import grouped


@grouped
def prepare(
    sources: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")],
    /,
    options: config.Prepare = config.Prepare(),  # noqa: B008
) -> None:
    """Prepares a dataset from folders or files of music, or a named one.

    Named datasets: pop909, lakh_full, lakh_matched, maestro, groove, jsb_chorales, nottingham,
    mutopia. They are downloaded into DATA_DIR/downloads, or read from --manual-dir; their own
    styles, beats, chords and splits are used, and their licence is shown. To name a folder of the
    same name, write it as a path: ./pop909.

    Examples:
      jaxmusic prepare pop909
      jaxmusic prepare groove --manual-dir ~/downloads/groove
      jaxmusic prepare ~/midi/pop --name pop --style pop
      jaxmusic prepare "~/midi/**/*.mid" extra/song.kar --name mine
      jaxmusic prepare ~/midi --name mine --style-from-folders --labels labels.csv
      jaxmusic prepare lakh_full --name band --where "has=drums tempo=90..140"
      jaxmusic prepare ~/midi/folk --name folk_test --validation 0 --test 1
      jaxmusic prepare Jsb16thSeparated.json --name jsb16 --keep-splits

    Args:
      sources: the name of a dataset, or folders, files or quoted globs of MIDI (.mid, .midi, .kar),
        MusicXML (.musicxml, .xml, .mxl) and ABC (.abc), or files of piano rolls in .json.
      options: name of the dataset, labels of its pieces, and which pieces are kept.
    """
    from jaxmusic._src.data import builder

    print(builder.prepare(sources, options))


def convert(
    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="IN")],
    target: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")],
    /,
    force: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
) -> None:
    """Converts a piece from one format into another, chosen by suffix.

    Reads .mid, .midi, .kar, .musicxml, .xml, .mxl and .abc; writes .mid, .musicxml, .xml, .mxl,
    .wav, .png, .svg and .pdf. To write a score of a MIDI file, the beats and bars of the music are
    estimated first.

    Examples:
      jaxmusic convert song.mid song.musicxml
      jaxmusic convert "jigs.abc#3" jig.mid

    Args:
      source: file to read; book.abc#3 is the third tune of a book.
      target: file to write.
      force: replace IN if OUT is the same file.
    """
    from jaxmusic._src.formats import files

    target = os.path.expanduser(target)
    files.convert(os.path.expanduser(source), target, force)
    print(f"wrote {target}")
