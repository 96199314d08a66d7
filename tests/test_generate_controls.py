"""Controls: what people type becomes numbers, and what is asked for holds whatever a model says."""

import pathlib
import re

import composed
import jax
import numpy as np
import pytest
import toys

from jaxmusic import config
from jaxmusic._src.codecs.metrical.codec import MetricalCodec
from jaxmusic._src.codecs.performance.codec import PerformanceCodec
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.formats.instruments import Heard
from jaxmusic._src.generate import chords, controls, form, instruments
from jaxmusic._src.generate.controls import read
from jaxmusic._src.generate.guidance import Branch
from jaxmusic._src.music import meters
from jaxmusic._src.music.controls import density_level, of
from jaxmusic._src.music.harmony import key_of_chords
from jaxmusic._src.music.notes import CHORD_COUNT, CHORD_TONES, NO_CHORD, SECTIONS
from jaxmusic._src.music.roles import ROLES

CODEC = MetricalCodec()
PERFORMANCE = PerformanceCodec()


def requested(codec=CODEC, normalised=False, styles=None, **asked):
    return read(config.Controls(**asked), codec, normalised, styles)


def refusal(codec=CODEC, **asked):
    with pytest.raises(UserError) as caught:
        requested(codec, **asked)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


# What people type.


@pytest.mark.quick
@pytest.mark.parametrize(
    "text, key",
    (
        *(("C", 0), ("Bb major", 10), ("F# minor", 18), ("Am", 21), ("a minor", 21), ("c", 0)),
        *(("bb", 10), ("bm", 23), ("E♭", 3), ("F♯m", 18), ("C sharp minor", 13), ("E flat", 3)),
        *(("Cb", 11), ("B#", 0), ("Gbb", 5), ("G maj", 7), ("D min", 14), ("CM", 0)),
    ),
)
def test_keys(text, key):
    assert requested(key=text).key == key


@pytest.mark.quick
@pytest.mark.parametrize("text", ("Es", "H", "C dur", "Cmm", "major", "C/E", "Dorian"))
def test_what_is_no_key_is_refused(text):
    assert "is not a key: write C" in refusal(key=text)


@pytest.mark.quick
def test_chords():
    maj, minor, seven, maj7, min7, dim, sus = range(0, 84, 12)
    for text, number in (
        *(("C", maj), ("Am", minor + 9), ("G/B", maj + 7), ("Bb", maj + 10), ("F#m7", min7 + 6)),
        *(("E-", minor + 4), ("E-7", min7 + 4), ("AbΔ", maj7 + 8), ("CM7", maj7), ("B°", dim + 11)),
        *(("Cmaj9", maj7), ("G13", seven + 7), ("Gsus4", sus + 7), ("G7sus4", sus + 7)),
        *(("C6", maj), ("C6/9", maj), ("Cadd9/E", maj), ("Dm7b5", dim + 2), ("D♭", maj + 1)),
        *(("N.C.", NO_CHORD), ("NC", NO_CHORD), ("Dm7/G", min7 + 2), ("E7#9", seven + 4)),
        *(("Caug", 84), ("C+", 84), ("Csus2", 96), ("C5", 108), ("F#5", 108 + 6)),
    ):
        assert chords.read_chord(text)[0] == number, text
    assert [chords.read_chord(c)[1] for c in ("C", "C/E", "G/B", "Dm7/G")] == [-1, 4, 4, 5]
    for text in ("H", "c", "C/H", "Cfoo", "C/", "C/x", "7", "C11", ""):
        with pytest.raises(UserError, match="is not understood: write a root"):
            chords.read_chord(text)


@pytest.mark.quick
def test_progressions():
    assert requested(chords="C G/B Am F").chords == (0, 0, 7, 7, 21, 21, 5, 5)
    assert requested(chords="C, G").chords == (0, 0, 7, 7)
    assert requested(chords="| C | G Am || F |").chords == (0, 0, 7, 21, 5, 5)
    assert requested(chords="Dm7 | G7 | Cmaj7").chords == (50, 50, 31, 31, 36, 36)
    assert "bar 1 of" in refusal(chords="C G Am | F") and "'Xm'" in refusal(chords="C Xm")
    assert "holds no chords" in refusal(chords="C | | F")
    assert "holds no chord" in refusal(chords="N.C. N.C.")
    assert "holds no chord" in refusal(chords=",")


@pytest.mark.quick
@pytest.mark.parametrize(
    "text, key",
    (
        *(("C G/B Am F", 0), ("Dm7 G7 Cmaj7", 0), ("Am Dm E7 Am", 21), ("G D Em C", 7)),
        *(("Bb F | Gm Eb", 10), ("F#m D A E", 9), ("Em Am B7 Em", 16), ("C", 0)),
    ),
)
def test_key_of_a_progression(text, key):
    progression = np.resize(chords.read_progression(text)[0], 64)
    assert key_of_chords(progression) == key
    moved = of("chord").transpose(progression, 3)
    assert key_of_chords(moved) == of("key").transpose(np.array(key), 3)


@pytest.mark.quick
def test_tones_are_chord_tones_and_diatonic_notes_above_them():
    tones = chords.fitting_tones(0, True)
    assert np.flatnonzero(tones[0]).tolist() == [0, 2, 4, 7, 9]  # C: no fourth over it
    assert np.flatnonzero(tones[16]).tolist() == [4, 7, 9, 11]  # Em: F sharp is not of the key
    assert np.flatnonzero(tones[NO_CHORD]).tolist() == list(chords.SCALES[0])
    for chord in range(CHORD_COUNT):
        assert tones[chord, (chord + np.array(CHORD_TONES[chord // 12])) % 12].all()
    assert (chords.fitting_tones(21, False) == chords.scale(21)).all()
    assert not chords.scale(21)[[10, 1, 3]].any() and chords.scale(21)[[6, 8]].all()


@pytest.mark.quick
@pytest.mark.parametrize(
    "text, counts, programs",
    (
        ("bass", {33: 5, 38: 40}, [38]),  # heard most
        ("piano, bass", {0: 500}, [0, 33]),  # none of them heard
        ("3 guitars", {24: 30, 26: 20, 27: 2}, [24, 24, 26]),  # then next to most, none rare
        ("strings as melody, piano as chords", {41: 9, 44: 80, 1: 60}, [1, 44]),
        ("no guitar", {0: 500}, None),
    ),
)
def test_of_a_family_the_programs_heard_most_come_first(text, counts, programs):
    band = instruments.with_usual(instruments.read(text), Heard(500, counts))
    assert (band.slots and [p for slot in band.slots for p in slot]) == programs
    if " as " in text:
        assert [ROLES[role] for role in band.roles] == ["chords", "melody"]
    assert instruments.with_usual(instruments.read(text), Heard()) == instruments.read(text)


@pytest.mark.quick
@pytest.mark.parametrize(
    "text, heard, rare",
    (
        ("piano, bass, drums", Heard(900, {0: 900, 33: 8}), ["Fingered Bass (8)", "drums (0)"]),
        ("piano", Heard(900, {0: 900}), []),
        ("no drums", Heard(900, {0: 900}), []),
        ("flute", Heard(1_000_000, {73: 100}), []),
        ("flute", Heard(1_000_000, {73: 99}), ["Flute (99)"]),
        ("flute", Heard(20, {73: 1}), []),
        ("flute, drums", Heard(), []),  # not known
    ),
)
def test_instruments_that_a_model_has_hardly_heard_are_named(recwarn, text, heard, rare):
    band = instruments.with_usual(instruments.read(text), heard)
    instruments.check(band, heard, strict=False)
    said = " ".join(str(warning.message) for warning in recwarn)
    assert all(name in said for name in rare) and len(recwarn) == bool(rare)
    if rare or (not heard.pieces and band.slots):
        with pytest.raises(UserError, match=re.escape(rare[0]) if rare else "does not know"):
            instruments.check(band, heard, strict=True)
    else:
        instruments.check(band, heard, strict=True)


@pytest.mark.quick
def test_instruments():
    def slots(text):
        band = requested(instruments=text).band
        return [sorted(s) for s in band.slots], band.drums

    assert slots("Violin, DRUMS") == ([[40]], True)
    assert slots("bass,acoustic grand piano") == ([[0], list(range(32, 40))], False)
    assert slots("2 violins, flute") == ([[40], [40], [73]], False)
    assert slots("piano, no drums") == ([[0, 1, 2, 3]], False)
    assert slots("drums") == ([], True)
    assert slots("saxophones")[0] == [[64, 65, 66, 67]]
    assert slots("string ensemble, honky tonk piano")[0] == [[3], [48, 49]]
    assert slots("strings, no violin")[0] == [[41, 42, 43, 44, 45, 48, 49, 50, 51]]
    free = requested(instruments="no drums").band
    assert free.slots is None and free.drums is False and not free.without
    free = requested(instruments="no guitar").band
    assert free.slots is None and free.drums is None and free.without == frozenset(range(24, 32))
    assert "did you mean" in refusal(instruments="pianoo") and "violin" in refusal(
        instruments="violon"
    )
    assert "15 instruments" in refusal(instruments="16 pianos")
    assert "leave one out" in refusal(instruments="drums, no drums")
    assert "leaves no instrument" in refusal(instruments="violin, no strings, no violin")
    assert "missing" in refusal(instruments="piano,,bass")
    # What has programs that can ascend stands in that order.
    for text in ("strings, cello", "keys, piano, harpsichord", "electric bass, bass, upright bass"):
        tops = [max(s) for s in requested(instruments=text).band.slots]
        assert tops == sorted(tops)
    for number, name in enumerate(instruments.GM_PROGRAMS):
        assert number in instruments.NAMES[name.lower().replace("-", " ")]


@pytest.mark.quick
def test_forms():
    assert form.read_form("intro2 verse3").sections == (0, 0, 1, 1, 1)
    assert form.read_form("Refrain1, middle8:2 coda1").sections == (2, 3, 3, 4)
    letters = form.read_form("intro1 A2 b1 A1")
    assert letters.sections == (0, -1, -1, -1, -1) and letters.phrases == (-1, 0, 0, 9, 0)
    assert form.read_energy("1 8 2 3", letters) == (0, 7, 7, 1, 2)
    for text in ("1 2", "0 1 2 3", "1 2 3 9"):
        with pytest.raises(UserError, match="from 1 to 8"):
            form.read_energy(text, letters)
    assert "verse is nearest" in refusal(form="pre-chorus4")
    assert "there are intro, verse" in refusal(form="polka8")
    for text in ("verse", "verse0", "8", "verse 8"):
        assert "intro4 verse8" in refusal(form=text)
    assert "4096" in refusal(form="verse4000 verse4000")


@pytest.mark.quick
def test_styles_and_mixes():
    assert (requested(style="pop").styles, requested(style="pop").mix) == (("pop",), ())
    mixed = requested(style="pop=3 jazz=1")
    assert mixed.styles == ("pop", "jazz") and mixed.mix == (0.75, 0.25)
    assert requested(style="pop jazz").mix == (0.5, 0.5)
    assert "choose from pop, rock" in refusal(style="zydeco")
    for text in ("pop=0", "pop=-1", "pop=x", "=2", "pop=nan"):
        assert "above 0" in refusal(style=text)
    assert "twice" in refusal(style="pop pop=2")
    with pytest.raises(UserError, match="choose from folk"):
        requested(style="pop", styles=("folk",))


@pytest.mark.quick
@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("slip jig", ("slip jig",)),
        (" Slip-Jig ", ("slip jig",)),
        ("slip_jig=2 reel", ("slip jig", "reel")),
        ("jig slip-jig", ("jig", "slip jig")),
    ],
)
def test_styles_with_spaces_in_their_names(text, names):
    known = ("reel", "jig", "slip jig")
    asked = requested(CODEC.with_styles(known), style=text, styles=known)
    assert asked.styles == names and len(asked.mix) == (len(names) if len(names) > 1 else 0)


def test_names_of_styles_in_errors_can_be_asked_for():
    with pytest.raises(UserError, match="choose from slip-jig"):
        requested(style="slip", styles=("slip jig",))
    with pytest.raises(UserError, match="twice"):
        requested(style="slip-jig slip_jig", styles=("slip jig",))


@pytest.mark.quick
def test_numbers_out_of_range_are_refused():
    assert "37 to 245" in refusal(tempo=30.0) and "not nan" in refusal(tempo=float("nan"))
    assert "3/4" in refusal(meter="7/9") and "5/4" in refusal(meter="four")
    assert "density" in refusal(density=-1.0) and "density" in refusal(density=1e3)
    for guidance in (0.5, 11.0, float("nan")):
        assert "guidance must be 1 to 10" in refusal(guidance=guidance, key="C")
    assert "nothing to go towards" in refusal(guidance=2.0, tempo=100.0)
    assert "nothing to keep" in refusal(strict=True, style="pop")
    assert "1 bar or more" in refusal(duration="0 bars")
    assert requested(meter="6/8").meter == 3 and requested(density=2.0).density == 3


@pytest.mark.quick
def test_lengths():
    assert requested().seconds == 180.0 and requested(duration=20).seconds == 20.0
    assert requested(duration="1:00:00").seconds == 3600.0
    bars = requested(duration="90 bars")
    assert bars.seconds is None and bars.bars == 90
    assert requested(form="verse8 chorus8").bars == 16 and requested(form="verse8").seconds is None
    both = requested(form="verse45 chorus45", duration="3:00", tempo=120.0, meter="4/4")
    assert (both.seconds, both.bars) == (180.0, 90)
    assert requested(form="verse8", duration="8 bars").bars == 8
    assert "leave one out" in refusal(form="verse8", duration="9 bars")
    said = refusal(form="verse8 chorus8", duration="3:00", tempo=120.0)
    for part in ("form", "tempo", "duration", "90 bars", "32 seconds", "4/4"):
        assert part in said
    said = refusal(form="verse80", duration="3:00", tempo=120.0, meter="4/4")
    assert "tempo 106.7" in said
    said = refusal(form="verse2", duration="3:00")
    assert "28 to 183 bars" in said and "tempo of 37 to 245" in said
    assert "seconds" in refusal(duration="99999 bars")
    assert "too short" in refusal(duration="1", tempo=37.0)


@pytest.mark.quick
def test_the_performance_codec_says_what_it_does_not_have():
    for name, value in (
        *(("key", "C"), ("tempo", 90.0), ("meter", "4/4"), ("density", 2.0), ("chords", "C")),
        *(("instruments", "piano"), ("form", "verse8"), ("strict", True)),
    ):
        assert f"no {name} control" in refusal(PERFORMANCE, **{name: value})
    assert "no bars" in refusal(PERFORMANCE, duration="8 bars")
    asked = requested(PERFORMANCE, style="classical", duration="1:00", guidance=2.0)
    assert asked.branches == (Branch(2.0), Branch(-1.0, frozenset({"styles"})))


@pytest.mark.quick
def test_views():
    assert requested(style="pop", tempo=90.0).branches == (Branch(),)
    asked = requested(style="pop=3 jazz=1", key="C", chords="C F", guidance=3.0)
    drop = frozenset({"styles", "key", "chords"})
    assert asked.branches == (
        Branch(2.25, styles=("pop",)),
        Branch(0.75, styles=("jazz",)),
        Branch(-2.0, drop),
    )
    asked = requested(style="pop jazz", density=1.0, form="verse8")
    assert asked.branches == (Branch(0.5, styles=("pop",)), Branch(0.5, styles=("jazz",)))
    assert asked.learned == {"styles", "density", "sections"}


@pytest.mark.quick
def test_a_model_of_one_key_is_asked_in_it():
    asked = requested(normalised=True, key="D", chords="D A Bm G")
    assert (asked.key, asked.semitones) == (0, 2)
    assert asked.chords == requested(chords="C G Am F").chords
    asked = requested(normalised=True, key="Em")
    assert (asked.key, asked.semitones) == (21, -5)
    asked = requested(normalised=True, chords="Bb F Gm Eb")
    assert (asked.key, asked.semitones) == (-1, -2) and asked.chords[0] == 0
    assert requested(normalised=True).semitones == requested(key="D").semitones == 0


@pytest.mark.quick
def test_the_tables_of_the_documentation_are_complete():
    text = (pathlib.Path(__file__).parents[1] / "docs" / "controls.md").read_text("utf-8")
    for name in (*instruments.SHORT_NAMES, *instruments.DRUM_NAMES):
        assert f"`{name}`" in text, name
    for spellings in chords.SPELLINGS.values():
        for spelling in spellings.split("|"):
            assert f"`C{spelling}`" in text, spelling
    for num, den in meters.METERS:
        assert f"{num}/{den}" in text


# What holds by construction: a model that gives each kind of token the same probability.


@pytest.fixture(scope="module", params=("metrical", "fused"))
def composer(request):
    return toys.flat_composer(request.param)


def made(composer, seed=0, normalised=False, **asked):
    """Four pieces with all that was asked, as they were composed and decoded, and their planner."""
    planner = composer.planner(requested(composer.codec, normalised, **asked))
    sampling = config.Sampling(top_p=1.0, repeats=0)
    pieces = composer.compose(planner, seed, 4, sampling)
    return [(piece, composed.check(piece, planner)) for piece in pieces], planner


ASKED = (
    {"duration": "0:10"},
    {"duration": "1 bars", "instruments": "2 violins, cello, bass, drums", "chords": "C | G Am"},
    {"duration": "12 bars", "tempo": 93.7, "meter": "3/4", "chords": "C F | G Am", "key": "C"},
    {"duration": "50 bars", "instruments": "piano, bass, drums", "style": "pop", "chords": "C F G"},
    {"duration": "0:17.3", "tempo": 101.0, "meter": "6/8", "density": 3.0, "chords": "Am Dm E7"},
    {"form": "intro2 verse4 chorus5 outro1", "chords": "C G/B Am F", "instruments": "no drums"},
    {"form": "verse8 chorus8 verse8 chorus8", "duration": "1:00", "key": "Bb", "tempo": 128.0},
    {"duration": "0:20", "instruments": "drums", "chords": "C | F G", "meter": "5/4"},
    {"duration": "5 bars", "instruments": "15 pianos, drums", "meter": "4/4"},
    {
        "duration": "8 bars",
        "instruments": "no guitar, no bass",
        "meter": "1/16",
        "chords": "C | F G",
    },
    {"style": "pop=2 jazz=1", "duration": "0:30", "density": 1.0, "form": "verse16"},
    {"duration": "7 bars", "key": "F# minor", "meter": "5/8"},
    {"duration": "3 bars", "key": "A", "strict": True, "density": 1.0, "instruments": "3 pianos"},
    {"duration": "2 bars", "key": "Eb", "ending": False},
)


@pytest.mark.parametrize("asked", ASKED, ids=lambda asked: " ".join(asked))
def test_what_is_asked_holds_whatever_the_model_says(composer, asked):
    made(composer, **asked)


def test_programs_compile_once(composer):
    """What is asked for is values of arrays, whose shapes do not depend on it."""
    plans = [composer.planner(requested(composer.codec, **asked)).begin(2)[1] for asked in ASKED]
    assert len({str(jax.tree.map(lambda x: (x.shape, x.dtype), plan)) for plan in plans}) == 1


def test_transposing_what_a_model_of_one_key_wrote(composer):
    asked = {"duration": "4 bars", "key": "D", "chords": "D A", "instruments": "piano"}
    ((whole, piece), *_), _ = made(composer, 3, normalised=True, **asked)
    notes = whole.notes
    assert notes.labels.key.tolist() == [2] and notes.labels.chord.tolist()[:2] == [2, 9]
    assert np.array_equal(np.sort(notes.pitch), np.sort(piece.transpose(2).pitch)) and len(piece)


@pytest.mark.parametrize("strict", (True, False))
def test_strict_chords(composer, strict):
    """All notes go with the chord, and those of pieces that are not strict do not by chance."""
    asked = {"duration": "12 bars", "chords": "C G | Am F", "meter": "4/4"}
    pieces, planner = made(composer, **asked, instruments="2 pianos, drums", strict=strict)
    tones = chords.fitting_tones(0, True)
    assert not strict or np.array_equal(controls.fitting_tones(planner.request), tones)
    for _, piece in pieces:
        pitched = piece.pitched
        chord = piece.chord[composed.half_of(piece, piece.onset[pitched])]
        fits = tones[chord, piece.pitch[pitched] % 12]
        assert fits.all() if strict else fits.mean() < 0.9
        assert pitched.any()


def test_strict_key(composer):
    for _, piece in made(composer, duration="6 bars", key="F# minor", strict=True)[0]:
        assert chords.scale(18)[piece.pitch[piece.pitched] % 12].all()


@pytest.mark.parametrize(
    "notes, meter", ((0.25, "1/4"), (0.7, "1/4"), (1.0, "4/4"), (2.0, "4/4"), (3.0, "4/4"))
)
def test_strict_density(composer, notes, meter):
    """Bars of one quarter hold more notes by chance than is asked for, long ones fewer."""
    bars = {"1/4": "48 bars", "4/4": "24 bars"}[meter]
    asked = {"density": notes, "strict": True, "meter": meter, "instruments": "piano"}
    for _, piece in made(composer, duration=bars, **asked)[0]:
        assert density_level(len(piece) / piece.quarters) == density_level(notes)


def test_what_is_not_asked_is_drawn(composer):
    pieces = [piece for seed in (0, 1) for _, piece in made(composer, seed, duration="2 bars")[0]]
    for name in ("meter", "tempo", "programs"):
        assert len({getattr(p, name).tobytes() for p in pieces}) > 1
    assert any(p.section.max() >= 0 for p in pieces) and len(SECTIONS) == 5
