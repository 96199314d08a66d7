"""One part of a MusicXML score on its way through the document."""

from __future__ import annotations

import dataclasses
import functools
import re
import xml.etree.ElementTree as ET
from typing import NamedTuple

from jaxmusic._src.formats.instruments import GM_PROGRAMS
from jaxmusic._src.formats.midi import believable_meter, believable_tempo
from jaxmusic._src.formats.scores import drums
from jaxmusic._src.formats.scores.bars import to_ticks
from jaxmusic._src.formats.scores.playing import Signs
from jaxmusic._src.formats.scores.spelling import STEPS
from jaxmusic._src.formats.scores.words import KINDS, key_number
from jaxmusic._src.formats.symbols import read_phrase, read_section
from jaxmusic._src.music.notes import NO_CHORD, transposed

DEFAULT_VELOCITY = 80
_DRUM_CHANNEL = "10"
_LOUDNESS = dict(pppp=10, ppp=16, pp=33, p=49, mp=64, mf=80, f=96, ff=112, fff=126, ffff=127)
_LOUDNESS |= {"fp": 49, "sfp": 49}
FORTE = 90
"""Velocity that MusicXML counts percentages of."""
_UNITS = {"breve": 8.0, "whole": 4.0, "half": 2.0, "quarter": 1.0, "eighth": 0.5}
_UNITS |= {"16th": 0.25, "32nd": 0.125, "64th": 0.0625}
_TITLE = re.compile(r"(?:No\.? ?\d+|\d+|[IVX]+)[.:] ?\w", re.ASCII)
"""How the heading of a movement begins, as in III. Adagio."""


class Row(NamedTuple):
    """A note of one bar.

    Attributes:
      tick, duration: as written, from the beginning of the bar.
      pitch, velocity, track: as in `Notes`.
      voice: name of its voice.
      tied, ties: whether it is tied from before, and on to what follows.
      attack, release: ticks by which it begins and ends later in sound than on paper.
    """

    tick: int
    duration: int
    pitch: int
    velocity: int
    track: int
    voice: str
    tied: bool
    ties: bool
    attack: int
    release: int


@dataclasses.dataclass
class Bar:
    """One bar of all parts as it stands on paper; ticks count from its beginning."""

    length: int = 0
    meter: tuple[int, int] = (0, 0)
    meters: list[tuple[int, int]] = dataclasses.field(default_factory=list)
    """What the parts state; they may differ."""
    rows: list[Row] = dataclasses.field(default_factory=list)
    tempos: list[tuple[int, float]] = dataclasses.field(default_factory=list)
    keys: list[tuple[int, int, int]] = dataclasses.field(default_factory=list)
    """Part, tick, key."""
    chords: list[tuple[int, int, int]] = dataclasses.field(default_factory=list)
    """Tick, chord, bass."""
    sections: list[tuple[int, int]] = dataclasses.field(default_factory=list)
    phrases: list[tuple[int, int]] = dataclasses.field(default_factory=list)
    signs: Signs = dataclasses.field(default_factory=Signs)
    brackets: dict[str, frozenset[int]] = dataclasses.field(default_factory=dict)
    """Numbers of the endings whose brackets start, stop or discontinue here."""

    @property
    def size(self) -> int:
        """Number of its notes and signs."""
        signs = len(self.tempos) + len(self.keys) + len(self.chords)
        return len(self.rows) + signs + len(self.sections) + len(self.phrases)


Track = tuple[int, int, bool]
"""Part, program, whether it is drums."""


class Part:
    """What is in force at one place of a part.

    Attributes:
      name: as it is printed.
    """

    def __init__(self, index: int, about: ET.Element, tracks: dict[Track, int], concert: bool):
        """Begins a part.

        Args:
          index: number of the part.
          about: its element in the list of parts.
          tracks: number of each track, to which the part adds its own.
          concert: whether the score is written as it sounds.
        """
        self._index = index
        self._tracks = tracks
        self._concert = concert
        self._divisions = 1.0
        self._transpose: dict[str, int] = {}
        self._velocity = DEFAULT_VELOCITY
        self.name = (about.findtext("part-name") or "").strip()
        self._names = {
            e.get("id"): e.findtext("instrument-name") or self.name
            for e in about.findall("score-instrument")
        }
        self._program: dict[str | None, int] = {}
        self._unpitched: dict[str | None, int] = {}
        self._drums: set[str | None] = set()
        for element in about.findall("midi-instrument"):
            self._instrument(element)
        self._first = next(iter([*self._names, *self._program, *self._drums]), None)
        self._repeated = 0
        self._played: list[tuple[int, list[Row]]] = []

    def read(self, measure: ET.Element, bar: Bar) -> None:
        """Adds this part's share to a bar."""
        loud = [(0, self._velocity)]
        notes: list[tuple[Row, float | None]] = []
        now = onset = longest = 0.0
        for element in measure:
            tag = element.tag
            if tag == "note":
                if element.find("grace") is not None:
                    continue
                duration = self._duration(element)
                if element.find("chord") is None:
                    onset = now
                    now += duration
                if element.find("rest") is None and element.find("cue") is None and duration > 0:
                    notes.append(self._note(element, onset, duration))
                    bar.signs.verses |= any(
                        e.get("number") == "2" for e in element.findall("lyric")
                    )
            elif tag == "backup":
                now = max(now - self._duration(element), 0.0)
            elif tag == "forward":
                now += self._duration(element)
            elif tag == "attributes":
                self._attributes(element, to_ticks(now), bar)
            elif tag in ("direction", "sound"):
                self._direction(element, self._tick(element, now), bar, loud)
            elif tag == "harmony":
                self._harmony(element, self._tick(element, now), bar)
            elif tag == "barline":
                _barline(element, bar)
            longest = max(longest, now)
        loud.sort(key=lambda mark: mark[0])
        length, rows = to_ticks(longest), list[Row]()
        for row, percent in notes:
            velocity = next(v for tick, v in reversed(loud) if tick <= row.tick)
            if percent is not None:
                velocity = round(percent * FORTE / 100)
            rows.append(row._replace(velocity=min(max(velocity, 1), 127)))
        if not rows and 0 < self._repeated <= len(self._played):
            length, rows = self._played[-self._repeated]
        self._played.append((length, rows))
        bar.length = max(bar.length, length)
        bar.rows += rows
        self._velocity = loud[-1][1]

    def _duration(self, element: ET.Element) -> float:
        """Duration of an element in quarters, 0 where it has none."""
        return max(float(element.findtext("duration") or 0) / self._divisions, 0.0)

    def _tick(self, element: ET.Element, now: float) -> int:
        """Tick of an element that may be moved by an offset."""
        offset = float(element.findtext("offset") or 0) / self._divisions
        return max(to_ticks(now + offset), 0)

    def _instrument(self, element: ET.Element) -> None:
        name = element.get("id")
        if program := element.findtext("midi-program"):
            self._program[name] = min(max(int(program), 1), 128) - 1
        if pitch := element.findtext("midi-unpitched"):
            self._unpitched[name] = min(max(int(pitch), 1), 128) - 1
        if (element.findtext("midi-channel") or "").strip() == _DRUM_CHANNEL:
            self._drums.add(name)

    def _note(self, note: ET.Element, onset: float, duration: float) -> tuple[Row, float | None]:
        """A note without its velocity, and that as a percentage where it has one of its own."""
        element = note.find("instrument")
        instrument = self._first if element is None else element.get("id")
        name = self._names.get(instrument, self.name)
        written = note.find("pitch")
        drum = written is None or instrument in self._drums
        if drum and instrument in self._unpitched:
            pitch = self._unpitched[instrument]
        elif written is None:
            places = (f"unpitched/display-{part}" for part in ("step", "octave"))
            place = "".join((note.findtext(path) or "").strip() for path in places)
            pitch = drums.pitch_of(name, place)
        else:
            pitch = 12 * int(written.findtext("octave") or 4) + 12 + _pitch_class(written)
            pitch += 0 if drum else self._shift(note.findtext("staff"))
        program = self._program.get(instrument, 0 if drum else _program_of(name))
        track = self._tracks.setdefault((self._index, program, drum), len(self._tracks))
        ties = {e.get("type") for e in (*note.findall("tie"), *note.findall("notations/tied"))}
        start, percent = to_ticks(onset), note.get("dynamics")
        row = Row(
            tick=start,
            duration=max(to_ticks(onset + duration) - start, 1),
            pitch=min(max(pitch, 0), 127),
            velocity=0,
            track=track,
            voice=note.findtext("voice") or "",
            tied=bool(ties & {"stop", "continue"}),
            ties=bool(ties & {"start", "continue"}),
            attack=to_ticks(float(note.get("attack") or 0) / self._divisions),
            release=to_ticks(float(note.get("release") or 0) / self._divisions),
        )
        return row, None if percent is None else float(percent)

    def _shift(self, staff: str | None) -> int:
        """Semitones from what is written to what sounds on a staff."""
        return self._transpose.get(staff or "1", self._transpose.get("", 0))

    def _attributes(self, element: ET.Element, tick: int, bar: Bar) -> None:
        if divisions := element.findtext("divisions"):
            self._divisions = float(divisions)
            if not self._divisions > 0:
                raise ValueError(f"there are {divisions} divisions in a quarter")
        for transpose in () if self._concert else element.findall("transpose"):
            octaves = int(transpose.findtext("octave-change") or 0)
            octaves -= transpose.find("double") is not None
            semitones = round(float(transpose.findtext("chromatic") or 0))
            self._transpose[transpose.get("number", "")] = semitones + 12 * octaves
        for repeat in element.findall("measure-style/measure-repeat"):
            # The sign for one bar again, or for several.
            again = repeat.get("type") == "start"
            self._repeated = int((repeat.text or "").strip() or 1) if again else 0
        for time in element.findall("time")[:1]:
            bar.meters += [meter] if (meter := _meter(time)) else []
        for key in element.findall("key")[:1]:
            if fifths := key.findtext("fifths"):
                number = key_number(int(fifths), key.findtext("mode") or "")
                bar.keys.append((self._index, tick, transposed(number, self._shift("1"))))

    def _direction(
        self, element: ET.Element, tick: int, bar: Bar, loud: list[tuple[int, int]]
    ) -> None:
        for mark in element.findall("direction-type/*"):
            if mark.tag == "dynamics":
                loud += [(tick, _LOUDNESS[e.tag]) for e in mark if e.tag in _LOUDNESS]
            elif mark.tag == "metronome":
                qpm = _metronome(mark)
                bar.tempos += [(tick, qpm)] if believable_tempo(qpm) else []
            elif mark.tag == "rehearsal":
                section = read_section("".join(mark.itertext()))
                bar.sections += [] if section is None else [(tick, section)]
            elif mark.tag == "words":
                words = "".join(mark.itertext()).strip()
                phrase = read_phrase(words)
                bar.phrases += [] if phrase is None else [(tick, phrase)]
                bar.signs.heading |= not tick and bool(_TITLE.match(words))
        for sound in [element] if element.tag == "sound" else element.findall("sound"):
            self._sound(sound, tick, bar, loud)

    def _sound(self, sound: ET.Element, tick: int, bar: Bar, loud: list[tuple[int, int]]) -> None:
        qpm = float(sound.get("tempo") or 0)
        bar.tempos += [(tick, qpm)] if believable_tempo(qpm) else []
        if dynamics := sound.get("dynamics"):
            loud.append((tick, round(float(dynamics) * FORTE / 100)))
        for instrument in sound.findall("midi-instrument"):
            self._instrument(instrument)
        signs = bar.signs
        signs.segno = sound.get("segno", signs.segno)
        signs.coda = sound.get("coda", signs.coda)
        signs.jump = "" if sound.get("dacapo") == "yes" else sound.get("dalsegno", signs.jump)
        signs.to_coda = sound.get("tocoda", signs.to_coda)
        signs.fine = signs.fine or sound.get("fine") is not None

    def _harmony(self, element: ET.Element, tick: int, bar: Bar) -> None:
        kind = (element.findtext("kind") or "").strip()
        if kind == "none":
            bar.chords.append((tick, NO_CHORD, 0))
        elif kind in KINDS and (element.findtext("root/root-step") or "").strip() in STEPS:
            root = _pitch_class(element, "root/root-")
            chord = KINDS[kind] * 12 + (root + self._shift("1")) % 12
            slash = (element.findtext("bass/bass-step") or "").strip() in STEPS
            bass = (_pitch_class(element, "bass/bass-") - root) % 12 if slash else 0
            bar.chords.append((tick, chord, bass))


def _pitch_class(element: ET.Element, prefix: str = "") -> int:
    """Semitones above C of a step, which may be ``root-step`` and the like, and its alteration."""
    step = STEPS[(element.findtext(f"{prefix}step") or "").strip()]
    return step + round(float(element.findtext(f"{prefix}alter") or 0))


def _barline(element: ET.Element, bar: Bar) -> None:
    repeats, style = element.findall("repeat"), (element.findtext("bar-style") or "").strip()
    if element.get("location", "right") == "right" and not repeats:
        bar.signs.final |= style == "light-heavy"
        bar.signs.double |= style == "light-light"
    for repeat in repeats:
        if repeat.get("direction") == "forward":
            bar.signs.forward = True
        elif repeat.get("direction") == "backward":
            bar.signs.backward = max(int(repeat.get("times") or 2), 1)
    for ending in element.findall("ending"):
        numbers = frozenset(int(n) for n in re.findall(r"\d{1,3}", ending.get("number", "")))
        if numbers:
            bar.brackets[ending.get("type", "")] = numbers


def _meter(time: ET.Element) -> tuple[int, int] | None:
    """A time signature; several, and sums such as 3+2, are added up. None where there is none."""
    beats = [sum(int(n) for n in (e.text or "").split("+")) for e in time.findall("beats")]
    units = [int(e.text or "") for e in time.findall("beat-type")]
    if not beats or len(beats) != len(units) or min(units) < 1:
        return None
    den = max(units)
    num = sum(n * den // d for n, d in zip(beats, units))
    return (num, den) if believable_meter(num, den) else None


def _metronome(mark: ET.Element) -> float:
    """Quarter notes per minute of a mark such as half note = 60; 0 for other equations."""
    units = [e for e in mark if e.tag in ("beat-unit", "beat-unit-dot")]
    number = re.search(r"\d+(\.\d+)?", mark.findtext("per-minute") or "")
    if not units or not number or (length := _UNITS.get((units[0].text or "").strip())) is None:
        return 0.0
    return float(number[0]) * length * (2 - 0.5 ** (len(units) - 1))


@functools.cache
def _program_of(name: str) -> int:
    """The General MIDI program whose whole name is in an instrument's name; else the piano."""
    name = name.lower()
    known = [(len(gm), -i) for i, gm in enumerate(GM_PROGRAMS) if gm.lower() in name]
    return -max(known)[1] if known else 0
