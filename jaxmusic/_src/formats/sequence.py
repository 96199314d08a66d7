"""`NoteSequence`, note-seq's interchange format, to and from `Notes`."""

from __future__ import annotations

import functools
import importlib.util
import math
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxmusic._src.core.errors import UserError
from jaxmusic._src.formats import sequence_details
from jaxmusic._src.formats.midi import believable_meter, believable_tempo
from jaxmusic._src.formats.symbols import (
    chord_changes,
    chord_symbols,
    phrase_mark,
    read_phrase,
    read_symbol,
)
from jaxmusic._src.music.notes import SECTIONS, TICKS_PER_BEAT, Labels, Notes, make_notes

if TYPE_CHECKING:
    from note_seq import NoteSequence

_MOST_TICKS = 2**31 - 1


@functools.cache
def sequence_class() -> type[NoteSequence]:
    """The class `note_seq.NoteSequence`, without the seconds that importing note_seq takes.

    Any import from note_seq imports all of it, librosa and numba included; its generated
    protocol buffer module needs none of that. Protocol buffers keep one class for each message
    type, so this is the very class that note_seq has, whichever is loaded first.
    """
    name = "note_seq.protobuf.music_pb2"
    if name in sys.modules:
        return sys.modules[name].NoteSequence
    package = importlib.util.find_spec("note_seq")
    if package is None or not package.submodule_search_locations:
        raise UserError("NoteSequences need note-seq: run pip install note-seq.")
    path = package.submodule_search_locations[0] + "/protobuf/music_pb2.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.NoteSequence


def to_sequence(notes: Notes) -> NoteSequence:
    """Notes as a NoteSequence in seconds.

    Its ticks_per_quarter are those of the notes, instruments are the indices of tracks (of parts,
    if the notes have details), and total_time is the piece's end. Key signatures, chord symbols,
    sections (by their index into `music.notes.SECTIONS`), styles (as genres) and song (as
    title) come from the labels.
    """
    sequence: Any = sequence_class()()
    labels = notes.labels
    sequence.ticks_per_quarter = notes.ticks_per_beat
    sequence.total_time = float(notes.seconds(notes.end))
    for time, qpm in zip(_at(notes, notes.tempo_tick), notes.tempo_qpm.tolist()):
        sequence.tempos.add(time=time, qpm=qpm)
    for time, (_, num, den) in zip(_at(notes, notes.meter_tick), notes.meters):
        sequence.time_signatures.add(time=time, numerator=num, denominator=den)
    for time, key in zip(_at(notes, labels.key_tick), labels.key.tolist()):
        sequence.key_signatures.add(time=time, key=key % 12, mode=key // 12)
    at, symbols = chord_symbols(labels)
    kind = sequence.TextAnnotation.CHORD_SYMBOL
    for time, symbol in zip(_at(notes, at), symbols):
        sequence.text_annotations.add(time=time, text=symbol, annotation_type=kind)
    for time, phrase in zip(_at(notes, labels.phrase_tick), labels.phrase.tolist()):
        sequence.text_annotations.add(time=time, text=phrase_mark(phrase))
    for time, section in zip(_at(notes, labels.section_tick), labels.section.tolist()):
        sequence.section_annotations.add(time=time, section_id=section)
    sequence.sequence_metadata.genre.extend(labels.styles)
    sequence.sequence_metadata.title = labels.song
    sequence_details.add(sequence, notes)
    instruments = sequence_details.instruments(notes)
    for start, end, pitch, velocity, track in zip(
        _at(notes, notes.onset),
        _at(notes, notes.onset + notes.duration),
        notes.pitch.tolist(),
        notes.velocity.tolist(),
        notes.track.tolist(),
    ):
        sequence.notes.add(
            start_time=start,
            end_time=end,
            pitch=pitch,
            velocity=velocity,
            instrument=instruments[track],
            program=int(notes.program[track]),
            is_drum=bool(notes.drum[track]),
        )
    return sequence


def _at(notes: Notes, ticks: np.ndarray) -> list[float]:
    return notes.seconds(ticks).tolist()


def from_sequence(sequence: NoteSequence) -> Notes:
    """A NoteSequence as notes on the ticks of its own tempo map.

    Each (instrument, program, is_drum) is a track. Times are rounded to the nearest of
    ticks_per_quarter ticks, 480 where the sequence does not say; a rounded tempo change moves
    nothing that follows it by more than that. Without a tempo it is 120 quarter notes per minute.
    Chords without a number, see `music.notes.NO_CHORD`, and sections without a name are left
    out, and so are the tempos and meters that `read_notes` leaves out. Keys are labels, unless the
    sequence comes from a MIDI file, whose key is often C major whatever sounds.

    Raises:
      UserError: a time is negative or not finite, or a pitch, velocity or program out of range.
    """
    _check(sequence)
    ticks_per_beat = sequence.ticks_per_quarter
    if not 0 < ticks_per_beat < 2**15:
        ticks_per_beat = TICKS_PER_BEAT
    tempos, ticks = _tempo_map(sequence.tempos, ticks_per_beat)
    keys = sorted({(n.instrument, n.program, n.is_drum) for n in sequence.notes})
    index = {key: i for i, key in enumerate(keys)}
    onset = ticks(n.start_time for n in sequence.notes)
    end = ticks(n.end_time for n in sequence.notes)
    meters = sequence.time_signatures
    return make_notes(
        onset,
        end - onset,
        [n.pitch for n in sequence.notes],
        [n.velocity for n in sequence.notes],
        [index[n.instrument, n.program, n.is_drum] for n in sequence.notes],
        program=[program for _, program, _ in keys],
        drum=[drum for _, _, drum in keys],
        tempos=tempos,
        meters=tuple(
            (tick, meter.numerator, meter.denominator)
            for tick, meter in zip(ticks(m.time for m in meters).tolist(), meters)
            if believable_meter(meter.numerator, meter.denominator)
        ),
        end=int(ticks([sequence.total_time])[0]),
        ticks_per_beat=ticks_per_beat,
        labels=_labels(sequence, ticks),
    ).replace(details=sequence_details.read(sequence, keys, ticks))


def _check(sequence: Any) -> None:
    """Raises UserError where a note cannot be one."""
    times = [sequence.total_time]
    for note in sequence.notes:
        times += [note.start_time, note.end_time]
        if not (0 <= note.pitch < 128 and 1 <= note.velocity < 128 and 0 <= note.program < 128):
            raise UserError(
                f"A note has pitch {note.pitch}, velocity {note.velocity} and program "
                f"{note.program}: give pitches and programs of 0 to 127, velocities of 1 to 127."
            )
    for field in ("tempos", "time_signatures", "key_signatures", "text_annotations"):
        times += [event.time for event in getattr(sequence, field)]
    times += [event.time for event in (*sequence.control_changes, *sequence.pitch_bends)]
    wrong = [time for time in times if not (math.isfinite(time) and time >= 0)]
    if wrong:
        raise UserError(f"A time in the sequence is {wrong[0]}: give seconds from 0 on.")


def _tempo_map(tempos: Any, ticks_per_beat: int) -> tuple[tuple[tuple[int, float], ...], Any]:
    """(tick, tempo) pairs, and a function from seconds (any iterable) to ticks (int64)."""
    tick, start, rate = [0], [0.0], [120.0 * ticks_per_beat / 60]
    out = [(0, 120.0)]
    for tempo in sorted(tempos, key=lambda t: t.time):
        if believable_tempo(tempo.qpm):
            # Seconds are those of the rounded tick, so that rounding errors do not add up.
            step = round((tempo.time - start[-1]) * rate[-1])
            start.append(start[-1] + step / rate[-1])
            tick.append(tick[-1] + step)
            rate.append(tempo.qpm * ticks_per_beat / 60)
            out.append((tick[-1], tempo.qpm))

    def ticks(seconds: Iterable[float]) -> np.ndarray:
        times = np.fromiter(seconds, np.float64)
        k = np.searchsorted(start, times, side="right") - 1
        exact = np.array(tick)[k] + (times - np.array(start)[k]) * np.array(rate)[k]
        if exact.max(initial=0) > _MOST_TICKS:
            raise UserError(f"The sequence has a time of {times.max():g} seconds: shorten it.")
        return np.rint(exact).astype(np.int64)

    return tuple(out), ticks


def _labels(sequence: Any, ticks: Any) -> Labels:
    def timed(events: Iterable[tuple[Any, ...]]) -> list[Any]:
        rows = sorted(events, key=lambda row: row[0])
        at = ticks(row[0] for row in rows).tolist()
        return [(tick, *row[1:]) for tick, row in zip(at, rows)]

    texts = [(t.time, t.text, t.annotation_type) for t in sequence.text_annotations]
    chords = timed(
        (time, *symbol)
        for time, text, kind in texts
        if kind == sequence.TextAnnotation.CHORD_SYMBOL
        and (symbol := read_symbol(text)) is not None
    )
    keys = () if sequence_details.unbelieved(sequence) else sequence.key_signatures
    changes = {
        "key": timed((k.time, k.key + 12 * (k.mode == 1)) for k in keys),
        "section": timed(
            (s.time, s.section_id)
            for s in sequence.section_annotations
            if 0 <= s.section_id < len(SECTIONS)
        ),
        "phrase": timed(
            (time, phrase) for time, text, _ in texts if (phrase := read_phrase(text)) is not None
        ),
    }
    metadata = sequence.sequence_metadata
    return Labels.of_changes(
        changes | chord_changes(chords), styles=tuple(metadata.genre), song=metadata.title
    )
