"""Scores read as what they sound like: MusicXML and ABC."""

import io
import tracemalloc
import zipfile

import numpy as np
import pytest

from jaxmusic._src.core.errors import UserError
from jaxmusic._src.formats.scores import score
from jaxmusic._src.music.notes import NO_CHORD

LIEDER, SUITE, BOOKS = "openscore_lieder", "lilypond_musicxml_suite", "abc_nottingham"


def note(name, duration=1, extra="", attributes=""):
    """A note such as C4 or F#5, or a rest R, as MusicXML; one quarter is one division."""
    if name == "R":
        what = "<rest/>"
    else:
        step, octave, alter = name[0], name[-1], name.count("#") - name[1:].count("b")
        what = f"<step>{step}</step><alter>{alter}</alter><octave>{octave}</octave>"
        what = f"<pitch>{what}</pitch>"
    return f"<note {attributes}>{what}<duration>{duration}</duration>{extra}</note>"


def measures(*bodies, attributes="", four="<time><beats>4</beats><beat-type>4</beat-type></time>"):
    """Bars; the first one states divisions and the meter."""
    head = f"<attributes><divisions>1</divisions>{four}{attributes}</attributes>"
    bodies = (head + bodies[0], *bodies[1:])
    return "".join(f'<measure number="{i}">{body}</measure>' for i, body in enumerate(bodies, 1))


def document(*parts, about=(), head=""):
    """A score of parts, which are bars as XML; `about` says more of each."""
    about = [*about, *[""] * (len(parts) - len(about))]
    listed = "".join(f'<score-part id="P{i}">{a}</score-part>' for i, a in enumerate(about))
    body = "".join(f'<part id="P{i}">{part}</part>' for i, part in enumerate(parts))
    return f"<score-partwise>{head}<part-list>{listed}</part-list>{body}</score-partwise>"


def read(tmp_path, text, name="a.musicxml"):
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return score.read_notes(tmp_path / name)


def read_bars(tmp_path, *bodies, **options):
    """Reads one part of these bars."""
    return read(tmp_path, document(measures(*bodies, **options)))


def rows(notes):
    """Onsets in quarters, pitches, and durations in quarters."""
    columns = ((notes.onset / 480).tolist(), notes.pitch.tolist(), (notes.duration / 480).tolist())
    return list(zip(*columns))


def meters(notes):
    return [(tick / 480, num, den) for tick, num, den in notes.meters]


TIES = '<tie type="stop"/>', '<tie type="start"/>'


@pytest.mark.quick
def test_a_small_score(tmp_path):
    first = (
        '<direction><direction-type><metronome><beat-unit>half</beat-unit><beat-unit-dot/>'
        "<per-minute>c. 40</per-minute></metronome></direction-type></direction>"
        "<direction><direction-type><rehearsal>Verse 2</rehearsal></direction-type></direction>"
        "<direction><direction-type><dynamics><p/></dynamics></direction-type></direction>"
        + note("C4") + note("E4", extra="<chord/>") + note("F#4", 2)
        + "<direction><direction-type><dynamics><ff/></dynamics></direction-type>"
        '<sound dynamics="100"/></direction>' + note("Bb3")
    )  # fmt: skip
    key = "<key><fifths>-3</fifths><mode>minor</mode></key>"
    about = (
        "<part-name>Lead</part-name><score-instrument id='I'><instrument-name>Oboe"
        "</instrument-name></score-instrument><midi-instrument id='I'><midi-channel>1"
        "</midi-channel><midi-program>69</midi-program></midi-instrument>"
    )
    head = "<work><work-title> Two\n bars </work-title></work>"
    text = document(measures(first, note("R", 4), attributes=key), about=[about], head=head)
    notes = read(tmp_path, text)
    assert rows(notes) == [(0, 60, 1), (0, 64, 1), (1, 66, 2), (3, 58, 1)]
    assert notes.velocity.tolist() == [49, 49, 49, 90]
    assert (notes.ticks_per_beat, notes.end) == (480, 8 * 480)
    assert notes.program.tolist() == [68]
    assert notes.tempo_qpm.tolist() == [120.0]  # 40 dotted halves
    assert meters(notes) == [(0, 4, 4)]
    labels = notes.labels
    assert (labels.song, labels.key.tolist(), labels.section.tolist()) == ("Two bars", [12], [1])
    movement = text.replace("<part-list>", "<movement-title>First</movement-title><part-list>", 1)
    assert read(tmp_path, movement).labels.song == "Two bars: First"


def test_ties_are_one_note_across_bars_voices_and_repeats(tmp_path):
    repeat = '<barline location="right"><repeat direction="backward"/></barline>'
    bars = [
        note("R", 3) + note("G4", extra=TIES[1] + "<voice>1</voice>"),
        note("G4", 4, extra="".join(TIES) + "<voice>2</voice>"),
        note("G4", 1, extra=TIES[0]) + note("G4", 3, extra=TIES[1]) + repeat,
        note("C4", 4, extra=TIES[0]),
    ]
    assert rows(read_bars(tmp_path, *bars)) == [
        *((3, 67, 6), (9, 67, 3), (15, 67, 6), (21, 67, 3)),
        (24, 60, 4),  # tied from nowhere
    ]


def test_repeats_endings_and_jumps(tmp_path):
    def ending(number, kind):
        return f'<barline><ending number="{number}" type="{kind}"/></barline>'

    forward = '<barline><repeat direction="forward"/></barline>'
    back = '<barline><repeat direction="backward"/></barline>'

    def order(*bars):
        return "".join("C D EF G A B"[n % 12] for n in read_bars(tmp_path, *bars).pitch)

    c, d, e, f, g, a, b = (note(f"{name}4", 4) for name in "CDEFGAB")
    bars = [
        c,
        forward + d,
        ending("1, 2", "start") + e + back + ending("1, 2", "stop"),
        ending("3", "start") + f + ending("3", "discontinue"),
        g + '<sound tocoda="1"/>',
        a + '<sound dacapo="yes"/>',
        '<sound coda="1"/>' + b,
    ]
    # After the jump the repeat is not played again, and its last ending is taken.
    assert order(*bars) == "CDEDEDFGACDFGB"
    # A lone first ending is followed by a second one without a bracket.
    assert order(c, ending(1, "start") + d + back + ending(1, "stop"), e) == "CDCE"
    # Where nothing leads back all endings are played.
    plain = [ending(i, "start") + bar + ending(i, "stop") for i, bar in ((1, d), (2, e))]
    assert order(c, *plain) == "CDE"
    segno = '<sound segno="s"/>' + c + '<sound fine="yes"/>'
    assert order(b, segno, d + '<sound dalsegno="s"/>', e) == "BCDC"
    with pytest.raises(UserError, match="repeats for more than 20,000 bars"):
        order(c + '<barline><repeat direction="backward" times="99999"/></barline>')


def test_movements_bound_repeats_and_jumps(tmp_path):
    def line(style):
        return f'<barline location="right"><bar-style>{style}</bar-style></barline>'

    def order(text):
        return "".join("C D EF G A B"[n % 12] for n in read(tmp_path, text).pitch)

    back = '<barline location="right"><repeat direction="backward"/></barline>'
    c, d, e, f, g, a, b = (note(f"{name}4", 4) for name in "CDEFGAB")
    final, double = line("light-heavy"), line("light-light")
    minuet = [e, f + '<sound fine="yes"/>' + final, g, a + '<sound dacapo="yes"/>' + final]
    assert order(document(measures(c, d + final, *minuet, b, c + final))) == "CDEFGAEFBC"
    again = measures(c, d, e, f + back)
    assert order(document(again)) == "CDEFCDEF"
    for old, new in (("3", "1"), ("4", "2")):
        again = again.replace(f'number="{old}"', f'number="{new}"')
    assert order(document(again)) == "CDEFEF"
    between = again.replace('number="1"', 'number="X1"')
    assert order(document(between)) == "CDEFCDEF"
    tempo = (
        "<direction><direction-type><metronome><beat-unit>quarter</beat-unit><per-minute>66"
        "</per-minute></metronome></direction-type></direction>"
    )
    title = "<direction><direction-type><words>II. Adagio</words></direction-type></direction>"
    for heading in (tempo, title):
        assert order(document(measures(c, d + double, heading + e, f + back))) == "CDEFEF"
    # A tempo that returns begins nothing.
    same = measures(tempo + c, d + double, tempo + e, f + back)
    assert order(document(same)) == "CDEFCDEF"


def test_bar_lines_are_those_of_the_score(tmp_path):
    three = "<attributes><time><beats>3</beats><beat-type>8</beat-type></time></attributes>"
    pickup = read_bars(tmp_path, note("C4"), note("D4", 4), note("E4", 3))
    assert meters(pickup) == [(0, 1, 4), (1, 4, 4)]
    assert pickup.end == 8 * 480
    # A bar divided by a repeat is one bar; one of another length has a meter of its own.
    for lengths, expected in (
        ((4, 3, 1, 5, 4), [(0, 4, 4), (8, 5, 4), (13, 4, 4)]),
        ((4, 2, 1, 1, 4), [(0, 4, 4)]),
    ):
        bars = [note("C4", length) for length in lengths]
        assert meters(read_bars(tmp_path, *bars)) == expected
    change = read_bars(tmp_path, note("C4", 4), three + note("D4", 1.5), note("E4", 1.5))
    assert meters(change) == [(0, 4, 4), (4, 3, 8)]
    added = "<time><beats>3+2</beats><beat-type>8</beat-type></time>"
    assert meters(read_bars(tmp_path, note("C4", 2.5), four=added)) == [(0, 5, 8)]
    free = "<time><senza-misura/></time>"
    assert read_bars(tmp_path, note("C4", 4), note("D4", 7), four=free).end == 11 * 480


def test_voices_grace_notes_cues_and_tuplets(tmp_path):
    grace = "<note><grace/><pitch><step>B</step><octave>5</octave></pitch></note>"
    first = (
        grace + note("C5", 4 / 3) + note("D5", 4 / 3) + note("E5", 4 / 3)
        + "<backup><duration>4</duration></backup><forward><duration>2</duration></forward>"
        + note("C4", 2) + "<backup><duration>2</duration></backup>" + note("G3", 1, extra="<cue/>")
    )  # fmt: skip
    notes = read_bars(tmp_path, first)
    assert list(zip(notes.onset.tolist(), notes.pitch.tolist(), notes.duration.tolist())) == [
        *((0, 72, 640), (640, 74, 640), (960, 60, 960), (1280, 76, 640)),
    ]


def test_transposing_instruments_sound_at_concert_pitch(tmp_path):
    clarinet = (
        "<key><fifths>2</fifths></key><transpose><diatonic>-1</diatonic><chromatic>-2</chromatic>"
        "<octave-change>-1</octave-change></transpose>"
    )
    chord = "<harmony><root><root-step>D</root-step></root><kind>dominant-ninth</kind></harmony>"
    bars = measures(chord + note("D5", 4), attributes=clarinet)
    notes = read(tmp_path, document(bars, about=["<part-name>Bass Clarinet</part-name>"]))
    assert (notes.pitch.tolist(), notes.program.tolist()) == ([60], [71])
    assert notes.labels.key.tolist() == [0]
    assert notes.labels.chord.tolist() == [24]  # C7
    concert = document(bars, head="<defaults><concert-score/></defaults>")
    assert read(tmp_path, concert).pitch.tolist() == [74]


def test_drums(tmp_path):
    def hit(instrument, place="C5"):
        where = (
            f"<display-step>{place[0]}</display-step><display-octave>{place[1]}</display-octave>"
        )
        what = f"<unpitched>{where}</unpitched><duration>1</duration>"
        return f'<note>{what}<instrument id="{instrument}"/></note>'

    about = "<part-name>Kit</part-name>" + "".join(
        f'<score-instrument id="{i}"><instrument-name>{name}</instrument-name></score-instrument>'
        for i, name in (("a", "Anything"), ("b", "Closed Hi-Hat"), ("c", "Kit"))
    )
    about += '<midi-instrument id="a"><midi-unpitched>36</midi-unpitched></midi-instrument>'
    bars = measures(hit("a") + hit("b") + hit("c", "F4") + hit("c", "B2"))
    flute = measures(note("C4", 4))
    notes = read(tmp_path, document(flute, bars, about=["<part-name>Flute</part-name>", about]))
    drums = notes.is_drum
    # Said by the file, told by the name, told by the place, told by nothing.
    assert notes.pitch[drums].tolist() == [35, 42, 36, 38]
    assert (notes.drum.tolist(), notes.program.tolist()) == ([False, True], [73, 0])


def test_chord_symbols_are_labels_and_not_notes(tmp_path):
    def chord(root, kind, alter=0):
        root = f"<root><root-step>{root}</root-step><root-alter>{alter}</root-alter></root>"
        return f"<harmony>{root}<kind>{kind}</kind><offset>0</offset></harmony>"

    first = chord("A", "minor-11th") + note("C4") + chord("B", "half-diminished", -1) + note("D4")
    first += chord("C", "none") + note("E4") + chord("D", "Tristan") + note("F4")
    labels = read_bars(tmp_path, first).labels
    assert labels.changes("chord") == [(0, 4 * 12 + 9), (480, 5 * 12 + 10), (960, NO_CHORD)]
    assert labels.changes("bass") == []
    slash = chord("A", "minor", -1).replace("<kind>", "<bass><bass-step>C</bass-step></bass><kind>")
    labels = read_bars(tmp_path, note("R") + slash + note("C4")).labels
    assert labels.changes("chord") == [(480, 12 + 8)] and labels.changes("bass") == [(480, 4)]


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("bad.xml", "", "is not XML"),
        ("bad.xml", "<html><body/></html>", "not a MusicXML score"),
        ("bad.xml", "<score-partwise></score-partwise>", "holds no notes"),
        ("bad.xml", "PK\x03\x04 no archive", "broken archive"),
        ("bad.xml", document(measures(note("H4"))), "not MusicXML that can be read"),
        ("bad.xml", document(measures(note("C4", "two"))), "not MusicXML that can be read"),
        ("bad.xml", document(measures(note("C4", "1e300"))), "longer than ticks"),
        ("bad.xml", document(measures(note("C4", "nan"))), "holds no notes"),
        ("bad.xml", document(measures(note("C4", "inf"))), "not MusicXML that can be read"),
        ("bad.xml", "<opus><title>Suite</title></opus>", "not a MusicXML score"),
        ("bad.abc", "", "no tune"),
        ("bad.abc", "Ogawa\0\xff", "no tune"),
        ("bad.abc", "X:1\nT:Silence\nK:C\nz4|\n", "holds no notes"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_sentence(tmp_path, name, data, says):
    with pytest.raises(UserError, match=says) as error:
        read(tmp_path, data.encode("latin-1"), name)
    assert str(error.value).startswith(str(tmp_path / name))


def test_archives(tmp_path):
    def archive(files):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as out:
            for name, content in files.items():
                out.writestr(name, content)
        return buffer.getvalue()

    good, other = document(measures(note("C4", 4))), document(measures(note("D4", 4)))
    container = '<container><rootfiles><rootfile full-path="x/b.xml"/></rootfiles></container>'
    files = {"a.xml": other, "x/b.xml": good, "META-INF/container.xml": container}
    whole = archive(files)
    for name in ("a.mxl", "a.xml"):
        assert read(tmp_path, whole, name).pitch.tolist() == [60]
    assert read(tmp_path, archive({"a.xml": other}), "b.mxl").pitch.tolist() == [62]
    assert read(tmp_path, good, "c.mxl").pitch.tolist() == [60]  # not compressed after all
    for broken in (whole[: len(whole) // 2], archive({"picture.png": b""})):
        with pytest.raises(UserError, match="archive"):
            read(tmp_path, broken, "d.mxl")
    with pytest.raises(UserError, match="cannot be opened"):
        score.read_notes(tmp_path / "none.mxl")


def test_timewise_scores_and_namespaces(tmp_path):
    part = '<part id="P0"><attributes><divisions>1</divisions></attributes>' + note("C4", 4)
    text = (
        '<score-timewise xmlns="http://www.musicxml.org/ns"><part-list><score-part id="P0"/>'
        f'</part-list><measure>{part}</part></measure><measure><part id="P0">{note("D4", 4)}'
        "</part></measure></score-timewise>"
    )
    assert rows(read(tmp_path, text)) == [(0, 60, 4), (4, 62, 4)]


TUNE = """X:1
T:A Test, The % remark
M:4/4
L:1/8
R:hornpipe
Q:1/4=90
K:Ador
"Am"A2|:"Am7/g"A2 (3Bcd {e}f2 ~d>c|
% a remark of its own
[M:3/4] "G6"[CEG]4 z2|1 "^slowly"A6:|2 "N.C."d6-|d6|]
"""


@pytest.mark.quick
def test_abc(tmp_path):
    notes = read(tmp_path, TUNE, "a.abc")
    beats = (notes.onset / 480).round(3).tolist()
    first = [1, 2, 2.333, 2.667, 3, 4, 4.75]
    assert beats == [0, *first, 5, 5, 5, 8, *[b + 10 for b in first], 15, 15, 15, 18]
    assert notes.pitch[:12].tolist() == [69, 69, 71, 72, 74, 78, 74, 72, 60, 64, 67, 69]
    assert notes.duration[[0, 2, 5, 6, 7, 8, 11, -1]].tolist() == [
        *(480, 160, 480, 360, 120, 960, 1440, 2880)  # no swing, and a tie over the bar line
    ]
    assert set(notes.velocity.tolist()) == {80}
    assert notes.tempo_qpm.round(2).tolist() == [90.0]
    assert meters(notes) == [
        *((0, 1, 4), (1, 4, 4), (5, 3, 4), (11, 4, 4), (15, 3, 4)),
    ]
    assert notes.end == 24 * 480
    labels = notes.labels
    assert (labels.song, labels.key.tolist()) == ("A Test, The", [21])  # dorian: A minor
    assert (labels.chord_tick / 480).tolist() == [0, 1, 5, 11, 15, 18]
    assert labels.chord.tolist() == [21, 57, 7, 57, 7, NO_CHORD]


def test_a_line_of_abc_may_begin_with_a_note_and_a_bar_line(tmp_path):
    notes = read(tmp_path, "X:1\nM:2/4\nL:1/4\nK:C\nCD|E\nF:|\nA:\n", "a.abc")
    assert notes.pitch.tolist() == [60, 62, 64, 65] * 2


def test_abc_voices_drums_and_dynamics(tmp_path):
    tune = """X:1
M:4/4
L:1/4
K:C
V:1
%%MIDI program 40
z2 !f!FG-|G4|z4|
V:2
%%MIDI channel 10
B,,B,, D,2|B,,4 & x2D,2|B,,4|
"""
    notes = read(tmp_path, tune, "a.ABC")
    assert rows(notes) == [
        *((0, 47, 1), (1, 47, 1), (2, 65, 1), (2, 50, 2)),
        *((3, 67, 5), (4, 47, 4), (6, 50, 2), (8, 47, 4)),
    ]
    assert notes.program[notes.track[~notes.is_drum]].tolist() == [40, 40]
    assert notes.pitch[notes.is_drum].tolist() == [47, 47, 50, 47, 50, 47]
    assert notes.velocity[~notes.is_drum].min() > 85
    assert meters(notes) == [(0, 4, 4)]


def test_books_of_tunes(tmp_path):
    book = "%abc-2.1\nL:1/4\nM:3/4\n\nX:7\nT:One\nK:C\nCDE|\n\nX:9\nT:Two\nM:2/4\nK:D\nFA|\n\n"
    with pytest.raises(UserError, match=r"holds 2 tunes: name one, from .*b\.abc#1 to .*abc#2"):
        read(tmp_path, book, "b.abc")
    path = tmp_path / "b.abc"
    one, two = score.read_tunes(path)
    assert (rows(one), meters(one)) == ([(0, 60, 1), (1, 62, 1), (2, 64, 1)], [(0, 3, 4)])
    assert (rows(two), meters(two)) == ([(0, 66, 1), (1, 69, 1)], [(0, 2, 4)])
    assert score.tune_names(path) == [f"{path}#1", f"{path}#2"]
    assert score.read_notes(f"{path}#2").labels.song == "Two"
    for number in (0, 3):
        with pytest.raises(UserError, match=f"holds 2 tunes: there is no number {number}"):
            score.read_notes(f"{path}#{number}")
    (tmp_path / "one.abc").write_text("T:No number\nK:C\nC4|")
    assert score.tune_names(tmp_path / "one.abc") == [str(tmp_path / "one.abc")]
    assert len(score.read_notes(tmp_path / "one.abc")) == 1


def test_every_real_score_is_read_or_refused(music):
    refused = {}
    for path in sorted((music / "scores" / SUITE).glob("*.*")):
        if path.suffix in (".xml", ".mxl"):
            try:
                notes = score.read_notes(path)
                assert notes.end >= (notes.onset + notes.duration).max()
            except UserError as error:
                refused[path.stem[:3]] = str(error)
    assert set(refused) == {"41g", "41h", "51b", "51c", "51d"}
    assert all("holds no notes" in reason for reason in refused.values())
    suite = {p.stem[:3]: p for p in (music / "scores" / SUITE).glob("*.*ml")}
    assert score.read_notes(suite["72a"]).program.tolist() == [56, 0, 0]
    assert rows(score.read_notes(suite["45b"]))[-1][0] == 16  # five bars of four, with a repeat


def test_tunes_are_those_of_the_midi_files(music):
    from jaxmusic._src.formats.midi import read_notes

    # The MIDI files were made by another program, which starts them with a whole bar.
    for book, number in (("jigs", 5), ("waltzes", 1), ("reelsd-g", 4), ("ashover", 2)):
        tune = score.read_notes(f"{music}/scores/{BOOKS}/{book}.abc#{number}")
        midi = read_notes(music / "nottingham" / "MIDI" / f"{book}{number}.mid")
        melody = midi.track == 0
        onset = midi.onset[melody] * 480 / midi.ticks_per_beat
        assert midi.pitch[melody].tolist() == tune.pitch.tolist()
        np.testing.assert_allclose(onset - onset[0], tune.onset - tune.onset[0], atol=3)


@pytest.mark.parametrize(
    "fields",
    ["K:none\n", "K:C\n", "K:C\nCDEF|\nK: clef=treble\n"],
    ids=["no key", "key", "clef alone"],
)
def test_a_field_that_names_no_key_loses_nothing(tmp_path, fields):
    tune = f'X:1\nT:t\nM:4/4\nL:1/4\n{fields}"G"CDEF|"Am"CDEF|\n'
    notes = read(tmp_path, tune.encode(), "a.abc")
    bars = 2 + fields.count("|")
    assert len(notes) == 4 * bars and notes.end == bars * 4 * 480
    assert notes.meters == [(0, 4, 4)] or list(notes.meters) == [(0, 4, 4)]
    assert notes.labels.chord.tolist() == [7, 21]
    assert notes.labels.chord_tick.tolist() == [(bars - 2) * 1920, (bars - 1) * 1920]


@pytest.mark.parametrize(
    "fields, quarters",
    [("L:1/8\nQ:240", 120), ("L:1/4\nQ:90", 90), ("M:2/4\nQ:240", 60), ("Q:1/4=90", 90)],
)
def test_an_old_tempo_counts_notes_of_the_unit_length(tmp_path, fields, quarters):
    notes = read(tmp_path, f"X:1\nT:t\n{fields}\nK:C\nCDEF|\n".encode(), "a.abc")
    assert notes.tempo_qpm.tolist() == pytest.approx([quarters], abs=0.01)


@pytest.mark.parametrize(
    "container",
    [
        "<container",
        "",
        '<container><rootfile full-path="none.xml"/></container>',
        '<container><rootfile full-path="page.pdf" media-type="application/pdf"/>'
        '<rootfile full-path="score.xml"/></container>',
        "<container>" + " " * 2**21 + "</container>",
    ],
    ids=["broken", "empty", "another file", "page first", "huge"],
)
def test_a_container_that_names_no_score_is_passed_over(tmp_path, container):
    with zipfile.ZipFile(tmp_path / "a.mxl", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("META-INF/container.xml", container)
        archive.writestr("page.pdf", "%PDF")
        archive.writestr("score.xml", document(measures(note("C4", 4))))
    assert rows(score.read_notes(tmp_path / "a.mxl")) == [(0, 60, 4)]


SIGN = '<attributes><measure-style><measure-repeat type="start">1</measure-repeat>'
SIGN += "</measure-style></attributes>"
REPEAT = '<barline><repeat direction="backward" times="{}"/></barline>'
LARGE = {
    "tags": lambda: "<score-partwise>" + "<a/>" * 10_000_000,
    "attributes": lambda: "<score-partwise " + 'a="" ' * 10_000_001 + "/>",
    "20,000 bars": lambda: document("<measure/>" * 20_001),
    "1,000,000 notes": lambda: document(measures(note("C4", "1") * 200 + REPEAT.format(19_999))),
    "000,000 notes": lambda: document(measures(note("C4") * 200 + SIGN, *[""] * 6_000)),
    "notes and signs": lambda: (
        "<score-timewise>"
        + "".join(f'<measure><part id="{i}"/></measure>' for i in range(2_000))
        + "</score-timewise>"
    ),
}


@pytest.mark.parametrize("says", LARGE)
def test_what_would_fill_the_memory_is_refused(tmp_path, says):
    with zipfile.ZipFile(tmp_path / "a.mxl", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.xml", LARGE[says]())
    tracemalloc.start()
    with pytest.raises(UserError, match=says):
        score.read_notes(tmp_path / "a.mxl")
    assert tracemalloc.get_traced_memory()[1] < 200 * 2**20
    tracemalloc.stop()


def test_members_of_archives_unpack_to_what_they_state(tmp_path):
    def written(text, **options):
        with zipfile.ZipFile(tmp_path / "a.mxl", "w", **options) as archive:
            archive.writestr("a.xml", text)
        return (tmp_path / "a.mxl").read_bytes()

    good = document(measures(note("C4", 4)))
    assert rows(read(tmp_path, written(good, compression=zipfile.ZIP_DEFLATED), "a.mxl"))
    # The size that a header states may be a lie.
    lying = written(good + " " * 2**24, compression=zipfile.ZIP_DEFLATED)
    size = (len(good) + 2**24).to_bytes(4, "little")
    tracemalloc.start()
    with pytest.raises(UserError):
        read(tmp_path, lying.replace(size, (64).to_bytes(4, "little")), "a.mxl")
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()
    with pytest.raises(UserError, match="packed in a way"):
        read(tmp_path, written(good, compression=zipfile.ZIP_LZMA), "a.mxl")
    with zipfile.ZipFile(tmp_path / "a.mxl", "w") as archive:
        for i in range(10_001):
            archive.writestr(f"{i}.xml", "")
    with pytest.raises(UserError, match="10,000 files"):
        score.read_notes(tmp_path / "a.mxl")


def test_signs_for_bars_again_are_played(tmp_path):
    def sign(kind, bars=""):
        style = f'<measure-repeat type="{kind}">{bars}</measure-repeat>'
        return f"<attributes><measure-style>{style}</measure-style></attributes>"

    def pitches(*bars):
        return read(tmp_path, document(measures(*bars)).encode()).pitch.tolist()

    c, d, e = (note(name, 4) for name in ("C4", "D4", "E4"))
    assert pitches(c, sign("start", 1), "", sign("stop") + d) == [60, 60, 60, 62]
    assert pitches(c, d, sign("start", 2), "", sign("stop") + e) == [60, 62, 60, 62, 64]
    assert pitches(c, sign("start", 1) + d, sign("stop")) == [60, 62]  # written out after all


def septuplet():
    """Seven notes whose rounded durations are longer than their bar."""
    return "".join(note("C4", 69) for _ in range(7))


@pytest.mark.parametrize(
    ("bars", "expected"),
    [
        pytest.param(
            [septuplet(), note("G4", 480)],
            [*((i * 69, 60) for i in range(7)), (480, 67)],
            id="septuplets that are rounded up",
        ),
        pytest.param(
            ["".join(note("E4", 159) for _ in range(3)), note("G4", 480)],
            [(0, 64), (159, 64), (318, 64), (480, 67)],
            id="triplets that are rounded down",
        ),
        pytest.param(
            [note("C4", 480) + "<note><grace/><chord/><pitch><step>B</step><octave>4</octave>"
             "</pitch></note>", note("D4", 480)],
            [(0, 60), (480, 62)],
            id="grace notes",
        ),
        pytest.param(
            [note("C4", 480) + "<direction><direction-type><words>D.C.</words></direction-type>"
             "</direction>"],
            [(0, 60)],
            id="words alone",
        ),
    ],
)  # fmt: skip
def test_bars_begin_where_they_should(tmp_path, bars, expected):
    one = "<time><beats>1</beats><beat-type>4</beat-type></time>"
    text = document(measures(*bars, four=one)).replace("<divisions>1<", "<divisions>480<")
    notes = read(tmp_path, text)
    assert list(zip(notes.onset.tolist(), notes.pitch.tolist())) == expected


def test_documents_say_their_encoding(tmp_path):
    text = '<?xml version="1.0" encoding="ISO-8859-1"?>' + document(
        measures(note("C4", 4)), head="<work><work-title>Fr\xe8re</work-title></work>"
    )
    assert read(tmp_path, text.encode("latin-1")).labels.song == "Fr\xe8re"


@pytest.mark.parametrize(
    ("fields", "pitches", "quarters"),
    [
        pytest.param("Q:1/4=90\nK:C\n^C4-|C4|C4|", [61, 60], 90, id="accidental over a tie"),
        pytest.param(
            "Q:1/4=90\nV:1\nV:2\nK:C\nV:1\n[K:D]CDEF|\nV:2\n[K:D]cdef|",
            [61, 73, 62, 74, 64, 76, 66, 78],
            90,
            id="keys of voices",
        ),
        pytest.param("Q:1/4=90\nP:AAB\nK:C\nP:A\nC4|\nP:B\nD4|", [60, 60, 62], 90, id="parts"),
        pytest.param("Q:3/8=80\nK:C\nC>D", [60, 62], 120, id="dotted quarters"),
        pytest.param("T:Fr\xe8re\nQ:1/4=90\nK:C\nC4|", [60], 90, id="Latin-1"),
    ],
)
def test_dialects_of_abc(tmp_path, fields, pitches, quarters):
    notes = read(tmp_path, f"X:1\nM:4/4\nL:1/4\n{fields}\n".encode("latin-1"), "a.abc")
    assert notes.pitch.tolist() == pitches
    assert notes.tempo_qpm.tolist() == pytest.approx([quarters], abs=0.01)
