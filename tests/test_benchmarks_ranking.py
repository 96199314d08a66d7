"""The benchmark that ranks impostors, a model and real music."""

import numpy as np
import pytest

from benchmarks import markov, ngram, ranking
from jaxmusic.codecs.metrical import MetricalCodec
from jaxmusic.data import starter
from jaxmusic.evaluate import rhythm, statistics
from jaxmusic.evaluate.distance import Distance
from jaxmusic.music.notes import make_notes

BEAT = 480


@pytest.fixture(scope="module")
def tunes():
    return list(starter.corpus(24))


def rows(notes):
    return sorted(zip(notes.track, notes.pitch, notes.velocity))


@pytest.mark.quick
def test_shuffled_notes_keep_all_but_their_place(tunes):
    for seed, notes in enumerate(tunes[:4]):
        other = ranking.shuffled(notes, np.random.default_rng(seed))
        assert rows(other) == rows(notes) and other.end == notes.end
        assert (other.onset % 40 == 0).all() and (np.diff(other.onset) >= 0).all()
        assert (other.onset + other.duration <= notes.end).all() and other.duration.min() >= 1
        # Anywhere in the song, on any twelfth of a beat.
        assert np.histogram(other.onset, 4, (0, notes.end))[0].min() > len(notes) / 6
        assert len(np.unique(other.onset % BEAT)) == 12


@pytest.mark.quick
def test_random_keys_move_all_notes_of_a_bar_alike_and_drums_not():
    at = np.arange(16) * 2 * BEAT
    columns = np.tile(at, 3), [BEAT] * 48, np.repeat([60, 64, 36], 16), [80] * 48
    notes = make_notes(*columns, np.repeat([0, 0, 1], 16), (0, 0), (False, True))
    other = ranking.random_keys(notes, np.random.default_rng(3))
    assert np.array_equal(other.onset, notes.onset)
    assert (other.pitch[other.is_drum] == 36).all()
    moved = other.pitch[~other.is_drum].reshape(8, 4).astype(int) - [60, 64, 60, 64]
    assert (moved == moved[:, :1]).all()  # two chords in a bar
    assert moved.min() >= -5 and moved.max() <= 6 and len(np.unique(moved)) > 3
    high = ranking.random_keys(notes.replace(pitch=notes.pitch + 62), np.random.default_rng(3))
    assert high.pitch.max() <= 127
    empty = make_notes([], [], [], [], [])
    assert len(ranking.random_keys(empty, np.random.default_rng(0))) == 0
    assert len(ranking.shuffled(empty, np.random.default_rng(0))) == 0


@pytest.mark.quick
def test_what_is_not_defined_or_the_same_has_no_vote():
    one = {"a": Distance(1.0, 0.5, 0.9), "b": Distance(-3.0, None, 0.2), "c": Distance(0, 0, 1.0)}
    other = {"a": Distance(-2.0, 0.1, 0.8), "b": Distance(None, 0.3, 0.5), "c": Distance(0, 0, 1.0)}
    assert ranking.votes(one, other, "overlap", "abc") == (1, 2)
    assert ranking.votes(one, other, "difference", "abc") == (0, 1)
    assert ranking.votes(one, other, "divergence", "abc") == (1, 1)
    assert ranking.votes(one, other, "overlap", "c") == (0, 0)
    assert ranking.in_order(ranking.KEYS, 2, 3) and not ranking.in_order(ranking.REAL, 2, 3)
    assert not ranking.in_order(ranking.KEYS, 1, 2) and not ranking.in_order(ranking.REAL, 1, 2)


def test_spoilt_songs_are_ranked_below_songs(tunes):
    """The two impostors beside songs that differ from the real ones in loudness alone."""
    rng = np.random.default_rng(0)
    real, reference = tunes[:8], tunes[8:]
    pieces = {
        ranking.SHUFFLED: [ranking.shuffled(notes, rng) for notes in real],
        ranking.KEYS: [ranking.random_keys(notes, rng) for notes in real],
        ranking.MARKOV: [ranking.random_keys(ranking.shuffled(n, rng), rng) for n in real],
        ranking.MODEL: [notes.replace(velocity=notes.velocity // 2 + 1) for notes in real],
        ranking.REAL: real,
    }
    measured = {title: statistics.measure_all(those) for title, those in pieces.items()}
    named = ranking.touched(measured[ranking.KEYS], measured[ranking.REAL])
    assert {"pitch_class_entropy", "bar_similarity_4", "structureness_short"} <= set(named)
    rhythms = {"durations", "inter_onsets", "beat_positions", "groove_similarity", "tempo"}
    assert not {*rhythms, "velocity_mean", "notes_per_second"} & set(named)
    louder = ranking.touched(measured[ranking.MODEL], measured[ranking.REAL])
    assert louder == ["velocity_mean", "velocity_range"]
    found = ranking.table(measured, statistics.measure_all(reference), redraws=3)
    cells = {row.cells[0]: row.cells[1:] for row in found}
    assert cells["farther than the model, of all, by overlap"][4] == "0 of 2"
    shares = cells["share of redraws in which that majority is right, of those touched, by overlap"]
    assert shares[:3] == (1.0, 1.0, 1.0) and shares[3] == ""
    assert [row.reached for row in found if row.goal][1] is True
    assert set(statistics.STATISTICS) == {c[9:] for c in cells if c.startswith("overlap: ")}


def test_a_markov_model_composes_valid_pieces_of_the_durations_asked_for(tunes):
    codec = MetricalCodec().with_styles(sorted({s for n in tunes for s in n.labels.styles}))
    tokens = [codec.encode(codec.quantise(notes)[0]) for notes in tunes]
    model = ngram.fit(tokens, codec.vocab_size, markov.ORDER)
    pieces = markov.compose(model, codec, codec.styles[0], [8.0, 20.0], context=256)
    again = markov.compose(model, codec, codec.styles[0], [8.0, 20.0], context=256)
    for notes, other, seconds in zip(pieces, again, (8.0, 20.0)):
        assert float(notes.seconds(notes.end)) == pytest.approx(seconds, abs=1e-3)
        assert np.array_equal(notes.onset, other.onset) and np.array_equal(notes.pitch, other.pitch)
        assert len(rhythm.bars(notes).line) > 2 and len(notes) > 8
    # Notes that were never heard are rare: the pitches are those of the songs.
    heard = {int(p) for notes in tunes for p in notes.pitch}
    assert np.mean([int(p) in heard for p in pieces[1].pitch]) > 0.9
