"""Round trips: events of given files that come back, as other programs count them."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import fractions
import html
import io
import itertools
import math
import pathlib
import random
import re
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from typing import Any

from tqdm import tqdm

from benchmarks import runner
from benchmarks.runner import Result, Table
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.formats import files
from jaxmusic._src.formats.scores import archives
from jaxmusic._src.music.details import decoded

Events = Counter[tuple[Any, ...]]
"""How often each event is there: its kind, tick and value."""
Counts = dict[tuple[str, str], Counter[str]]
"""Numbers of files and events for each way and kind."""
SUFFIXES = (".mid", ".midi", ".kar", ".rmi")
MIDI = {
    "notes": "note_on channel note velocity",
    "ends of notes": "note_off channel note",
    "tempos": "set_tempo tempo",
    "meters": "time_signature numerator denominator",
    "keys": "key_signature key",
    "names of tracks": "track_name name",
    "controllers": "control_change channel control value",
    "pitch bends": "pitchwheel channel pitch",
    "program changes": "program_change channel program",
    "lyrics": "lyrics text",
    "markers": "marker text, cue_marker text",
    "copyright": "copyright text",
    "texts": "text text, instrument_name name, device_name name",
    "aftertouch": "polytouch channel note value, aftertouch channel value",
    "system exclusive": "sysex data",
    "ports and others": "midi_port port, channel_prefix channel, sequence_number number, "
    "sequencer_specific data, unknown_meta type_byte data, "
    "smpte_offset hours minutes seconds frames sub_frames",
}
"""Types and fields of mido for each kind of event."""
TYPES = {
    name: (kind, fields)
    for kind, types in MIDI.items()
    for name, *fields in map(str.split, types.split(","))
}
OF_CHANNELS = {kind for kind, types in MIDI.items() if " channel " in types}
TEXTS = {"names of tracks", "lyrics", "markers", "copyright", "texts"}
NOT_HELD = {"program changes", "aftertouch", "system exclusive", "ports and others"}
"""Kinds that a NoteSequence has no field for; programs are those of its notes."""
SAME = {"C#": "Db", "F#": "Gb", "Cb": "B", "D#": "Eb", "G#": "Ab", "A#": "Bb"}
"""Tonics that sound alike."""
KEPT, ENDS = 0.9999, "ends of notes"
"""Goal: share of the events of each way that come back, but for the ends of notes."""
NOTE = (
    "MIDI: files.convert to MIDI. NoteSequence: files.read and files.write, without what a "
    "NoteSequence cannot say. MusicXML: scores without repeats through files.convert. Counted by "
    "mido, for every tenth file also by pretty_midi, and of scores by music21. Lost ends of notes: "
    "a note without length gets one tick (an end is added), and ends without a note are left out. "
    "pretty_midi hears no pedals of tracks without notes."
)


def midi_events(data: bytes) -> Events:
    """Counts the events of a MIDI file with mido, and its ticks per quarter.

    Of several tempos or meters at one tick the last counts; before the first they are 120 and 4/4.
    Sequences of type 2 follow one another.
    """
    file = runner.peer("mido").MidiFile(file=io.BytesIO(data), clip=True)
    found: Events = collections.Counter({("ticks per quarter", 0, (file.ticks_per_beat,)): 1})
    last: dict[tuple[str, int], Any] = {("tempos", 0): (500_000,), ("meters", 0): (4, 4)}
    tick = 0
    for track in file.tracks:
        tick = tick if file.type == 2 else 0
        for message in track:
            tick += message.time
            name = message.type
            if name == "note_on" and not message.velocity:
                name = "note_off"
            if name not in TYPES:
                continue
            kind, fields = TYPES[name]
            values = (getattr(message, field) for field in fields)
            value = tuple(decoded(v.encode("latin-1")) if isinstance(v, str) else v for v in values)
            if kind in ("tempos", "meters"):
                last[kind, tick] = value
            elif value != ("",):
                found[kind, tick, value] += 1
    found.update((kind, tick, value) for (kind, tick), value in last.items())
    return found


def in_sequence(found: Events) -> Events:
    """Leaves out what a NoteSequence cannot say: channels, kinds of texts, spellings of keys."""
    held: Events = collections.Counter()
    for (kind, tick, value), count in found.items():
        if kind in NOT_HELD:
            continue
        if kind in TEXTS:
            kind, tick = "names and texts", 0 if kind == "names of tracks" else tick
        elif kind == "keys":
            tonic = value[0].removesuffix("m")
            value = (SAME.get(tonic, tonic) + value[0][len(tonic) :],)
        elif kind in OF_CHANNELS:
            value = value[1:]
        held[kind, tick, value] += count
    return held


def sounding(path: pathlib.Path) -> Events:
    """Counts notes and sustain pedals with pretty_midi, to a millisecond.

    There are none where it warns that it misreads tempos outside of the first track, or fails.
    """
    found: Events = collections.Counter()
    with contextlib.suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("error")
        for track in runner.peer("pretty_midi").PrettyMIDI(str(path)).instruments:
            program = -1 if track.is_drum else track.program
            for note in track.notes:
                value = (round(note.end, 3), note.pitch, note.velocity, program)
                found["notes, by pretty_midi", round(note.start, 3), value] += 1
            for c in track.control_changes:
                if c.number == 64:
                    found["pedals, by pretty_midi", round(c.time, 3), (c.value,)] += 1
    return found


def score_events(path: pathlib.Path) -> Events:
    """Counts what music21 finds in MusicXML without repeats, in steps of a twelfth of a quarter."""
    music21 = runner.peer("music21")
    piece = music21.converter.parse(path, format="musicxml", forceSource=True).toSoundingPitch()
    names = re.findall("<part-name(?: [^>/]*)?>([^<]+)<", markup(path))
    found: Events = collections.Counter(("names of parts", 0, (html.unescape(n),)) for n in names)
    for sign in itertools.chain.from_iterable(part.flatten() for part in piece.parts):
        step = math.floor(12 * fractions.Fraction(sign.offset) + fractions.Fraction(1, 2))
        if isinstance(sign, music21.harmony.ChordSymbol):
            found["roots of chords", step, (sign.root().pitchClass,)] += 1
        elif isinstance(sign, music21.key.KeySignature):
            found["key signatures", step, (sign.sharps % 12,)] += 1
        elif isinstance(sign, music21.note.NotRest) and not sign.duration.isGrace:
            for note in getattr(sign, "notes", [sign]):
                if not note.tie or note.tie.type == "start":
                    pitch = note.pitch.midi if hasattr(note, "pitch") else -1
                    found["notes", step, (pitch,)] += 1
    return found


def trips(path: pathlib.Path, second: bool = False) -> Counts | str:
    """Takes a file there and back.

    Args:
      path: a MIDI file or a score.
      second: whether pretty_midi counts too.

    Returns:
      How many events of each kind come back by each way; or who refuses the file.
    """
    is_midi = path.suffix.lower() in SUFFIXES
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again = pathlib.Path(folder) / ("again.mid" if is_midi else "again.musicxml")
        try:
            was = midi_events(path.read_bytes()) if is_midi else score_events(path)
        except Exception:  # whatever it raises
            return "mido" if is_midi else "music21"
        try:
            files.convert(path, again)
            if not is_midi:
                return compare("MusicXML", was, score_events(again))
            heard = sounding(path) if second else None
            now = midi_events(again.read_bytes())
            out = compare("MIDI", was, now)
            out |= compare("MIDI", heard, sounding(again)) if heard else {}
            files.write(files.read(path), again)
            now = midi_events(again.read_bytes())
            out |= compare("NoteSequence", in_sequence(was), in_sequence(now))
            return out | (compare("NoteSequence", heard, sounding(again)) if heard else {})
        except UserError:
            return "jaxmusic"


def compare(way: str, was: Events, now: Events) -> Counts:
    """Counts files (1), events, lost and added ones of each kind."""
    out: Counts = {}
    for name, events in (("events", was), ("lost", was - now), ("added", now - was)):
        for (kind, _, _), count in events.items():
            out.setdefault((way, kind), collections.Counter(files=1))[name] += count
    for row in out.values():
        row["files with a loss"] = int(row["lost"] > 0)
    return out


def plain(path: pathlib.Path) -> bool:
    """Tells whether a file is MusicXML in which each bar is played once."""
    text = markup(path) if path.suffix.lower() in files.WRITABLE_SCORES else ""
    again = re.search("<repeat|<ending|dacapo=|dalsegno=|measure-repeat", text)
    return "<score-partwise" in text and not again


def markup(path: pathlib.Path) -> str:
    """Returns the text of MusicXML; none of an archive without a score."""
    data = path.read_bytes()
    with contextlib.suppress(UserError):
        data = archives.unpacked(data, 2**26) if data[:2] == b"PK" else data
    return data.decode("utf-8", "replace")


def run(
    data: str = runner.DATA, faults: str = "", scores: int = 24, workers: int = 2
) -> Iterator[Result]:
    """Takes all MIDI files, in random order, and some scores there and back.

    Args:
      data: folder of real music; from JAXMUSIC_DATA unless given.
      faults: a folder of faulty files.
      scores: number of scores, which music21 reads slowly.
      workers: processes.
    """
    folders = [runner.folder("data", data), *([runner.folder("faults", faults)] if faults else [])]
    paths = sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())
    random.Random(0).shuffle(paths)
    chosen = [path for path in paths if path.suffix.lower() in SUFFIXES]
    chosen += itertools.islice(filter(plain, paths), scores)
    counts: Counts = {}
    refused: Counter[str] = collections.Counter()
    with concurrent.futures.ProcessPoolExecutor(workers) as pool:
        every = (n % 10 == 0 for n in range(len(chosen)))
        done = pool.map(trips, chosen, every)
        for number, found in enumerate(tqdm(done, total=len(chosen), disable=None), 1):
            if isinstance(found, str):
                refused[found] += 1
            else:
                for key, count in found.items():
                    counts.setdefault(key, collections.Counter()).update(count)
            if number % 500 == 0 or number == len(chosen):
                yield result(counts, refused, f"{number:,} of {len(chosen):,} files")


def result(counts: Counts, refused: Counter[str], done: str) -> Result:
    """Makes the table of all ways and kinds."""
    columns = ("files", "events", "lost", "added", "files with a loss")
    rows = [(*key, *(count[name] for name in columns)) for key, count in sorted(counts.items())]
    goals = []
    for way in sorted({way for way, _ in counts}):
        mine = [count for key, count in counts.items() if key[0] == way and key[1] != ENDS]
        share = 1 - sum(c["lost"] for c in mine) / sum(c["events"] for c in mine)
        what = f"share of events, {ENDS} apart, that come back"
        goals.append(runner.at_least(what, KEPT, share, way))
    by = ", ".join(f"{count} by {who}" for who, count in sorted(refused.items()))
    notes = [f"{done}; refused: {by or 'none'}.", NOTE]
    return Result([Table(("way", "kind", *columns), rows)], goals, notes)
