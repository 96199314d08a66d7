"""Reading of Standard MIDI files, through symusic.

The format is the MIDI Manufacturers Association's Standard MIDI Files 1.0.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxmusic._src.core.errors import NoNotes, UserError
from jaxmusic._src.formats import smf
from jaxmusic._src.formats.saving import load
from jaxmusic._src.formats.symbols import (
    chord_changes,
    fifths_key,
    read_phrase,
    read_section,
    read_symbol,
)
from jaxmusic._src.music.details import Details, decoded
from jaxmusic._src.music.notes import Labels, Notes, make_notes

OURS, STYLE, END = "[jaxmusic]", "style ", "end"
"""Markers of the files that we write; all but the first are written in brackets."""


def read_notes(path: str | os.PathLike[str], sustain: bool = False, details: bool = False) -> Notes:
    """Reads a MIDI file as it stands, in its own ticks.

    Each (track, channel, program) of the file is a track; channel 10 is drums. Tempos not above
    4 or above 1000 quarter notes per minute, and meters that cannot be, are left out. A file that
    counts frames (SMPTE) instead of beats gets beats of half a second.

    The parser is native code: read files that you do not trust in a process you can lose.

    Args:
      path: local or remote path.
      sustain: lengthen each note to the release of the sustain pedal of its track, but not
        past the next onset of its pitch.
      details: keep all other messages as `Notes.details`, which takes some ten times as long.

    Returns:
      The notes. Their end is the end of the last note, because where files put their
      end-of-track is an accident of the program that wrote them. Markers that name sections are
      their only labels, because most files say C major whatever their key. Files that we wrote are
      believed in both: the piece that was written comes back, without the name of its song.

    Raises:
      UserError: the file cannot be read or holds no notes.
    """
    return from_bytes(load(path), path, sustain, details)


def from_bytes(
    data: bytes, path: str | os.PathLike[str], sustain: bool = False, details: bool = False
) -> Notes:
    """Reads the contents of a MIDI file, see `read_notes`; errors name the path."""
    data, frame_rate = _beats_for_frames(data)
    try:
        score, messages = _parsed(data, details)
    except (RuntimeError, ValueError, IndexError, MemoryError, OverflowError) as error:
        raise UserError(f"{path} is not a MIDI file that can be read: {_reason(error)}.") from error
    if score.tpq < 1:
        raise UserError(f"{path} is not a MIDI file that can be read: its beat has no ticks.")
    tracks = [track for track in score.tracks if len(track.notes)]
    if not tracks:
        raise NoNotes(f"{path} holds no notes: leave it out.")
    onset, duration, pitch, velocity, track = columns(tracks)
    if sustain:
        for index, played in enumerate(tracks):
            mine, pedals = track == index, played.pedals.numpy()
            down = pedals["time"].astype(np.int64)
            up = down + pedals["duration"]
            duration[mine] = _sustained(onset[mine], duration[mine], pitch[mine], down, up)
    if onset.min() < 0 or duration.min() < 0 or (onset + duration).max() >= 2**31:
        raise UserError(
            f"{path} is not a MIDI file that can be read: it is longer than ticks can be counted."
        )
    labels, end = _labels(score)
    read = make_notes(
        onset,
        duration,
        pitch,
        np.maximum(velocity, 1),
        track,
        program=[t.program for t in tracks],
        drum=[t.is_drum for t in tracks],
        tempos=((0, frame_rate),) if frame_rate else tempos(score),
        meters=meters(score),
        end=end,
        ticks_per_beat=score.tpq,
        labels=labels,
    )
    if details and messages:
        return read.replace(details=_details(messages, tracks, ours=end > 0))
    return read


def _parsed(data: bytes, details: bool) -> tuple[Any, smf.Parsed | None]:
    """Reads a file with symusic, which misreads or refuses some that `smf` restates for it.

    Returns symusic's score, and the messages if the file was restated.
    """
    import symusic

    def restated() -> tuple[Any, smf.Parsed]:
        parsed = smf.parse(data)
        if not parsed.parts:
            raise ValueError("it holds no notes")
        return symusic.Score.from_midi(parsed.notes), parsed

    if details or smf.suspicious(data):
        with contextlib.suppress(RuntimeError, ValueError):
            return restated()
    try:
        return symusic.Score.from_midi(data), None
    except (RuntimeError, ValueError):
        with contextlib.suppress(RuntimeError, ValueError):
            return restated()
        raise


def _details(parsed: smf.Parsed, tracks: Sequence[Any], ours: bool) -> Details:
    """What the file says besides notes; a file of ours says the rest by its labels."""
    rest = [
        (chunk, m)
        for chunk, m in parsed.rest
        if not (ours and m.status == smf.META and _is_label(m.data))
    ]
    return Details(
        part=np.array([int(track.name) for track in tracks], np.int16),
        chunk=np.array([part.chunk for part in parsed.parts], np.int16),
        channel=np.array([part.channel for part in parsed.parts], np.int16),
        tick=np.array([m.tick for _, m in rest], np.int32),
        at=np.array([chunk for chunk, _ in rest], np.int16),
        message=tuple(bytes([m.status]) + m.data for _, m in rest),
    )


def _is_label(data: bytes) -> bool:
    """Whether a meta message of a file of ours writes a label."""
    text = decoded(data[1:])
    marker = text != OURS and (text.startswith("[") or read_symbol(text) is not None)
    return data[0] == smf.KEY or (data[0] == smf.MARKER and marker)


def _beats_for_frames(data: bytes) -> tuple[bytes, float]:
    """Restates an SMPTE division (negative frames per second, ticks per frame) in beats.

    Returns the file with a division of half a second, and the exact tempo; 0 for other files.
    """
    if len(data) < 14 or data[:4] != b"MThd" or data[12] < 128:
        return data, 0.0
    frames = 256 - data[12]
    # "29" stands for the 29.97 frames per second of television.
    ticks_per_second = (30000 / 1001 if frames == 29 else frames) * data[13]
    division = round(ticks_per_second / 2)
    if not 0 < division < 2**15:
        return data, 0.0
    tempo = 60 * ticks_per_second / division
    return data[:12] + division.to_bytes(2, "big") + data[14:], tempo


def _reason(error: BaseException) -> str:
    """The parser's own words, less its name and the stream's state."""
    text = str(error).removeprefix("MiniMidi: ").removesuffix(": iostream error")
    text = text.removeprefix("Invaild midi file! ")
    return (text or type(error).__name__).rstrip(".! ")


def columns(tracks: Sequence[Any]) -> list[np.ndarray]:
    """Onset, duration, pitch, velocity and track (int64 [N]) of symusic's tracks."""
    notes = [track.notes.numpy() for track in tracks]
    names = ("time", "duration", "pitch", "velocity")
    values = [np.concatenate([n[name] for n in notes], dtype=np.int64) for name in names]
    return [*values, np.repeat(np.arange(len(notes)), [len(n["time"]) for n in notes])]


def _sustained(
    onset: np.ndarray, duration: np.ndarray, pitch: np.ndarray, down: np.ndarray, up: np.ndarray
) -> np.ndarray:
    """Durations [N] of notes held by a pedal that is pressed at `down` [P] and released at `up`."""
    if not len(down):
        return duration
    offset = onset + duration
    k = np.searchsorted(down, offset, side="right") - 1
    held = (k >= 0) & (offset < up[k])
    order = np.lexsort((onset, pitch))
    again = np.full(len(onset), np.iinfo(np.int64).max)
    same = pitch[order[1:]] == pitch[order[:-1]]
    again[order[:-1][same]] = onset[order[1:][same]]
    longer = np.minimum(np.where(held, up[k], offset), again)
    return np.maximum(longer, offset) - onset


def believable_tempo(qpm: float) -> bool:
    """Tells whether a tempo in quarter notes per minute is plausible."""
    return 4 < qpm <= 1000


def believable_meter(numerator: int, denominator: int) -> bool:
    """Whether a time signature can be: its denominator is a power of two up to 128."""
    return 0 < numerator < 256 and denominator in (1, 2, 4, 8, 16, 32, 64, 128)


def rows(events: Any, *names: str) -> list[tuple[int, ...]]:
    """The fields of each of symusic's events from tick 0 on, the tick first."""
    columns = events.numpy()
    found = zip(*(columns[name].tolist() for name in ("time", *names)))
    return [row for row in found if row[0] >= 0]


def tempos(score: Any) -> tuple[tuple[int, float], ...]:
    """The believable tempos of symusic's score, see `Notes`."""
    qpms = ((tick, 60e6 / mspq) for tick, mspq in rows(score.tempos, "mspq") if mspq > 0)
    return tuple((tick, qpm) for tick, qpm in qpms if believable_tempo(qpm))


def meters(score: Any) -> tuple[tuple[int, int, int], ...]:
    """The believable time signatures of symusic's score, see `Notes`."""
    found = rows(score.time_signatures, "numerator", "denominator")
    return tuple((tick, num, den) for tick, num, den in found if believable_meter(num, den))


def _labels(score: Any) -> tuple[Labels, int]:
    """Sections by the markers; of a file whose first marker says that we wrote it all labels.

    Returns the labels, and the end of the piece in such a file, else 0.
    """
    markers = [(marker.time, marker.text) for marker in score.markers]
    ours = (0, OURS) in markers
    styles, chords, end = [], [], 0
    changes: dict[str, list[tuple[int, int]]] = {"key": [], "section": [], "phrase": []}
    for tick, fifths, minor in rows(score.key_signatures, "key", "tonality") if ours else ():
        changes["key"].append((tick, fifths_key(fifths, bool(minor))))
    for tick, text in markers:
        name = text[1:-1] if ours and text.startswith("[") else ""
        if (phrase := read_phrase(name)) is not None:
            changes["phrase"].append((tick, phrase))
        elif name.startswith(STYLE):
            styles.append(name.removeprefix(STYLE))
        elif name == END:
            end = tick
        elif (section := read_section(text)) is not None:
            changes["section"].append((tick, section))
        elif ours and (chord := read_symbol(text)) is not None:
            chords.append((tick, *chord))
    return Labels.of_changes(changes | chord_changes(chords), styles=tuple(styles)), end
