"""Details of given files in a `NoteSequence`: controllers, bends, names, texts and keys.

What a NoteSequence has no field for is left out: system exclusive messages, aftertouch, which text
is a lyric and which a marker, and the channels.
"""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import Any

import numpy as np

from jaxmusic._src.formats import smf
from jaxmusic._src.formats.midi import OURS
from jaxmusic._src.formats.symbols import fifths_key, key_fifths, read_phrase
from jaxmusic._src.music.details import DRUM_CHANNEL, Details, decoded
from jaxmusic._src.music.notes import Notes

_CONTROL, _BEND, _CENTRE = 0xB, 0xE, 8192
_TEXTS = range(1, 16)


def instruments(notes: Notes) -> list[int]:
    """Number of the instrument of each track: its part in a given file, or one of its own."""
    count = len(notes.program)
    if notes.details is None:
        return list(range(count))
    part = notes.details.part.tolist()
    return [*part, *range(len(notes.details.chunk), len(notes.details.chunk) + count - len(part))]


def add(sequence: Any, notes: Notes) -> None:
    """Adds the details of notes to a sequence made of them."""
    details = notes.details
    if details is None:
        return
    title, names = details.names()
    names_left = collections.Counter([title, *names])
    times = notes.seconds(details.tick).tolist()
    first = {part: track for track, part in reversed(list(enumerate(details.part.tolist())))}
    # The part of a channel of a chunk, or of a channel wherever it is; further ones have no notes.
    further = len(details.chunk) + len(notes.program)
    home: dict[tuple[int | None, int], int] = {}
    for part, (chunk, channel) in enumerate(zip(details.chunk.tolist(), details.channel.tolist())):
        home.setdefault((chunk, channel), part)
        home.setdefault((None, channel), part)
    for time, chunk, message in zip(times, details.at.tolist(), details.message):
        kind, data = message[0], message[1:]
        channel = kind & 15
        part = home.get((chunk, channel), home.get((None, channel), further + channel))
        if kind >> 4 in (_CONTROL, _BEND):
            track = first.get(part)
            of = {
                "time": time,
                "instrument": part,
                "program": 0 if track is None else int(notes.program[track]),
                "is_drum": channel == DRUM_CHANNEL if track is None else bool(notes.drum[track]),
            }
            if kind >> 4 == _CONTROL:
                sequence.control_changes.add(control_number=data[0], control_value=data[1], **of)
            else:
                sequence.pitch_bends.add(bend=data[0] + 128 * data[1] - _CENTRE, **of)
        elif kind == smf.META and data[0] in _TEXTS:
            text = decoded(data[1:])
            if data[0] == smf.NAME and names_left[text] > 0:
                names_left[text] -= 1
            elif text != OURS:
                sequence.text_annotations.add(time=time, text=text)
        elif kind == smf.META and data[0] == smf.KEY and not len(notes.labels.key):
            key = fifths_key(int.from_bytes(data[1:2], "big", signed=True), bool(data[2]))
            sequence.key_signatures.add(time=time, key=key % 12, mode=key // 12)
    source = sequence.source_info
    if details.score:
        source.encoding_type = source.MUSIC_XML
    elif not len(notes.labels.key):  # what a MIDI file says of its key is kept and not believed
        source.encoding_type = source.MIDI
    sequence.sequence_metadata.title = notes.labels.song or title
    for part, name in enumerate(names):
        if name:
            sequence.instrument_infos.add(instrument=part, name=name)


def unbelieved(sequence: Any) -> bool:
    """Whether a sequence is a MIDI file's, whose keys may be true or not."""
    return sequence.source_info.encoding_type == sequence.source_info.MIDI


def read(
    sequence: Any, keys: list[tuple[int, int, bool]], ticks: Callable[[Any], np.ndarray]
) -> Details | None:
    """Reads the details of a sequence.

    Args:
      sequence: a NoteSequence.
      keys: (instrument, program, is_drum) of each track of its notes.
      ticks: makes ticks of seconds.

    Returns:
      The details; None if there are none.
    """
    rows: list[tuple[float, tuple[int, bool] | None, bytes]] = []
    parts = dict.fromkeys((instrument, drum) for instrument, _, drum in keys)
    for control in sequence.control_changes:
        data = bytes([control.control_number & 127, control.control_value & 127])
        rows.append((control.time, _part(control), bytes([_CONTROL << 4]) + data))
    for bend in sequence.pitch_bends:
        value = min(max(bend.bend + _CENTRE, 0), 2 * _CENTRE - 1)
        message = bytes([_BEND << 4, value & 127, value >> 7])
        rows.append((bend.time, _part(bend), message))
    for info in sequence.instrument_infos:
        name = bytes([smf.META, smf.NAME]) + info.name.encode()
        rows += [(0.0, part, name) for part in parts if part[0] == info.instrument]
    for text in sequence.text_annotations:
        if not text.annotation_type and read_phrase(text.text) is None:
            rows.append((text.time, None, bytes([smf.META, smf.TEXT]) + text.text.encode()))
    if unbelieved(sequence):
        for key in sequence.key_signatures:
            fifths, minor = key_fifths(key.key + 12 * (key.mode == 1))
            rows.append((key.time, None, bytes([smf.META, smf.KEY, fifths % 256, minor])))
    if not rows and not unbelieved(sequence):
        return None
    at = ticks(time for time, _, _ in rows).tolist()
    timed = ((tick, *row[1:]) for tick, row in zip(at, rows))
    source = sequence.source_info
    return Details.of_tracks(keys, timed, source.encoding_type == source.MUSIC_XML)


def _part(event: Any) -> tuple[int, bool]:
    return event.instrument, event.is_drum
