"""The songs to hear: MIDI and audio files beside the page of a report."""

from __future__ import annotations

import pathlib
from typing import NamedTuple

from tqdm.auto import tqdm

from jaxmusic._src.core.errors import UserError
from jaxmusic._src.formats import audio, files
from jaxmusic._src.formats.saving import save
from jaxmusic._src.music.notes import Notes
from jaxmusic._src.reports import plots
from jaxmusic._src.reports.gather import Gathered

RATE = 22_050
"""Samples per second: a minute of one channel takes 2.6 MB."""


class Heard(NamedTuple):
    """A song of the page.

    Attributes:
      name: as in the tables.
      midi, wav: its files, relative to the page; an empty `wav` means no audio.
      roll: its piano roll as a data URL, or "".
    """

    name: str
    midi: str
    wav: str = ""
    roll: str = ""


class Listen(NamedTuple):
    """The songs to hear.

    Attributes:
      ours: songs that are shown.
      more: all songs with MIDI files.
      real: names and pictures of real songs.
      without: why there is no audio, or "".
    """

    ours: list[Heard]
    more: list[Heard]
    real: list[tuple[str, str]]
    without: str = ""


def write(found: Gathered, folder: pathlib.Path, progress: bool = False) -> Listen:
    """Writes MIDI and audio files into a folder beside the page.

    For a model these are all pieces, under their names; otherwise only the songs that are shown,
    numbered as in the set.
    """
    by_model = found.report["kind"] == "model"
    songs = found.ours.songs if by_model else plots.shown(found, found.ours)
    notes = {song.name: song.notes for song in songs} | found.asked
    number = {song.name: i for i, song in enumerate(found.ours.songs, 1)}
    stems = {name: name if by_model else f"song-{number[name]:02d}" for name in notes}
    for name, piece in notes.items():
        files.write(piece, folder / f"{stems[name]}.mid")
    bars = found.report["settings"]["shown_bars"]
    midi = {name: f"{folder.name}/{stem}.mid" for name, stem in stems.items()}
    shown, without = [], ""
    chosen = plots.shown(found, found.ours)
    for song in tqdm(chosen, "playing", unit=" songs", delay=2, disable=not progress):
        name, wav = song.name, f"{stems[song.name]}.wav"
        without = without or _play(song.notes, folder / wav)
        source = "" if without else f"{folder.name}/{wav}"
        shown.append(Heard(name, midi[name], source, plots.roll(song.notes, bars)))
    real = [(song.name, plots.roll(song.notes, bars)) for song in plots.shown(found, found.shown)]
    more = [Heard(name, path) for name, path in midi.items()] if by_model else []
    return Listen(shown, more, real, without)


def _play(notes: Notes, path: pathlib.Path) -> str:
    """Writes the audio of a song; returns why that failed, or ""."""
    try:
        save(path, audio.encoded(notes, RATE, 1))
    except UserError as error:
        return str(error)
    return ""
