"""Writing of Standard MIDI files, to the tick and with all that a given file says."""

from __future__ import annotations

import itertools

from jaxmusic._src.core.errors import UserError
from jaxmusic._src.formats import smf
from jaxmusic._src.formats.instruments import track_names
from jaxmusic._src.formats.midi import END, OURS, STYLE
from jaxmusic._src.formats.smf import META, Message
from jaxmusic._src.formats.symbols import chord_symbols, key_fifths, phrase_mark, read_section
from jaxmusic._src.music.details import DRUM_CHANNEL, PITCHED_CHANNELS, decoded
from jaxmusic._src.music.notes import SECTIONS, Notes

_VOLUME = 7
_FIRST, _ENDING, _GIVEN, _STARTING = range(4)
"""Order at one tick: what a song opens with, ends of notes, given messages, starts of notes. Notes
end before others begin, or a repeated note would be cut at once."""

Event = tuple[int, int, int, bytes]
"""Tick, order at that tick, status, data."""


def midi_bytes(notes: Notes, volume: int | None = None) -> bytes:
    """Encodes a type 1 MIDI file whose end-of-track stands exactly at ``notes.end``.

    The first track conducts: tempos (to the microsecond per quarter note), meters, key signatures,
    and markers: ``[jaxmusic]``, styles (``[style pop]``), sections (``[verse]``) and chords
    (``Am7``) where the labels know them, and ``[end]``. Each track of the notes follows with its
    name and program; drums are on channel 10. Ticks are written as they are. Tracks of a given file
    (`Notes.details`) keep their order, names, channels and messages; new ones come after them, and
    messages, tempos and meters after the end of the notes move the end.

    Args:
      notes: the piece.
      volume: volume of each channel, 0-127 (controller 7), where it is not left to the player.

    Raises:
      UserError: two notes lie further apart than a MIDI file can say.
    """
    details = notes.details
    chunks: list[list[Event]] = [_conductor(notes)]
    end, home = notes.end, {0: 0}
    if details is not None:
        for chunk in sorted({*details.chunk.tolist(), *details.at.tolist()} - {0}):
            home[chunk] = len(chunks)
            chunks.append([])
        for tick, chunk, message in zip(details.tick, details.at, details.message):
            chunks[home[int(chunk)]].append((int(tick), _GIVEN, message[0], message[1:]))
            end = max(end, int(tick))
        if not details.score:
            end = max(end, int(notes.tempo_tick[-1]), int(notes.meter_tick[-1]))
    names = track_names(notes)
    for track, channel in enumerate(_channels(notes)):
        if details is not None and track < len(details.part):
            chunk = home[int(details.chunk[details.part[track]])]
        else:
            chunk = len(chunks)
            program = bytes([int(notes.program[track])])
            chunks.append([(0, _FIRST, META, bytes([smf.NAME]) + names[track].encode())])
            chunks[chunk].append((0, _FIRST, 0xC0 | channel, program))
        if volume is not None:
            chunks[chunk].append((0, _FIRST, 0xB0 | channel, bytes([_VOLUME, volume])))
        chunks[chunk] += _notes(notes, track, channel)
    ordered = [sorted(events, key=lambda event: event[:2]) for events in chunks]
    # A tempo after the end of a piece that was composed no longer matters; notes end in time.
    messages = [[Message(t, s, data) for t, _, s, data in row if t <= end] for row in ordered]
    messages = _with_programs(messages)
    for row in messages:
        row.append(Message(end, META, bytes([smf.END])))
    try:
        return smf.join(notes.ticks_per_beat.to_bytes(2, "big"), messages)
    except ValueError as error:
        raise UserError(f"The piece cannot be written as MIDI: {error}. Cut the rest.") from error


def _conductor(notes: Notes) -> list[Event]:
    """Tempos, meters, keys and markers; a given file has no marks of ours without labels."""
    labels, details = notes.labels, notes.details
    given = details is not None and not details.score
    named = _named_sections(notes)
    marks = [(0, f"[{STYLE}{style}]") for style in labels.styles]
    marks += [
        (t, f"[{SECTIONS[section]}]")
        for t, section in labels.changes("section")
        if (t, section) not in named
    ]
    marks += [(t, f"[{phrase_mark(phrase)}]") for t, phrase in labels.changes("phrase")]
    ticks, symbols = chord_symbols(labels)
    chords, keys = list(zip(ticks.tolist(), symbols)), labels.changes("key")
    ours = details is not None and (0, OURS) in details.texts(smf.MARKER)
    if not given or ours or marks or chords or keys:
        marks = [*([] if ours else [(0, OURS)]), *marks]
        chords.append((notes.end, f"[{END}]"))
    events: list[Event] = []
    if labels.song and not (details and details.names()[0]):
        events.append((0, _FIRST, META, bytes([smf.NAME]) + labels.song.encode()))
    for tick, qpm in notes.tempos:
        microseconds = min(max(round(60e6 / qpm), 1), 2**24 - 1)
        events.append((tick, _FIRST, META, bytes([smf.TEMPO]) + microseconds.to_bytes(3, "big")))
    for tick, num, den in notes.meters:
        # 24 MIDI clocks to a metronome click, eight 32nds to a quarter: what every program writes.
        meter = bytes([smf.METER, num, den.bit_length() - 1, 24, 8])
        events.append((tick, _FIRST, META, meter))
    for tick, key in keys:
        fifths, minor = key_fifths(key)
        events.append((tick, _FIRST, META, bytes([smf.KEY, fifths % 256, minor])))
    for order, texts in ((_ENDING, marks), (_STARTING, chords)):
        events += [(t, order, META, bytes([smf.MARKER]) + text.encode()) for t, text in texts]
    return events


def _named_sections(notes: Notes) -> set[tuple[int, int | None]]:
    """Ticks and sections that the texts of a given file name."""
    details = notes.details
    return {
        (int(tick), read_section(decoded(message[2:])))
        for tick, message in (zip(details.tick, details.message) if details else ())
        if message[0] == META and message[1] in (smf.TEXT, smf.MARKER)
    }


def _channels(notes: Notes) -> list[int]:
    """Channel of each track: its own in a given file, else one that is free.

    There are 15 channels for pitched tracks. Those that come after join a track of their own
    program where there is one.
    """
    given = [] if notes.details is None else notes.details.channel[notes.details.part].tolist()
    channels: list[int] = list(given)
    programs: dict[int, set[int]] = {}
    for channel, program in zip(given, notes.program.tolist()):
        programs.setdefault(channel, set()).add(program)
    free = [c for c in PITCHED_CHANNELS if c not in programs]
    following = itertools.chain(free, itertools.cycle(PITCHED_CHANNELS))
    for drum, program in list(zip(notes.drum.tolist(), notes.program.tolist()))[len(given) :]:
        full = programs.keys() >= set(PITCHED_CHANNELS)
        same = [c for c in PITCHED_CHANNELS if full and program in programs[c]]
        channel = DRUM_CHANNEL if drum else same[0] if same else next(following)
        programs.setdefault(channel, set()).add(program)
        channels.append(channel)
    return channels


def _notes(notes: Notes, track: int, channel: int) -> list[Event]:
    """Notes of one track; each start carries its program as a third byte, for `_with_programs`."""
    mine, program = notes.track == track, 0 if notes.drum[track] else int(notes.program[track])
    columns = (notes.onset, notes.duration, notes.pitch, notes.velocity)
    events: list[Event] = []
    for onset, duration, pitch, velocity in zip(*(column[mine].tolist() for column in columns)):
        start = bytes([pitch, velocity, program])
        events.append((onset, _STARTING, 0x90 | channel, start))
        events.append((onset + duration, _ENDING, 0x80 | channel, bytes([pitch, 0])))
    return events


def _with_programs(chunks: list[list[Message]]) -> list[list[Message]]:
    """States the program of a channel where a note needs another one than sounds there."""
    order = [(m.tick, c, i) for c, track in enumerate(chunks) for i, m in enumerate(track)]
    sounding = [0] * 16
    out: list[list[Message]] = [[] for _ in chunks]
    for _, chunk, index in sorted(order):
        message = chunks[chunk][index]
        kind, channel = message.status >> 4, message.status & 15
        if kind == 0xC:
            sounding[channel] = message.data[0]
        elif kind == 9:
            program, message = message.data[2], message._replace(data=message.data[:2])
            if channel != DRUM_CHANNEL and program != sounding[channel]:
                sounding[channel] = program
                out[chunk].append(Message(message.tick, 0xC0 | channel, bytes([program])))
        out[chunk].append(message)
    return out
