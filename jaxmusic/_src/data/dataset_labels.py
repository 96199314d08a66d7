"""What tables and folders say of pieces: styles, songs, splits, and files of beats and chords."""

from __future__ import annotations

import csv
import io
import pathlib
import re
from collections.abc import Callable, Iterable, Sequence

from jaxmusic._src.core.errors import UserError
from jaxmusic._src.data.songs import SPLITS
from jaxmusic._src.data.sources import NOTHING, Known, MusicFile
from jaxmusic._src.formats import rolls
from jaxmusic._src.formats.saving import load
from jaxmusic._src.music.roles import ROLES

Labeller = Callable[[MusicFile], Known]
"""What is known of a file."""
LabelReader = Callable[[pathlib.Path], Labeller]
"""Reads what a dataset's folder says of its files."""

_POP909_ROLES = tuple(ROLES.index(role) for role in ("melody", "other", "chords"))
"""Of its tracks MELODY, BRIDGE and PIANO."""
_JSB_TICKS = 120
"""Ticks in a quarter of the JSB files, which say 100; as in MusPy's loader."""
_JSB_SPLITS = {"train": "train", "valid": "validation", "test": "test"}
_TUNES = {
    "hpps": "hornpipe",
    "jigs": "jig",
    "reels": "reel",
    "slip": "slip jig",
    "waltzes": "waltz",
    "xmas": "christmas",
}


def _by_file(known: Labeller) -> LabelReader:
    """Reads labels for which a file and those beside it are enough."""
    return lambda root: known


unlabelled = _by_file(lambda file: file.known)
"""Nothing is known, as of Lakh."""


@_by_file
def pop909(file: MusicFile) -> Known:
    """Roles, beats, chords and keys from the files of each song; all songs are pop.

    Songs get no names: some of the numbered folders hold the same song, which is for its notes to
    tell.
    """
    # beat_audio.txt and chord_audio.txt belong to the recording and do not fit the MIDI.
    names = ("beat_midi.txt", "chord_midi.txt", "key_audio.txt")
    beside = (pathlib.Path(file.path).with_name(name) for name in names)
    beats, chords, keys = (str(p) if p.exists() else "" for p in beside)
    return Known(("pop",), beats=beats, chords=chords, keys=keys, roles=_POP909_ROLES)


def groove(root: pathlib.Path) -> Labeller:
    """Reads main style, fills and the official split from info.csv."""

    def known(row: dict[str, str]) -> Known:
        styles = (row["style"].split("/")[0], *(("fill",) if row["beat_type"] == "fill" else ()))
        return Known(styles, split=row["split"])

    return _by_table(root, "info.csv", ("midi_filename", "style", "beat_type", "split"), known)


def maestro(root: pathlib.Path) -> Labeller:
    """Reads the official split from maestro-v*.csv; the style is classical."""
    return _by_table(
        root,
        "maestro-v*.csv",
        ("midi_filename", "split"),
        lambda row: Known(("classical",), split=row["split"]),
    )


@_by_file
def jsb_chorales(file: MusicFile) -> Known:
    """Reads the official split from the folders; the styles are baroque and hymn."""
    split = _JSB_SPLITS[file.name.split("/")[0]]
    return Known(("baroque", "hymn"), split=split, ticks_per_beat=_JSB_TICKS)


@_by_file
def nottingham(file: MusicFile) -> Known:
    """Reads the kind of tune from the file name (reelsa-c17.mid); the style is folk too."""
    kind = re.split(r"\d", file.name)[0]
    kind = "reels" if kind.startswith("reels") else kind.removesuffix(".mid")
    return Known(("folk", _TUNES.get(kind, kind)))


def mutopia(root: pathlib.Path) -> Labeller:
    """Reads styles from metadata.csv (columns file and genre), if there is one."""
    if not any(root.rglob("metadata.csv")):
        return unlabelled(root)
    return _by_table(
        root,
        "metadata.csv",
        ("file", "genre"),
        lambda row: Known(_styles(row["genre"].replace("/", ";"))),
    )


def from_folders(files: Sequence[MusicFile]) -> list[MusicFile]:
    """Adds the top folder of a file, inside its source, as a style."""

    def known(file: MusicFile) -> Known:
        top, _, rest = file.name.partition("/")
        return with_styles(file.known, (top,)) if rest else file.known

    return [file._replace(known=known(file)) for file in files]


def with_steps(files: Sequence[MusicFile], step: str) -> list[MusicFile]:
    """Gives piano rolls in JSON the note value of their time steps, one of `rolls.STEPS`.

    Raises:
      UserError: neither `step` nor the name of a file says it.
    """

    def known(file: MusicFile) -> Known:
        if not rolls.is_roll(file.path):
            return file.known
        if not (step or rolls.step_of(file.path)):
            raise UserError(
                f"Give the note value of the time steps of {file.path.partition('#')[0]}, which "
                f"its name does not say: --json-step {', '.join(rolls.STEPS)}."
            )
        return file.known._replace(ticks_per_beat=rolls.STEPS[step] if step else 0)

    return [file._replace(known=known(file)) for file in files]


def from_csv(path: str, files: Sequence[MusicFile]) -> tuple[list[MusicFile], int]:
    """Adds what a user's table says of files.

    Args:
      path: a CSV file with the columns path (inside of the source, as in the report of skipped
        files), style (several separated by ;) and perhaps song and split.
      files: the music.

    Returns:
      The files with what is known of them, and the number of rows whose file is not there.

    Raises:
      UserError: there is no such table, or it lacks columns or names another split.
    """
    rows = _read(pathlib.Path(path).expanduser(), ("path", "style"))
    table = {row["path"].strip().removeprefix("./"): row for row in rows}

    def known(file: MusicFile) -> Known:
        if (row := table.get(file.name)) is None:
            return file.known
        split = (row.get("split") or "").strip()
        if split not in ("", *SPLITS):
            raise UserError(
                f"{path} puts {file.name} into the split {split!r}: write train, validation or "
                "test, or leave it empty."
            )
        song = (row.get("song") or "").strip()
        now = with_styles(file.known, _styles(row["style"]))
        return now._replace(song=song or now.song, split=split or now.split)

    labelled = [file._replace(known=known(file)) for file in files]
    return labelled, len(set(table) - {file.name for file in files})


def with_styles(known: Known, styles: Iterable[str]) -> Known:
    """Adds styles, in lower case, without duplicates."""
    more = (style.strip().lower() for style in styles)
    return known._replace(styles=tuple(dict.fromkeys((*known.styles, *filter(None, more)))))


def _styles(text: str) -> tuple[str, ...]:
    return with_styles(NOTHING, text.split(";")).styles


def _by_table(
    root: pathlib.Path,
    pattern: str,
    columns: tuple[str, ...],
    known: Callable[[dict[str, str]], Known],
) -> Labeller:
    """Reads a table of labels; files without a row have none.

    The first of the columns has the path of the file, or its name alone.
    """
    tables = sorted(root.rglob(pattern))
    if not tables:
        raise UserError(
            f"{root} lacks {pattern}, which tells styles and splits: unpack the whole archive."
        )
    rows = {row[columns[0]]: row for row in _read(tables[0], columns)}

    def labels(file: MusicFile) -> Known:
        row = rows.get(file.name) or rows.get(file.name.rpartition("/")[2])
        return known(row) if row else file.known

    return labels


def _read(path: pathlib.Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """Reads the rows of a CSV file with these columns."""
    try:
        reader = csv.DictReader(io.StringIO(load(path).decode("utf-8-sig"), newline=""))
        if missing := [c for c in columns if c not in (reader.fieldnames or ())]:
            raise UserError(
                f"{path} has no column {missing[0]}: its first line must name the columns "
                f"{', '.join(columns)}."
            )
        # A line that is too short has None where it ends.
        return [{k: v or "" for k, v in row.items() if k} for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is no CSV file in UTF-8: save it as one.") from error
