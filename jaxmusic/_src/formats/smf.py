"""Standard MIDI files as messages: what the parser of notes leaves out, and what it stumbles over.

Follows "Standard MIDI Files 1.0" of the MIDI Manufacturers Association.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

META, SYSEX, ESCAPE = 0xFF, 0xF0, 0xF7
TEXT, COPYRIGHT, NAME, INSTRUMENT, LYRIC, MARKER, CUE = range(1, 8)
"""Meta messages that hold text."""
END, TEMPO, METER, KEY = 0x2F, 0x51, 0x58, 0x59
"""Meta messages that hold numbers."""
LONGEST_METER = 7
"""Denominators of meters are powers of two up to this one."""
_WIRE_BYTES = {0xF1: 1, 0xF2: 2, 0xF3: 1}
"""Data bytes of the messages 0xF1 to 0xFE that have any."""
_ILL_METER = re.compile(b"\\xff\\x58\\x04.[\\x08-\\xff]", re.DOTALL)
_DATA_BYTES = (2, 2, 2, 2, 1, 1, 2)
"""Data bytes of the channel messages 0x8n to 0xEn."""


class Message(NamedTuple):
    """A message of a track.

    Attributes:
      tick: when, counted from the start of the track.
      status: 0x80 to 0xEF with the channel in the lowest four bits, `META`, `SYSEX` or `ESCAPE`.
      data: data bytes; of a meta message first its kind.
    """

    tick: int
    status: int
    data: bytes


class File(NamedTuple):
    """A MIDI file.

    Attributes:
      format: 0 for one track, 1 for simultaneous tracks, 2 for independent ones.
      division: two bytes, ticks per quarter note or frames.
      tracks: body of each track chunk.
    """

    format: int
    division: bytes
    tracks: list[bytes]


def split(data: bytes) -> File:
    """Splits a file into its chunks; RIFF wrappers and long headers are unwrapped.

    Raises:
      ValueError: there is no header.
    """
    start = data.find(b"MThd", 0, 64) if data[:4] == b"RIFF" else 0
    if data[start : start + 4] != b"MThd" or len(data) < start + 14:
        raise ValueError("it does not begin with a MIDI header")
    header = data[start + 8 : start + 14]
    at = start + 8 + int.from_bytes(data[start + 4 : start + 8], "big")
    tracks = []
    while at + 8 <= len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "big")
        if data[at : at + 4] == b"MTrk":
            tracks.append(data[at + 8 : at + 8 + length])
        at += 8 + length
    return File(int.from_bytes(header[:2], "big"), header[4:6], tracks)


def join(division: bytes, tracks: Iterable[Iterable[Message]]) -> bytes:
    """Writes messages as a file of simultaneous tracks; each must be in order of time."""
    bodies = [_body(track) for track in tracks]
    head = b"MThd" + (6).to_bytes(4, "big") + (1).to_bytes(2, "big")
    head += len(bodies).to_bytes(2, "big") + division
    return head + b"".join(b"MTrk" + len(b).to_bytes(4, "big") + b for b in bodies)


def _body(track: Iterable[Message]) -> bytes:
    out, now = bytearray(), 0
    for tick, status, data in track:
        if not 0 <= tick - now < 2**28:
            raise ValueError("two messages lie further apart than a MIDI file can say")
        out += variable_length(tick - now)
        now = tick
        out.append(status)
        if status == META:
            out += data[:1] + variable_length(len(data) - 1) + data[1:]
        elif status >= SYSEX:
            out += variable_length(len(data)) + data
        else:
            out += data
    return bytes(out)


def variable_length(number: int) -> bytes:
    """Encodes a number in bytes of seven bits, the highest first; all but the last are flagged."""
    out = bytearray([number & 127])
    while number := number >> 7:
        out.insert(0, 128 | number & 127)
    return bytes(out)


def messages(body: bytes) -> list[Message]:
    """Reads the messages of a track chunk up to its end-of-track.

    Channel messages with data bytes above 127 and messages of wires (0xF1 to 0xF6, 0xF8 to 0xFE)
    are left out, as players do. Running status survives other messages: the format forbids that,
    and files rely on it.

    Raises:
      ValueError: the chunk ends inside of a message, or data stand where a status belongs.
    """
    return list(_messages(body))


def _messages(body: bytes) -> Iterator[Message]:
    at, tick, running, size = 0, 0, 0, len(body)
    try:
        while at < size:
            delta, at = _number(body, at)
            tick += delta
            status = body[at]
            if status >= 128:
                at += 1
            else:
                status = running
            if status < 128:
                raise ValueError("data stand where a message should begin")
            if status < SYSEX:
                running = status
                stop = at + _DATA_BYTES[(status >> 4) - 8]
                kind = b""
            elif status in (META, SYSEX, ESCAPE):
                kind = body[at : at + 1] if status == META else b""
                length, at = _number(body, at + len(kind))
                stop = at + length
            else:  # a message of wires, which no file may hold
                at += _WIRE_BYTES.get(status, 0)
                continue
            if stop > size:
                raise IndexError
            data = body[at:stop]
            at = stop
            if status >= SYSEX or data.isascii():
                yield Message(tick, status, kind + data)
            if kind and kind[0] == END:
                return
    except IndexError as error:
        raise ValueError("it ends inside of a message") from error


def _number(body: bytes, at: int) -> tuple[int, int]:
    """Reads a number of variable length; returns it and where it ends."""
    number = 0
    while (byte := body[at]) >= 128:
        number = (number | byte & 127) << 7
        at += 1
    return number | byte, at + 1


class Part(NamedTuple):
    """The messages of one channel of one track."""

    chunk: int
    channel: int
    messages: list[Message]


class Parsed(NamedTuple):
    """The messages of a file, sorted by what they are for.

    Attributes:
      notes: the file again with a track for each part that has notes, which is named by its index
        and begins with its program, and a first track of tempos, meters, keys and markers.
      parts: channel messages of each channel of each track that has notes.
      rest: (chunk, message) of everything but notes, tempos and meters, by time.
    """

    notes: bytes
    parts: list[Part]
    rest: list[tuple[int, Message]]


def parse(data: bytes) -> Parsed:
    """Reads all messages of a file.

    Independent sequences (format 2) follow one another. A channel whose track names no program
    has that of another track: programs belong to channels.

    Raises:
      ValueError: a message cannot be read.
    """
    file = split(data)
    tracks = [messages(body) for body in file.tracks]
    if file.format == 2:
        tracks = _one_after_another(tracks)
    conductor: list[Message] = []
    rest: list[tuple[int, Message]] = []
    channels: dict[tuple[int, int], list[Message]] = {}
    for chunk, track in enumerate(tracks):
        for message in track:
            _, status, body = message
            if status < SYSEX:
                channels.setdefault((chunk, status & 15), []).append(message)
                if status >= 0xA0:
                    rest.append((chunk, message))
                continue
            kind = body[0] if status == META else -1
            if kind == METER and (len(body) < 3 or not body[1] or body[2] > LONGEST_METER):
                continue
            if kind in (TEMPO, METER, KEY, MARKER):
                conductor.append(message)
            if kind not in (TEMPO, METER, END):
                rest.append((chunk, message))
    programs = sorted(
        ((m.tick, m) for held in channels.values() for m in held if m.status >> 4 == 0xC),
        key=lambda pair: pair[0],
    )
    parts = []
    for (chunk, channel), held in channels.items():
        if not any(m.status >> 4 == 9 for m in held):
            continue
        if not any(m.status >> 4 == 0xC for m in held):
            others = [m for _, m in programs if m.status & 15 == channel]
            held = sorted(others + held, key=lambda m: m.tick)
        parts.append(Part(chunk, channel, held))
    named = [
        [Message(0, META, bytes([NAME]) + str(i).encode())]
        + [m for m in part.messages if m.status >> 4 in (8, 9, 0xB, 0xC)]
        for i, part in enumerate(parts)
    ]
    conductor.sort(key=lambda m: m.tick)
    rest.sort(key=lambda pair: pair[1].tick)
    return Parsed(join(file.division, [conductor, *named]), parts, rest)


def _one_after_another(tracks: list[list[Message]]) -> list[list[Message]]:
    """Moves independent sequences behind one another; each begins at the default tempo."""
    out, start = [], 0
    for track in tracks:
        begin = Message(start, META, bytes([TEMPO]) + (500_000).to_bytes(3, "big"))
        out.append([begin] + [m._replace(tick=m.tick + start) for m in track])
        start = max((m.tick for m in out[-1]), default=start)
    return out


def suspicious(data: bytes) -> bool:
    """Tells whether a parser of notes alone may misread a file that `parse` reads.

    That is so with wrappers, long headers, independent sequences, messages to devices that are
    escaped or come in parts, meters that cannot be, and tracks whose program another track sets.
    Much faster than `parse`.
    """
    if data[:8] != b"MThd\0\0\0\6" or data[8:10] == b"\0\2":
        return data[:4] in (b"MThd", b"RIFF")
    whole = sum(
        data[at + 1 + data[at] : at + 2 + data[at]] == b"\xf7" and data[at] < 128
        for at in (match.end() for match in re.finditer(b"\xf0", data[:-1]))
    )
    if _ILL_METER.search(data):
        return True
    try:
        tracks = split(data).tracks
        # The byte of an escape also occurs in times: then the messages have to be counted off.
        escapes = data.count(b"\xf7") > whole and any(map(_escapes, tracks))
        return escapes or _other_programs(tracks)
    except ValueError:  # it is damaged: the parser's own word is as good
        return False


def _escapes(body: bytes) -> bool:
    """Whether a track holds escaped messages, or one to a device that comes in parts."""
    return b"\xf7" in body and any(
        status == ESCAPE or (status == SYSEX and not data.endswith(b"\xf7"))
        for _, status, data in _messages(body)
    )


def _other_programs(tracks: list[bytes]) -> bool:
    """Whether the first notes of a track have no program there and one in another track."""
    bare, programmed = set(), set()
    for body in tracks:
        programs = set()
        for _, status, _ in _messages(body):
            if status >> 4 == 0xC:
                programs.add(status & 15)
            elif status >> 4 == 9:
                if status & 15 not in programs:
                    bare.add(status & 15)
                break
        programmed |= programs
    return bool(bare & programmed)
