"""Packing plans: nothing lost, nothing too long, little left empty."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxmusic._src.data.packing import Sizes, plan

PIECES = st.lists(
    st.lists(st.integers(1, 60), min_size=1, max_size=40).map(lambda bars: [7, *bars]),
    min_size=1,
    max_size=30,
)


def random_sizes(pieces, seed=0, bar=30):
    rng = np.random.default_rng(seed)
    return Sizes.of(
        np.concatenate([[12], rng.poisson(bar, rng.integers(4, 160)) + 1]) for _ in range(pieces)
    )


@pytest.mark.quick
@settings(max_examples=150, deadline=None)
@given(PIECES, st.integers(8, 300), st.integers(0, 5), st.sampled_from([None, 0, 1]))
def test_every_bar_is_in_one_part_and_every_row_fits(pieces, context, seed, epoch):
    rows = plan(Sizes.of(map(np.array, pieces)), context, seed, epoch)
    bars = [[0] * (len(p) - 1) for p in pieces]
    truncated = 0
    for r in range(len(rows)):
        total = 0
        for i in range(rows.first[r], rows.first[r + 1]):
            piece, start, stop = int(rows.piece[i]), int(rows.start[i]), int(rows.stop[i])
            assert start < stop <= len(bars[piece])
            for b in range(start, stop):
                bars[piece][b] += 1
            size = pieces[piece][0] + sum(pieces[piece][1 + start : 1 + stop])
            if size > context:
                assert stop == start + 1, "only a single bar may exceed the context"
                truncated += 1
            assert rows.tokens[i] == min(size, context)
            total += int(rows.tokens[i])
        assert 0 < total <= context
    assert all(n == 1 for piece in bars for n in piece)
    assert rows.truncated == truncated
    assert rows.first[0] == 0 and rows.first[-1] == len(rows.piece)


@pytest.mark.parametrize(("context", "least"), [(512, 0.96), (1024, 0.98), (4096, 0.98)])
def test_rows_are_full(context, least):
    assert plan(random_sizes(300), context, 0, 0).fill(context) >= least


@pytest.mark.quick
def test_plans_depend_on_seed_and_epoch_alone():
    sizes = random_sizes(40)
    one, same = plan(sizes, 700, 3, 1), plan(sizes, 700, 3, 1)
    assert all(np.array_equal(a, b) for a, b in zip(one, same))
    for seed, epoch in ((3, 2), (4, 1), (3, None)):
        other = plan(sizes, 700, seed, epoch)
        assert not np.array_equal(one.piece, other.piece)


def test_cuts_differ_by_epoch_and_short_pieces_stay_whole():
    sizes = Sizes.of([np.array([5, *[20] * 100]), np.array([5, *[20] * 10])])
    cuts = [set(plan(sizes, 400, 0, e).start[plan(sizes, 400, 0, e).piece == 0]) for e in range(4)]
    assert len({frozenset(c) for c in cuts}) > 1
    evaluation = plan(sizes, 400, 0, None)
    whole = evaluation.piece == 1
    assert whole.sum() == 1 and evaluation.stop[whole][0] == 10
    # Without random cuts every part but the last is as long as it can be: 19 bars of 20 and 5.
    assert (evaluation.stop - evaluation.start)[~whole].max() == 19
    assert sorted((evaluation.stop - evaluation.start)[~whole].tolist()) == [5, 19, 19, 19, 19, 19]


def test_no_pieces_make_no_rows():
    rows = plan(Sizes.of([]), 100, 0, 0)
    assert len(rows) == 0 and rows.fill(100) == 0.0
