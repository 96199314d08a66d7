"""Files with the faults of public bug reports are read as their list of right values says."""

import os
import pathlib

import numpy as np
import pytest

from jaxmusic._src.core.errors import UserError
from jaxmusic._src.formats import files
from jaxmusic._src.formats.symbols import chord_symbol

FAULTS = pathlib.Path(os.environ.get("JAXMUSIC_DATA") or "none").parent / "faults"
SCALE = "CDEFGABC"
RIGHT = {
    "m01_zero_length.mid": (42, 21.0, "CCCDEFGABC"),
    "m05_pc_other_track.mid": (40, 10.0, "CCDDEEFFGGAABBCC"),
    **{
        f"{name}.mid": (40, 20.0, SCALE)
        for name in (
            *("m06_pc_mid", "m07_tempo_track2", "m08_den33", "m09_num0", "m10_den64", "m12_cc7_ff"),
            *("m14_riff", "m17_smpte24", "m21_tempo_max", "m30_ntrks_wrong", "m35_long_header"),
            *("m43_tempo_tail", "m45_empty_track_end", "m55_f7_escape"),
        )
    },
    "m14_riff.rmi": (40, 20.0, SCALE),
    "m24_sysex_ff.mid": (40, 20.0208, SCALE),
    "m25_runstat_meta.mid": (22, 10.5, "CDCDEF"),
    "m27_format2.mid": (40, 30.0, SCALE),  # one after the other, the second half as fast
    "m40_drums_gs.mid": (52, 10.0, ""),
    "m41_20tracks.mid": (340, 8.975, ""),
    "m54_ties.mid": (36, 22.5, ""),
    "m56_f7_continued.mid": (40, 20.0104, SCALE),
    "x02_endings_12_3_notimes.musicxml": (6, 12.0, "CDCDCE"),
    "x04_dacapo_brackets.musicxml": (5, 10.0, "CDECF"),
    "x06_dc_al_fine.musicxml": (4, 8.0, "CDEC"),
    "x08_words_only_dc.musicxml": (3, 6.0, "CDE"),  # words alone are not played
    "x09_septuplet_483.musicxml": (8, 2.0, SCALE),
    "x10_triplet_333.musicxml": (97, 18.0, "CDECDE"),
    "x15_grace_chord.musicxml": (3, 2.0, "DFE"),
    "x16_transpose_tenor_sax.musicxml": (2, 4.0, "CD"),
    "x18_drums.musicxml": (4, 2.0, ""),
    "x23_times4.musicxml": (5, 10.0, "CCCCD"),
    "x25_measure_repeat.musicxml": (5, 6.0, "CDCDE"),
    "x27_tempo_ca.musicxml": (1, 2.4, "C"),
    **dict.fromkeys(
        (
            *("x29_latin1.musicxml", "x33_no_container.mxl", "x36_mxl_as_xml.xml"),
            *("x37_container_pdf_first.mxl", "x38_missing_in_container.mxl"),
        ),
        (2, 4.0, "CD"),
    ),
    "x53_minuet_dc_in_movement.musicxml": (10, 20.0, "CDEFGAEFBC"),
    "a01_voice_inline_key.abc": (16, 4.0, ""),
    "a04_mid_meter.abc": (11, 4.5, "CDEFGABCDEF"),
    "a07_broken.abc": (8, 2.0, SCALE),
    "a12_ties.abc": (4, 10.0, ""),
    "a13_latin1.abc": (4, 2.0, "CDEC"),
    "a14_tempo_forms.abc": (6, 1.5, "CDEFGA"),
    "a15_tempo_old.abc": (6, 1.5, "CDEFGA"),
    "a21_score_parts.abc": (16, 8.0, "CCCCCCCCDDDDCCCC"),
    "a31_key_none.abc": (16, 8.0, "CDEFCDEF"),
    "a32_clef_line.abc": (16, 8.0, "CDEFCDEF"),
    "m22_delta_huge.mid": (41, 279640.2656, ""),
}
"""Notes, seconds, and the first pitches of white keys, in the order in which they are read."""
REFUSED = (
    *("m36_div0.mid", "m48_emptyfile.mid", "m49_text.mid", "m50_macbinary.mid"),
    *("x49_nan_dur.musicxml", "x51_opus.xml"),
)
WHITE = dict(zip((0, 2, 4, 5, 7, 9, 11), "CDEFGAB"))


@pytest.fixture(scope="module")
def read():
    if not FAULTS.is_dir():
        pytest.skip(f"there is no folder {FAULTS}")
    return lambda name: files.read_notes(FAULTS / name)


def test_all_are_tried(read):
    named = {path.name for path in FAULTS.iterdir() if not path.name.startswith("README")}
    assert named == {*RIGHT, *REFUSED}


@pytest.mark.parametrize("name", RIGHT)
def test_notes_and_length(read, name):
    count, seconds, pitches = RIGHT[name]
    notes = read(name)
    assert len(notes) == count
    assert float(notes.seconds(notes.end)) == pytest.approx(seconds, abs=1e-4)
    first = notes.pitch[: len(pitches)] % 12
    assert [WHITE[pitch] for pitch in first.tolist()] == list(pitches)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_music_is_refused_in_a_sentence(read, name):
    with pytest.raises(UserError) as error:
        read(name)
    assert str(error.value).count(". ") == 0 and "!" not in str(error.value)


def test_what_else_is_right(read):
    def beats(name):
        notes = read(name)
        return (notes.onset / notes.ticks_per_beat).tolist()

    one = read("m01_zero_length.mid")
    assert one.duration[:2].tolist() == [1, one.ticks_per_beat]
    assert sorted(read("m05_pc_other_track.mid").program.tolist()) == [33, 56]
    halves = read("m06_pc_mid.mid")
    assert halves.program[halves.track].tolist() == [0] * 20 + [40] * 20
    for name, meter in (("m08_den33", (4, 4)), ("m09_num0", (4, 4)), ("m10_den64", (13, 64))):
        assert read(f"{name}.mid").meters == [(0, *meter)]
    assert int(read("m40_drums_gs.mid").is_drum.sum()) == 32
    assert len(np.unique(read("m41_20tracks.mid").track)) == 20
    ties = read("m54_ties.mid")
    tied = (ties.onset == 12 * ties.ticks_per_beat) & (ties.pitch == 60)
    assert ties.duration[tied].tolist() == [ties.ticks_per_beat]
    assert read("m56_f7_continued.mid").onset[0] == 10
    assert read("m22_delta_huge.mid").onset[0] == 268_435_455
    assert beats("x09_septuplet_483.musicxml")[-1] == 2
    assert beats("x10_triplet_333.musicxml")[-1] == 32
    assert sorted(read("x18_drums.musicxml").pitch.tolist()) == [35, 35, 42, 42]
    assert read("x16_transpose_tenor_sax.musicxml").pitch.tolist() == [60, 62]
    voices = read("a01_voice_inline_key.abc").pitch.tolist()
    assert voices == [p for p in (61, 62, 64, 66, 67, 69, 71, 72) for _ in range(2)]
    assert read("a12_ties.abc").pitch.tolist() == [61, 60, 60, 64]
    assert read("a04_mid_meter.abc").meters == [(0, 4, 4), (1920, 3, 4), (3360, 2, 4)]
    for name in ("a31_key_none.abc", "a32_clef_line.abc"):
        chords = read(name).labels.changes("chord")
        assert [chord_symbol(chord) for _, chord in chords] == ["C", "G", "Am", "F"]
        assert [tick for tick, _ in chords] == [0, 1920, 3840, 5760]
