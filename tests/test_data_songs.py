"""Songs: versions are found whatever was done to them, and different songs stay apart."""

import data_music
import numpy as np
import pytest
import strategies
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxmusic._src.data import near_duplicates, songs
from jaxmusic._src.data.songs import LEFT_OUT, assign
from jaxmusic._src.formats.midi import read_notes
from jaxmusic._src.music import beats
from jaxmusic._src.music.notes import make_notes

SEEDS = st.integers(0, 2**32 - 1)


def group(pieces, names=None):
    """Songs as small numbers, in the order in which they first come."""
    found = songs.group(
        [f"{i:016}" for i in range(len(pieces))],
        [songs.signature(p) for p in pieces],
        names or [""] * len(pieces),
    )
    return [list(dict.fromkeys(found)).index(name) for name in found]


def encoded(notes, ticks=480, speed=1.0, order=None, velocity=lambda v: v, track=None):
    """A piece in another file: ticks per beat, tempo, order of tracks, loudness, one track."""
    order = np.arange(len(notes.program)) if order is None else np.asarray(order)
    keep = np.ones(len(notes), bool) if track is None else notes.track == track
    scale = ticks / notes.ticks_per_beat
    onset = np.rint(notes.onset * scale).astype(int)
    return make_notes(
        onset[keep],
        np.rint((notes.onset + notes.duration) * scale).astype(int)[keep] - onset[keep],
        notes.pitch[keep],
        velocity(notes.velocity.astype(int))[keep],
        np.argsort(order)[notes.track][keep],
        program=notes.program[order],
        drum=notes.drum[order],
        tempos=((0, float(notes.tempo_qpm[0]) * speed),),
        ticks_per_beat=ticks,
    )


def joined(*parts):
    """Tracks of several pieces, (piece, track) each, as one piece."""
    chosen = [(p, p.track == t) for p, t in parts]
    columns = [
        np.concatenate([getattr(p, name)[rows] for p, rows in chosen])
        for name in ("onset", "duration", "pitch", "velocity")
    ]
    track = np.repeat(np.arange(len(chosen)), [rows.sum() for _, rows in chosen])
    return make_notes(*columns, track, program=[0] * len(chosen), drum=[False] * len(chosen))


def transposed(notes, semitones):
    pitch = notes.pitch.astype(int) + semitones * ~notes.is_drum
    assert pitch.min() >= 0 and pitch.max() < 128
    return notes.replace(pitch=pitch.astype(np.uint8))


@pytest.mark.quick
@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(-20, 20))
def test_transposition_changes_no_signature(seed, semitones):
    notes = strategies.random_notes(seed, count=150)
    notes = notes.replace(pitch=notes.pitch // 2 + 30)
    moved = transposed(notes, semitones)
    assert np.array_equal(songs.signature(moved), songs.signature(notes))
    pitched = bool((~notes.is_drum).any()) and semitones != 0
    assert (songs.content(moved) != songs.content(notes)) == pitched


@pytest.mark.quick
@settings(max_examples=40, deadline=None)
@given(SEEDS, st.permutations(range(5)))
def test_order_of_tracks_and_loudness_change_nothing(seed, order):
    notes = strategies.random_notes(seed, count=200, tracks=5)
    other = encoded(notes, order=order, velocity=lambda v: v // 4 * 4 + 1)
    assert songs.content(other) == songs.content(notes)
    assert np.array_equal(songs.signature(other), songs.signature(notes))


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.sampled_from(data_music.TICKS), st.floats(0.8, 1.25))
def test_ticks_and_tempo_change_nothing(seed, ticks, speed):
    notes = data_music.tune(seed, bars=12)
    other, _ = beats.align(encoded(notes, ticks, speed))
    assert songs.content(other) == songs.content(notes)
    assert np.array_equal(songs.signature(other), songs.signature(notes))


@pytest.mark.quick
def test_a_signature_has_at_most_eight_kibibytes_and_ascends():
    signature = songs.signature(data_music.tune(0, bars=400))
    assert signature.dtype == np.uint64 and signature.nbytes == 8 * songs.SIZE == 8192
    assert (signature[1:] > signature[:-1]).all()
    assert len(songs.signature(make_notes([], [], [], [], []))) == 0


def test_altered_copies_are_found_and_nothing_else():
    rng = np.random.default_rng(0)
    tunes = [data_music.tune(i, bars=32) for i in range(24)]
    copies = [
        beats.align(data_music.altered(notes, rng, drop))[0]
        for notes, drop in zip(tunes, ("notes", "track") * 12)
    ]
    # A tune that lost its melody has two tracks of chance that repeat nothing left: see below.
    kept = [i for i, c in enumerate(copies) if 0 in c.track]
    assert len(kept) > 16
    found = group([*tunes, *(copies[i] for i in kept)])
    assert found == [*range(24), *kept]


def test_a_melody_is_found_in_any_arrangement():
    one, two = data_music.tune(0, bars=32), data_music.tune(1, bars=32)
    alone = joined((one, 0))
    inner = joined((two, 1), (one, 0))  # the melody of one with the chords of two
    chords = joined((one, 1), (two, 0))  # the chords of one with the melody of two
    assert group([one, two, alone, inner, chords]) == [0, 1, 0, 0, 1]


def test_versions_that_share_one_track_each_with_another_are_no_chain():
    tunes = [data_music.tune(i, bars=32, drums=False) for i in range(30)]
    links = [joined((a, 0), (b, 1)) for a, b in zip(tunes, [*tunes[1:], tunes[0]])]
    assert group(links) == list(range(30))
    vamp = transposed(data_music.tune(99, bars=8), -24)
    assert group([joined((t, 0), (vamp, 0)) for t in tunes]) == list(range(30))


def test_many_versions_of_a_song_are_one_song():
    rng = np.random.default_rng(0)
    tune, other = data_music.tune(0, bars=40), data_music.tune(1, bars=40)
    versions = [beats.align(data_music.altered(tune, rng, "notes"))[0] for _ in range(60)]
    assert group([other, *versions[:30], tune, *versions[30:]]) == [0] + [1] * 61


@pytest.mark.quick
def test_drums_alone_are_known_by_their_places():
    beat = [0, 2, 4, 6] * 8
    first = np.arange(32) * 240

    def loop(onset, pitch):
        return make_notes(onset, [60] * 32, pitch, [90] * 32, [0] * 32, drum=[True])

    one = loop(first, [36 + b for b in beat])
    two = loop(first, [36 + b for b in np.roll(beat, 1)])
    late = loop(first + 480 + np.arange(32) % 3 * 5, [36 + b for b in beat])
    assert songs.content(one) == songs.content(late) != songs.content(two)
    assert len(songs.signature(one)) == 0
    assert group([one, two, late]) == [0, 1, 2]  # copies are the builder's to leave out


@pytest.mark.quick
def test_names_join_and_do_not_part():
    """The same music under two titles must not be in two splits."""
    tune, other = (data_music.tune(seed, bars=40) for seed in (0, 1))
    assert group([tune] * 4, ["x", "", "y", ""]) == [0, 0, 0, 0]
    assert group([tune, other], ["x", "x"]) == [0, 0]
    assert group([tune, other], ["x", "y"]) == [0, 1]


def chance(rng, count):
    return np.unique(rng.integers(0, 2**64, count, dtype=np.uint64))


def test_a_small_piece_is_found_in_a_large_one_by_full_sketches():
    rng = np.random.default_rng(0)
    large = chance(rng, 15_000)
    small = np.sort(rng.permutation(large)[:600])
    signatures = [large[:1024], small, chance(rng, 600)]
    assert songs.group(["a", "b", "c"], signatures, [""] * 3) == ["a", "a", "c"]


def test_what_is_found_does_not_depend_on_the_size_of_batches(monkeypatch):
    rng = np.random.default_rng(0)
    common = chance(rng, 3000)
    signatures, source = [], []
    for i in range(300):
        half = signatures[i // 2][::2] if i % 3 == 2 else common[:0]
        source.append(source[i // 2] if i % 3 == 2 else i)
        mine = [half, rng.choice(common, 60), chance(rng, 140)]
        signatures.append(np.unique(np.concatenate(mine)))
    contents = [str(i) for i in range(300)]
    whole = songs.group(contents, signatures, [""] * 300)
    assert whole == [str(i) for i in source]
    monkeypatch.setattr(near_duplicates, "_BATCH", 2000)
    assert len(near_duplicates.HashIndex(signatures, songs.SIZE)._parts) > 20
    assert songs.group(contents, signatures, [""] * 300) == whole


def test_common_hashes_lose_weight_by_songs_and_not_by_pieces():
    numbers = np.arange(100, dtype=np.uint64) << np.uint64(40)
    pieces = [np.sort(np.append(numbers[10 * i : 10 * i + 10], numbers[90:])) for i in range(6)]
    index = near_duplicates.HashIndex(pieces, songs.SIZE)
    alike = np.array([[0, 1], [1, 2]])  # and so one song in the list of those that share a hash
    index.weigh(alike)
    assert index.weight.reshape(6, 20).tolist() == [[1.0] * 10 + [0.5] * 10] * 6
    every = np.stack(np.triu_indices(6, 1), axis=1)
    index.weigh(every)
    assert (index.weight == 1).all()


def test_known_versions_among_real_pieces(music):
    numbers = ["017", "018", "101", "103", "262", "805", "492", "666"]
    numbers += [f"{i:03}" for i in range(300, 330) if i != 0]
    files = [music / "pop909" / "POP909" / n / f"{n}.mid" for n in numbers]
    files += [music / "mutopia" / "midi" / f"{n}.mid" for n in ("ae289d84", "c7ebe71f", "6daad2ca")]
    piano = music / "piano_midi_de" / "midis"
    files += [piano / "Beethoven" / f"{n}.mid" for n in ("mond_1", "beethoven_opus10_3")]
    files += [piano / "Chopin" / f"chpn-p{n}.mid" for n in (22, 20)]
    pieces = [beats.align(read_notes(f))[0] for f in files if f.exists()]
    found = group(pieces)
    assert found[:8] == [0, 0, 1, 1, 2, 2, 3, 3]
    popular = len(pieces) - 7
    assert found[8:popular] == list(range(4, popular - 4))
    a, b, c = found[popular : popular + 3]
    assert found[popular + 3 :] == [a, b, c, c + 1]


@pytest.mark.quick
def test_official_splits_stay_and_twins_of_their_pieces_are_left_out():
    names = ["a", "a", "b", "b", "c", "c", "d", "e", "e"]
    official = ["train", "test", "validation", "", "test", "validation", "train", "train", ""]
    assert assign(names, 0.0, 0.0, official) == [
        *(LEFT_OUT, "test"),
        *("validation", LEFT_OUT),
        *("test", LEFT_OUT),
        *("train", "train", "train"),
    ]


def test_pieces_without_an_official_split_are_hashed_as_ever():
    names = [f"song {i}" for i in range(1000)]
    alone = assign(names, 0.05, 0.1, [""] * 1000)
    assert assign([*names, "x"], 0.05, 0.1, [""] * 1000 + ["test"]) == [*alone, "test"]
    assert assign(["a", "b"], 0.5, 0.0, ["train", "train"]) == ["train", "train"]


@pytest.mark.parametrize(("validation", "test"), [(0.0, 1.0), (1.0, 0.0), (0.3, 0.7)])
def test_shares_that_add_up_to_one_leave_no_training_split(validation, test):
    names = [f"song {i}" for i in range(50)]
    found = set(assign(names, validation, test, [""] * 50))
    assert found == {n for n, x in (("validation", validation), ("test", test)) if x}


@pytest.mark.quick
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_song_is_ever_in_two_splits(data):
    size = data.draw(st.integers(1, 40))
    names = data.draw(st.lists(st.sampled_from("abcdefgh"), min_size=size, max_size=size))
    kinds = st.sampled_from(("", "train", "validation", "test"))
    official = data.draw(st.lists(kinds, min_size=size, max_size=size))
    split = assign(names, 0.2, 0.2, official)
    for song in set(names):
        assert len({s for n, s in zip(names, split) if n == song} - {LEFT_OUT}) == 1
    for mine, given_ in zip(split, official):
        assert given_ != "test" or mine == "test"
        assert mine != "train" or given_ in ("", "train")
