"""The starter corpus: stable, varied, and true to its own labels."""

import collections
import hashlib
import subprocess
import sys

import numpy as np
import pytest

from jaxmusic.core.errors import UserError
from jaxmusic.data import starter
from jaxmusic.music.notes import CHORD_COUNT, CHORD_QUALITIES, NO_CHORD, SECTIONS, TICKS_PER_BEAT

STEP = TICKS_PER_BEAT // 12
TONES = {"maj": (0, 4, 7), "min": (0, 3, 7), "7": (0, 4, 7, 10), "maj7": (0, 4, 7, 11)}
TONES |= {"min7": (0, 3, 7, 10), "dim": (0, 3, 6), "sus4": (0, 5, 7)}
IN_CHORD = np.zeros((CHORD_COUNT, 12), bool)
for number in range(NO_CHORD):
    IN_CHORD[number, [(number + t) % 12 for t in TONES[CHORD_QUALITIES[number // 12]]]] = True
MAJOR = np.array([0, 2, 4, 5, 7, 9, 11])
GOLDEN = "b89905efeacad39c"


@pytest.fixture(scope="module")
def songs():
    return list(starter.corpus(200))


def digest(song):
    columns = ("onset", "duration", "pitch", "velocity", "track", "program", "drum", "tempo_qpm")
    labels = ("key_tick", "key", "chord_tick", "chord", "section_tick", "section")
    whole = hashlib.sha256()
    for column in [getattr(song, c) for c in columns] + [getattr(song.labels, c) for c in labels]:
        whole.update(np.asarray(column, "<f8").tobytes())
    return whole.hexdigest()[:16]


def bar_ticks(song):
    return TICKS_PER_BEAT * 4 * int(song.meter_num[0]) // int(song.meter_den[0])


def chord_at(song, ticks):
    return song.labels.chord[np.searchsorted(song.labels.chord_tick, ticks, side="right") - 1]


def pitched_track(song, k):
    return song.pitch[song.track == k].astype(int)


@pytest.mark.quick
def test_a_seed_is_a_song_for_ever():
    song = starter.compose(42)
    assert song.labels.song == "starter-0042"
    assert digest(song) == GOLDEN
    assert digest(starter.compose(42)) == GOLDEN


def test_hash_seed_does_not_matter():
    code = (
        "import hashlib\nfrom jaxmusic.data import starter\n"
        "s = starter.compose(7)\nprint(hashlib.sha256(s.onset.tobytes() + s.pitch.tobytes()"
        " + s.velocity.tobytes() + s.program.tobytes()).hexdigest())"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1


@pytest.mark.quick
def test_corpora():
    one = [digest(s) for s in starter.corpus(5, seed=1)]
    assert one == [digest(starter.compose(1_000_000 + i)) for i in range(5)]
    assert not set(one) & {digest(s) for s in starter.corpus(5, seed=0)}
    assert list(starter.corpus(0)) == []
    with pytest.raises(UserError, match="seed"):
        starter.compose(-1)
    with pytest.raises(UserError, match="songs"):
        starter.corpus(-1)


def test_all_songs_differ(songs):
    assert len({digest(s) for s in songs}) == len(songs)
    assert len({s.labels.song for s in songs}) == len(songs)
    openings = {tuple(s.pitch[: len(s) // 10].tolist()) for s in songs}
    assert len(openings) == len(songs)


def test_variety(songs):
    styles = collections.Counter(s.labels.styles[0] for s in songs)
    assert set(styles) == {"pop", "rock", "ballad"}
    assert 0.5 < styles["pop"] / len(songs) < 0.7
    assert {k % 24 for s in songs for k in s.labels.key.tolist()} == set(range(24))
    tempos = np.array([s.tempo_qpm[0] for s in songs])
    assert tempos.min() >= 70 and tempos.max() <= 160 and len(np.unique(tempos)) > 50
    meters = collections.Counter((int(s.meter_num[0]), int(s.meter_den[0])) for s in songs)
    assert set(meters) == {(4, 4), (3, 4), (6, 8)} and meters[4, 4] > 0.7 * len(songs)
    seconds = np.array([float(s.seconds(s.end)) for s in songs])
    assert seconds.min() >= 90 and seconds.max() <= 240 and seconds.std() > 25
    assert 0.5 < np.mean((seconds > 120) & (seconds < 210)) < 0.9
    assert 1500 < np.median([len(s) for s in songs]) < 3500
    assert 0 < sum(not s.drum.any() for s in songs) < 50
    assert 0 < sum(len(s.labels.key) > 1 for s in songs) < 60
    assert len({tuple(s.labels.section.tolist()) for s in songs}) >= 8


def test_grid_and_swing(songs):
    swung = 0
    for song in songs:
        for ticks in (song.onset, song.duration, song.labels.chord_tick, np.array(song.end)):
            assert not (ticks % STEP).any()
        places = np.bincount(song.onset % TICKS_PER_BEAT // STEP, minlength=12)
        swung += bool(places[8] > places[6])
    assert 0.02 < swung / len(songs) < 0.25


def test_notes_are_well_formed(songs):
    for song in songs:
        assert song.ticks_per_beat == TICKS_PER_BEAT
        assert 3 <= len(song.program) <= 6 and set(song.track) == set(range(len(song.program)))
        assert song.duration.min() >= 1 and song.velocity.min() >= 1 and song.velocity.max() <= 127
        assert (song.onset + song.duration).max() <= song.end
        order = np.lexsort((song.onset, song.pitch, song.track))
        onset, pitch, track = song.onset[order], song.pitch[order], song.track[order]
        same = (pitch[1:] == pitch[:-1]) & (track[1:] == track[:-1])
        assert not (same & (onset[1:] < (onset + song.duration[order])[:-1])).any()


def test_ranges(songs):
    for song in songs:
        drums, bass = song.drum, (song.program >= 32) & (song.program < 40) & ~song.drum
        assert bass.sum() == 1 and drums.sum() <= 1
        for k in range(len(drums)):
            low, high = (27, 87) if drums[k] else (28, 52) if bass[k] else (48, 76)
            low, high = (60, 84) if k == 0 else (low, high)
            pitch = pitched_track(song, k)
            assert low <= pitch.min() and pitch.max() <= high


def test_chord_labels_are_true(songs):
    for song in songs:
        labels, pitched = song.labels, ~song.is_drum
        assert labels.chord_tick[0] == 0 and (np.diff(labels.chord_tick) > 0).all()
        assert (labels.chord < NO_CHORD).all() and (np.diff(labels.chord.astype(int)) != 0).all()
        inside = IN_CHORD[chord_at(song, song.onset), song.pitch % 12]
        assert inside[pitched].mean() > 0.8
        span = np.searchsorted(labels.chord_tick, song.onset, side="right")[pitched]
        length = song.duration[pitched].astype(float)
        size = len(labels.chord) + 1
        whole = np.bincount(span, length, minlength=size)[1:]
        good = np.bincount(span, length * inside[pitched], minlength=size)[1:]
        assert (whole > 0).all() and (good / whole > 0.5).all()


def test_melody_agrees_with_the_chords(songs):
    for song in songs:
        strong = (song.duration >= TICKS_PER_BEAT) | (song.onset % bar_ticks(song) == 0)
        strong &= song.track == 0
        inside = IN_CHORD[chord_at(song, song.onset), song.pitch % 12]
        assert inside[strong].all()
        melody = np.diff(pitched_track(song, 0))
        assert np.mean(np.abs(melody) <= 4) > 0.7


def test_key_labels_are_true(songs):
    entropies = []
    for song in songs:
        ticks = np.append(song.labels.key_tick, song.end)
        for key, first, last in zip(song.labels.key.tolist(), ticks, ticks[1:]):
            here = (song.onset >= first) & (song.onset < last) & ~song.is_drum
            count = np.bincount(song.pitch[here] % 12, minlength=12) / here.sum()
            scale = (key + (3 if key >= 12 else 0) + MAJOR) % 12
            assert count[scale].sum() > 0.85
        if len(ticks) == 2:
            entropies.append(-np.sum(count[count > 0] * np.log2(count[count > 0])))
    assert 2.6 < np.mean(entropies) < 3.0


def test_sections(songs):
    for song in songs:
        labels = song.labels
        names = [SECTIONS[k] for k in labels.section]
        assert not (labels.section_tick % bar_ticks(song)).any() and labels.section_tick[0] == 0
        assert (np.diff(labels.section_tick) > 0).all()
        assert names[-1] == "outro" and {"verse", "chorus"} <= set(names)
        assert set(labels.key_tick.tolist()) <= set(labels.section_tick.tolist())
        assert song.end % bar_ticks(song) == 0


def test_choruses_repeat(songs):
    """The melody and chords of a song's choruses are alike up to a change of key."""
    compared = 0
    for song in songs:
        ticks = np.append(song.labels.section_tick, song.end)
        tunes = []
        for k in np.flatnonzero(song.labels.section == SECTIONS.index("chorus")):
            here = (song.track == 0) & (song.onset >= ticks[k]) & (song.onset < ticks[k + 1])
            moved = song.labels.key[song.labels.key_tick <= ticks[k]][-1] % 12
            tonic = song.labels.key[0] % 12
            tune = song.pitch[here].astype(int) - (int(moved) - int(tonic)) % 12
            tunes.append((song.onset[here] - ticks[k]).tolist() + tune.tolist())
        assert all(tune == tunes[0] for tune in tunes)
        compared += len(tunes) - 1
    assert compared > 200


def test_endings(songs):
    for song in songs:
        bar = bar_ticks(song)
        last = song.onset >= song.end - bar
        key, chord = int(song.labels.key[-1]), int(song.labels.chord[-1])
        assert chord % 12 == key % 12
        assert CHORD_QUALITIES[chord // 12] == ("min" if key >= 12 else "maj")
        assert song.onset[0] < bar and last.any()
        assert set(song.onset[last]) == {song.end - bar}
        assert (song.duration[last] == bar).all()
        assert set(song.track[last]) == set(range(len(song.program)))
        assert IN_CHORD[chord, song.pitch[last & ~song.is_drum] % 12].all()


def test_loudness(songs):
    """Choruses are louder than verses; tones of one chord differ by a few units of touch."""
    for song in songs:
        where = np.searchsorted(song.labels.section_tick, song.onset, side="right") - 1
        section, melody = song.labels.section[where], song.track == 0
        mean = [song.velocity[melody & (section == k)].mean() for k in (1, 2)]
        assert mean[1] > mean[0] + 2
        together = (np.diff(song.onset) == 0) & (np.diff(song.track) == 0) & ~song.is_drum[1:]
        touch = np.abs(np.diff(song.velocity.astype(int)))[together]
        assert touch.max() <= 6 and np.mean(touch > 0) > 0.6
