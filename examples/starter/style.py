"""Style of the band of the starter corpus: forms, chords, rhythms, and one bar of each role.

A rhythm is a string with one character for each sixteenth note of a bar: 16 of them in 4/4, 12 in
3/4 and 6/8. ``.`` is a rest, ``-`` a hold; each table explains its other characters. A table's
key is a *feel*: the style in 4/4, else the meter.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

from jaxmusic._src.music.notes import CHORD_QUALITIES, CHORD_TONES

Event = tuple[int, int, int, int]
"""Start and length in grid steps (12 in a beat), pitch, accent (added to the velocity)."""
SIXTEENTH = 3
"""Grid steps in a sixteenth note."""

STYLES = {"pop": 0.6, "rock": 0.2, "ballad": 0.2}
METERS = {
    "pop": {"4/4": 0.94, "6/8": 0.06},
    "rock": {"4/4": 0.96, "6/8": 0.04},
    "ballad": {"4/4": 0.5, "3/4": 0.25, "6/8": 0.25},
}
"""Share of each style, and of each meter in a style."""
TEMPOS = {
    "pop": (88, 132),
    "rock": (108, 160),
    "ballad": (70, 92),
    "3/4": (84, 126),
    "6/8": (82, 120),
}
"""Quarter notes per minute: lowest and highest."""

FORMS = (
    *("IVCO", "IVCBCO", "IVCVCO", "VCVCBCO", "IVCVCBCO", "IVVCVCO", "IVCVCBCCO", "ICVCVCBCO"),
    *("IVVCVCBCO", "IVCVCVCO", "VVCVVCBCCO", "IVVCVVCBCCO"),
)
"""Orders of intro, verse, chorus, bridge and outro."""
BARS = {"I": (2, 4, 8), "V": (8, 16), "C": (8, 16), "B": (4, 8), "O": (2, 4, 8)}
"""Lengths of each section."""
SHORTEST, LONGEST = 91, 239
"""Seconds."""

MAJOR = {
    **{"1": (0, "maj", "maj7"), "2": (2, "min", "min7"), "3": (4, "min", "min7")},
    **{"4": (5, "maj", "maj7"), "5": (7, "maj", "7"), "6": (9, "min", "min7")},
}
MINOR = {
    **{"1": (0, "min", "min7"), "2": (2, "dim", "dim"), "3": (3, "maj", "maj7")},
    **{"4": (5, "min", "min7"), "5": (7, "maj", "7"), "6": (8, "maj", "maj7")},
    "7": (10, "maj", "7"),
}
"""Degree: semitones above the tonic, quality of its triad and seventh chord (harmonic minor V)."""

PROGRESSIONS = {
    ("major", "V"): ("1 5 6 4", "1 6 4 5", "1 4 1 5", "6 4 1 5", "1 3 4 5", "1 2 4 5", "1 5 6 4-5"),
    ("major", "C"): ("1 5 6 4", "4 1 5 6", "1 4 6 5", "4 5 1 6", "6 4 1 5", "4 5 3 6", "1 6 2 5"),
    ("major", "B"): ("6 3 4 5", "2 5 1 6", "4 3 2 5s-5", "6 5 4 5", "2 3 4 5"),
    ("minor", "V"): ("1 6 3 7", "1 7 6 7", "1 4 6 5", "1 4 7 3", "1 3 7 4", "1 6 4 5s-5"),
    ("minor", "C"): ("6 7 1 1", "1 6 3 7", "6 3 7 1", "4 7 3 6", "6 4 1 7", "1 7 6 5"),
    ("minor", "B"): ("6 3 4 5", "4 1 2 5", "6 7 3 5s-5", "3 7 4 5"),
}
"""Four bars each; ``4-5`` has two chords in its bar, ``s`` is a suspended fourth."""
CADENCES = ("5", "4-5", "5s-5")

CELLS = {
    "pop": "x-x-x-x-x---x--- x---x-x-x---x-x- ..x-x-x-x---x-x- x--x--x-x---x--- x-----x-x-x-x-.. "
    "x--x--x---x-x-x- ....x-x-x--x--x-",
    "rock": "x---x---x-x-x--- x-x-x---x-x-x--- ..x-x-x-x-----x- x--x--x-x--x--x- x-------x-x-x-x-",
    "ballad": "x-------x---x--- x---x---x-----x- x-----x-x---x--- ....x---x---x-x- "
    "x---x-x-x-------",
    "3/4": "x---x---x--- x-------x--- x---x-x-x--- x-----x-x-x- ..x-x-x-x---",
    "6/8": "x-x-x-x----- x---x-x---x- x-----x-x-x- x---x-x----- ..x-x-x---x-",
}
CLOSES = {16: "x-x-x-x-x------- x---x---x------- x-x-x-----------", 12: "x---x-------"}
"""Melody: x starts a note. The second table closes phrases, by sixteenths in a bar."""

COMPS = {
    "pop": "C---C---C---C--- C-----C---C-C--- b-t-b-t-b-t-b-t- C--C--C-C------- 1-2-3-2-1-2-3-2- "
    "..C-..C-..C-..C-",
    "rock": "C-----C-----C--- C---C-C-C---C--- C--C--C-C------- b-t-b-t-b-t-b-t- C-------C-C-C---",
    "ballad": "1-2-3-2-1-2-3-2- b---t---b---t--- C-------C------- b-2-3-4-3-2-1-2-",
    "3/4": "b---t---t--- 1-2-3-4-3-2- C-------C---",
    "6/8": "1-2-3-4-3-2- b---t-b---t- C-----C-----",
}
"""Chords: C plays all tones, b the lowest, t the others, a digit one of them."""
BASSES = {
    "pop": "R-----R-R---..R- R---R---R---5-A- R-R-R-R-R-R-R-A- R--R--R-R--R--R- R-O-R-O-R-O-R-O-",
    "rock": "R-R-R-R-R-R-R-R- R---R-R-R---5-A- R--R--R-R-R-R-A-",
    "ballad": "R-------5------- R-----R-R-----A- R-------R---5---",
    "3/4": "R-------5--- R----------- R-----5---A-",
    "6/8": "R-----5----- R---R-5---A- R-----R---A-",
}
"""R root, 5 fifth, O octave, A a step below the next root (the root where the chord stays)."""
GROOVES = {
    "pop": (
        ("X.....x.X.x.....", "....X.......X...", "x.o.x.o.x.o.x.o."),
        ("X...X...X...X...", "....X.......X...", "..x...x...x...x."),
        ("X.......x.X.....", "....X.......X..o", "xoxoxoxoxoxoxoxo"),
        ("X..x..x.X.......", "....X.......X...", "x.x.x.x.x.x.x.x."),
    ),
    "rock": (
        ("X.......X.x.....", "....X.......X...", "X.x.X.x.X.x.X.x."),
        ("X.x...x.x.X.....", "....X.......X...", "X.x.X.x.X.x.X.x."),
        ("X.....X.X.....x.", "....X.......X...", "X...X...X...X..."),
    ),
    "ballad": (
        ("X.........x.....", "........X.......", "x...x...x...x..."),
        ("X.......x.......", "....x.......x...", "x.o.x.o.x.o.x.o."),
    ),
    "3/4": (
        ("X...........", "....x...x...", "x.o.x.o.x.o."),
        ("X.......x...", "........X...", "x...x...x..."),
    ),
    "6/8": (
        ("X.........x.", "......X.....", "x.o.o.x.o.o."),
        ("X...x.......", "......X...o.", "x.x.x.x.x.x."),
    ),
}
"""Kick, snare, cymbal; X is loud, x plain, o soft."""
FILLS = {
    16: "s.s.h.m. sshhmmll s..s..l. h.h.m.l. s.sss.ss k.s.k.ss",
    12: "s.h.l. sshmml s.s.ss h.m.l.",
}
TRIPLET_FILLS = "sshmml shmshm hhmmll s.sh.l"
"""The second half of a bar, or six triplet eighths: snare, high, middle and low tom, kick."""

KICK, STICK, SNARE, CLOSED_HAT, CRASH, RIDE = 36, 37, 38, 42, 49, 51
FILL_DRUMS = {"s": SNARE, "h": 50, "m": 47, "l": 43, "k": KICK}
ACCENTS = {"X": 12, "x": 0, "o": -18}

ROLES = ("melody", "chords", "second", "pad", "bass", "drums")
LOUDNESS = {"melody": 76, "chords": 60, "second": 54, "pad": 48, "bass": 66, "drums": 66}
"""Velocity of each role before accents, energy and touch."""
CENTRES = {"chords": 60, "second": 64, "pad": 66}
"""Pitch around which each role that plays chords is voiced."""
NEVER = 9.0
JOINS = {
    "chords": (0.0,),
    "second": (1.25, 1.9, NEVER),
    "pad": (0.0, 1.25, 1.9, 1.9, NEVER),
    "bass": (0.0, 0.9, 0.9),
    "drums": (0.0, 0.9, 0.9, 1.25),
}
"""Energy at which a section has each role play; each song draws one of these."""
NO_DRUMS = {"pop": 0.06, "rock": 0.0, "ballad": 0.3}
SEVENTHS = {"pop": 0.25, "rock": 0.0, "ballad": 0.6}
"""Share of songs without drums, and of sections with seventh chords."""

BANDS = {
    "pop": {
        "melody": (80, 81, 73, 65, 53, 85, 66),
        "chords": (0, 0, 4, 24, 25, 1),
        "second": (25, 26, 27, 16, 5, 11),
        "pad": (48, 50, 89, 52, 90),
        "bass": (33, 38, 39, 34),
    },
    "rock": {
        "melody": (29, 30, 65, 81, 22),
        "chords": (27, 25, 29, 0),
        "second": (18, 29, 30, 16),
        "pad": (48, 18, 52),
        "bass": (33, 34, 37),
    },
    "ballad": {
        "melody": (73, 68, 40, 53, 65, 71, 42),
        "chords": (0, 0, 24, 4, 25),
        "second": (24, 46, 11, 26),
        "pad": (48, 49, 52, 89),
        "bass": (32, 33, 35),
    },
}
"""General MIDI programs of each role."""


def energies(letter: str, times: int, bars: int) -> list[float]:
    """Loudness of each bar: sections grow as they return, the bridge rises, the ends are soft."""
    grown = 0.3 * min(times, 3)
    ends = {"I": (0.3, 0.8), "V": (1.0 + grown, 1.2 + grown), "C": (2.0 + grown, 2.2 + grown)}
    first, last = (ends | {"B": (1.2, 2.2), "O": (1.7, 0.9)})[letter]
    return [first + (last - first) * k / max(bars - 1, 1) for k in range(bars)]


@functools.cache
def hits(rhythm: str) -> tuple[tuple[int, int, str], ...]:
    """Parses a rhythm: start and length in sixteenths, and the character."""
    out = []
    for i, mark in enumerate(rhythm):
        if mark not in ".-":
            rest = rhythm[i + 1 :]
            out.append((i, 1 + len(rest) - len(rest.lstrip("-")), mark))
    return tuple(out)


def chord_number(token: str, tonic: int, minor: bool) -> int:
    """Number of a chord (see `music.notes`) written as its degree, ``7`` or ``s`` behind it."""
    semitones, triad, seventh = (MINOR if minor else MAJOR)[token[0]]
    quality = {"": triad, "7": seventh, "s": "sus4"}[token[1:]]
    return CHORD_QUALITIES.index(quality) * 12 + (tonic + semitones) % 12


def chord_row(tokens: Sequence[str], tonic: int, minor: bool, meter: str) -> list[int]:
    """Chord at each sixteenth of bars written as tokens; in 3/4 the second one has one beat."""
    first, last = {"4/4": (8, 8), "3/4": (8, 4), "6/8": (6, 6)}[meter]
    row = []
    for token in tokens:
        names = token.split("-")
        row += [chord_number(names[0], tonic, minor)] * first
        row += [chord_number(names[-1], tonic, minor)] * last
    return row


@functools.cache
def chord_tones(chord: int) -> tuple[int, ...]:
    """Pitch classes of a chord, the root first."""
    return tuple((chord + t) % 12 for t in CHORD_TONES[chord // 12])


@functools.cache
def nearest_tone(pitch: int, chord: int) -> int:
    """The chord tone nearest to a pitch; of two the lower."""
    tones = chord_tones(chord)
    return min((abs(p - pitch), p) for p in range(pitch - 6, pitch + 7) if p % 12 in tones)[1]


@functools.cache
def scale(tonic: int, minor: bool, chord: int) -> tuple[int, ...]:
    """All pitches of the scale; minor is harmonic under chords that hold its leading note."""
    steps = {0, 2, 3, 5, 7, 8, 10} if minor else {0, 2, 4, 5, 7, 9, 11}
    if minor and (tonic + 11) % 12 in chord_tones(chord):
        steps = {0, 2, 3, 5, 7, 8, 11}
    return tuple(p for p in range(128) if (p - tonic) % 12 in steps)


@functools.cache
def voicing(chord: int, before: tuple[int, ...], centre: int) -> tuple[int, ...]:
    """The close position nearest to the voicing before it, drawn somewhat to the centre."""

    def cost(voice: tuple[int, ...]) -> float:
        moved = sum(abs(a - b) for a, b in zip(voice, before))
        return moved + 0.5 * abs(sum(voice) - centre * len(voice))

    tones = chord_tones(chord)
    lows = [p for p in range(centre - 10, centre - 1) if p % 12 in tones]
    return min(
        (tuple(p for p in range(low, low + 12) if p % 12 in tones) for low in lows), key=cost
    )


def _pieces(rhythm: str, chords: Sequence[int]) -> Iterator[tuple[int, int, str]]:
    """The hits of a bar, cut where the chord changes."""
    for start, n, mark in hits(rhythm):
        for later in range(start + 1, start + n):
            if chords[later] != chords[start]:
                yield start, later - start, mark
                start, n = later, start + n - later
        yield start, n, mark


def comp_bar(
    rhythm: str, chords: Sequence[int], voice: tuple[int, ...], centre: int, thin: bool
) -> tuple[list[Event], tuple[int, ...]]:
    """One bar of chords with smooth voice leading.

    Args:
      rhythm: one of `COMPS`.
      chords: the chord at each sixteenth of the bar.
      voice: pitches of the chord before, or none.
      centre: pitch around which to play.
      thin: play the upper two tones only.

    Returns:
      Events from the start of the bar, and the last voicing.
    """
    part = []
    for start, n, mark in _pieces(rhythm, chords):
        voice = voicing(chords[start], voice, centre)
        tones = voice[-2:] if thin else voice
        if mark == "b":
            tones = tones[:1]
        elif mark == "t":
            tones = tones[1:]
        elif mark != "C":
            tones = (tones[(int(mark) - 1) % len(tones)],)
        part += [(SIXTEENTH * start, SIXTEENTH * n, pitch, 0) for pitch in tones]
    return part, voice


def bass_bar(rhythm: str, chords: Sequence[int], after: int, classes: Sequence[int]) -> list[Event]:
    """One bar of bass, pitches 28 to 51; `after` is the next bar's chord, `classes` its scale."""
    part = []
    for start, n, mark in _pieces(rhythm, chords):
        root, _, fifth = chord_tones(chords[start])[:3]
        pitch = 28 + (root - 28) % 12
        if mark == "5":
            pitch += (fifth - root) % 12
        elif mark == "O":
            pitch += 12
        elif mark == "A" and after != chords[start]:
            step = 1 if (after - 1) % 12 in classes else 2
            pitch = 28 + (after - step - 28) % 12
        part.append((SIXTEENTH * start, SIXTEENTH * n, pitch, 0))
    return part


def drum_bar(
    groove: tuple[str, str, str], energy: float, fill: str, triplets: bool, crash: bool
) -> list[Event]:
    """One bar of drums.

    Args:
      groove: one of `GROOVES`.
      energy: below 1 the snare is a side stick, from 2.5 on the cymbal is a ride.
      fill: what the second half of the bar plays instead, or nothing.
      triplets: whether the fill is in triplet eighths.
      crash: whether a crash replaces the cymbal on the first beat.
    """
    snare = STICK if energy < 1 else SNARE
    cymbal = RIDE if energy >= 2.5 else CLOSED_HAT
    half = len(groove[0]) // 2
    part = [
        (SIXTEENTH * i, SIXTEENTH, pitch, ACCENTS[mark])
        for pitch, rhythm in zip((KICK, snare, cymbal), groove)
        for i, mark in enumerate(rhythm[:half] if fill else rhythm)
        if mark != "." and not (crash and i == 0 and pitch == cymbal)
    ]
    unit = 4 if triplets else SIXTEENTH
    part += [
        (SIXTEENTH * half + unit * i, unit, FILL_DRUMS[mark], 2 * i)
        for i, mark in enumerate(fill)
        if mark != "."
    ]
    return [*part, (0, 4 * SIXTEENTH, CRASH, 8)] if crash else part
