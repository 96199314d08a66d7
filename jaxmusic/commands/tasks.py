"""Commands that work with a given piece: continue, infill, accompany, harmonise and vary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import tyro

from jaxmusic import config
from jaxmusic.commands import composing

if TYPE_CHECKING:
    from jaxmusic.generate.composition import Composition
    from jaxmusic.model import MusicModel

Model = Annotated[str, tyro.conf.arg(metavar="RUN")]
Song = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
Bars = Annotated[str, tyro.conf.arg(metavar="BARS")]
Controls = Annotated[config.Controls, tyro.conf.arg(name="")]
Sampling = Annotated[config.Sampling, tyro.conf.arg(name="")]
Output = Annotated[config.Output, tyro.conf.arg(name="")]


def continue_(
    song: Song,
    /,
    model: Model,
    bars: int = 0,
    controls: Controls = config.Controls(),  # noqa: B008
    sampling: Sampling = config.Sampling(),  # noqa: B008
    output: Output = config.Output(),  # noqa: B008
) -> None:
    """Goes on with a piece, to exactly the length asked for.

    What is given stays as it is, note for note. New bars have the meter and tempo in force where
    they begin. The duration is that of the whole; chords and form are those of the new bars.

    For example:

    jaxmusic continue --model runs/pop song.mid --bars 8 --duration 3:00 --out longer.mid

    Args:
      song: MIDI file, MusicXML or ABC.
      model: folder of a run, or a file that jaxmusic export wrote.
      bars: how many bars of the song are the prompt; 0 for all of it.
      controls: what the piece shall be like.
      sampling: how tokens are drawn.
      output: which checkpoint composes, and what is written.
    """
    _do("continue", model, song, bars, controls, sampling, output)


def infill(
    song: Song,
    /,
    model: Model,
    bars: Bars,
    controls: Controls = config.Controls(),  # noqa: B008
    sampling: Sampling = config.Sampling(),  # noqa: B008
    output: Output = config.Output(),  # noqa: B008
) -> None:
    """Writes some bars of a piece anew, so that they fit between the others.

    All other bars stay as they are, note for note.

    For example:

    jaxmusic infill --model runs/pop song.mid --bars 9-16 --out other.mid

    Args:
      song: MIDI file, MusicXML or ABC.
      model: folder of a run, or a file that jaxmusic export wrote.
      bars: which bars to write, counted from 1, as in 9-16, 7 or 1-4,9-12.
      controls: what the piece shall be like, where the given bars do not say it.
      sampling: how tokens are drawn.
      output: which checkpoint composes, and what is written.
    """
    _do("infill", model, song, bars, controls, sampling, output)


def accompany(
    song: Song,
    /,
    model: Model,
    controls: Controls = config.Controls(),  # noqa: B008
    sampling: Sampling = config.Sampling(),  # noqa: B008
    output: Output = config.Output(),  # noqa: B008
) -> None:
    """Adds instruments to a piece, those that --instruments names.

    What is given stays as it is, note for note. The chords are those of --chords, or else of the
    file, or else found in the notes where enough of them sound together.

    For example:

    jaxmusic accompany --model runs/pop melody.mid --instruments "bass, drums" --out band.mid

    Args:
      song: MIDI file, MusicXML or ABC.
      model: folder of a run, or a file that jaxmusic export wrote.
      controls: what the piece shall be like, and the instruments that are added.
      sampling: how tokens are drawn.
      output: which checkpoint composes, and what is written.
    """
    _do("accompany", model, song, "", controls, sampling, output)


def harmonise(
    song: Song,
    /,
    model: Model,
    controls: Controls = config.Controls(),  # noqa: B008
    sampling: Sampling = config.Sampling(),  # noqa: B008
    output: Output = config.Output(),  # noqa: B008
) -> None:
    """Finds chords for a melody and writes parts that play them, on a piano or on --instruments.

    The melody stays as it is, note for note; the chords are written into the file as well.

    For example:

    jaxmusic harmonise --model runs/pop melody.mid --instruments "piano, bass" --out song.mid

    Args:
      song: MIDI file, MusicXML or ABC.
      model: folder of a run, or a file that jaxmusic export wrote.
      controls: what the piece shall be like, and the instruments that are added.
      sampling: how tokens are drawn.
      output: which checkpoint composes, and what is written.
    """
    _do("harmonise", model, song, "", controls, sampling, output)


def vary(
    song: Song,
    /,
    model: Model,
    keep: Bars,
    controls: Controls = config.Controls(),  # noqa: B008
    sampling: Sampling = config.Sampling(),  # noqa: B008
    output: Output = config.Output(),  # noqa: B008
) -> None:
    """Writes all bars of a piece anew, over the same chords, but for some that are kept.

    Kept bars stay as they are, note for note.

    For example:

    jaxmusic vary --model runs/pop song.mid --keep 1-4,9-12 --out variation.mid

    Args:
      song: MIDI file, MusicXML or ABC.
      model: folder of a run, or a file that jaxmusic export wrote.
      keep: which bars to keep, counted from 1, as in 1-4,9-12.
      controls: what the piece shall be like, where the given bars do not say it.
      sampling: how tokens are drawn.
      output: which checkpoint composes, and what is written.
    """
    _do("vary", model, song, keep, controls, sampling, output)


def _do(
    task: str,
    model: str,
    song: str,
    bars: str | int,
    controls: config.Controls,
    sampling: config.Sampling,
    output: config.Output,
) -> None:
    from jaxmusic.formats import files

    wanted = composing.targets(output)
    notes = files.read_notes(song)

    def perform(music: MusicModel, asked: config.Controls) -> list[Composition]:
        return music.perform(
            *(task, notes, bars, output.count), sampling=sampling, progress=True, controls=asked
        )

    composing.compose_and_write(model, controls, output, wanted, perform)
