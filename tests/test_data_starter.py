"""Tests the starter corpus: the file holds what the example composes, and labels are true."""

import collections
import hashlib

import numpy as np
import pytest
from data_music import fields

from examples.starter import file
from examples.starter.songs import compose
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.data import starter
from jaxmusic._src.music.notes import CHORD_QUALITIES, CHORD_TONES, SECTIONS, TICKS_PER_BEAT

MAJOR = np.array([0, 2, 4, 5, 7, 9, 11])


@pytest.fixture(scope="module")
def songs():
    return list(starter.corpus())


def chord_at(song, ticks):
    return song.labels.chord[np.searchsorted(song.labels.chord_tick, ticks, side="right") - 1]


def in_chord(song):
    """Whether each note is a tone of the chord that its label names."""
    tones = np.zeros((len(CHORD_QUALITIES), 12), bool)
    for quality, semitones in enumerate(CHORD_TONES):
        tones[quality, list(semitones)] = True
    chord = chord_at(song, song.onset).astype(int)
    return tones[chord // 12, (song.pitch - chord) % 12]


@pytest.mark.quick
@pytest.mark.parametrize("index", [0, 7, 42, 399])
def test_the_file_holds_what_the_example_composes(index):
    (song,) = starter.corpus(1, first=index)
    assert song.labels.song == f"starter-{index:04d}"
    assert fields(song) == fields(compose(index))


@pytest.mark.quick
def test_a_seed_gives_the_same_song_in_every_version():
    (song,) = starter.corpus(1, first=42)
    columns = (song.onset, song.duration, song.pitch, song.velocity, song.track, song.labels.chord)
    whole = b"".join(np.asarray(column, "<i4").tobytes() for column in columns)
    assert hashlib.sha256(whole).hexdigest()[:16] == "326c3b7c55b8f98b"


def test_other_corpora_are_written_and_read(tmp_path):
    seeds = file.seeds(3, seed=2)
    file.write(tmp_path / "more/songs.npz", seeds)
    read = list(starter.corpus(path=tmp_path / "more/songs.npz"))
    assert [fields(song) for song in read] == [fields(compose(seed)) for seed in seeds]
    assert not set(seeds) & set(file.seeds(1_000_000, seed=1))
    for count, seed in ((0, 0), (1_000_001, 0), (1, -1)):
        with pytest.raises(UserError):
            file.seeds(count, seed)


@pytest.mark.quick
def test_songs_are_chosen_by_count_and_first(songs):
    assert len(songs) == 400
    assert [song.labels.song for song in starter.corpus(2, first=9)] == [
        song.labels.song for song in songs[9:11]
    ]
    assert list(starter.corpus(0)) == []
    for count, first in ((401, 0), (2, 399), (-1, 0), (1, -1)):
        with pytest.raises(UserError):
            starter.corpus(count, first)
    with np.load(starter.SHIPPED) as shipped:
        assert "Apache" in str(shipped["notice"])


def test_songs_are_varied(songs):
    assert len({song.pitch[:200].tobytes() for song in songs}) == len(songs)
    styles = collections.Counter(song.labels.styles for song in songs)
    assert set(styles) == {("pop",), ("rock",), ("ballad",)}
    assert {k % 24 for song in songs for k in song.labels.key.tolist()} == set(range(24))
    assert len({float(song.tempo_qpm[0]) for song in songs}) > 50
    meters = {(int(song.meter_num[0]), int(song.meter_den[0])) for song in songs}
    assert meters == {(4, 4), (3, 4), (6, 8)}
    seconds = [float(song.seconds(song.end)) for song in songs]
    assert min(seconds) >= 90 and max(seconds) <= 240
    assert len({tuple(song.labels.section.tolist()) for song in songs}) >= 8


def test_notes_are_well_formed_and_labels_are_true(songs):
    for song in songs[:100]:
        assert set(song.track) == set(range(len(song.program)))
        assert 20 <= song.velocity.min() <= song.velocity.max() <= 124
        labels, pitched, inside = song.labels, ~song.is_drum, in_chord(song)
        assert inside[pitched].mean() > 0.8
        bar = TICKS_PER_BEAT * 4 * int(song.meter_num[0]) // int(song.meter_den[0])
        strong = (song.track == 0) & ((song.duration >= 480) | (song.onset % bar == 0))
        assert inside[strong].all()
        ticks = np.append(labels.key_tick, song.end)
        for key, first, last in zip(labels.key.tolist(), ticks, ticks[1:]):
            here = (song.onset >= first) & (song.onset < last) & pitched
            scale = (key + (3 if key >= 12 else 0) + MAJOR) % 12
            assert np.isin(song.pitch[here] % 12, scale).mean() > 0.85
        names = [SECTIONS[k] for k in labels.section]
        assert names[-1] == "outro" and {"verse", "chorus"} <= set(names)
        assert not (np.append(labels.section_tick, song.end) % bar).any()
        last = song.onset >= song.end - bar
        key, chord = int(labels.key[-1]), int(labels.chord[-1])
        assert chord % 12 == key % 12
        assert CHORD_QUALITIES[chord // 12] == ("min" if key >= 12 else "maj")
        assert set(song.onset[last]) == {song.end - bar} and (song.duration[last] == bar).all()
        assert inside[last & pitched].all()
