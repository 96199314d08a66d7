"""The n-gram model of the benchmarks: a real distribution, the textbook's numbers, and useful."""

from __future__ import annotations

import collections
import math

import numpy as np
import pytest

from benchmarks import baseline, ngram
from jaxmusic._src.codecs.metrical.codec import MetricalCodec
from jaxmusic._src.core.events import Batch, Events


def random_pieces(seed: int, vocab: int, pieces: int, length: int) -> list[np.ndarray]:
    """Pieces of a skewed second-order Markov chain over `vocab` tokens."""
    rng = np.random.default_rng(seed)
    table = np.random.default_rng(0).dirichlet(np.full(vocab, 0.15), size=(vocab + 1, vocab + 1))
    out = []
    for _ in range(pieces):
        a = b = vocab
        piece = []
        for _ in range(int(rng.integers(1, length))):
            a, b = b, int(rng.choice(vocab, p=table[a, b]))
            piece.append(b)
        out.append(np.array(piece))
    return out


def fit(pieces: list[np.ndarray], vocab_size: int, order: int) -> ngram.Model:
    return ngram.build(ngram.count(pieces, vocab_size, order), vocab_size, order)


def by_the_book(pieces: list[np.ndarray], order: int, discounts: np.ndarray, vocab: int):
    """p(word, history) written down from Chen and Goodman with dictionaries, one word at a time."""
    grams: list[collections.Counter] = [collections.Counter() for _ in range(order + 1)]
    for piece in pieces:
        symbols = (vocab, *map(int, piece))
        for end in range(1, len(symbols)):
            for k in range(1, order + 1):
                if end - k + 1 >= 0:
                    grams[k][symbols[end - k + 1 : end + 1]] += 1

    def counted(gram: tuple[int, ...]) -> int:
        if len(gram) == order or gram[0] == vocab:
            return grams[len(gram)][gram]
        return sum(1 for longer in grams[len(gram) + 1] if longer[1:] == gram)

    def probability(word: int, history: tuple[int, ...]) -> float:
        below = probability(word, history[1:]) if history else 1 / vocab
        following = [counted((*history, w)) for w in range(vocab)]
        if not sum(following):
            return below
        d = [0.0, *discounts[len(history)]]
        kept = sum(d[min(c, 3)] for c in following)
        c = following[word]
        return (c - d[min(c, 3)] + kept * below) / sum(following)

    def whole(word: int, before: tuple[int, ...]) -> float:
        history = (vocab, *before)
        return probability(word, history[max(0, len(history) - order + 1) :])

    return whole


@pytest.mark.quick
def test_hand_computed_bigrams():
    # Bigrams ^a ab ba aa once each, so a follows three symbols and b one. No count is 2: the
    # discounts are (.5, 1, 1.5) at both orders. One symbol: p(a) = (3 - 1.5 + (.5 + 1.5) / 2) / 4.
    model = fit([np.array([0, 1, 0, 0])], vocab_size=2, order=2)
    assert np.array_equal(model.discounts, np.tile(ngram.UNESTIMATED, (2, 1)))
    (first,) = model.log_prob([np.array([0, 1, 0, 0])])
    assert np.allclose(np.exp(first), [0.8125, 0.4375, 0.8125, 0.5625])
    (other,) = model.log_prob([np.array([1, 1])])
    assert np.allclose(np.exp(other), [0.1875, 0.1875])


@pytest.mark.quick
def test_discounts_are_the_published_estimates():
    counts = np.repeat([1, 2, 3, 4, 9], [60, 20, 10, 5, 7])
    y = 60 / 100
    expected = [1 - 2 * y * 20 / 60, 2 - 3 * y * 10 / 20, 3 - 4 * y * 5 / 10]
    assert np.allclose(ngram.estimate_discounts(counts), expected)


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_agrees_with_the_definition(order):
    vocab = 4
    pieces = random_pieces(1, vocab, pieces=12, length=25)
    model = fit(pieces, vocab, order)
    probability = by_the_book(pieces, order, model.discounts, vocab)
    unseen = random_pieces(2, vocab, pieces=4, length=20)
    for piece, logs in zip(unseen, model.log_prob(unseen)):
        words = tuple(map(int, piece))
        expected = [probability(w, words[:i]) for i, w in enumerate(words)]
        assert np.allclose(np.exp(logs), expected)


@pytest.mark.parametrize("order", [1, 2, 3, 4, 6])
def test_probabilities_sum_to_one(order):
    vocab = 37
    model = fit(random_pieces(3, vocab, pieces=60, length=80), vocab, order)
    seen = random_pieces(3, vocab, pieces=60, length=80)[:6]
    rng = np.random.default_rng(5)
    never = [rng.integers(0, vocab, size) for size in (0, 1, 2, 5, 12)]
    for context in [c[: int(rng.integers(0, len(c) + 1))] for c in seen] + never:
        following = [np.append(context, w) for w in range(vocab)]
        total = math.fsum(np.exp(logs[-1]) for logs in model.log_prob(following))
        assert total == pytest.approx(1.0, abs=1e-9)


def test_lower_orders_of_one_count_equal_a_count_of_their_own():
    pieces = random_pieces(13, 8, pieces=20, length=40)
    tables = ngram.count(pieces, 8, 5)
    for order in (1, 2, 4):
        own = fit(pieces, 8, order).log_prob(pieces)
        shared = ngram.build(tables, 8, order).log_prob(pieces)
        assert all(np.array_equal(a, b) for a, b in zip(own, shared))


@pytest.mark.quick
def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="no token"):
        fit([np.zeros(0, int)], 3, 2)
    with pytest.raises(ValueError, match=r"\[0, 3\)"):
        fit([np.array([3])], 3, 2)


def packed(rows: list[list[np.ndarray]], context: int) -> Batch:
    """Rows of whole token sequences, in the layout of a loader."""
    token, target, segment = (np.zeros((len(rows), context), np.int32) for _ in range(3))
    for r, row in enumerate(rows):
        at = 0
        for number, tokens in enumerate(row, start=1):
            end = at + len(tokens)
            token[r, at:end], target[r, at : end - 1] = tokens, tokens[1:]
            segment[r, at:end] = number
            at = end
    none = np.zeros_like(token)
    return Batch(Events(token, *[none] * 5), target, segment, (target > 0).astype(np.float32))


@pytest.mark.quick
def test_packed_rows_are_taken_apart_into_the_tokens_that_count():
    rng = np.random.default_rng(0)
    codec = MetricalCodec()
    pieces = [rng.integers(1, codec.vocab_size, size) for size in (7, 1, 12, 2, 5)]
    batch = packed([pieces[:3], pieces[3:], []], context=20)
    found = baseline.tokens([batch], codec)
    assert [s.tolist() for s in found.sequences] == [p.tolist() for p in pieces]
    assert [w.tolist() for w in found.weights] == [[0.0] + [1.0] * (len(p) - 1) for p in pieces]
    assert found.notes == sum(int(codec.onset_tokens[p[1:]].sum()) for p in pieces)


def test_the_baseline_counts_nats_of_all_weighted_tokens_for_each_note():
    pieces = random_pieces(17, 6, pieces=30, length=40)
    weights = [np.array([0.0] + [1.0] * (len(p) - 1)) for p in pieces]
    held_out = baseline.Tokens(pieces, weights, notes=100)
    losses = baseline.compare(held_out, held_out, vocab_size=6)
    model = fit(pieces, 6, 3)
    expected = -sum(float(x[1:].sum()) for x in model.log_prob(pieces)) / 100
    assert losses["3-grams"] == pytest.approx(expected)
    assert list(losses) == [f"{order}-grams" for order in (2, 3, 4, 5, 6)]
