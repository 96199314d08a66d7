"""Composes simple band songs by rule: music to start from and to test against, with no download.

A song is planned top-down: style, meter, tempo and length; a form of that length; a chord
progression and a melody for each kind of section; then the parts of the band, which grows during
the song. Times are in sixteenths, 16 or 12 per bar, and finally become grid steps (12 in a beat),
where a swung song delays its offbeats.
"""

from __future__ import annotations

import bisect
import dataclasses
import itertools
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from examples.starter import style as tables
from examples.starter.style import SIXTEENTH, Event
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.music.notes import TICKS_PER_BEAT, Labels, Notes, make_notes

T = TypeVar("T")
TICKS = TICKS_PER_BEAT // 12
SWING = np.array([0, 1, 2, 4, 4, 5, 8, 8, 8, 10, 10, 11])
"""Where a swung song puts each grid step of a beat: sixteenths move on, triplets stay."""
LETTERS = "IVCBO"
"""Letters of forms, in the order of `music.notes.SECTIONS`."""

Melody = list[tuple[int, int, int]]
"""Start and length in sixteenths, pitch."""


class _Dice:
    """Random choices made from uniform floats alone, the part of NumPy's streams that is stable."""

    def __init__(self, seed: int):
        self.generator = np.random.default_rng(seed)
        self.floats = iter(self.generator.random(8192).tolist())

    def chance(self, p: float) -> bool:
        return next(self.floats) < p

    def below(self, n: int) -> int:
        return int(next(self.floats) * n)

    def pick(self, items: Sequence[T]) -> T:
        return items[self.below(len(items))]

    def weighted(self, shares: dict[str, float]) -> str:
        u = next(self.floats) * sum(shares.values())
        ends = itertools.accumulate(shares.values())
        return next(name for name, end in zip(shares, ends) if u < end)


@dataclasses.dataclass
class _Song:
    """The plan of a song.

    `bar` is the sixteenths in a bar; `sections` has the letter, first bar and bars of each section,
    `keys` the first bar and tonic of each key, `chord` the chord at every sixteenth, `energy` a
    loudness from about 0 to 3 for every bar.
    """

    style: str
    meter: str
    feel: str
    swing: bool
    tempo: int
    tonic: int
    minor: bool
    bar: int
    sections: list[tuple[str, int, int]]
    keys: list[tuple[int, int]] = dataclasses.field(default_factory=list)
    chord: list[int] = dataclasses.field(default_factory=list)
    energy: list[float] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class _Material:
    """Material of the sections of a letter: a chord per sixteenth and (start, length, pitch)."""

    chord: list[int]
    melody: Melody


def compose(seed: int, touch: bool = True) -> Notes:
    """Composes one song.

    Args:
      seed: names the song; equal seeds give equal songs.
      touch: vary the velocity of each note by up to 3; the notes are the same without it.

    Returns:
      An aligned piece of 1:30 to 4:00 minutes, every time a multiple of 40 ticks, with all labels.

    Raises:
      UserError: if the seed is negative.
    """
    if seed < 0:
        raise UserError(f"A song's seed must be 0 or more, not {seed}.")
    dice = _Dice(seed)
    song = _plan(dice)
    material = {letter: _material(dice, song, letter) for letter in "VCB"}
    material["I"] = material["C"] if dice.chance(0.4) else _Material(material["V"].chord, [])
    hook = dice.chance(0.5)
    shift = dice.pick((1, 2, 2)) if dice.chance(0.14) else 0
    last_chorus = max(first for letter, first, _ in song.sections if letter == "C")
    parts: dict[str, list[Event]] = {role: [] for role in tables.ROLES}
    for k, (letter, first, bars) in enumerate(song.sections):
        moved = shift if first >= last_chorus else 0
        if k == 0 or (moved and first == last_chorus):
            song.keys.append((first, (song.tonic + moved) % 12))
        n, times = bars * song.bar, [s[0] for s in song.sections[:k]].count(letter)
        tune = _outro(dice, song, material["C"], n, hook) if letter == "O" else material[letter]
        melody = [m for m in tune.melody if m[0] + m[1] <= n]
        if letter == "V" and times % 2:
            melody = _vary(dice, melody)
        start = first * song.bar
        parts["melody"] += [
            (SIXTEENTH * (start + i), SIXTEENTH * m, p + moved, 0) for i, m, p in melody
        ]
        song.chord += [c - c % 12 + (c + moved) % 12 for c in tune.chord[:n]]
        song.energy += tables.energies(letter, times, bars)
    _accompany(dice, song, parts)
    return _assemble(dice, song, parts, f"starter-{seed:04d}", touch)


def _plan(dice: _Dice) -> _Song:
    """Draws style, meter, tempo, key and length, then a form as near to that length as there is."""
    style = dice.weighted(tables.STYLES)
    meter = dice.weighted(tables.METERS[style])
    feel = style if meter == "4/4" else meter
    low, high = tables.TEMPOS[feel]
    tempo = low + dice.below(high - low + 1)
    bar = 16 if meter == "4/4" else 12
    bar_seconds = bar / 4 * 60 / tempo
    wanted = tables.SHORTEST + dice.below(tables.LONGEST - tables.SHORTEST)
    sizes = [dict(zip(tables.BARS, row)) for row in itertools.product(*tables.BARS.values())]
    forms = []
    for f, form in enumerate(tables.FORMS):
        for k, size in enumerate(sizes):
            seconds = sum(size[letter] for letter in form) * bar_seconds
            if tables.SHORTEST <= seconds <= tables.LONGEST:
                forms.append((abs(seconds - wanted), f, k))
    nearest = max(min(forms)[0], 4.0)
    _, f, k = dice.pick([row for row in forms if row[0] <= nearest])
    sections, first = [], 0
    for letter in tables.FORMS[f]:
        sections.append((letter, first, sizes[k][letter]))
        first += sizes[k][letter]
    swing = meter == "4/4" and dice.chance(0.12)
    tonic, minor = dice.below(12), dice.chance(0.38)
    return _Song(style, meter, feel, swing, tempo, tonic, minor, bar, sections)


def _material(dice: _Dice, song: _Song, letter: str) -> _Material:
    """Chords and melody of 16 bars, of which a shorter section takes the first 8 or 4."""
    mode = "minor" if song.minor else "major"
    options = tables.PROGRESSIONS[mode, letter]
    main, other = dice.pick(options).split(), dice.pick(options).split()
    if dice.chance(tables.SEVENTHS[song.style]):
        main = [t + "7" if t in ("2", "4", "5", "6") else t for t in main]
    turn = dice.pick(tables.CADENCES) if letter == "V" and dice.chance(0.5) else main[3]
    tokens = main + main[:3] + [turn]
    tokens += (other if dice.chance(0.3) else main) + main[:3] + [turn]
    chords = tables.chord_row(tokens, song.tonic, song.minor, song.meter)
    return _Material(chords, _melody(dice, song, letter, chords))


def _melody(dice: _Dice, song: _Song, letter: str, chords: list[int]) -> Melody:
    """A melody over 16 bars: phrases of four bars (a b a, say) with two closes in turn.

    A cell is a rhythm and a contour in scale steps. In each bar it is set on a chord tone between
    the note before and the phrase's arch; long notes, leaps and strong beats get chord tones.
    """
    rhythms = [dice.pick(tables.CELLS[song.feel].split()) for _ in range(3)]
    rhythms += [dice.pick(tables.CLOSES[song.bar].split()) for _ in range(2)]
    contours = [_contour(dice) for _ in range(5)]
    order = dice.pick(((0, 1, 0), (0, 0, 1), (0, 1, 2)))
    centre = {"V": 67, "C": 71, "B": 69}[letter] + dice.below(3)
    arch = [dice.below(7) - 3 for _ in range(4)]
    strong = {0, 8} if song.bar == 16 else {0, 6} if song.meter == "6/8" else {0}
    notes: Melody = []
    for bar in range(16):
        place = bar % 4
        if place == 0:
            previous = centre
        cell = order[place] if place < 3 else 3 + bar // 4 % 2
        anchor = None
        for k, (i, n, _) in enumerate(tables.hits(rhythms[cell])):
            start = bar * song.bar + i
            chord = chords[start]
            if anchor is None:
                anchor = tables.nearest_tone((previous + centre + arch[place]) // 2, chord)
            scale = tables.scale(song.tonic, song.minor, chord)
            pitch = scale[bisect.bisect_left(scale, anchor) + contours[cell][k]]
            pitch = min(max(pitch, 63), 79)
            if i in strong or n >= 4 or abs(pitch - previous) > 4 or pitch % 12 not in scale[:7]:
                pitch = tables.nearest_tone(pitch, chord)
            for later in range(start + 1, start + n):
                if chords[later] != chord and pitch % 12 not in tables.chord_tones(chords[later]):
                    n = later - start  # a held note would clash with the new chord
                    break
            notes.append((start, n, pitch))
            previous = pitch
    return notes


def _contour(dice: _Dice) -> list[int]:
    """Scale steps from the first note of a cell, for as many notes as a bar can hold."""
    steps = [0]
    while len(steps) < 16:
        steps.append(min(max(steps[-1] + dice.pick((-2, -1, -1, 0, 1, 1, 2)), -3), 3))
    return steps


def _vary(dice: _Dice, melody: Melody) -> Melody:
    """A repeat with a few long notes split and a few short offbeat notes left out."""
    varied = []
    for i, n, p in melody:
        if n >= 4 and n % 2 == 0 and dice.chance(0.15):
            varied += [(i, n // 2, p), (i + n // 2, n // 2, p)]
        elif n > 2 or i % 4 == 0 or not dice.chance(0.15):
            varied.append((i, n, p))
    return varied


def _outro(dice: _Dice, song: _Song, chorus: _Material, n: int, hook: bool) -> _Material:
    """The chorus once more, then a cadence and the last bar: the tonic chord, held."""
    body = n - 2 * song.bar
    close = [dice.pick(tables.CADENCES), "1"]
    chord = chorus.chord[:body] + tables.chord_row(close, song.tonic, song.minor, song.meter)
    melody = [m for m in chorus.melody if hook and m[0] + m[1] <= body]
    if hook:
        melody.append((body, 8 if song.bar == 16 else 6, tables.nearest_tone(71, chord[body])))
    last = n - song.bar
    melody.append((last, song.bar, 62 + (song.tonic - 62) % 12))
    return _Material(chord, melody)


def _accompany(dice: _Dice, song: _Song, parts: dict[str, list[Event]]) -> None:
    """Lets chords, bass and drums play each section by its energy, and all of them the last bar."""
    hold, end = "C" + "-" * (song.bar - 1), len(song.energy) - 1
    rhythms = [dice.pick(tables.COMPS[song.feel].split()) for _ in range(4)]
    comps = {"chords": rhythms[:2], "second": rhythms[2:], "pad": [hold, hold]}
    basses = [dice.pick(tables.BASSES[song.feel].split()) for _ in range(2)]
    grooves = [dice.pick(tables.GROOVES[song.feel]) for _ in range(2)]
    joins = {role: dice.pick(options) for role, options in tables.JOINS.items()}
    if dice.chance(tables.NO_DRUMS[song.style]):
        joins["drums"] = tables.NEVER
    voice: dict[str, tuple[int, ...]] = {role: () for role in comps}

    def play(bar: int, full: bool, opens: bool, closes: bool, playing: list[str]) -> None:
        start, last = song.bar * bar, bar == end
        chords = song.chord[start : start + song.bar]
        for role in playing:
            if role == "bass":
                after = song.chord[-1 if last else start + song.bar]
                tonic = [tonic for first, tonic in song.keys if first <= bar][-1]
                classes = tables.scale(tonic, song.minor, after)[:7]
                rhythm = hold.replace("C", "R") if last else basses[full]
                events = tables.bass_bar(rhythm, chords, after, classes)
            elif role == "drums" and last:
                length = SIXTEENTH * song.bar
                events = [(0, length, tables.KICK, 8), (0, length, tables.CRASH, 8)]
            elif role == "drums":
                triplets = song.bar == 16 and dice.chance(1.0 if song.swing else 0.08)
                fills = tables.TRIPLET_FILLS if triplets else tables.FILLS[song.bar]
                fill, energy = dice.pick(fills.split()) if closes else "", song.energy[bar]
                crash = opens and energy >= 1.2
                events = tables.drum_bar(grooves[full], energy, fill, triplets, crash)
            else:
                rhythm = hold if last else comps[role][full]
                events, voice[role] = tables.comp_bar(
                    rhythm, chords, voice[role], tables.CENTRES[role], role == "second"
                )
            parts[role] += [(SIXTEENTH * start + t, n, p, a) for t, n, p, a in events]

    band = [role for role, joint in joins.items() if joint < tables.NEVER]
    for letter, first, bars in song.sections:
        playing = [role for role in band if joins[role] <= song.energy[first]]
        for bar in range(first, min(first + bars, end)):
            closes = bar == min(first + bars, end) - 1
            play(bar, letter == "C", bar == first, closes, playing)
    play(end, True, False, False, band)


def _assemble(
    dice: _Dice, song: _Song, parts: dict[str, list[Event]], name: str, touch: bool
) -> Notes:
    """Turns parts and plan into columns: swing, velocities, no overlaps on one pitch, labels."""
    band = tables.BANDS[song.style]
    roles = [role for role in tables.ROLES if parts[role]]
    program = [0 if role == "drums" else dice.pick(band[role]) for role in roles]
    rows = np.array([row for role in roles for row in parts[role]], np.int64)
    track = np.repeat(np.arange(len(roles)), [len(parts[role]) for role in roles])
    order = np.lexsort((rows[:, 0], rows[:, 2], track))
    (onset, length, pitch, accent), track = rows[order].T, track[order]
    again = np.concatenate([(np.diff(pitch) == 0) & (np.diff(track) == 0), [False]])
    gap = np.where(again, np.append(np.diff(onset), 0), length)
    finish = onset + np.minimum(length, gap)
    bar = SIXTEENTH * song.bar
    base = np.array([tables.LOUDNESS[role] for role in roles])[track] + accent
    place = onset % bar
    metrical = np.select([place == 0, place % (18 if song.meter == "6/8" else 12) == 0], [5, 1], -2)
    drawn = np.floor(dice.generator.random(len(onset)) * 7).astype(int) - 3
    swell = np.floor(8 * np.array(song.energy)).astype(int)[onset // bar]
    velocity = np.clip(base + metrical + touch * drawn + swell, 20, 124)
    if song.swing:
        onset, finish = (t - t % 12 + SWING[t % 12] for t in (onset, finish))
    keep = finish > onset
    chord = np.array(song.chord)
    change = np.flatnonzero(np.diff(chord, prepend=-1))
    numerator, denominator = song.meter.split("/")
    return make_notes(
        TICKS * onset[keep],
        TICKS * (finish - onset)[keep],
        pitch[keep],
        velocity[keep],
        track[keep],
        program,
        [role == "drums" for role in roles],
        tempos=((0, float(song.tempo)),),
        meters=((0, int(numerator), int(denominator)),),
        end=TICKS * bar * len(song.energy),
        labels=Labels(
            styles=(song.style,),
            song=name,
            key_tick=np.array([TICKS * bar * first for first, _ in song.keys], np.int32),
            key=np.array([tonic + 12 * song.minor for _, tonic in song.keys], np.uint8),
            chord_tick=(TICKS * SIXTEENTH * change).astype(np.int32),
            chord=chord[change].astype(np.uint8),
            section_tick=np.array([TICKS * bar * s[1] for s in song.sections], np.int32),
            section=np.array([LETTERS.index(s[0]) for s in song.sections], np.uint8),
        ),
    )
