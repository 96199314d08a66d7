"""Bars as people count them: in tasks, pictures and scores, beside those that the music has."""

import os
import pathlib
import warnings

import numpy as np
import pytest

from jaxmusic._src.core.errors import UserError
from jaxmusic._src.formats import files
from jaxmusic._src.music import bar_count
from jaxmusic._src.music.meters import bars_of, first_number
from jaxmusic._src.music.notes import make_notes

pytestmark = pytest.mark.quick
TICKS = 220


def band(meter=(4, 4), lead=0, late=0, bars=16):
    """Bars of 4/4 with a bass note, a backbeat and chords, in a file that says something else.

    Args:
      meter: that of the file.
      lead: silent quarters before the music. late: ticks by which all notes are late.
    """
    rows = []
    for quarter in range(4 * bars):
        at, beat = (lead + quarter) * TICKS + late, quarter % 4
        rows += [(at, TICKS // 2, 60 + 3 * i + quarter // 4 % 3, 60, 0) for i in range(3)]
        rows += [(at, 2 * TICKS, 36 + 5 * (quarter // 4 % 2), 90, 1)] if beat == 0 else []
        rows += [(at, 20, 36 if beat % 2 == 0 else 38, 100, 2)]
        rows += [(at + TICKS // 2, 20, 42, 70, 2)]
    meters = [(0, *meter)]
    return make_notes(
        *zip(*rows), (0, 33, 0), (False, False, True), [(0, 120)], meters, ticks_per_beat=TICKS
    )


def named(notes, text):
    chosen, remarks = bar_count.count_bars(notes).chosen(text)
    return (np.flatnonzero(chosen) + 1).tolist(), " ".join(remarks)


def test_bars_of_a_file_that_fits_its_music_are_counted_without_a_word():
    assert named(band(), "5-6,9") == ([5, 6, 9], "")
    assert named(band(), "0:08-0:12") == ([5, 6], "")


def test_empty_bars_before_the_music_count():
    """The bar of the first note is found as the first; a sequencer calls it the third."""
    assert named(band(lead=8), "3,7") == ([1, 5], "")
    with pytest.raises(UserError, match="no music is there"):
        named(band(lead=8), "1-2")


def test_half_bars_of_the_file_are_counted_and_rounded_out():
    found, said = named(band((2, 4), late=15), "9-12")
    assert found == [5, 6]
    assert "0:08.0-0:12.0" in said and "in 4/4, the file says 2/4" in said and "round" not in said
    found, said = named(band((2, 4), late=15), "10-11")
    assert found == [5, 6] and "0:09.0-0:11.0" in said and "rounded out to 0:08.0-0:12.0" in said


@pytest.mark.parametrize(("meter", "late"), [((1, 4), 60), ((4, 4), 330), ((3, 4), 15)])
def test_bars_that_the_music_contradicts_are_not_counted(meter, late):
    notes = band(meter, late=late)
    count = bar_count.count_bars(notes)
    assert not count.stated
    found, said = named(notes, "5-6")
    assert found == [5, 6] and "not those of its music (4/4)" in said


def test_music_a_little_late_is_counted_as_the_file_does():
    assert bar_count.count_bars(band(late=15)).stated


def test_the_pick_up_of_a_score_is_bar_0():
    score = make_notes(
        [0, 480, 2400], [480, 1920, 1920], [60, 62, 64], [80] * 3, [0] * 3,
        meters=[(0, 1, 4), (480, 4, 4)],
    )  # fmt: skip
    assert first_number(score) == 0
    assert first_number(band()) == 1
    assert bar_count.count_bars(score).number == 0


@pytest.mark.parametrize(
    ("text", "word"),
    [
        *((text, "does not name bars") for text in ("", "a", "5-", "3.5", "0:10", "1,,2")),
        *((text, "1 to 16") for text in ("0", "17", "9-8", "16-17")),
        ("0:10-0:08", "earlier"),
        ("1:00-2:00", "no music"),
    ],
)
def test_what_names_no_bars(text, word):
    with pytest.raises(UserError, match=word):
        named(band(), text)


def test_a_prompt_is_counted_in_bars_of_the_file():
    count = bar_count.count_bars(band((2, 4), lead=8, late=15))
    assert [count.first(n) for n in (5, 6, 7)] == [1, 1, 2]
    for bars, word in ((2, "no music"), (37, "1 to 36")):
        with pytest.raises(UserError, match=word):
            count.first(bars)


@pytest.mark.parametrize(("meter", "bars"), [((2, 4), 36), ((4, 4), 18), ((1, 4), 16)])
def test_scores_and_pictures_count_the_same_bars(tmp_path, meter, bars):
    given = band(meter, lead=8, late=60 if meter == (1, 4) else 0)
    files.write(given, tmp_path / "song.mid")
    files.convert(tmp_path / "song.mid", tmp_path / "song.musicxml")
    text = (tmp_path / "song.musicxml").read_text()
    assert text.count("<measure ") == 3 * bars  # of three parts
    again = files.read_notes(tmp_path / "song.musicxml")
    drawn = files.counted(files.read_notes(tmp_path / "song.mid"), "x.png")
    assert len(bars_of(drawn)[1]) == bars == len(bars_of(again)[1])
    start = again.seconds(again.onset[0]) - drawn.seconds(drawn.onset[0])
    assert abs(start) < 0.01


def test_real_music(tmp_path):
    if not (root := os.environ.get("JAXMUSIC_DATA")):
        pytest.skip("set JAXMUSIC_DATA to a folder of real music")
    song = pathlib.Path(root) / "pop909" / "POP909" / "001" / "001.mid"
    notes = files.read_notes(song)
    assert named(notes, "9-12")[0] == [5, 6]
    count = bar_count.count_bars(notes)
    assert count.stated and count.meters == ("2/4", "4/4") and count.last == 146
    files.convert(song, tmp_path / "song.musicxml")
    score = files.read_notes(tmp_path / "song.musicxml")
    assert len(bars_of(score)[1]) in (146, 147)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bar_count.as_counted(notes, score=True)
