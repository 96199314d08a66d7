"""Standard MIDI files: read through symusic, written to the tick by the few lines below.

The format is the MIDI Manufacturers Association's Standard MIDI Files 1.0.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxmusic.core.errors import NoNotes, UserError
from jaxmusic.formats.saving import load, save
from jaxmusic.formats.symbols import (
    chord_changes,
    chord_symbols,
    fifths_key,
    key_fifths,
    phrase_mark,
    read_phrase,
    read_symbol,
)
from jaxmusic.music.notes import SECTIONS, Labels, Notes, make_notes

_DRUM_CHANNEL = 9
_PITCHED_CHANNELS = [c for c in range(16) if c != _DRUM_CHANNEL]
_VOLUME = 7
_OURS, _STYLE, _END = "[jaxmusic]", "style ", "end"
"""Markers of the files that we write; all but the first are written in brackets."""


def read_notes(path: str | os.PathLike[str], sustain: bool = False) -> Notes:
    """Reads a MIDI file as it stands, in its own ticks.

    Each (track, channel, program) of the file is a track; channel 10 is drums. Tempos not above
    4 or above 1000 quarter notes per minute, and meters that cannot be, are left out. A file that
    counts frames (SMPTE) instead of beats gets beats of half a second.

    The parser is native code: read files that you do not trust in a process you can lose.

    Args:
      path: local or remote path.
      sustain: lengthen each note to the release of the sustain pedal of its track, but not
        past the next onset of its pitch.

    Returns:
      The notes. Their end is the end of the last note, because where files put their
      end-of-track is an accident of the program that wrote them, and they have no labels, because
      most files say C major whatever their key. Files that `write_midi` wrote are believed in both:
      the piece that was written comes back, without the name of its song.

    Raises:
      UserError: the file cannot be read or holds no notes.
    """
    data, frame_rate = _beats_for_frames(load(path))
    import symusic

    try:
        score: Any = symusic.Score.from_midi(data)
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
    return make_notes(
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
    """Labels and end of a file whose first marker says that we wrote it; else none and 0."""
    markers = [(marker.time, marker.text) for marker in score.markers]
    if (0, _OURS) not in markers:
        return Labels(), 0
    styles, chords, end = [], [], 0
    changes: dict[str, list[tuple[int, int]]] = {"key": [], "section": [], "phrase": []}
    for tick, fifths, minor in rows(score.key_signatures, "key", "tonality"):
        changes["key"].append((tick, fifths_key(fifths, bool(minor))))
    for tick, text in markers:
        name = text[1:-1] if text.startswith("[") else ""
        if name in SECTIONS:
            changes["section"].append((tick, SECTIONS.index(name)))
        elif (phrase := read_phrase(name)) is not None:
            changes["phrase"].append((tick, phrase))
        elif name.startswith(_STYLE):
            styles.append(name.removeprefix(_STYLE))
        elif name == _END:
            end = tick
        elif (chord := read_symbol(text)) is not None:
            chords.append((tick, *chord))
    return Labels.of_changes(changes | chord_changes(chords), styles=tuple(styles)), end


def write_midi(notes: Notes, path: str | os.PathLike[str]) -> None:
    """Writes a MIDI file, see `midi_bytes`; folders that are missing are made.

    Raises:
      UserError: the path cannot be written to.
    """
    save(path, midi_bytes(notes))


def midi_bytes(notes: Notes, volume: int | None = None) -> bytes:
    """A type 1 MIDI file whose end-of-track stands exactly at ``notes.end``.

    The first track conducts: tempos (to the microsecond per quarter note), meters, key signatures,
    and markers: ``[jaxmusic]``, styles (``[style pop]``), sections (``[verse]``) and chords
    (``Am7``) where the labels know them, and ``[end]``. Each track of the notes follows with its
    program; drums are on channel 10. Ticks are written as they are.

    Args:
      notes: the piece.
      volume: volume of each channel, 0-127 (controller 7), where it is not left to the player.
    """
    tracks = [_conductor(notes)]
    channels, shared = _channels(notes)
    for index, channel in enumerate(channels):
        tracks.append(_part(notes, index, channel, channel in shared))
        if volume is not None:
            tracks[-1].insert(0, (0, 0, bytes([0xB0 | channel, _VOLUME, volume])))
    numbers = ((6, 4), (1, 2), (len(tracks), 2), (notes.ticks_per_beat, 2))
    head = b"MThd" + b"".join(number.to_bytes(size, "big") for number, size in numbers)
    return head + b"".join(_chunk(events, notes.end) for events in tracks)


Event = tuple[int, int, bytes]
"""Tick, rank among the events of one tick, bytes."""


def _conductor(notes: Notes) -> list[Event]:
    labels = notes.labels
    marks = [(0, _OURS), *((0, f"[{_STYLE}{style}]") for style in labels.styles)]
    marks += [(t, f"[{SECTIONS[section]}]") for t, section in labels.changes("section")]
    marks += [(t, f"[{phrase_mark(phrase)}]") for t, phrase in labels.changes("phrase")]
    events = [(tick, 1, _marker(text)) for tick, text in marks]
    events.append((notes.end, 3, _marker(f"[{_END}]")))
    for tick, qpm in notes.tempos:
        microseconds = min(max(round(60e6 / qpm), 1), 2**24 - 1)
        events.append((tick, 0, _meta(0x51, microseconds.to_bytes(3, "big"))))
    for tick, num, den in notes.meters:
        # 24 MIDI clocks to a metronome click, eight 32nds to a quarter: what every program writes.
        events.append((tick, 0, _meta(0x58, bytes([num, den.bit_length() - 1, 24, 8]))))
    for tick, key in labels.changes("key"):
        fifths, minor = key_fifths(key)
        events.append((tick, 0, _meta(0x59, bytes([fifths % 256, minor]))))
    ticks, symbols = chord_symbols(labels)
    events += [(tick, 2, _marker(symbol)) for tick, symbol in zip(ticks.tolist(), symbols)]
    return events


def _channels(notes: Notes) -> tuple[list[int], set[int]]:
    """Channel of each track, and those channels that carry more than one program.

    There are 15 channels for pitched tracks. Those that come after join a track of their own
    program where there is one.
    """
    channels: list[int] = []
    programs: dict[int, set[int]] = {}
    following = itertools.cycle(_PITCHED_CHANNELS)
    for drum, program in zip(notes.drum.tolist(), notes.program.tolist()):
        full = programs.keys() >= set(_PITCHED_CHANNELS)
        same = [c for c in _PITCHED_CHANNELS if full and program in programs[c]]
        channel = _DRUM_CHANNEL if drum else same[0] if same else next(following)
        programs.setdefault(channel, set()).add(program)
        channels.append(channel)
    return channels, {c for c, held in programs.items() if len(held) > 1}


def _part(notes: Notes, index: int, channel: int, shared: bool) -> list[Event]:
    """Events of one track; on a shared channel the program is restated before each note."""
    program = bytes([0xC0 | channel, int(notes.program[index])])
    events: list[Event] = [(0, 0, program)]
    mine = notes.track == index
    columns = (notes.onset, notes.duration, notes.pitch, notes.velocity)
    for onset, duration, pitch, velocity in zip(*(column[mine].tolist() for column in columns)):
        # At one tick notes end before notes begin, or a repeated note would be cut at once.
        if shared:
            events.append((onset, 2, program))
        events.append((onset, 2, bytes([0x90 | channel, pitch, velocity])))
        events.append((onset + duration, 1, bytes([0x80 | channel, pitch, 0])))
    return events


def _marker(text: str) -> bytes:
    return _meta(0x06, text.encode())


def _meta(kind: int, data: bytes) -> bytes:
    return bytes([0xFF, kind]) + _variable_length(len(data)) + data


def _chunk(events: list[Event], end: int) -> bytes:
    """A track chunk: events in order of time, then end-of-track at tick `end`."""
    out, now = [], 0
    for tick, _, data in sorted(events, key=lambda event: event[:2]):
        if tick > end:  # a tempo, say, that no longer matters; notes all end in time
            break
        out += [_variable_length(tick - now), data]
        now = tick
    out += [_variable_length(end - now), _meta(0x2F, b"")]
    body = b"".join(out)
    return b"MTrk" + len(body).to_bytes(4, "big") + body


def _variable_length(number: int) -> bytes:
    """Seven bits a byte, the highest first, all but the last with their top bit set."""
    out = bytearray([number & 127])
    while number := number >> 7:
        out.insert(0, 128 | number & 127)
    return bytes(out)
