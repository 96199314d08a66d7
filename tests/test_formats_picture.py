"""Piano rolls: every note is drawn where a musician looks for it."""

import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgba

from jaxmusic._src.formats import picture
from jaxmusic._src.formats.chord_line import chord_line
from jaxmusic._src.formats.instruments import DRUMS, GM_PROGRAMS, drum_name, track_names
from jaxmusic._src.formats.layout import bars_of, lay_out
from jaxmusic._src.formats.midi import read_notes
from jaxmusic._src.music.notes import Labels, make_notes


def piece(bars=8, **fields):
    """A bass in quarters, a flute a bar each, and a kick and a snare drum."""
    beats = np.arange(4 * bars)
    rows = [(480 * i, 240, 36 + i % 3, 90, 0) for i in beats]
    rows += [(1920 * i, 1920, 76, 60, 1) for i in range(bars)]
    rows += [(480 * i, 60, 36 if i % 2 == 0 else 38, 100, 2) for i in beats]
    return make_notes(*zip(*rows), program=[33, 73, 0], drum=[False, False, True], **fields)


def boxes(axes):
    """(colour, corners) of every note and drum hit that is drawn."""
    out = []
    for collection in axes.collections:
        if isinstance(collection, PolyCollection) and collection.get_zorder() == 3:
            for path, colour in zip(collection.get_paths(), collection.get_facecolors()):
                (left, low), (right, high) = path.vertices.min(axis=0), path.vertices.max(axis=0)
                out.append((tuple(colour), left, right, low, high))
    return out


def words(axes):
    return [text.get_text() for text in axes.texts]


def test_every_note_is_drawn_at_its_place_in_its_colour():
    notes = piece()
    (axes,) = picture._figure(notes, "").axes
    drawn = boxes(axes)
    assert len(drawn) == len(notes)
    flute = [d for d in drawn if d[0][:3] == to_rgba(picture.COLOURS[1])[:3]]
    assert sorted(left for _, left, *_ in flute) == [1920 * i for i in range(8)]
    assert all(76 < low < high < 77 for *_, low, high in flute)
    # The bass is louder, hence stronger.
    bass = next(d for d in drawn if d[0][:3] == to_rgba(picture.COLOURS[0])[:3])
    assert bass[0][3] > flute[0][0][3]
    layout = lay_out(notes)
    rows = {round((low + high) / 2, 3) for *_, low, high in drawn if high <= layout.low}
    assert rows == {round(layout.drum_row(name), 3) for name in ("kick", "snare")}


def test_axes_are_labelled_in_bars_octaves_drums_and_seconds():
    figure = picture._figure(piece(), "A title")
    (axes,) = figure.axes
    assert [t.get_text() for t in axes.get_xticklabels()] == [str(k) for k in range(1, 9)]
    assert axes.get_xticks().tolist() == [1920 * k for k in range(8)]
    said = [t.get_text() for t in axes.get_yticklabels()]
    assert said == ["kick", "snare", "C2", "C3", "C4", "C5"]
    (top,) = axes.child_axes
    assert [t.get_text() for t in top.get_xticklabels()][:2] == ["0:00", "0:02"]
    assert top.get_xticks()[1] == 1920  # two seconds at 120
    assert [t.get_text() for t in figure.legends[0].get_texts()] == [
        *("Fingered Bass", "Flute", "Drums")
    ]
    assert figure.texts[0].get_text() == "A title"
    assert figure.texts[1].get_text() == "♩ = 120  ·  4/4  ·  8 bars  ·  0:16  ·  72 notes"


def triads(*roots, ticks_per_beat=480):
    """A bar of each of these major triads, in halves."""
    half = 2 * ticks_per_beat
    rows = [
        (half * i, half, 48 + roots[i // 2] + step, 80, 0)
        for i in range(2 * len(roots))
        for step in (0, 4, 7, 12)
    ]
    return make_notes(*zip(*rows), ticks_per_beat=ticks_per_beat)


@pytest.mark.parametrize("ticks_per_beat", [480, 220])
def test_chords_that_sound_are_drawn_beside_those_asked_for(ticks_per_beat):
    bar, am, c7, f = 4 * ticks_per_beat, 12 + 9, 24, 5
    notes = triads(0, 5, 7, 0, ticks_per_beat=ticks_per_beat)
    assert chord_line(notes) == [
        (0, "C", ""),
        (bar, "F", ""),
        (2 * bar, "G", ""),
        (3 * bar, "C", ""),
    ]
    asked = Labels.of_changes({"chord": [(0, c7), (bar, am), (2 * bar, 7), (3 * bar, f)]})
    line = chord_line(notes.replace(labels=asked))
    assert line == [(0, "C", ""), (bar, "F", "Am"), (2 * bar, "G", ""), (3 * bar, "C", "F")]
    figure = picture._figure(notes.replace(labels=asked), "")
    assert words(figure.axes[0]) == ["C", "F", "[Am]", "G", "C", "[F]"]
    assert "[asked for]" in figure.texts[0].get_text()


def test_a_melody_alone_and_drums_have_the_chords_of_their_labels():
    labels = Labels.of_changes({"chord": [(0, 0), (1920, 5)]})
    melody = make_notes([0, 1920], [1920] * 2, [60, 65], [80] * 2, [0] * 2)
    for notes in (melody, melody.replace(drum=np.array([True]))):
        assert chord_line(notes) == []
        assert chord_line(notes.replace(labels=labels)) == [(0, "C", ""), (1920, "F", "")]


def test_chords_sections_and_keys_are_written():
    chords = [(0, 12 + 9), (960, 12 + 9), (1920, 5), (1921, 7)]
    lines = {"key": [(0, 12 + 9)], "chord": chords, "section": [(0, 1), (7680, 2)]}
    labels = Labels.of_changes(lines, song="A song")
    melody = make_notes([0, 1920], [1920] * 2, [60, 65], [80] * 2, [0] * 2, end=8 * 1920)
    figure = picture._figure(melody.replace(labels=labels), "")
    assert words(figure.axes[0]) == ["Am", "F", "G", "verse", "chorus"]
    f, g = figure.axes[0].texts[1:3]
    assert g.xyann[1] > f.xyann[1]  # one above the other, where they would collide
    assert figure.texts[0].get_text() == "A song"
    assert figure.texts[1].get_text().startswith("A minor")


def test_long_pieces_go_on_in_the_next_system():
    chords = Labels.of_changes({"chord": [(0, 0)]})
    ticks = 1920 * np.arange(90)
    notes = make_notes(ticks, ticks * 0 + 1920, ticks * 0 + 60, ticks * 0 + 80, ticks * 0)
    figure = picture._figure(notes.replace(labels=chords), "")
    starts = [axes.get_xlim()[0] / 1920 for axes in figure.axes]
    assert starts == [0, 24, 44, 68]
    assert [words(axes) for axes in figure.axes] == [["C"]] * 4
    tops = [axes.get_position().y1 for axes in figure.axes]
    assert tops == sorted(tops, reverse=True)


@pytest.mark.quick
def test_bars_follow_the_meters():
    notes = make_notes([0], [9000], [60], [64], [0], meters=((0, 3, 4), (2880, 6, 8), (5760, 4, 4)))
    bar, meter = bars_of(notes)
    assert bar.tolist() == [0, 1440, 2880, 4320, 5760, 7680, 9000]
    assert meter == [(3, 4)] * 2 + [(6, 8)] * 2 + [(4, 4)] * 2
    figure = picture._figure(notes, "")
    assert words(figure.axes[0]) == ["6\n8", "4\n4"]


@pytest.mark.parametrize(
    "notes",
    [
        make_notes([], [], [], [], [], program=[], drum=[]),
        make_notes([0], [1], [127], [1], [0]),
        make_notes([0, 480], [60] * 2, [36, 120], [9, 127], [0] * 2, drum=[True]),
        make_notes([0], [4000], [0], [64], [0], ticks_per_beat=24, meters=((0, 1, 128),)),
    ],
    ids=["nothing", "one note", "drums alone", "tiny bars"],
)
def test_anything_can_be_drawn(notes):
    assert picture.encoded(notes, title="title").startswith(b"\x89PNG")


def test_real_music_can_be_drawn(music):
    assert len(picture.encoded(read_notes(music / "multitrack_pop" / "Funkytown.mid"))) > 50_000


@pytest.mark.quick
def test_instruments_have_names():
    assert len(GM_PROGRAMS) == len(set(GM_PROGRAMS)) == 128
    # Numbers as General MIDI counts them, from 1, less one.
    known = {0: "Acoustic Grand Piano", 24: "Nylon Guitar", 33: "Fingered Bass", 40: "Violin"}
    known |= {56: "Trumpet", 73: "Flute", 80: "Square Lead", 104: "Sitar", 127: "Gunshot"}
    assert {program: GM_PROGRAMS[program] for program in known} == known
    pitches = [pitch for _, group in DRUMS for pitch in group]
    assert len(pitches) == len(set(pitches)) and set(range(35, 82)) <= set(pitches)
    assert (drum_name(36), drum_name(38), drum_name(42), drum_name(1)) == (
        *("kick", "snare", "hi-hat", "other"),
    )
    notes = make_notes([], [], [], [], [], [0, 33, 0, 0], [False, False, False, True])
    assert track_names(notes) == [
        *("Acoustic Grand Piano (1)", "Fingered Bass", "Acoustic Grand Piano (2)", "Drums")
    ]
