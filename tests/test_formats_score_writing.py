"""MusicXML out: what is written reads again as the same piece, here and elsewhere."""

import dataclasses
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import strategies
from hypothesis import given, settings

from jaxmusic._src.core.errors import UserError
from jaxmusic._src.formats import files
from jaxmusic._src.formats.scores import notation, spelling
from jaxmusic._src.formats.scores.writing import musicxml_text
from jaxmusic._src.formats.symbols import (
    chord_symbol,
    chord_symbols,
    key_name,
    read_symbol,
    signatures,
)
from jaxmusic._src.music import grid
from jaxmusic._src.music.notes import CHORD_QUALITIES, NO_CHORD, Labels, Notes, make_notes

SONG = make_notes(
    # A melody with a pick-up, a triplet and a note over the bar line, drums, and a piano.
    [0, 480, 640, 800, 960, 2160, 480, 480, 960, 960, 480, 480, 2400],
    [480, 160, 160, 160, 1200, 720, 40, 480, 40, 40, 1920, 1920, 480],
    [60, 62, 64, 66, 67, 72, 36, 42, 38, 42, 40, 64, 67],
    [80, 81, 1, 127, 90, 64, 100, 60, 100, 60, 70, 70, 70],
    [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2],
    program=[73, 0, 0],
    drum=[False, True, False],
    tempos=((0, 100.0), (480, 101.25), (1440, 60.5)),
    meters=((0, 1, 4), (480, 4, 4), (2400, 3, 4)),
    end=3840,
    labels=Labels.of_changes(
        {
            "key": [(0, 7), (2400, 16)],
            "chord": [(480, 7), (1440, 4 * 12 + 10), (2400, NO_CHORD), (3360, 6 * 12 + 1)],
            "bass": [(480, 0), (960, 4), (1440, 3), (2400, 0)],
            "section": [(480, 2)],
            "phrase": [(480, 0), (2400, 9)],
        },
        song="A & B <live>",
    ),
)


def differences(a: Notes, b: Notes) -> list[str]:
    """Names of the fields in which two pieces differ, without the labels that scores lack."""
    columns = ("onset", "duration", "pitch", "velocity", "track")

    def sorted_rows(notes: Notes) -> Notes:
        keys = (notes.velocity, notes.duration, notes.pitch, notes.track, notes.onset)
        order = np.lexsort(keys)
        return notes.replace(**{name: getattr(notes, name)[order] for name in columns})

    np.testing.assert_allclose(a.tempo_qpm, b.tempo_qpm, rtol=1e-9)
    unwritten = ("styles", "role", "tempo_qpm", "details")
    return strategies.differences(sorted_rows(a), sorted_rows(b), unwritten)


def again(notes: Notes, path) -> Notes:
    files.write(notes, path)
    return files.read_notes(path)


@pytest.mark.quick
@pytest.mark.parametrize("name", ["a.musicxml", "a.xml", "a.mxl"])
def test_there_and_back(tmp_path, name):
    assert differences(SONG, again(SONG, tmp_path / name)) == []
    head = (tmp_path / name).read_bytes()[:2]
    assert head == (b"PK" if name == "a.mxl" else b"<?")
    first = (tmp_path / name).read_bytes()
    files.write(SONG, tmp_path / name)
    assert (tmp_path / name).read_bytes() == first


def on_grid(notes: Notes) -> Notes:
    """Quantised; chords, which may stand between two steps, on steps."""
    notes = grid.dequantise(grid.quantise(notes)[0])
    labels = notes.labels
    whole = {n: (getattr(labels, n) + 20) // 40 * 40 for n in ("chord_tick", "bass_tick")}
    return notes.replace(labels=dataclasses.replace(labels, **whole))


@settings(max_examples=60, deadline=None)
@given(strategies.notes(max_tracks=5))
def test_any_quantised_piece_reads_again_as_itself(tmp_path_factory, notes):
    notes = on_grid(notes)
    path = tmp_path_factory.mktemp("score") / "a.musicxml"
    if not len(notes):
        with pytest.raises(UserError, match="without notes"):
            files.write(notes, path)
        return
    assert differences(notes, again(notes, path)) == []


@settings(max_examples=60, deadline=None)
@given(strategies.notes(max_tracks=3))
def test_bars_are_full_and_values_add_up(notes):
    notes = on_grid(notes)
    if not len(notes):
        return
    steps = dict(breve=96, whole=48, half=24, quarter=12, eighth=6) | {"16th": 3, "32nd": 1.5}
    for measure in ET.fromstring(musicxml_text(notes)).iter("measure"):
        ends, now = [], 0
        for element in measure:
            duration = int(element.findtext("duration") or 0)
            if element.tag == "backup":
                ends.append(now)
                now -= duration
            elif element.find("chord") is None:
                now += duration
            if kind := element.findtext("type"):
                value = steps[kind] * (2 - 0.5 ** len(element.findall("dot")))
                triplet = element.find("time-modification") is not None
                assert (value * 2 / 3 if triplet else value) == duration
        # Every staff fills the bar, and no voice is longer or begins before it.
        ends.append(now)
        assert max(ends) == ends[0]
        brackets = [e.get("type") for e in measure.iter("tuplet")]
        assert brackets == ["start", "stop"] * (len(brackets) // 2)


def symbols(onsets, ends, length=48, num=4, den=4):
    """Note values of one voice in a bar, with ~ before a tie and 3 for triplets."""
    events = [
        notation.Event(a, b, (notation.Head(i),)) for i, (a, b) in enumerate(zip(onsets, ends))
    ]
    out = []
    for symbol in notation.in_bar(events, notation.Bar(0, length, num, den), whole=True):
        name = {"16th": "16", "32nd": "32"}.get(symbol.type, symbol.type[:1])
        name += "." * symbol.dots + "3" * symbol.triplet
        name = name if symbol.heads else f"({name})"
        out.append(name + "~" * any(head.ties for head in symbol.heads))
    return " ".join(out)


@pytest.mark.quick
@pytest.mark.parametrize(
    ("onsets", "ends", "meter", "expected"),
    [
        ([0], [48], (48, 4, 4), "w"),
        ([0, 36], [36, 48], (48, 4, 4), "h. q"),
        ([0, 18, 24], [18, 24, 48], (48, 4, 4), "q. e h"),
        ([6], [42], (48, 4, 4), "(e) e~ h~ e (e)"),
        ([0, 6, 18, 24], [6, 18, 24, 48], (48, 4, 4), "e q e h"),
        ([3, 12], [12, 15], (48, 4, 4), "(16) e. 16 (e.) (h)"),
        ([0, 4, 8, 12], [4, 8, 12, 24], (48, 4, 4), "e3 e3 e3 q (h)"),
        ([0, 6, 8, 10], [6, 8, 10, 12], (48, 4, 4), "e 163 163 163 (h.)"),
        ([0, 1, 12], [1, 12, 48], (48, 4, 4), "323 q3~ 16.3 h."),
        ([0, 18], [18, 36], (36, 6, 8), "q. q."),
        ([0, 12, 18, 22], [12, 18, 22, 24], (36, 6, 8), "q e e3 163 (q)"),
        ([0], [60], (60, 5, 4), "w~ q"),
        ([0], [42], (42, 7, 8), "h.~ e"),
    ],
)
def test_note_values_show_the_beats(onsets, ends, meter, expected):
    assert symbols(onsets, ends, *meter) == expected


def test_played_notes_are_written_as_one_would(tmp_path):
    # A little short, a little long, hardly touched: eighths all the same.
    columns = [0, 240, 480, 720, 960], [200, 280, 40, 160, 920], [60, 62, 64, 65, 67]
    notes = make_notes(*columns, [80] * 5, [0] * 5)
    root = ET.fromstring(musicxml_text(notes))
    types = [(n.findtext("type"), n.find("rest") is None) for n in root.iter("note")]
    assert types == [
        *(("eighth", True), ("eighth", True), ("16th", True), ("16th", False)),
        *(("eighth", True), ("half", True)),
    ]
    assert [n.get("release") for n in root.iter("note")] == ["-1", "1", "-2", None, "-2", "-1"]
    assert differences(notes.replace(end=1920), again(notes, tmp_path / "a.xml")) == []


def test_pianos_have_two_staves_and_drums_their_places():
    root = ET.fromstring(musicxml_text(SONG))
    flute, drums, piano = root.findall("part")
    assert flute.find(".//staves") is None
    assert piano.findtext(".//staves") == "2"
    staff = {
        (n.findtext("pitch/step"), n.findtext("pitch/octave")): n.findtext("staff")
        for n in piano.iter("note")
        if n.find("pitch") is not None
    }
    assert staff == {("E", "2"): "2", ("E", "4"): "1", ("G", "4"): "1"}
    assert [c.findtext("sign") for c in piano.iter("clef")] == ["G", "F"]
    assert drums.findtext(".//clef/sign") == "percussion"
    hits = [
        (n.findtext("unpitched/display-step"), n.findtext("notehead")) for n in drums.iter("note")
    ]
    assert [h for h in hits if h[0]] == [("F", None), ("G", "x"), ("C", None), ("G", "x")]
    names = [p.findtext("part-name") for p in root.iter("score-part")]
    assert names == ["Flute", "Drums", "Acoustic Grand Piano"]
    kit = root.findall("part-list/score-part")[1]
    assert [e.text for e in kit.iter("midi-unpitched")] == ["37", "39", "43"]
    first = flute.find("measure")
    assert (first.get("implicit"), first.findtext("attributes/time/beats")) == ("yes", "4")


def test_spelling_follows_the_key():
    def name(pitch, fifths):
        step, alter, octave = spelling.spell(pitch, fifths)
        assert 12 * (octave + 1) + "C D EF G A B".index(step) + alter == pitch
        return step + "#" * alter + "b" * -alter + str(octave)

    assert [name(p, 0) for p in (61, 63, 66, 68, 70)] == ["C#4", "Eb4", "F#4", "G#4", "Bb4"]
    assert [name(p, -4) for p in (59, 60, 61, 68)] == ["Cb4", "C4", "Db4", "Ab4"]
    assert [name(p, 6) for p in (59, 60, 65)] == ["B3", "B#3", "E#4"]
    assert spelling.fifths_of(np.array([60, 62, 64, 65, 67, 69, 70])) == -1
    signs = {}
    shown = [
        spelling.accidental(*note, 1, signs, False)
        for note in (("F", 1, 4), ("F", 0, 4), ("F", 0, 4), ("F", 1, 5), ("F", 1, 4), ("B", -1, 4))
    ]
    assert shown == ["", "natural", "", "", "sharp", "flat"]


@pytest.mark.parametrize(
    ("fifths", "number", "symbol"),
    [
        (0, 1, "Db"),  # C major: the flat second, the flat sixth, the raised fourth
        (0, 8, "Ab"),
        (0, 6, "F#"),
        (0, CHORD_QUALITIES.index("dim") * 12 + 8, "G#dim"),  # a leading note of A minor
        (3, CHORD_QUALITIES.index("min") * 12 + 1, "C#m"),  # A major
        (-4, 8, "Ab"),
        (4, CHORD_QUALITIES.index("min") * 12 + 8, "G#m"),  # E major
        (6, CHORD_QUALITIES.index("min") * 12 + 10, "A#m"),  # F sharp major
        (-5, 2, "D"),  # D flat major: no E double flat
        (None, 1, "C#"),
    ],
)
def test_roots_of_chords_are_spelled_in_their_key(fifths, number, symbol):
    assert chord_symbol(number, 0, fifths) == symbol
    assert read_symbol(symbol) == (number, 0)


def test_keys_have_the_names_of_their_signatures():
    names = [key_name(key) for key in (1, 9, 13, 15, 20)]
    assert names == ["Db major", "A major", "C# minor", "D# minor", "G# minor"]


def test_chords_change_their_names_with_the_key():
    labels = Labels.of_changes({"key": [(480, 4)], "chord": [(0, 8), (480, 8), (960, 20)]})
    assert chord_symbols(labels)[1] == ["Ab", "G#", "G#m"]
    assert signatures(labels, np.array([0, 480]), -3) == [-3, 4]


def test_music21_reads_the_same_notes(tmp_path):
    music21 = pytest.importorskip("music21", reason="install the extra test for music21")
    files.write(SONG, tmp_path / "a.musicxml")
    piece = music21.converter.parse(tmp_path / "a.musicxml", forceSource=True)
    found = []
    for part in piece.parts:
        for element in part.stripTies(matchByPitch=True).flatten().notes:
            if not isinstance(element, music21.harmony.Harmony):
                found += [(float(element.offset), p.midi) for p in element.pitches]
    pitched = ~SONG.is_drum
    expected = list(zip((SONG.onset[pitched] / 480).tolist(), SONG.pitch[pitched].tolist()))
    assert sorted((round(o, 3), p) for o, p in found) == sorted(
        (round(o, 3), p) for o, p in expected
    )
    chords = [c for c in piece.recurse().getElementsByClass("Harmony")]
    assert [c.figure for c in chords] == ["G", "G/B", "B-m7/C#", "N.C.", "C#sus"]
    signs = piece.parts[0].recurse().getElementsByClass("TimeSignature")
    assert [s.ratioString for s in signs] == ["4/4", "3/4"]
    assert [k.sharps for k in piece.parts[0].recurse().getElementsByClass("KeySignature")] == [1, 1]
    marks = piece.recurse().getElementsByClass("RehearsalMark")
    assert [m.content for m in marks] == ["Chorus"]


def test_characters_that_xml_lacks_are_left_out(tmp_path):
    odd = SONG.replace(labels=Labels(song="bell \x07 and half \ud800 a sign"))
    assert again(odd, tmp_path / "a.xml").labels.song == "bell and half a sign"
