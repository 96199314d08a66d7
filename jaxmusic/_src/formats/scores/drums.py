"""Where drums stand on a percussion staff, and which drum stands where."""

from __future__ import annotations

import re

_STAFF = """
35 E4 - Acoustic Bass Drum; 36 F4 - Bass Drum; 37 C5 x Side Stick; 38 C5 - Snare Drum;
39 E5 x Hand Clap; 40 C5 diamond Electric Snare; 41 G4 - Low Floor Tom; 42 G5 x Closed Hi-Hat;
43 A4 - High Floor Tom; 44 D4 x Pedal Hi-Hat; 45 B4 - Low Tom; 46 G5 circle-x Open Hi-Hat;
47 D5 - Low-Mid Tom; 48 E5 - High-Mid Tom; 49 A5 x Crash Cymbal; 50 F5 - High Tom;
51 F5 x Ride Cymbal; 52 C6 x Chinese Cymbal; 53 F5 diamond Ride Bell; 54 D5 triangle Tambourine;
55 B5 x Splash Cymbal; 56 E5 triangle Cowbell; 57 B5 circle-x Crash Cymbal 2; 58 B4 x Vibraslap;
59 D5 x Ride Cymbal 2; 60 C5 triangle High Bongo; 61 A4 triangle Low Bongo;
62 D5 slash Mute High Conga; 63 E5 slash High Conga; 64 A4 slash Low Conga;
65 F5 slash High Timbale; 66 D5 diamond Low Timbale; 67 G5 triangle High Agogo;
68 F5 triangle Low Agogo; 69 B5 slash Cabasa; 70 A5 slash Maracas; 71 G5 diamond Short Whistle;
72 E5 diamond Long Whistle; 73 B4 slash Short Guiro; 74 G4 slash Long Guiro;
75 B4 triangle Claves; 76 G5 slash High Wood Block; 77 C5 slash Low Wood Block;
78 A4 diamond Mute Cuica; 79 B4 diamond Open Cuica; 80 A5 diamond Mute Triangle;
81 A5 triangle Open Triangle; 82 B5 diamond Shaker
"""
"""General MIDI pitch, line or space (in treble clef), note head and name of each drum."""

_DRUMS = [row.split(maxsplit=3) for row in _STAFF.split(";")]
PLACES = {int(pitch): (place, head.strip("-")) for pitch, place, head, _ in _DRUMS}
NAMES = {int(pitch): name.strip() for pitch, _, _, name in _DRUMS}
OTHER_PLACE = ("C5", "cross")
_SNARE = 38
# Of the drums on one place, the first in the list without a special head is meant.
_HEADS = ("triangle", "slash", "diamond", "circle-x", "x", "")
_PITCHES = {
    place: pitch
    for wanted in _HEADS
    for pitch, (place, head) in reversed(PLACES.items())
    if head == wanted
}

# Words in names of instruments; the first that is found counts.
_WORDS = """
side stick 37, sidestick 37, rim 37, snare 38, bass drum 36, kick 36, open hi 46, pedal hi 44,
foot hi 44, hi-hat 42, hihat 42, hi hat 42, ride bell 53, ride 51, crash 49, splash 55, china 52,
chinese 52, cymbal 49, floor tom 41, low tom 45, high tom 50, tom 47, clap 39, tambourine 54,
cowbell 56, bongo 60, conga 63, timbale 65, agogo 67, cabasa 69, maracas 70, shaker 82, guiro 73,
claves 75, wood block 76, woodblock 76, cuica 79, triangle 81, whistle 71, vibraslap 58, gong 52,
tam-tam 52
"""
_PITCH_OF_WORD = {
    word: int(pitch) for word, pitch in (row.strip().rsplit(" ", 1) for row in _WORDS.split(","))
}


def pitch_of(name: str, place: str) -> int:
    """General MIDI pitch of a drum: by words in its name, else by its place, as ``C5``.

    A place that no drum has is a snare's.
    """
    name = re.sub(r"\s+", " ", name.lower())
    known = next((pitch for word, pitch in _PITCH_OF_WORD.items() if word in name), None)
    return known if known is not None else _PITCHES.get(place, _SNARE)
