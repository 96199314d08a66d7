"""MusicXML, plain or compressed, read as what sounds: the W3C's MusicXML 4.0 and before.

Every part is read in the order of the document first, because what is in force in a bar (tempo,
key, loudness, instrument) is what stands before it on paper. Repeats are played afterwards.
"""

from __future__ import annotations

import collections
import xml.etree.ElementTree as ET

import numpy as np

from jaxmusic._src.core.errors import NoNotes, UserError
from jaxmusic._src.formats import smf
from jaxmusic._src.formats.scores import archives
from jaxmusic._src.formats.scores.bars import WHOLE, meters_of
from jaxmusic._src.formats.scores.musicxml_part import Bar, Part, Row, Track
from jaxmusic._src.formats.scores.playing import MOST_BARS, play_order
from jaxmusic._src.formats.scores.words import labels, song_title
from jaxmusic._src.formats.symbols import changed
from jaxmusic._src.music.details import Details
from jaxmusic._src.music.notes import Notes, make_notes

MOST_BYTES = 2**28
"""Size of the largest document that is read."""
_MOST_TAGS = 10_000_000
"""Tags and attributes of a document, for each of which the parser needs some 100 bytes."""
_MOST_NOTES = 1_000_000
"""Notes and signs of a score as it is played, every repeat of them included."""
_LATEST = 2**31 - 1
_ROUNDING = 4  # ticks that a bar may be off its meter because its durations were rounded
Waiting = dict[tuple[int, int], list[tuple[int, str, list[int]]]]
"""Notes that are tied on, with their end and voice, by track and pitch."""


def parse(data: bytes) -> Notes:
    """The notes of a MusicXML document, see `formats.scores.score.read_notes`.

    Raises:
      UserError: it is none that can be read; the message lacks the subject, the file.
    """
    root = _root(data)
    bars: list[Bar] = []
    tracks: dict[Track, int] = {}
    names: list[str] = []
    notes = 0
    concert = root.find("defaults/concert-score") is not None
    about = {e.get("id"): e for e in root.iter("score-part")}
    try:
        for index, (name, measures) in enumerate(_parts(root)):
            part = Part(index, about.get(name, ET.Element("score-part")), tracks, concert)
            names.append(part.name)
            bars += [Bar() for _ in range(len(measures) - len(bars))]
            if index == 0:
                _find_numbering(measures, bars)
            for measure, bar in zip(measures, bars):
                have = len(bar.rows)
                part.read(measure, bar)
                notes += len(bar.rows) - have
                _check_notes(notes)
    except UserError:
        raise
    except (ValueError, LookupError, ArithmeticError) as error:
        raise UserError(f"is not MusicXML that can be read: {error}.") from error
    if not any(bar.rows for bar in bars):
        raise NoNotes("holds no notes: leave it out.")
    # A work in several movements, such as a cycle of songs, is in its title alone one song.
    titles = (
        song_title(root.findtext(path) or "") for path in ("work/work-title", "movement-title")
    )
    title = ": ".join(dict.fromkeys(title for title in titles if title))
    details = _details(names, list(tracks), [e.text or "" for e in root.iter("rights")])
    return _performed(bars, list(tracks), title).replace(details=details)


def _details(names: list[str], tracks: list[Track], rights: list[str]) -> Details:
    """Names of the parts, and the copyright."""
    rows: list[tuple[int, tuple[int, bool] | None, bytes]] = []
    for text in filter(None, rights):
        rows.append((0, None, bytes([smf.META, smf.COPYRIGHT]) + text.encode()))
    for part, drum in dict.fromkeys((part, drum) for part, _, drum in tracks):
        if names[part]:
            rows.append((0, (part, drum), bytes([smf.META, smf.NAME]) + names[part].encode()))
    return Details.of_tracks(tracks, rows, score=True)


def _find_numbering(measures: list[ET.Element], bars: list[Bar]) -> None:
    """Finds the bars where the numbers begin again; names such as X1 are of bars between."""
    last = 0
    for measure, bar in zip(measures, bars):
        if (name := measure.get("number", "")).isdecimal():
            bar.signs.numbered = int(name) <= 1 and int(name) < last
            last = int(name)


def _check_notes(count: int) -> None:
    if count > _MOST_NOTES:
        raise UserError(f"sounds more than {_MOST_NOTES:,} notes and signs: leave it out.")


def _root(data: bytes) -> ET.Element:
    if data[:2] == b"PK":
        data = archives.unpacked(data, MOST_BYTES)
    if data.count(b"<") + data.count(b"=") > _MOST_TAGS:
        raise UserError(f"has more than {_MOST_TAGS:,} tags and attributes: leave it out.")
    try:
        root = ET.fromstring(data)
    except (ET.ParseError, LookupError, ValueError) as error:
        raise UserError(f"is not XML: {error}.") from error
    if root.tag.startswith("{"):
        for element in root.iter():
            element.tag = element.tag.rpartition("}")[2]
    if root.tag not in ("score-partwise", "score-timewise"):
        raise UserError(f"is not a MusicXML score: it is a document of the kind {root.tag!r}.")
    return root


def _parts(root: ET.Element) -> list[tuple[str | None, list[ET.Element]]]:
    """(identifier, measures) of each part, whichever way round the document is."""
    if root.tag == "score-partwise":
        found = [(part.get("id"), part.findall("measure")) for part in root.findall("part")]
        _check_bars(max((len(measures) for _, measures in found), default=0))
        return found
    parts: dict[str | None, list[ET.Element]] = {}
    rows = root.findall("measure")
    _check_bars(len(rows))
    _check_notes(len(rows) * len({part.get("id") for part in root.findall("measure/part")}))
    for number, measure in enumerate(rows):
        for part in measure.findall("part"):
            part.set("number", measure.get("number", ""))
            have = parts.setdefault(part.get("id"), [])
            have += [ET.Element("measure") for _ in range(number - len(have))]
            have.append(part)
    return list(parts.items())


def _check_bars(count: int) -> None:
    if count > MOST_BARS:
        raise UserError(f"has more than {MOST_BARS:,} bars: leave it out.")


def _performed(bars: list[Bar], tracks: list[Track], song: str) -> Notes:
    """The bars in the order in which they are played, as notes."""
    _fill_in(bars, tracks)
    order = play_order([bar.signs for bar in bars])
    _check_notes(sum(bars[i].size for i in order))
    rows: list[list[int]] = []
    waiting: Waiting = collections.defaultdict(list)
    tempos, keys, chords, sections, phrases = [], [], [], [], []
    start = 0
    for bar in (bars[i] for i in order):
        for row in sorted(bar.rows):
            end = start + row.tick + row.duration
            note = _tied(waiting, row, start) if row.tied else None
            if note is None:
                onset = max(start + row.tick + row.attack, 0)
                note = [onset, 0, row.pitch, row.velocity, row.track]
                rows.append(note)
            note[1] = max(end + row.release - note[0], 1)
            if row.ties:
                waiting[row.track, row.pitch].append((end, row.voice, note))
        tempos += [(start + tick, qpm) for tick, qpm in bar.tempos]
        keys += [(start + tick, key) for _, tick, key in bar.keys]
        chords += [(start + tick, chord, bass) for tick, chord, bass in bar.chords]
        sections += [(start + tick, section) for tick, section in bar.sections]
        phrases += [(start + tick, phrase) for tick, phrase in bar.phrases]
        start += bar.length
    if start > _LATEST:
        raise UserError("is longer than ticks can be counted: leave it out.")
    onset, duration, pitch, velocity, track = np.array(rows).T
    return make_notes(
        onset,
        duration,
        pitch,
        velocity,
        track,
        program=[program for _, program, _ in tracks],
        drum=[drum for _, _, drum in tracks],
        tempos=tuple(changed(list(dict(tempos).items()))),
        meters=meters_of([(bars[i].length, *bars[i].meter) for i in order]),
        end=start,
        labels=labels(song, keys, chords, sections, phrases),
    )


def _tied(waiting: Waiting, row: Row, start: int) -> list[int] | None:
    """The note tied on to a row: it ends where the row begins, in its voice if it can."""
    notes = waiting[row.track, row.pitch]
    notes[:] = [w for w in notes if w[0] >= start + row.tick]
    fits = [w for w in notes if w[0] == start + row.tick]
    if not fits:
        return None
    found = next((w for w in fits if w[1] == row.voice), fits[0])
    notes.remove(found)
    return found[2]


def _fill_in(bars: list[Bar], tracks: list[Track]) -> None:
    """Gives each bar what is in force where it begins, its length, and its ending."""
    pitched = {part for part, _, drum in tracks if not drum}
    owners = sorted(
        {part for bar in bars for part, _, _ in bar.keys}, key=lambda p: p not in pitched
    )
    meters, tempo, key, ending = [(4, 4)], 0.0, -1, frozenset[int]()
    had: set[float] = set()
    for bar in bars:
        meters = bar.meters or meters
        wholes = [WHOLE * num // den for num, den in meters]
        fits = [abs(bar.length - whole) <= _ROUNDING for whole in wholes]
        bar.meter = meters[fits.index(True) if any(fits) else 0]
        if any(fits) or not bar.length:
            bar.length = WHOLE * bar.meter[0] // bar.meter[1]
        bar.tempos.sort(key=lambda change: change[0])
        bar.signs.heading |= any(tick == 0 and qpm not in had for tick, qpm in bar.tempos)
        had.update(qpm for _, qpm in bar.tempos)
        if tempo:
            bar.tempos.insert(0, (0, tempo))
        if bar.tempos:
            tempo = bar.tempos[-1][1]
        # Parts that transpose may disagree, and drums know no key: the first part decides.
        bar.keys = sorted(k for k in bar.keys if k[0] == owners[0])
        if key >= 0:
            bar.keys.insert(0, (0, 0, key))
        if bar.keys:
            key = bar.keys[-1][2]
        if "start" in bar.brackets:
            ending, bar.signs.opens = bar.brackets["start"], True
        bar.signs.ending = ending
        if {"stop", "discontinue"} & set(bar.brackets):
            ending = frozenset()
