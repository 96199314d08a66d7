"""MusicXML, plain or compressed, read as what sounds: the W3C's MusicXML 4.0 and before.

Every part is read in the order of the document first, because what is in force in a bar (tempo,
key, loudness, instrument) is what stands before it on paper. Repeats are played afterwards.
"""

from __future__ import annotations

import collections
import io
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Mapping

import numpy as np

from jaxmusic.core.errors import NoNotes, UserError
from jaxmusic.formats.scores.bars import WHOLE, meters_of, play_order
from jaxmusic.formats.scores.musicxml_part import Bar, Part, Row, Track
from jaxmusic.formats.scores.words import labels, song_title
from jaxmusic.formats.symbols import changed
from jaxmusic.music.notes import Notes, make_notes

_MOST_BYTES, _MOST_TAGS = 2**28, 10_000_000
"""Limits of a document: the parser needs some 100 bytes of memory for a tag."""
_LARGEST_CONTAINER = 2**20
_CONTAINER, _DOCUMENTS = "META-INF/container.xml", (".xml", ".musicxml")
_MEDIA = "application/vnd.recordare.musicxml"
"""Media type of scores, which begins that of compressed ones too."""
_LATEST = 2**31 - 1
_ROUNDING = 4  # ticks that a bar may be off its meter because its durations were rounded
Waiting = dict[tuple[int, int], list[tuple[int, str, list[int]]]]
"""Notes that are tied on, with their end and voice, by track and pitch."""


def parse(data: bytes) -> Notes:
    """The notes of a MusicXML document, see `jaxmusic.formats.scores.score.read_notes`.

    Raises:
      UserError: it is none that can be read; the message lacks the subject, the file.
    """
    root = _root(data)
    bars: list[Bar] = []
    tracks: dict[Track, int] = {}
    concert = root.find("defaults/concert-score") is not None
    about = {e.get("id"): e for e in root.iter("score-part")}
    try:
        for index, (name, measures) in enumerate(_parts(root)):
            part = Part(index, about.get(name, ET.Element("score-part")), tracks, concert)
            bars += [Bar() for _ in range(len(measures) - len(bars))]
            for measure, bar in zip(measures, bars):
                part.read(measure, bar)
    except (ValueError, LookupError, ArithmeticError) as error:
        raise UserError(f"is not MusicXML that can be read: {error}.") from error
    if not any(bar.rows for bar in bars):
        raise NoNotes("holds no notes: leave it out.")
    # A work in several movements, such as a cycle of songs, is in its title alone one song.
    titles = (
        song_title(root.findtext(path) or "") for path in ("work/work-title", "movement-title")
    )
    title = ": ".join(dict.fromkeys(title for title in titles if title))
    return _performed(bars, list(tracks), title)


def _root(data: bytes) -> ET.Element:
    if data[:2] == b"PK":
        data = _unzipped(data)
    if data.count(b"<") > _MOST_TAGS:
        raise UserError(f"has more than {_MOST_TAGS:,} tags: leave it out.")
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


def _unzipped(data: bytes) -> bytes:
    """Returns the score in a compressed file: what its container names, else the first document."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            have = {info.filename: info for info in archive.infolist()}
            names = [n for n in have if n != _CONTAINER and n.lower().endswith(_DOCUMENTS)]
            names = [*_named(archive, have), *names]
            if not names:
                raise UserError("is an archive without a score: save it as MusicXML again.")
            if have[names[0]].file_size > _MOST_BYTES:
                raise UserError("unpacks to more than 256 MB: leave it out.")
            return archive.read(names[0])
    except UserError:
        raise
    except Exception as error:  # of many kinds, as when it is cut off or encrypted
        raise UserError(f"is a broken archive: {str(error).rstrip('.')}.") from error


def _named(archive: zipfile.ZipFile, have: Mapping[str, zipfile.ZipInfo]) -> list[str]:
    """Returns the scores that a container names; a broken or huge one is as good as none."""
    if _CONTAINER not in have or have[_CONTAINER].file_size > _LARGEST_CONTAINER:
        return []
    try:
        files = list(ET.fromstring(archive.read(_CONTAINER)).iter())
    except (ET.ParseError, LookupError, ValueError):
        return []
    named = [(str(e.get("full-path")), e.get("media-type") or _MEDIA) for e in files]
    return [path for path, media in named if path in have and media.startswith(_MEDIA)]


def _parts(root: ET.Element) -> list[tuple[str | None, list[ET.Element]]]:
    """(identifier, measures) of each part, whichever way round the document is."""
    if root.tag == "score-partwise":
        return [(part.get("id"), part.findall("measure")) for part in root.findall("part")]
    parts: dict[str | None, list[ET.Element]] = {}
    for number, measure in enumerate(root.findall("measure")):
        for part in measure.findall("part"):
            have = parts.setdefault(part.get("id"), [])
            have += [ET.Element("measure") for _ in range(number - len(have))]
            have.append(part)
    return list(parts.items())


def _performed(bars: list[Bar], tracks: list[Track], song: str) -> Notes:
    """The bars in the order in which they are played, as notes."""
    _fill_in(bars, tracks)
    order = play_order([bar.signs for bar in bars])
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
    for bar in bars:
        meters = bar.meters or meters
        wholes = [WHOLE * num // den for num, den in meters]
        fits = [abs(bar.length - whole) <= _ROUNDING for whole in wholes]
        bar.meter = meters[fits.index(True) if any(fits) else 0]
        if any(fits) or not bar.length:
            bar.length = WHOLE * bar.meter[0] // bar.meter[1]
        bar.tempos.sort(key=lambda change: change[0])
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
