"""Details of given files in a `NoteSequence`: controllers, bends, names, texts and keys.

What a NoteSequence has no field for is left out: system exclusive messages, aftertouch, which text
is a lyric and which a marker, and the channels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from jaxmusic._src.formats import smf
from jaxmusic._src.formats.symbols import fifths_key, key_fifths, read_phrase
from jaxmusic._src.music.details import Details
from jaxmusic._src.music.notes import Notes

_CONTROL, _BEND, _CENTRE = 0xB, 0xE, 8192
_TEXTS = (smf.TEXT, smf.COPYRIGHT, smf.LYRIC, smf.MARKER, smf.CUE)
_DRUM_CHANNEL = 9


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
    times = notes.seconds(details.tick).tolist()
    first = {part: track for track, part in reversed(list(enumerate(details.part.tolist())))}
    # The part of a channel of a chunk, or of a channel wherever it is.
    home: dict[tuple[int | None, int], int] = {}
    for part, (chunk, channel) in enumerate(zip(details.chunk.tolist(), details.channel.tolist())):
        home.setdefault((chunk, channel), part)
        home.setdefault((None, channel), part)
    for time, chunk, message in zip(times, details.at.tolist(), details.message):
        kind, data = message[0], message[1:]
        part = home.get((chunk, kind & 15), home.get((None, kind & 15), -1))
        if kind >> 4 in (_CONTROL, _BEND) and part >= 0:
            track = first[part]
            of = {
                "time": time,
                "instrument": part,
                "program": int(notes.program[track]),
                "is_drum": bool(notes.drum[track]),
            }
            if kind >> 4 == _CONTROL:
                sequence.control_changes.add(control_number=data[0], control_value=data[1], **of)
            else:
                sequence.pitch_bends.add(bend=data[0] + 128 * data[1] - _CENTRE, **of)
        elif kind == smf.META and data[0] == smf.NAME:
            text = data[1:].decode("utf-8", "replace")
            named = [p for p, c in enumerate(details.chunk.tolist()) if c == chunk]
            for part in named:
                sequence.instrument_infos.add(instrument=part, name=text)
            if not named and not sequence.sequence_metadata.title:
                sequence.sequence_metadata.title = text
        elif kind == smf.META and data[0] in _TEXTS:
            sequence.text_annotations.add(time=time, text=data[1:].decode("utf-8", "replace"))
        elif kind == smf.META and data[0] == smf.KEY and not len(notes.labels.key):
            key = fifths_key(int.from_bytes(data[1:2], "big", signed=True), bool(data[2]))
            sequence.key_signatures.add(time=time, key=key % 12, mode=key // 12)
            # What a MIDI file says of its key is kept and not believed.
            sequence.source_info.encoding_type = sequence.source_info.MIDI


def unbelieved(sequence: Any) -> bool:
    """Whether the keys of a sequence are those that some MIDI file states, true or not."""
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
    parts = list(dict.fromkeys((instrument, drum) for instrument, _, drum in keys))
    pitched = [c for c in range(16) if c != _DRUM_CHANNEL]
    channels = [_DRUM_CHANNEL if drum else pitched[i % 15] for i, (_, drum) in enumerate(parts)]
    rows: list[tuple[float, int, bytes]] = []

    def of_part(event: Any) -> int | None:
        place = (event.instrument, event.is_drum)
        return parts.index(place) if place in parts else None

    for control in sequence.control_changes:
        if (part := of_part(control)) is not None:
            data = bytes([control.control_number & 127, control.control_value & 127])
            rows.append((control.time, part + 1, bytes([_CONTROL << 4 | channels[part]]) + data))
    for bend in sequence.pitch_bends:
        if (part := of_part(bend)) is not None:
            value = min(max(bend.bend + _CENTRE, 0), 2 * _CENTRE - 1)
            data = bytes([value & 127, value >> 7])
            rows.append((bend.time, part + 1, bytes([_BEND << 4 | channels[part]]) + data))
    for info in sequence.instrument_infos:
        for part, (instrument, _) in enumerate(parts):
            if instrument == info.instrument:
                rows.append((0.0, part + 1, bytes([smf.META, smf.NAME]) + info.name.encode()))
    for text in sequence.text_annotations:
        if not text.annotation_type and read_phrase(text.text) is None:
            rows.append((text.time, 0, bytes([smf.META, smf.TEXT]) + text.text.encode()))
    if unbelieved(sequence):
        for key in sequence.key_signatures:
            fifths, minor = key_fifths(key.key + 12 * (key.mode == 1))
            rows.append((key.time, 0, bytes([smf.META, smf.KEY, fifths % 256, minor])))
    if not rows:
        return None
    for instrument, program, drum in reversed(keys):  # the first program of each part comes first
        part = parts.index((instrument, drum))
        rows.insert(0, (0.0, part + 1, bytes([0xC0 | channels[part], program])))
    rows.sort(key=lambda row: row[0])
    return Details(
        part=np.array([parts.index((i, drum)) for i, _, drum in keys], np.int16),
        chunk=np.arange(1, len(parts) + 1, dtype=np.int16),
        channel=np.array(channels, np.int16),
        tick=ticks(time for time, _, _ in rows).astype(np.int32),
        at=np.array([chunk for _, chunk, _ in rows], np.int16),
        message=tuple(message for _, _, message in rows),
    )
