"""What General MIDI calls its instruments and drums."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple, TypedDict

from jaxmusic._src.music.notes import Notes


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


GM_PROGRAMS = _names("""
Acoustic Grand Piano, Bright Acoustic Piano, Electric Grand Piano, Honky-tonk Piano,
Electric Piano 1, Electric Piano 2, Harpsichord, Clavi,
Celesta, Glockenspiel, Music Box, Vibraphone, Marimba, Xylophone, Tubular Bells, Dulcimer,
Drawbar Organ, Percussive Organ, Rock Organ, Church Organ, Reed Organ, Accordion, Harmonica,
Tango Accordion,
Nylon Guitar, Steel Guitar, Jazz Guitar, Clean Guitar, Muted Guitar, Overdriven Guitar,
Distortion Guitar, Guitar Harmonics,
Acoustic Bass, Fingered Bass, Picked Bass, Fretless Bass, Slap Bass 1, Slap Bass 2, Synth Bass 1,
Synth Bass 2,
Violin, Viola, Cello, Contrabass, Tremolo Strings, Pizzicato Strings, Orchestral Harp, Timpani,
String Ensemble 1, String Ensemble 2, Synth Strings 1, Synth Strings 2, Choir Aahs, Voice Oohs,
Synth Voice, Orchestra Hit,
Trumpet, Trombone, Tuba, Muted Trumpet, French Horn, Brass Section, Synth Brass 1, Synth Brass 2,
Soprano Sax, Alto Sax, Tenor Sax, Baritone Sax, Oboe, English Horn, Bassoon, Clarinet,
Piccolo, Flute, Recorder, Pan Flute, Blown Bottle, Shakuhachi, Whistle, Ocarina,
Square Lead, Sawtooth Lead, Calliope Lead, Chiff Lead, Charang Lead, Voice Lead, Fifths Lead,
Bass and Lead,
New Age Pad, Warm Pad, Polysynth Pad, Choir Pad, Bowed Pad, Metallic Pad, Halo Pad, Sweep Pad,
Rain, Soundtrack, Crystal, Atmosphere, Brightness, Goblins, Echoes, Sci-fi,
Sitar, Banjo, Shamisen, Koto, Kalimba, Bagpipe, Fiddle, Shanai,
Tinkle Bell, Agogo, Steel Drums, Woodblock, Taiko Drum, Melodic Tom, Synth Drum, Reverse Cymbal,
Guitar Fret Noise, Breath Noise, Seashore, Bird Tweet, Telephone Ring, Helicopter, Applause,
Gunshot
""")
"""Names of the 128 programs."""

GM_FAMILIES = _names("""
piano, chromatic-percussion, organ, guitar, bass, strings, ensemble, brass, reed, pipe,
synth-lead, synth-pad, synth-effects, ethnic, percussive, sound-effects
""")
"""Names of the 16 families of eight programs each."""

_DRUMS = """
kick 35 36; snare 38 40; rim 37; clap 39; toms 41 43 45 47 48 50; hi-hat 42 44; open hat 46;
ride 51 53 59; crash 49 52 55 57; tambourine 54; cowbell 56; shaker 69 70 82; bongos 60 61;
congas 62 63 64; timbales 65 66; agogo 67 68; guiro 73 74; claves 75; wood blocks 76 77;
triangle 80 81; whistle 71 72; vibraslap 58; cuica 78 79; bells 83 84
"""
DRUMS = tuple(
    (name, tuple(int(pitch) for pitch in pitches.split()))
    for name, pitches in re.findall(r"([a-z][a-z -]*) ([\d ]+)", _DRUMS)
)
"""Drums and their pitches, as a drummer's score has them from the bottom up."""

OTHER_DRUM = "other"
_DRUM_OF = {pitch: name for name, pitches in DRUMS for pitch in pitches}


def drum_name(pitch: int) -> str:
    """Name of the drum, see `DRUMS`, that a pitch on channel 10 plays."""
    return _DRUM_OF.get(int(pitch), OTHER_DRUM)


def track_names(notes: Notes) -> list[str]:
    """Names each track: as the given file does, or by its instrument, with a number if shared."""
    drums = notes.drum.tolist()
    kinds = ["Drums" if d else GM_PROGRAMS[p] for p, d in zip(notes.program.tolist(), drums)]
    own: list[str] = []
    if notes.details is not None:
        _, names = notes.details.names()
        own = [names[part] for part in notes.details.part.tolist()]
    own += [""] * (len(kinds) - len(own))
    shared = [kind if not name else "" for kind, name in zip(kinds, own)]
    return [
        own[i] or (f"{kind} ({shared[:i].count(kind) + 1})" if shared.count(kind) > 1 else kind)
        for i, kind in enumerate(kinds)
    ]


class Heard(NamedTuple):
    """How often a model heard each instrument in training.

    Attributes:
      pieces: training pieces; 0 where it is not known.
      programs: pieces in which each General MIDI program, or `DRUM_PROGRAM`, plays; what is not
        in it was never heard.
    """

    pieces: int = 0
    programs: Mapping[int, int] = {}

    def hardly(self, program: int) -> bool:
        """Tells whether a program is too rare to have been learned, see `RARE`."""
        share, most = RARE
        return self.programs.get(program, 0) < min(share * self.pieces, most)

    def as_json(self) -> dict[str, Any]:
        """Returns the counts as an object for JSON, see `heard`."""
        return {"pieces": self.pieces, "programs": {str(p): n for p, n in self.programs.items()}}


RARE = (0.01, 100)
"""A program is hardly heard in less than this share of the pieces and in fewer pieces than this."""
DRUM_PROGRAM = 128
"""Stands for drums among programs."""


class HeardCounts(TypedDict):
    """What `Heard.as_json` writes."""

    pieces: int
    programs: dict[str, int]


def heard(stored: HeardCounts | None) -> Heard:
    """Reads the counts that `Heard.as_json` wrote; unknown ones where there are none."""
    if stored is None:
        return Heard()
    counts = {int(p): count for p, count in stored["programs"].items() if p.isdecimal()}
    return Heard(stored["pieces"], counts)


def program_name(program: int) -> str:
    """Returns the name of a General MIDI program, or of `DRUM_PROGRAM`."""
    return "drums" if program == DRUM_PROGRAM else GM_PROGRAMS[program]
