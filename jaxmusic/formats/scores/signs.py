"""What stands above the staves: tempos, chord symbols and sections, as MusicXML."""

from __future__ import annotations

import re
from xml.sax.saxutils import escape

import numpy as np

from jaxmusic.formats.scores.notation import BEAT, Bar
from jaxmusic.formats.scores.spelling import fifths_of, spell
from jaxmusic.formats.symbols import chord_symbol
from jaxmusic.music.notes import NO_CHORD, PITCH_NAMES, SECTIONS, Notes

_KINDS = (
    *("major", "minor", "dominant", "major-seventh"),
    *("minor-seventh", "diminished", "suspended-fourth"),
    *("augmented", "suspended-second", "power"),
)
"""In the order of `notes.CHORD_QUALITIES`."""
_SHOWN = 0.03  # a change of tempo by so much is shown, a smaller one only heard


_NOT_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def tag(name: str, value: object) -> str:
    """An element with text in it, less what XML cannot hold."""
    return f"<{name}>{escape(_NOT_XML.sub('', str(value)))}</{name}>"


def steps_of(notes: Notes, ticks: np.ndarray) -> np.ndarray:
    """The nearest step to each tick."""
    unit = notes.ticks_per_beat
    return (ticks.astype(np.int64) * 2 * BEAT + unit) // (2 * unit)


def bar_of(notes: Notes, ticks: np.ndarray, bars: list[Bar]) -> list[int]:
    """Number of the bar that each tick is in; past the end there is none."""
    starts = np.array([bar.start for bar in bars])
    return (np.searchsorted(starts, steps_of(notes, ticks), "right") - 1).tolist()


def above(notes: Notes, bars: list[Bar]) -> list[list[tuple[int, str]]]:
    """What stands above each bar: steps, and XML with room for ``{offset}``, in order."""
    labels = notes.labels
    out: list[list[tuple[int, str]]] = [[] for _ in bars]
    for k, section in zip(bar_of(notes, labels.section_tick, bars), labels.section.tolist()):
        mark = tag("rehearsal", SECTIONS[section].capitalize())
        mark = f'<direction placement="above"><direction-type>{mark}</direction-type></direction>'
        out[k].append((bars[k].start, mark))
    shown = 0.0
    steps = steps_of(notes, notes.tempo_tick).tolist()
    for k, step, qpm in zip(bar_of(notes, notes.tempo_tick, bars), steps, notes.tempo_qpm):
        if abs(qpm - shown) > _SHOWN * shown:
            shown = float(qpm)
            out[k].append((step, _metronome(shown, bars[k])))
        else:
            out[k].append((step, f'<sound tempo="{qpm:.10g}">{{offset}}</sound>'))
    fifths = fifths_of(notes.pitch[~notes.is_drum])
    steps = steps_of(notes, labels.chord_tick).tolist()
    for k, step, chord in zip(bar_of(notes, labels.chord_tick, bars), steps, labels.chord.tolist()):
        out[k].append((step, _harmony(chord, fifths)))
    end = bars[-1].start + bars[-1].length
    return [sorted((s for s in signs if s[0] < end), key=lambda s: s[0]) for signs in out]


def _metronome(qpm: float, bar: Bar) -> str:
    dot, beats = ("<beat-unit-dot/>", qpm / 1.5) if bar.beat > BEAT else ("", qpm)
    mark = f"<beat-unit>quarter</beat-unit>{dot}{tag('per-minute', round(beats))}"
    return (
        f'<direction placement="above"><direction-type><metronome>{mark}</metronome>'
        f'</direction-type>{{offset}}<sound tempo="{qpm:.10g}"/></direction>'
    )


def _harmony(chord: int, fifths: int) -> str:
    text = chord_symbol(chord)
    if chord == NO_CHORD:
        root, kind = "C", f'<kind text="{text}">none</kind>'
        return (
            f'<harmony><root><root-step text="">{root}</root-step></root>{kind}{{offset}}</harmony>'
        )
    step, alter, _ = spell(chord % 12 + 60, fifths)
    changed = tag("root-alter", alter) if alter else ""
    suffix = text.removeprefix(PITCH_NAMES[chord % 12])
    return (
        f"<harmony><root>{tag('root-step', step)}{changed}</root>"
        f'<kind text="{suffix}">{_KINDS[chord // 12]}</kind>{{offset}}</harmony>'
    )
