"""Rotary positions: what their parts measure, and how they share a head."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxmusic import config as configs
from jaxmusic._src.core.events import MAX_PITCHES
from jaxmusic._src.models import position

pytestmark = pytest.mark.quick
NONE = MAX_PITCHES - 1
rng = np.random.default_rng(0)
Q, K = (jnp.asarray(rng.normal(size=(1, 1, 64)), jnp.float32) for _ in range(2))


def angles(rotary, index, time, pitch, head_dim=64):
    config = configs.Transformer(head_dim=head_dim, rotary=rotary)
    return position.angles(config, *(jnp.array([[x]]) for x in (index, time, pitch)))


def score(rotary, q, k):
    """What a query at (index, time, pitch) makes of a key elsewhere."""
    turned = (position.rotate(x, *angles(rotary, *place)) for x, place in ((Q, q), (K, k)))
    return float(jnp.vdot(*turned))


def test_rotation_is_relative():
    rotary = "index time pitch"
    want = score(rotary, (9, 100, 64), (4, 52, 60))
    assert score(rotary, (1005, 4100, 71), (1000, 4052, 67)) == pytest.approx(want, abs=1e-3)
    for other in ((10, 100, 64), (9, 101, 64), (9, 100, 65)):
        assert abs(score(rotary, other, (4, 52, 60)) - want) > 1e-3


@pytest.mark.parametrize(
    ("rotary", "reads"),
    [("", ""), ("time", "time"), ("pitch index", "index pitch"), ("index time", "index time")],
)
def test_only_what_is_named_turns(rotary, reads):
    place = {"index": 3, "time": 40, "pitch": 60}
    want = score(rotary, (0, 0, 0), place.values())
    for name in place:
        moved = score(rotary, (0, 0, 0), (place | {name: place[name] + 5}).values())
        assert (abs(moved - want) > 1e-4) == (name in reads.split())


def test_index_and_time_are_halves_of_a_head():
    """The formulas of runs made before the parts could be chosen, bit by bit."""
    ramp = jnp.arange(16, dtype=jnp.float32) / 16
    by_index = 10_000.0**-ramp
    by_time = 2 * jnp.pi / (12.0 * 2.0 ** (8 * ramp))
    turns = jnp.concatenate([jnp.float32(900) * by_index, jnp.float32(5000) * by_time])
    cosine, sine = angles("index time", 900, 5000, 60)
    np.testing.assert_array_equal(cosine[0, 0], jnp.cos(turns))
    np.testing.assert_array_equal(sine[0, 0], jnp.sin(turns))


@pytest.mark.parametrize(
    ("head_dim", "counts"), [(64, (11, 11, 10)), (128, (22, 21, 21)), (8, (2, 1, 1))]
)
def test_three_parts_share_what_does_not_divide(head_dim, counts):
    ends = np.cumsum((0, *counts))
    assert ends[-1] == head_dim // 2
    for part in range(3):
        place = [0, 0, 0]
        place[part] = 1
        cosine, sine = angles("index time pitch", *place, head_dim=head_dim)
        turning = np.asarray((cosine[0, 0] < 0) | (jnp.abs(sine[0, 0]) > 1e-6))
        other = np.delete(np.arange(head_dim // 2), np.arange(ends[part], ends[part + 1]))
        assert turning[ends[part] : ends[part + 1]].all()
        assert not turning[other].any()


def test_periods_of_time_are_beats_and_bars():
    periods = 2 * np.pi / np.asarray(position.frequencies("time", 16))
    np.testing.assert_allclose(periods[::2], 12 * 2.0 ** np.arange(8), rtol=1e-6)


def test_periods_of_pitch_are_in_tune_with_the_octave():
    periods = 2 * np.pi / np.asarray(position.frequencies("pitch", 16))
    classes = [12, 6, 4, 3, 12 / 5, 2, 12, 6]
    registers = 24 * 2.0 ** (np.arange(8) / 2)
    np.testing.assert_allclose(periods, [*classes, *registers], rtol=1e-6)
    for count in (1, 2, 5, 21, 64):
        periods = 2 * np.pi / np.asarray(position.frequencies("pitch", count))
        assert periods.shape == (count,)
        assert periods.min() > 1.99 and periods.max() < 24 * 2**4


def test_tokens_without_pitch_are_not_turned_by_it():
    cosine, sine = angles("pitch", 5, 50, NONE)
    np.testing.assert_array_equal(cosine, 1)
    np.testing.assert_array_equal(sine, 0)
