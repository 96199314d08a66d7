"""MusicXML 4.0 out: a piece as a score that people can read and that sounds the same when read."""

from __future__ import annotations

import io
import itertools
import os
import zipfile
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
from etils import epath

from jaxmusic.core.errors import UserError
from jaxmusic.formats.instruments import track_names
from jaxmusic.formats.saving import save
from jaxmusic.formats.scores import drums, notation
from jaxmusic.formats.scores.bars import WHOLE, meter_of
from jaxmusic.formats.scores.musicxml_part import FORTE
from jaxmusic.formats.scores.notation import BEAT, VOICES, Bar, Event, Symbol
from jaxmusic.formats.scores.signs import above, bar_of, steps_of, tag
from jaxmusic.formats.scores.spelling import accidental, clef, fifths_of, hands, spell
from jaxmusic.formats.symbols import key_fifths
from jaxmusic.music.notes import Notes

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
_TRIPLET = (
    "<time-modification><actual-notes>3</actual-notes><normal-notes>2</normal-notes>"
    "</time-modification>"
)
_SIXTEENTH = 3  # steps, of which a last bar has a whole number
_DRUM_CHANNEL = 10
_CHANNELS = [channel for channel in range(1, 17) if channel != _DRUM_CHANNEL]


def write_musicxml(notes: Notes, path: str | os.PathLike[str]) -> None:
    """Writes a score: compressed where the path ends in .mxl, else plain; see `musicxml_text`.

    Raises:
      UserError: there is nothing to write, or the path cannot be written to.
    """
    data = musicxml_text(notes).encode()
    if epath.Path(path).suffix.lower() == ".mxl":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in (("META-INF/container.xml", _CONTAINER), ("score.xml", data)):
                # Without the time of day, so that the same piece is the same file.
                archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
        data = buffer.getvalue()
    save(path, data)


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
    used = [t for t in range(len(notes.program)) if (notes.track == t).any()]
    pitched = iter(track_names([int(notes.program[t]) for t in used if not notes.drum[t]]))
    names = ["Drums" if notes.drum[t] else next(pitched) for t in used]
    lead = next((i for i, t in enumerate(used) if not notes.drum[t]), 0)
    parts = [
        _PartWriter(notes, t, f"P{i + 1}", name, onset, end, bars, leads=i == lead)
        for i, (t, name) in enumerate(zip(used, names))
    ]
    channels = itertools.cycle(_CHANNELS)
    out = ['<score-partwise version="4.0">']
    if notes.labels.song:
        out.append(f"<work>{tag('work-title', notes.labels.song)}</work>")
    out.append(
        "<identification><encoding><software>jaxmusic</software></encoding></identification>"
    )
    out.append("<part-list>")
    for part in parts:
        out += part.about(_DRUM_CHANNEL if part.drum else next(channels))
    out.append("</part-list>")
    for part in parts:
        out.append(f'<part id="{part.id}">')
        out += part.measures()
        out.append("</part>")
    out.append("</score-partwise>")
    return _HEAD + "\n".join(out) + "\n"


def _bars(notes: Notes, last: int) -> list[Bar]:
    """Bars that cover the piece; a first bar of its own shorter meter is a pick-up."""
    starts = steps_of(notes, notes.meter_tick).tolist()
    meters = list(zip(notes.meter_num.tolist(), notes.meter_den.tolist()))
    out: list[Bar] = []
    for k, (num, den) in enumerate(meters):
        stop = last if k + 1 == len(starts) else min(starts[k + 1], last)
        length = Fraction(4 * BEAT * num, den)
        lines = [starts[k]]
        while lines[-1] < stop:
            lines.append(max(min(starts[k] + round(length * len(lines)), stop), lines[-1] + 1))
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
        staff = hands(self._onset, self._pitch, self._program) if not self.drum else None
        self._staff = np.zeros(len(rows), int) if staff is None else staff
        self._staves = int(self._staff.max()) + 1
        self._written = np.zeros(len(rows), np.int64)
        self._voices: list[list[list[Event]]] = []
        last = bars[-1].start + bars[-1].length
        for number in range(self._staves):
            mine = np.flatnonzero(self._staff == number)
            ends = notation.written_ends(self._onset[mine], self._end[mine], last, self.drum)
            self._written[mine] = ends
            found = notation.voices(self._onset[mine], ends, self._pitch[mine])
            self._voices.append([_renumbered(voice, mine) for voice in found])
        # Drums have no key, but where there is nothing else they keep it for the others.
        self._keyed = leads or not self.drum
        self._above = above(notes, bars) if leads else [[] for _ in bars]

    def about(self, channel: int) -> list[str]:
        """The part's entry in the list of parts."""
        pitches = sorted(set(self._pitch.tolist())) if self.drum else [0]
        instruments, players = [], []
        for pitch in pitches:
            name = drums.NAMES.get(pitch, f"Drum {pitch}") if self.drum else self._name
            one = f'id="{self._instrument(pitch)}"'
            instruments.append(
                f"<score-instrument {one}>{tag('instrument-name', name)}</score-instrument>"
            )
            unpitched = tag("midi-unpitched", pitch + 1) if self.drum else ""
            players.append(
                f"<midi-instrument {one}>{tag('midi-channel', channel)}"
                f"{tag('midi-program', self._program + 1)}{unpitched}</midi-instrument>"
            )
        name = tag("part-name", self._name)
        return [f'<score-part id="{self.id}">{name}', *instruments, *players, "</score-part>"]

    def _instrument(self, pitch: int) -> str:
        return f"{self.id}-D{pitch}" if self.drum else f"{self.id}-I1"

    def measures(self) -> Iterator[str]:
        """The bars of the part."""
        places = [[notation.by_bar(v, self._bars) for v in staff] for staff in self._voices]
        before: Bar | None = None
        for k, bar in enumerate(self._bars):
            number = k if self._bars[0].pickup else k + 1
            yield f'<measure number="{number}"' + (' implicit="yes">' if bar.pickup else ">")
            yield from self._attributes(k, before)
            now, signs_above = bar.start, list(self._above[k])
            for staff, streams in enumerate(places):
                signs: dict[str, int] = {}
                for voice, stream in enumerate(streams):
                    symbols = notation.in_bar(stream[k], bar, whole=voice == 0)
                    if not symbols:
                        continue
                    if now > bar.start:
                        yield f"<backup>{tag('duration', now - bar.start)}</backup>"
                    for symbol in symbols:
                        while signs_above and signs_above[0][0] < symbol.start + symbol.length:
                            step, sign = signs_above.pop(0)
                            offset = tag("offset", step - symbol.start)
                            yield sign.format(offset=offset if step > symbol.start else "")
                        yield from self._symbol(symbol, staff, voice, signs)
                    now = symbols[-1].start + symbols[-1].length
            if k + 1 == len(self._bars):
                yield '<barline location="right"><bar-style>light-heavy</bar-style></barline>'
            yield "</measure>"
            before = bar

    def _attributes(self, k: int, before: Bar | None) -> Iterator[str]:
        bar, out = self._bars[k], []
        if before is None:
            out.append(tag("divisions", BEAT))
        if (key := self._keys.get(k)) is not None and self._keyed:
            self._signature, minor = key_fifths(key)
            self._fifths, mode = self._signature, "minor" if minor else "major"
            out.append(f"<key>{tag('fifths', self._fifths)}{tag('mode', mode)}</key>")
        if before is None or before[2:4] != bar[2:4]:
            out.append(f"<time>{tag('beats', bar.num)}{tag('beat-type', bar.den)}</time>")
        if before is None:
            if self._staves > 1:
                out.append(tag("staves", self._staves))
            for staff in range(self._staves):
                number = f' number="{staff + 1}"' if self._staves > 1 else ""
                sign, line, octave = clef(
                    self._pitch[self._staff == staff], self._program, self.drum
                )
                change = tag("clef-octave-change", octave) if octave else ""
                lined = tag("line", line) if line else ""
                out.append(f"<clef{number}>{tag('sign', sign)}{lined}{change}</clef>")
        if out:
            yield f"<attributes>{''.join(out)}</attributes>"

    def _symbol(
        self, symbol: Symbol, staff: int, voice: int, signs: dict[str, int]
    ) -> Iterator[str]:
        """A rest, or the notes of a chord."""
        duration = tag("duration", symbol.length)
        place = tag("staff", staff + 1) if self._staves > 1 else ""
        number = tag("voice", staff * VOICES + voice + 1)
        kind = tag("type", symbol.type) + "<dot/>" * symbol.dots if symbol.type else ""
        kind_after = _TRIPLET if symbol.triplet else ""
        bracket = f'<tuplet type="{symbol.bracket}"/>' if symbol.bracket else ""
        if not symbol.heads and voice and not symbol.triplet:
            yield f"<forward>{duration}{number}{place}</forward>"
            return
        if not symbol.heads:
            rest = "<rest/>" if symbol.type else '<rest measure="yes"/>'
            notations = f"<notations>{bracket}</notations>" if bracket else ""
            yield f"<note>{rest}{duration}{number}{kind}{kind_after}{place}{notations}</note>"
            return
        beams = "".join(
            f'<beam number="{level}">{beam}</beam>' for level, beam in enumerate(symbol.beams, 1)
        )
        chord = ""
        for row, tied, ties in sorted(symbol.heads, key=lambda head: self._pitch[head.row]):
            what, shown, head = self._head(int(self._pitch[row]), signs, tied)
            late = 0 if ties else int(self._end[row] - self._written[row])
            release = f' release="{late}"' if late else ""
            stop, start = 'type="stop"/>' * tied, 'type="start"/>' * ties
            ends = [end for end in (stop, start) if end]
            marks = "".join(f"<tied {end}" for end in ends) + bracket
            yield (
                f'<note dynamics="{100 * self._velocity[row] / FORTE:.2f}"{release}>{chord}{what}'
                f"{duration}{''.join(f'<tie {end}' for end in ends)}{self._player(row)}{number}"
                f"{kind}{shown}{kind_after}{head}{place}{beams}"
                f"{f'<notations>{marks}</notations>' if marks else ''}</note>"
            )
            chord, beams, bracket = "<chord/>", "", ""

    def _player(self, row: int) -> str:
        """Which drum it is, in a part that has several."""
        return f'<instrument id="{self._instrument(int(self._pitch[row]))}"/>' if self.drum else ""

    def _head(self, pitch: int, signs: dict[str, int], tied: bool) -> tuple[str, str, str]:
        """A pitch or the place of a drum, the accidental, and the note head, as XML."""
        if self.drum:
            place, shape = drums.PLACES.get(pitch, drums.OTHER_PLACE)
            where = tag("display-step", place[0]) + tag("display-octave", place[1:])
            return f"<unpitched>{where}</unpitched>", "", tag("notehead", shape) if shape else ""
        step, alter, octave = spell(pitch, self._fifths)
        changed = tag("alter", alter) if alter else ""
        shown = accidental(step, alter, octave, self._signature, signs, tied)
        written = f"{tag('step', step)}{changed}{tag('octave', octave)}"
        return f"<pitch>{written}</pitch>", tag("accidental", shown) if shown else "", ""


def _renumbered(voice: list[Event], rows: np.ndarray) -> list[Event]:
    """A voice whose heads are rows of a part instead of a staff of it."""
    return [
        event._replace(heads=tuple(h._replace(row=int(rows[h.row])) for h in event.heads))
        for event in voice
    ]
