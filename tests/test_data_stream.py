"""Rows and what is done to pieces on their way into them."""

import dataclasses

import data_music
import numpy as np
import pytest
from data_music import same
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jaxmusic._src.codecs.layout import TASKS
from jaxmusic._src.codecs.metrical.codec import MetricalCodec
from jaxmusic._src.codecs.registry import make_codec
from jaxmusic._src.data import metadata
from jaxmusic._src.data.builder import prepare_pieces
from jaxmusic._src.data.loader import Loader
from jaxmusic._src.music.meters import TEMPOS
from jaxmusic._src.music.notes import Labels, semitones_to_c
from jaxmusic._src.music.piece import DRUM_SLOT
from jaxmusic.config import Codec, Data, Prepare, Tasks

CODEC = MetricalCodec()
OTHERS = (make_codec(Codec(kind="fused")), make_codec(Codec(velocities=32, kind="performance")))
PLAIN = dict(transpose=0, drop_controls=0.0)


def labelled(i):
    """A tune with a key, a chord in every half bar, sections, and changes of tempo and meter.

    The number of the tune is its style, so that a part says where it comes from.
    """
    bars = 6 + 9 * (i % 5)
    notes = data_music.tune(i, bars, styles=(f"tune {i}",))
    rng = np.random.default_rng(i)
    known = int(i % 4 != 3)
    halves = np.arange(0, notes.end, 960, np.int32)
    return notes.replace(
        tempo_tick=np.arange(0, notes.end, 4 * 1920, np.int32),
        tempo_qpm=rng.uniform(60, 180, -(-bars // 4)),
        meter_tick=np.array([0, 3 * 1920], np.int32),
        meter_num=np.array([4, 3], np.uint8),
        meter_den=np.array([4, 4], np.uint8),
        labels=Labels(
            styles=notes.labels.styles,
            key_tick=np.zeros(known, np.int32),
            key=np.full(known, rng.integers(24), np.uint8),
            chord_tick=halves,
            chord=rng.integers(0, 84, len(halves)).astype(np.uint8),
            section_tick=np.array([0, 5 * 1920], np.int32),
            section=np.array([0, 1], np.uint8),
        ),
    )


TUNES = [labelled(i) for i in range(20)]
PIECES = [CODEC.quantise(notes)[0] for notes in TUNES]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("data"))
    options = Prepare(name="tunes", data_dir=folder, validation=0.0, test=0.0, harmony=False)
    prepare_pieces(TUNES, options, progress=False)
    return folder


def load(folder, seed=0, codec=CODEC, **changes):
    data = Data(dataset="tunes", data_dir=folder, context=512, batch=2)
    return Loader(dataclasses.replace(data, **changes), codec, "train", seed)


def parts(loader, rows):
    """Decoded parts of rows, each with the tune that it is from."""
    for g in rows:
        row = loader.row(g)
        for number in range(1, row.segment.max() + 1):
            part, dropped = loader.codec.decode(row.events.token[row.segment == number])
            assert dropped == 0
            yield part, int(part.styles[0].split()[1])


def first_bar(part, whole):
    """Where a part begins in its piece; parts say how many bars are left, exactly up to 63."""
    return whole.bars - part.bars - part.bars_after


def unchanged(part, i):
    """The same bars of the tune that a part is from."""
    start = first_bar(part, PIECES[i])
    return PIECES[i].part(start, start + part.bars)


@pytest.mark.parametrize("context", [200, 512])
def test_each_part_states_what_holds_where_it_begins(folder, context):
    loader = load(folder, context=context, **PLAIN)
    cut = 0
    for part, i in parts(loader, range(2 * loader.rows_per_epoch())):
        whole = PIECES[i]
        start = first_bar(part, whole)
        cut += start > 0
        stop = start + part.bars
        assert (part.bars_before > 0) == (start > 0)
        for name in ("meter", "tempo", "key", "section"):
            assert np.array_equal(getattr(part, name), getattr(whole, name)[start:stop]), name
        assert np.array_equal(part.chord, whole.chord[2 * start : 2 * stop])
        assert np.array_equal(part.programs, whole.programs)
        same = whole.part(start, stop)
        assert np.array_equal(part.onset, same.onset) and np.array_equal(part.pitch, same.pitch)
    assert cut > 20


def test_transposing_moves_keys_and_chords_and_no_drums(folder):
    loader = load(folder, drop_controls=0.0, transpose=5)
    moves = set()
    for part, i in parts(loader, range(3 * loader.rows_per_epoch())):
        same = unchanged(part, i)
        up = part.pitch.astype(int) - same.pitch
        assert np.array_equal(part.slot, same.slot)
        assert not up[part.slot == DRUM_SLOT].any()
        (semitones,) = set(up[part.slot != DRUM_SLOT].tolist())
        moves.add(semitones)
        assert np.array_equal(part.chord % 12, (same.chord + semitones) % 12)
        assert np.array_equal(part.chord // 12, same.chord // 12)
        known = same.key >= 0
        assert np.array_equal(part.key[known] % 12, (same.key[known] + semitones) % 12)
        assert (part.key[~known] == -1).all()
    assert moves == set(range(-5, 6))


def test_pieces_move_to_c_major_and_a_minor(folder, caplog):
    loader = load(folder, normalise=True, **PLAIN)
    assert "5 of the 20 pieces of the train split of tunes:2.0.0 have no key label" in caplog.text
    assert caplog.text.count("no key label") == 1
    for part, i in parts(loader, range(loader.rows_per_epoch())):
        same = unchanged(part, i)
        key = metadata.main_key(TUNES[i])
        up = set((part.pitch.astype(int) - same.pitch)[part.slot != DRUM_SLOT].tolist())
        assert up == ({semitones_to_c(key)} if key >= 0 else {0})
        assert set(part.key.tolist()) == {-1 if key < 0 else 21 if key >= 12 else 0}
        assert np.array_equal(part.pitch[part.slot == 15], same.pitch[same.slot == 15])


def test_tempo_and_loudness_are_scaled_piece_by_piece(folder):
    loader = load(folder, tempo_scale=0.2, velocity_scale=0.5, **PLAIN)
    factors: dict[int, list[float]] = {}
    loudness = []
    for part, i in parts(loader, range(loader.rows_per_epoch())):
        same = unchanged(part, i)
        assert np.array_equal(part.onset, same.onset) and np.array_equal(part.pitch, same.pitch)
        factors.setdefault(i, []).extend(TEMPOS[part.tempo] / TEMPOS[same.tempo])
        loudness.append(np.mean(part.velocity.astype(float) - same.velocity))
    spread = [np.ptp(np.log(f)) for f in factors.values()]
    assert max(spread) < 3 * np.log(1.02)  # one factor for a piece, but for rounding
    means = [np.mean(np.log(f)) for f in factors.values()]
    assert min(means) < -0.06 and max(means) > 0.06
    assert np.abs(means).max() < np.log(1.2) + 0.02
    assert min(loudness) < -0.5 and max(loudness) > 0.5


def test_dropped_tracks_are_gone_and_rows_are_full(folder):
    loader = load(folder, drop_tracks=0.4, **PLAIN)
    rows = 3 * loader.rows_per_epoch()
    programs, fill = [], []
    for g in range(rows):
        fill.append(np.mean(loader.row(g).segment > 0))
    for part, i in parts(loader, range(rows)):
        kept = part.programs[part.programs >= 0].tolist()
        whole = PIECES[i].programs[PIECES[i].programs >= 0].tolist()
        assert kept and all(kept.count(p) <= whole.count(p) for p in kept)
        programs.append(len(kept))
        assert set(part.slot.tolist()) <= set(np.flatnonzero(part.programs >= 0).tolist())
    assert {1, 2, 3} == set(programs)
    assert np.mean(fill) > 0.94  # rows are short here: gaps of a 32nd of them stay


@settings(max_examples=35, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.integers(40, 700),
    st.sampled_from([0.0, 0.5]),
    st.sampled_from([0.0, 0.3]),
    st.sampled_from([0.0, 0.6]),
    st.booleans(),
    st.integers(0, 9),
    st.sampled_from([CODEC, *OTHERS]),
    st.sampled_from([0.0, 0.25]),
)
def test_rows_never_overflow_and_always_decode(
    folder, context, tempo, velocity, tracks, normalise, seed, codec, chance
):
    changes = dict(tempo_scale=tempo, velocity_scale=velocity, drop_tracks=tracks)
    changes |= dict(normalise=normalise, transpose=0 if normalise else 7, drop_controls=0.3)
    if codec.UNIT == "bars":
        changes |= dict(tasks=Tasks(*[chance] * 4))
    loader = load(folder, seed, codec, context=context, **changes)
    again = load(folder, seed, codec, context=context, **changes)
    truncated = loader.streams[0].plan(0).truncated
    first = loader.codec.vocabulary.start.get("task", 10**6)
    for g in (0, 1, 10**7 + seed, loader.rows_per_epoch() - 1, loader.rows_per_epoch()):
        row = loader.row(g)
        segment = row.segment
        assert segment.shape == (context,) and same(row, again.row(g))
        used = np.count_nonzero(segment)
        assert used and np.all(segment[used:] == 0) and np.all(np.diff(segment[:used]) >= 0)
        assert set(segment[:used].tolist()) == set(range(1, segment.max() + 1))
        for number in range(1, segment.max() + 1):
            tokens = row.events.token[segment == number]
            part, dropped = loader.codec.decode(tokens)
            is_task = first <= tokens[1] < first + len(TASKS)
            assert part.bars >= 1 and (dropped == 0 or (truncated and not is_task))


def test_rows_of_plans_that_are_longer_or_shorter_than_the_first(folder):
    loader = load(folder, context=130)
    stream = loader.streams[0]
    lengths = [len(stream.plan(epoch)) for epoch in range(40)]
    assert min(lengths) < max(lengths)
    for epoch in (int(np.argmin(lengths)), int(np.argmax(lengths))):
        for r in (0, stream.per_epoch - 1):
            plan = stream.plan(epoch)
            expected = stream._pack(stream._parts(plan, r % len(plan), epoch))
            assert same(loader.row(epoch * stream.per_epoch + r), expected)
    # A batch that begins in one epoch and ends in the next is made of the rows of both.
    odd = load(folder, context=130, batch=stream.per_epoch - 1)
    batch = odd.batch(1)
    for j in range(odd.data.batch):
        assert np.array_equal(batch.events.token[j], loader.row(odd.data.batch + j).events.token)
