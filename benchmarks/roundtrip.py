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
from collections.abc import Sequence
from typing import Any

from tqdm import tqdm

from benchmarks import runner
from benchmarks.runner import Result, Table
from jaxmusic.core.errors import UserError
from jaxmusic.formats import files
from jaxmusic.formats.scores import archives
from jaxmusic.music.details import decoded

Events = collections.Counter[tuple[Any, ...]]
"""How often each event is there: its kind, tick and value."""
MIDI = {
    "notes": {"note_on": ("channel", "note", "velocity")},
    "ends of notes": {"note_off": ("channel", "note")},
    "tempos": {"set_tempo": ("tempo",)},
    "meters": {"time_signature": ("numerator", "denominator")},
    "keys": {"key_signature": ("key",)},
    "names of tracks": {"track_name": ("name",)},
    "controllers": {"control_change": ("channel", "control", "value")},
    "pitch bends": {"pitchwheel": ("channel", "pitch")},
    "program changes": {"program_change": ("channel", "program")},
    "lyrics": {"lyrics": ("text",)},
    "markers": {"marker": ("text",), "cue_marker": ("text",)},
    "copyright": {"copyright": ("text",)},
    "texts": {"text": ("text",), "instrument_name": ("name",), "device_name": ("name",)},
    "aftertouch": {"polytouch": ("channel", "note", "value"), "aftertouch": ("channel", "value")},
    "system exclusive": {"sysex": ("data",)},
    "ports and others": {
        "midi_port": ("port",),
        "channel_prefix": ("channel",),
        "sequencer_specific": ("data",),
        "sequence_number": ("number",),
        "smpte_offset": ("hours", "minutes", "seconds", "frames", "sub_frames"),
        "unknown_meta": ("type_byte", "data"),
    },
}
"""Types and fields of mido for each kind of event."""
TYPES = {name: (kind, fields) for kind, types in MIDI.items() for name, fields in types.items()}
TEXTS = {"names of tracks", "lyrics", "markers", "copyright", "texts"}
NOT_HELD = {"program changes", "aftertouch", "system exclusive", "ports and others"}
"""Kinds that a NoteSequence has no field for; programs are those of its notes."""
SAME = {"C#": "Db", "F#": "Gb", "Cb": "B", "D#": "Eb", "G#": "Ab", "A#": "Bb"}
"""Tonics that sound alike."""
KEPT = 0.9999
"""Goal: share of the events of each way that come back."""
NOTE = (
    "MIDI: files.convert to MIDI. NoteSequence: files.read and files.write, without what a "
    "NoteSequence cannot say. MusicXML: scores without repeats through files.convert. Counted by "
    "mido, for every tenth file also by pretty_midi, and of scores by music21."
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
        elif "channel" in str(MIDI.get(kind)):
            value = value[1:]
        held[kind, tick, value] += count
    return held


def sounding(path: pathlib.Path) -> Events:
    """Counts notes and sustain pedals with pretty_midi, to a millisecond; none if it refuses."""
    found: Events = collections.Counter()
    try:
        tracks = runner.peer("pretty_midi").PrettyMIDI(str(path)).instruments
    except Exception:  # whatever it raises
        return found
    for track in tracks:
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
    found: Events = collections.Counter()
    for name in re.findall("<part-name(?: [^>/]*)?>([^<]+)<", markup(path)):
        found["names of parts", 0, (html.unescape(name),)] += 1
    for part in piece.parts:
        for sign in part.flatten():
            step = math.floor(12 * fractions.Fraction(sign.offset) + fractions.Fraction(1, 2))
            if isinstance(sign, music21.harmony.ChordSymbol):
                found["roots of chords", step, (sign.root().pitchClass,)] += 1
            elif isinstance(sign, music21.key.KeySignature):
                found["key signatures", step, (sign.sharps % 12,)] += 1
            elif isinstance(sign, music21.note.NotRest) and not sign.duration.isGrace:
                for note in getattr(sign, "notes", [sign]):
                    if not note.tie or note.tie.type == "start":
                        found[
                            "notes", step, (getattr(note, "pitch", None) and note.pitch.midi,)
                        ] += 1
    return found


def trips(path: pathlib.Path, second: bool) -> dict[str, tuple[Events, Events]] | str:
    """Takes a file there and back.

    Args:
      path: a MIDI file or a score.
      second: whether pretty_midi judges too.

    Returns:
      Events of the file and of what came back by the way that was taken; or who refuses the file.
    """
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again = pathlib.Path(folder) / "again.mid"
        try:
            was = midi_events(path.read_bytes()) if is_midi(path) else score_events(path)
        except Exception:  # whatever it raises
            return "mido" if is_midi(path) else "music21"
        try:
            if not is_midi(path):
                files.convert(path, again := again.with_suffix(".musicxml"))
                return {"MusicXML": (was, score_events(again))}
            files.convert(path, again)
            found = {"MIDI": (was, midi_events(again.read_bytes()))}
            heard = sounding(path) if second else collections.Counter()
            if heard:
                found["MIDI"] = was + heard, found["MIDI"][1] + sounding(again)
            files.write(files.read(path), again)
            back = in_sequence(midi_events(again.read_bytes())) + (
                sounding(again) if heard else heard
            )
            return found | {"NoteSequence": (in_sequence(was) + heard, back)}
        except UserError:
            return "jaxmusic"


def is_midi(path: pathlib.Path) -> bool:
    """Tells whether a file is MIDI by its name."""
    return path.suffix.lower() in (".mid", ".midi", ".kar", ".rmi")


def plain(path: pathlib.Path) -> bool:
    """Tells whether a file is MusicXML in which each bar is played once."""
    text = markup(path) if path.suffix.lower() in (".mxl", ".xml", ".musicxml") else ""
    again = re.search("<repeat|<ending|dacapo=|dalsegno=|measure-repeat", text)
    return "<score-partwise" in text and not again


def markup(path: pathlib.Path) -> str:
    """Returns the text of MusicXML; none of an archive without a score."""
    data = path.read_bytes()
    with contextlib.suppress(UserError):
        return (archives.unpacked(data, 2**26) if data[:2] == b"PK" else data).decode(
            "utf-8", "replace"
        )
    return ""


def chosen(folders: Sequence[pathlib.Path], scores: int) -> list[pathlib.Path]:
    """Returns all MIDI files of folders, and a sample of scores that music21 can be asked about."""
    paths = sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())
    some = random.Random(0).sample(paths, len(paths))
    return [*filter(is_midi, paths), *itertools.islice(filter(plain, some), scores)]


def run(data: str = runner.DATA, faults: str = "", scores: int = 60) -> Result:
    """Takes all MIDI files and some scores there and back.

    Args:
      data: folder of real music; from JAXMUSIC_DATA unless given.
      faults: a folder of faulty files.
      scores: number of scores, which music21 reads slowly.
    """
    folders = [runner.folder("data", data), *([runner.folder("faults", faults)] if faults else [])]
    paths = chosen(folders, scores)
    counts: dict[tuple[str, str], collections.Counter[str]] = {}
    refused: collections.Counter[str] = collections.Counter()
    with concurrent.futures.ProcessPoolExecutor() as pool:
        every = [n % 10 == 0 for n in range(len(paths))]
        for found in tqdm(pool.map(trips, paths, every), total=len(paths), disable=None):
            if isinstance(found, str):
                refused[found] += 1
                continue
            for way, (was, now) in found.items():
                for kind, count in compare(was, now).items():
                    counts.setdefault((way, kind), collections.Counter()).update(count)
    columns = ("files", "events", "lost", "added", "files with a loss")
    rows = [
        (way, kind, *(c[name] for name in columns)) for (way, kind), c in sorted(counts.items())
    ]
    goals = []
    for way in sorted({way for way, _ in counts}):
        mine = [c for (w, _), c in counts.items() if w == way]
        share = 1 - sum(c["lost"] for c in mine) / sum(c["events"] for c in mine)
        goals.append(runner.at_least("share of events that come back", KEPT, share, way))
    note = ", ".join(f"{count} by {who}" for who, count in sorted(refused.items()))
    return Result(
        [Table(("way", "kind", *columns), rows)],
        goals,
        [f"{len(paths)} files; refused: {note or 'none'}.", NOTE],
    )


def compare(was: Events, now: Events) -> dict[str, dict[str, int]]:
    """Counts what came back of each kind: files (1), events, lost and added ones."""
    out: dict[str, dict[str, int]] = {}
    for name, events in (("events", was), ("lost", was - now), ("added", now - was)):
        for (kind, _, _), count in events.items():
            row = out.setdefault(kind, dict.fromkeys(("events", "lost", "added"), 0) | {"files": 1})
            row[name] += count
    return {kind: row | {"files with a loss": int(row["lost"] > 0)} for kind, row in out.items()}
