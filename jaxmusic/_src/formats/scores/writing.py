"""MusicXML 4.0 out: a piece as a score that people can read and that sounds the same when read."""

from __future__ import annotations

import io
import itertools
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from jaxmusic._src.core.errors import UserError
from jaxmusic._src.formats import smf
from jaxmusic._src.formats.instruments import track_names
from jaxmusic._src.formats.scores import drums, notation
from jaxmusic._src.formats.scores.bars import WHOLE, meter_of
from jaxmusic._src.formats.scores.musicxml_part import FORTE
from jaxmusic._src.formats.scores.notation import BEAT, VOICES, Bar, Event, Symbol
from jaxmusic._src.formats.scores.signs import above, bar_of, maybe, moved, node, steps_of
from jaxmusic._src.formats.scores.spelling import accidental, clef, fifths_of, hands, spell
from jaxmusic._src.formats.symbols import key_fifths
from jaxmusic._src.music.notes import Notes

_HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<!DOCTYPE score-partwise PUBLIC "-//Recordare//DTD MusicXML 4.0 Partwise//EN" '
    '"http://www.musicxml.org/dtds/partwise.dtd">\n'
)
_CONTAINER = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<container><rootfiles>'
    '<rootfile full-path="score.xml" media-type="application/vnd.recordare.musicxml+xml"/>'
    "</rootfiles></container>\n"
)
_SIXTEENTH = 3  # steps, of which a last bar has a whole number
_DRUM_CHANNEL = 10
_CHANNELS = [channel for channel in range(1, 17) if channel != _DRUM_CHANNEL]


def encoded(notes: Notes, suffix: str) -> bytes:
    """A score as the bytes of a file: compressed for .mxl, else plain; see `musicxml_text`."""
    text = musicxml_text(notes)
    if suffix != ".mxl":
        return text.encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (("META-INF/container.xml", _CONTAINER), ("score.xml", text)):
            # Without the time of day, so that the same piece is the same file.
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def musicxml_text(notes: Notes) -> str:
    """A piece as a MusicXML document.

    Each track is a part: drums on a percussion staff, keyboards on two staves. Onsets and ends go
    to the nearest of 12 steps to the quarter note. What is written down is rounded further, so
    that it can be read, and the attribute ``release`` of a note says by how much. Changes of key
    and of section move to the bar line before them. Chord symbols, sections and tempos stand above
    the first part that is not drums. Where no key is known none is written, and pitches are
    spelled as in the key signature that most of them belong to. The end moves to the next
    sixteenth.

    Raises:
      UserError: the piece has no notes.
    """
    if not len(notes):
        raise UserError("A piece without notes makes no score: give one that has some.")
    onset = steps_of(notes, notes.onset)
    end = np.maximum(steps_of(notes, notes.onset.astype(np.int64) + notes.duration), onset + 1)
    last = max(int(steps_of(notes, np.array([notes.end]))[0]), int(end.max()))
    last = -(-last // _SIXTEENTH) * _SIXTEENTH
    bars = _bars(notes, last)
    used = np.unique(notes.track).tolist()
    names = track_names(notes)
    lead = next((i for i, t in enumerate(used) if not notes.drum[t]), 0)
    parts = [
        _PartWriter(notes, t, f"P{i + 1}", names[t], onset, end, bars, leads=i == lead)
        for i, t in enumerate(used)
    ]
    channels = itertools.cycle(_CHANNELS)
    details = notes.details
    title = notes.labels.song or (details.names()[0] if details else "")
    rights = [text for _, text in details.texts(smf.COPYRIGHT)] if details else []
    root = node(
        "score-partwise",
        node("work", node("work-title", title)) if title else None,
        node(
            "identification",
            *(node("rights", text) for text in rights),
            node("encoding", node("software", "jaxmusic")),
        ),
        node("part-list", *(p.about(_DRUM_CHANNEL if p.drum else next(channels)) for p in parts)),
        *(node("part", *part.measures(), id=part.id) for part in parts),
        version="4.0",
    )
    ET.indent(root, "")
    return _HEAD + ET.tostring(root, encoding="unicode") + "\n"


def _bars(notes: Notes, last: int) -> list[Bar]:
    """Bars that cover the piece; a first bar of its own shorter meter is a pick-up."""
    starts = steps_of(notes, notes.meter_tick).tolist()
    out: list[Bar] = []
    for start, stop, (_, num, den) in zip(starts, [*starts[1:], last], notes.meters):
        length, lines = Fraction(4 * BEAT * num, den), [start]
        while lines[-1] < min(stop, last):
            line = min(start + round(length * len(lines)), stop, last)
            lines.append(max(line, lines[-1] + 1))
        out += [Bar(a, b - a, num, den) for a, b in itertools.pairwise(lines)]
    if len(out) > 1 and out[0].length == Fraction(4 * BEAT * out[0].num, out[0].den):
        # Only where the same meter is found when the score is read.
        first, second = out[0], out[1]
        own = meter_of(first.length * WHOLE // (4 * BEAT), second.den)
        whole = Fraction(4 * BEAT * second.num, second.den)
        if first.length < whole and own == (first.num, first.den):
            out[0] = Bar(0, first.length, second.num, second.den, pickup=True)
    return out


class _PartWriter:
    """One track on its way to paper."""

    def __init__(
        self,
        notes: Notes,
        track: int,
        identifier: str,
        name: str,
        onset: np.ndarray,
        end: np.ndarray,
        bars: list[Bar],
        leads: bool,
    ):
        rows = np.flatnonzero(notes.track == track)
        self.id = identifier
        self._name = name
        self.drum = bool(notes.drum[track])
        self._program = int(notes.program[track])
        self._pitch = notes.pitch[rows].astype(int)
        self._velocity = notes.velocity[rows].astype(int)
        self._onset, self._end = onset[rows], end[rows]
        self._bars = bars
        places = bar_of(notes, notes.labels.key_tick, bars)
        self._keys = dict(zip(places, notes.labels.key.tolist()))
        self._fifths, self._signature = fifths_of(notes.pitch[~notes.is_drum]), 0
        self._staff = np.zeros(len(rows), int)
        if not self.drum:
            self._staff = hands(self._onset, self._pitch, self._program)
        self._staves = int(self._staff.max()) + 1
        self._written = np.zeros(len(rows), np.int64)
        self._voices: list[list[list[list[Event]]]] = []  # by staff, voice and bar
        last = bars[-1].start + bars[-1].length
        for number in range(self._staves):
            mine = np.flatnonzero(self._staff == number)
            ends = notation.written_ends(self._onset[mine], self._end[mine], last, self.drum)
            self._written[mine] = ends
            found = notation.voices(self._onset[mine], ends, self._pitch[mine], mine)
            self._voices.append([notation.by_bar(voice, bars) for voice in found])
        # Drums have no key, but where there is nothing else they keep it for the others.
        self._keyed = leads or not self.drum
        self._above = above(notes, bars) if leads else [[] for _ in bars]

    def about(self, channel: int) -> ET.Element:
        """The part's entry in the list of parts."""
        pitches = sorted(set(self._pitch.tolist())) if self.drum else [0]
        instruments, players = [], []
        for pitch in pitches:
            name = drums.NAMES.get(pitch, f"Drum {pitch}") if self.drum else self._name
            instrument, which = node("instrument-name", name), self._instrument(pitch)
            instruments.append(node("score-instrument", instrument, id=which))
            sound = node("midi-channel", channel), node("midi-program", self._program + 1)
            unpitched = node("midi-unpitched", pitch + 1) if self.drum else None
            players.append(node("midi-instrument", *sound, unpitched, id=which))
        return node("score-part", node("part-name", self._name), *instruments, *players, id=self.id)

    def _instrument(self, pitch: int) -> str:
        return f"{self.id}-D{pitch}" if self.drum else f"{self.id}-I1"

    def measures(self) -> Iterator[ET.Element]:
        """The bars of the part."""
        for k, bar in enumerate(self._bars):
            implicit = "yes" if bar.pickup else None
            number = k if self._bars[0].pickup else k + 1
            measure = node("measure", self._attributes(k), number=number, implicit=implicit)
            now, signs_above = bar.start, list(self._above[k])
            for staff, streams in enumerate(self._voices):
                signs: dict[str, int] = {}
                for voice, stream in enumerate(streams):
                    symbols = notation.in_bar(stream[k], bar, whole=voice == 0)
                    if symbols and now > bar.start:
                        measure.append(node("backup", node("duration", now - bar.start)))
                    for symbol in symbols:
                        now = symbol.start + symbol.length
                        while signs_above and signs_above[0][0] < now:
                            step, sign = signs_above.pop(0)
                            measure.append(moved(sign, step - symbol.start))
                        measure.extend(self._symbol(symbol, staff, voice, signs))
            if k + 1 == len(self._bars):
                style = node("bar-style", "light-heavy")
                measure.append(node("barline", style, location="right"))
            yield measure

    def _attributes(self, k: int) -> ET.Element | None:
        """What changes with a bar, and in the first one what holds for all; None for nothing."""
        bar, first, out = self._bars[k], k == 0, node("attributes")
        if first:
            out.append(node("divisions", BEAT))
        if (key := self._keys.get(k)) is not None and self._keyed:
            self._fifths, minor = key_fifths(key)
            self._signature = self._fifths
            mode = node("mode", "minor" if minor else "major")
            out.append(node("key", node("fifths", self._fifths), mode))
        if first or self._bars[k - 1][2:4] != bar[2:4]:
            out.append(node("time", node("beats", bar.num), node("beat-type", bar.den)))
        if first and self._staves > 1:
            out.append(node("staves", self._staves))
        for staff in range(self._staves if first else 0):
            number = staff + 1 if self._staves > 1 else None
            sign, line, octave = clef(self._pitch[self._staff == staff], self._program, self.drum)
            change = maybe("clef-octave-change", octave)
            out.append(node("clef", node("sign", sign), maybe("line", line), change, number=number))
        return out if len(out) else None

    def _symbol(
        self, symbol: Symbol, staff: int, voice: int, signs: dict[str, int]
    ) -> Iterator[ET.Element]:
        """A rest, or the notes of a chord, of which the lowest has beams and brackets."""
        duration = node("duration", symbol.length)
        number = node("voice", staff * VOICES + voice + 1)
        place = node("staff", staff + 1) if self._staves > 1 else None
        kind = [node("type", symbol.type), *[node("dot")] * symbol.dots] if symbol.type else []
        three = node("actual-notes", 3), node("normal-notes", 2)
        triplet = node("time-modification", *three) if symbol.triplet else None
        if not symbol.heads and voice and not symbol.triplet:
            yield node("forward", duration, number, place)
        elif not symbol.heads:
            rest = node("rest", measure=None if symbol.type else "yes")
            marks = _notations([], symbol.bracket)
            yield node("note", rest, duration, number, *kind, triplet, place, marks)
        for i, head in enumerate(sorted(symbol.heads, key=lambda head: self._pitch[head.row])):
            row, pitch = head.row, int(self._pitch[head.row])
            what, shown, shape = self._head(pitch, signs, head.tied)
            ties = ["stop"] * head.tied + ["start"] * head.ties
            beams = [] if i else symbol.beams
            late = 0 if head.ties else int(self._end[row] - self._written[row])
            yield node(
                "note",
                node("chord") if i else None,
                what,
                duration,
                *(node("tie", type=tie) for tie in ties),
                node("instrument", id=self._instrument(pitch)) if self.drum else None,
                number,
                *kind,
                maybe("accidental", shown),
                triplet,
                maybe("notehead", shape),
                place,
                *(node("beam", beam, number=level) for level, beam in enumerate(beams, 1)),
                _notations(ties, "" if i else symbol.bracket),
                dynamics=f"{100 * self._velocity[row] / FORTE:.2f}",
                release=late or None,
            )

    def _head(self, pitch: int, signs: dict[str, int], tied: bool) -> tuple[ET.Element, str, str]:
        """A pitch or the place of a drum, the accidental, and the note head."""
        if self.drum:
            place, shape = drums.PLACES.get(pitch, drums.OTHER_PLACE)
            where = node("display-step", place[0]), node("display-octave", place[1:])
            return node("unpitched", *where), "", shape
        step, alter, octave = spell(pitch, self._fifths)
        shown = accidental(step, alter, octave, self._signature, signs, tied)
        written = node("step", step), maybe("alter", alter), node("octave", octave)
        return node("pitch", *written), shown, ""


def _notations(ties: list[str], bracket: str) -> ET.Element | None:
    marks = [node("tied", type=tie) for tie in ties]
    marks += [node("tuplet", type=bracket)] if bracket else []
    return node("notations", *marks) if marks else None
