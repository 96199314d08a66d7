"""What stands above the staves: tempos, chord symbols and sections, as MusicXML."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np

from jaxmusic._src.formats.scores.notation import BEAT, Bar
from jaxmusic._src.formats.scores.spelling import fifths_of, spell_root
from jaxmusic._src.formats.scores.words import KINDS
from jaxmusic._src.formats.symbols import chord_symbol, chords_over_basses, phrase_mark, signatures
from jaxmusic._src.music.notes import NO_CHORD, PITCH_NAMES, SECTIONS, Notes

_KINDS = {quality: kind for kind, quality in reversed(KINDS.items())}
"""The plainest of MusicXML's kinds for each quality of a chord."""
_SHOWN = 0.03  # a change of tempo by so much is shown, a smaller one only heard
_NOT_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def node(name: str, *content: object, **attributes: object) -> ET.Element:
    """An element of elements, or with text in it, less what XML cannot hold; None is left out."""
    made = ET.Element(name, {key: str(v) for key, v in attributes.items() if v is not None})
    for part in content:
        if isinstance(part, ET.Element):
            made.append(part)
        elif part is not None:
            made.text = _NOT_XML.sub("", str(part))
    return made


def maybe(name: str, content: object) -> ET.Element | None:
    """An element, or none where it would be empty or 0."""
    return node(name, content) if content else None


def steps_of(notes: Notes, ticks: np.ndarray) -> np.ndarray:
    """The nearest step to each tick."""
    unit = notes.ticks_per_beat
    return (ticks.astype(np.int64) * 2 * BEAT + unit) // (2 * unit)


def bar_of(notes: Notes, ticks: np.ndarray, bars: list[Bar]) -> list[int]:
    """Number of the bar that each tick is in; past the end there is none."""
    starts = np.array([bar.start for bar in bars])
    return (np.searchsorted(starts, steps_of(notes, ticks), "right") - 1).tolist()


def above(notes: Notes, bars: list[Bar]) -> list[list[tuple[int, ET.Element]]]:
    """What stands above each bar: steps and elements, in order."""
    labels = notes.labels
    out: list[list[tuple[int, ET.Element]]] = [[] for _ in bars]
    marks = [(t, node("rehearsal", SECTIONS[s].capitalize())) for t, s in labels.changes("section")]
    marks += [(t, node("words", phrase_mark(p))) for t, p in labels.changes("phrase")]
    for k, (_, mark) in zip(bar_of(notes, np.array([t for t, _ in marks]), bars), marks):
        direction = node("direction", node("direction-type", mark), placement="above")
        out[k].append((bars[k].start, direction))
    shown = 0.0
    steps = steps_of(notes, notes.tempo_tick).tolist()
    for k, step, qpm in zip(bar_of(notes, notes.tempo_tick, bars), steps, notes.tempo_qpm):
        sound = node("sound", tempo=f"{qpm:.10g}")
        if abs(qpm - shown) > _SHOWN * shown:
            shown = float(qpm)
            sound = node("direction", _metronome(shown, bars[k]), sound, placement="above")
        out[k].append((step, sound))
    chords = chords_over_basses(labels)
    ticks = np.array([tick for tick, _, _ in chords])
    steps = steps_of(notes, ticks).tolist()
    fifths = signatures(labels, ticks, fifths_of(notes.pitch[~notes.is_drum]))
    for k, step, f, (_, chord, bass) in zip(bar_of(notes, ticks, bars), steps, fifths, chords):
        out[k].append((step, _harmony(chord, bass, f)))
    end = bars[-1].start + bars[-1].length
    return [sorted((s for s in signs if s[0] < end), key=lambda s: s[0]) for signs in out]


def moved(sign: ET.Element, offset: int) -> ET.Element:
    """Gives a sign above a bar its offset in steps from the place that the bar has reached."""
    if offset > 0:
        last = len(sign) > 0 and sign[-1].tag == "sound"
        sign.insert(len(sign) - last, node("offset", offset))
    return sign


def _metronome(qpm: float, bar: Bar) -> ET.Element:
    dot, beats = (node("beat-unit-dot"), qpm / 1.5) if bar.beat > BEAT else (None, qpm)
    unit, number = node("beat-unit", "quarter"), node("per-minute", round(beats))
    return node("direction-type", node("metronome", unit, dot, number))


def _harmony(chord: int, bass: int, fifths: int) -> ET.Element:
    text = chord_symbol(chord)
    if chord == NO_CHORD:
        root = node("root", node("root-step", "C", text=""))
        return node("harmony", root, node("kind", "none", text=text))

    suffix = text.removeprefix(PITCH_NAMES[chord % 12])

    def tone(name: str, semitones: int) -> ET.Element:
        step, alter = spell_root(chord + semitones, fifths, suffix == "dim")
        return node(name, node(f"{name}-step", step), maybe(f"{name}-alter", alter))

    kind = node("kind", _KINDS[chord // 12], text=suffix)
    return node("harmony", tone("root", 0), kind, tone("bass", bass) if bass else None)
