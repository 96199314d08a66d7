"""Drawing tokens, against a reference that sorts; and how long a piece is to be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxmusic import config
from jaxmusic._src.codecs.vocabulary import Vocabulary
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.generate import decoding, draws
from jaxmusic._src.generate.length import TEMPO_PLAY, check_duration, parse_duration, whole_bars
from jaxmusic._src.music import meters

SIZE = 50
VOCABULARY = Vocabulary((("pitch", 10), ("drum", 15), ("position", 25)))


def reference(logits, mask, s):
    """Probabilities after mask, temperature, top-k, top-p and min-p, by sorting (float64)."""
    x = np.where(mask, np.asarray(logits, np.float64), -np.inf) / s.temperature
    p = np.exp(x - x.max())
    p /= p.sum()
    order = np.argsort(-p, kind="stable")
    keep = np.ones(len(p), bool)
    if s.top_k:
        keep &= p >= p[order[min(s.top_k, int(mask.sum())) - 1]]
    if s.top_p < 1:
        reached = np.searchsorted(np.cumsum(p[order]), s.top_p * (1 - 1e-7))
        keep &= p >= p[order[min(reached, len(p) - 1)]]
    keep &= (p >= s.min_p * p.max()) & mask
    return np.where(keep, p, 0) / p[keep].sum()


many = jax.jit(jax.vmap(decoding.draw, (0, None, None, None)))


def drawn(logits, mask, s, count=4096, seed=0):
    keys = jax.random.split(jax.random.key(seed), count)
    tokens = np.asarray(many(keys, jnp.float32(logits), jnp.asarray(mask), numbers(s)))
    assert tokens.dtype == np.int32
    return np.bincount(tokens, minlength=len(logits)) / count


def check_shares(found, expected):
    """Shares of 4096 draws are those expected, up to chance."""
    assert (found[expected == 0] == 0).all()
    error = 5 * np.sqrt(np.maximum(expected * (1 - expected), 1e-3) / 4096)
    assert (abs(found - expected) <= error).all()


def numbers(s):
    return jax.tree.map(jnp.asarray, draws.settings(s, VOCABULARY))


def problem(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random(SIZE) < rng.choice([0.1, 0.5, 1.0])
    mask[rng.integers(SIZE)] = True
    return rng.normal(0, rng.uniform(0.5, 4), SIZE).astype(np.float32), mask


OFF = config.Sampling(1.0, 0, 1.0, 0.0)


@pytest.mark.quick
@pytest.mark.parametrize(
    "sampling",
    (
        OFF,
        config.Sampling(),
        config.Sampling(0.7, 0, 1.0, 0.0),
        config.Sampling(1.0, 5, 1.0, 0.0),
        config.Sampling(1.0, 1, 1.0, 0.0),
        config.Sampling(1.0, 1000, 1.0, 0.0),
        config.Sampling(1.0, 0, 0.5, 0.0),
        config.Sampling(1.0, 0, 1e-4, 0.0),
        config.Sampling(1.0, 0, 1.0, 0.3),
        config.Sampling(1.3, 10, 0.9, 0.05),
    ),
)
def test_distribution_is_that_of_the_reference(sampling):
    for seed in range(6):
        logits, mask = problem(seed)
        expected = reference(logits, mask, sampling)
        check_shares(drawn(logits, mask, sampling, seed=seed), expected)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, SIZE),
    st.floats(0.05, 1.0),
    st.floats(0.0, 0.9),
    st.floats(0.2, 3.0),
)
def test_nothing_is_drawn_that_the_reference_leaves_out(seed, top_k, top_p, min_p, temperature):
    logits, mask = problem(seed)
    s = config.Sampling(temperature, top_k, top_p, min_p)
    # A hair more or less of each threshold may let in what stands on the edge.
    loose = config.Sampling(temperature, top_k, min(top_p * 1.0001, 1.0), min_p * 0.9999)
    assert (drawn(logits, mask, s)[reference(logits, mask, loose) == 0] == 0).all()


@pytest.mark.quick
def test_temperature_0_takes_the_likeliest_token_of_the_mask():
    for seed in range(20):
        logits, mask = problem(seed)
        found = drawn(logits, mask, config.Sampling(0.0, 0, 1.0, 0.0))
        assert found[np.argmax(np.where(mask, logits, -np.inf))] == 1


def test_mask_is_obeyed_where_the_model_is_sure_of_something_else():
    logits = np.zeros(SIZE, np.float32)
    logits[3] = 1e4
    mask = np.zeros(SIZE, bool)
    mask[[7, 8]] = True
    logits[7] = -80
    for sampling in (OFF, config.Sampling(), config.Sampling(0.0), config.Sampling(top_k=1)):
        assert drawn(logits, mask, sampling)[[7, 8]].sum() == 1
    mask[8] = False
    assert drawn(logits, mask, config.Sampling())[7] == 1


def test_kinds_keep_their_share_at_temperatures_of_their_own():
    """p(kind) as before, p(token | kind) at the kind's own temperature."""
    sampling = config.Sampling(0.8, 0, 1.0, 0.0, temperatures="pitch=2 drums=0.5")
    for seed in range(6):
        logits, mask = problem(seed)
        base = reference(logits, mask, config.Sampling(0.8, 0, 1.0, 0.0))
        expected = base.copy()
        for name, own in (("pitch", 2.0), ("drum", 0.5)):
            kind = VOCABULARY.kind == VOCABULARY.kinds[name]
            if (mask & kind).any():
                inside = reference(logits, mask & kind, config.Sampling(own, 0, 1.0, 0.0))
                expected[kind] = (inside * base[kind].sum())[kind]
        check_shares(drawn(logits, mask, sampling, seed=seed), expected)


@pytest.mark.quick
def test_names_of_temperatures_are_those_that_the_codec_has():
    with pytest.raises(UserError, match=r"'loudness' here: choose from rhythm, pitch, drums$"):
        draws.settings(config.Sampling(temperatures="loudness=1"), VOCABULARY)


def test_equal_logits_are_all_kept():
    found = drawn(np.zeros(SIZE), np.ones(SIZE, bool), config.Sampling(1.0, 3, 0.5, 0.5))
    assert (found > 0).all()


@pytest.mark.quick
@pytest.mark.parametrize("text", ["pitch=0", "pitch", "pitch=nan", "drums=11", "drum=1"])
def test_temperatures_that_make_no_sense_are_refused(text):
    with pytest.raises(UserError, match="temperature"):
        draws.settings(config.Sampling(temperatures=text), VOCABULARY)


@pytest.mark.quick
def test_durations():
    for text, seconds in {
        **{"180": 180, "3:00": 180, "0:10": 10, "10": 10, "0:02:03": 123, "0:59:59": 3599},
        **{"1:00:00": 3600, " 3:00 ": 180, "61.7": 61.7, "1": 1, "0:01.5": 1.5, "0003:05": 185},
    }.items():
        assert parse_duration(text) == pytest.approx(seconds, abs=1e-9)
    for text in ("1:02:03", "90:00", "3601", "0", "0.5", "99999999999"):
        with pytest.raises(UserError, match="1 to 3600 seconds"):
            parse_duration(text)
    for text in (
        *("", "-1", "abc", "9:99:99", "2:61", "1:60:00", "1:1:1:1", "1:", ":30", "3m", "1e2"),
        *("nan", "inf", "1,5", "3 : 00"),
    ):
        with pytest.raises(UserError, match="is not a duration: write 3:00"):
            parse_duration(text)
    for seconds in (0.0, -5.0, 3600.1, float("nan"), float("inf")):
        with pytest.raises(UserError, match="duration"):
            check_duration(seconds)


@pytest.mark.quick
def test_whole_bars_golden():
    assert whole_bars(180.0, 0, 120.0, 12) == (90, 0)
    assert whole_bars(181.0, 0, 120.0, 12) == (90, 0)  # 90.5 bars: 0.6 % faster
    assert whole_bars(10.0, 0, 120.0, 12) == (5, 0)
    assert whole_bars(9.0, 0, 120.0, 12) == (5, 24)  # four and a half
    assert whole_bars(1.0, 0, 120.0, 24) == (1, 48)
    assert whole_bars(10.0, 1, 100.0, 12) == (6, 20)  # 16 2/3 beats of 3 are 5 bars, 1 2/3 beats


@settings(max_examples=500, deadline=None)
@given(
    st.floats(1.0, 3600.0),
    st.integers(0, len(meters.METERS) - 1),
    st.sampled_from(meters.TEMPOS.tolist()),
    st.sampled_from((12, 24)),
)
def test_whole_bars_fill_the_duration(duration, meter, tempo, steps_per_beat):
    bars, last = whole_bars(duration, meter, tempo, steps_per_beat)
    whole = meters.bar_length(meter, steps_per_beat)
    assert bars >= 1 and 0 <= last < whole
    exact = duration * tempo * steps_per_beat / 60
    steps = (bars - 1) * whole + (last or whole)
    # The tempo moves by a hundredth, or by what takes the end to a step; a bar has at least one.
    allowed = max(TEMPO_PLAY * exact * (last == 0), 0.5, 1 - exact % whole)
    assert abs(steps - exact) <= allowed + 1e-6
    nearest = round(exact / whole)
    if nearest and abs(nearest * whole / exact - 1) < TEMPO_PLAY - 1e-9:
        assert (bars, last) == (nearest, 0)
