"""What every family of models has to fulfil, see `models.base.Family`."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmusic import config as configs
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.core.events import MAX_PITCHES, MAX_SLOTS, Events
from jaxmusic._src.models import base

VOCAB = 50
CONFIGS = {
    "transformer": configs.Transformer(
        layers=2, width=32, heads=4, kv_heads=2, head_dim=16, hidden=48
    ),
    "lstm": configs.LSTM(layers=2, width=32),
}
"""A small model of each family."""


def music_like(batch=2, length=40, seed=0):
    """Random events; tests that keep to the usual shape share one program."""
    rng = np.random.default_rng(seed)
    time = np.cumsum(rng.integers(0, 5, (batch, length)), axis=1)
    columns = [rng.integers(0, n, (batch, length)) for n in (VOCAB, MAX_SLOTS, MAX_PITCHES)]
    columns = [columns[0], time, time % 144, time // 144, *columns[1:]]
    return Events(*(jnp.asarray(x, jnp.int32) for x in columns))


def part(events, start, end):
    return Events(*(x[:, start:end] for x in events))


def padded(events, rows=2, length=40):
    """Events in the usual shape: what follows them is seen by nothing before."""
    more = ((0, rows - events.token.shape[0]), (0, length - events.token.shape[1]))
    return Events(*(jnp.pad(x, more) for x in events))


def changed(events, place):
    token = events.token.at[:, place].set((events.token[:, place] + 1) % VOCAB)
    return events._replace(token=token)


def select(rows, new, old):
    return jnp.where(rows.reshape(-1, *[1] * (new.ndim - 1)), new, old)


class Model:
    """A family with a configuration and parameters."""

    def __init__(self, config, seed=0):
        self.config, self.family = config, base.of(config)
        self.params = self.family.init(config, VOCAB, seed)
        self.output = jax.jit(self.family.apply, static_argnums=1, static_argnames="want")
        self._feed = jax.jit(self.family.feed, static_argnums=0)

    def logits(self, events, segment=None, **options):
        segment = jnp.ones_like(events.token) if segment is None else jnp.asarray(segment)
        return self.output(self.params, self.config, events, segment, **options).logits

    def prepare(self):
        return self.family.prepare(self.config, self.params)

    def begin(self, rows, length):
        return self.family.begin(self.config, rows, length)

    def feed(self, *args, **options):
        return self._feed(self.config, *args, **options)


def test_every_family_is_tested():
    assert set(CONFIGS) == set(base.FAMILIES)


@pytest.fixture(scope="module", params=CONFIGS)
def model(request):
    return Model(CONFIGS[request.param])


def test_causal_and_packed(model):
    events = music_like()
    segment = [[1] * 10 + [2] * 22 + [0] * 8] * 2
    before, after = (model.logits(e, segment) for e in (events, changed(events, 20)))
    assert before.shape == (2, 40, VOCAB) and before.dtype == jnp.float32
    moved = np.abs(np.asarray(before - after)).max(axis=(0, 2)) > 0
    np.testing.assert_array_equal(moved, (np.arange(40) >= 20) & (np.arange(40) < 32))


def test_a_piece_has_the_same_logits_wherever_it_is_packed(model):
    events, segment = music_like(), [[1] * 15 + [2] * 25] * 2
    alone = model.logits(padded(part(events, 15, 40)))
    packed = model.logits(events, segment)
    np.testing.assert_allclose(packed[:, 15:], alone[:, :25], atol=1e-5)
    later = model.logits(events._replace(time=events.time + 480), segment)
    np.testing.assert_allclose(later, packed, atol=2e-5)


@pytest.mark.parametrize("field", ["token", "position", "slot", "pitch"])
def test_every_field_matters(model, field):
    events = music_like()
    column = getattr(events, field)
    other = events._replace(**{field: column.at[0, 3].set((column[0, 3] + 5) % 17)})
    a, b = (model.logits(e) for e in (events, other))
    assert np.abs(np.asarray(a - b))[0, 3:].max() > 1e-6
    np.testing.assert_array_equal(a[0, :3], b[0, :3])


def test_parameters(model):
    family, config = model.family, model.config
    axes, abstract = family.axes(config, VOCAB), base.abstract_params(config, VOCAB)
    assert set(axes) == set(abstract) == set(model.params)
    for name, leaf in model.params.items():
        assert len(axes[name]) == leaf.ndim
        assert leaf.shape == abstract[name].shape
        assert (axes[name][0] == "layers") == name.startswith("layers.")
    assert base.num_parameters(config, VOCAB) == sum(x.size for x in model.params.values())
    same, other = (family.init(config, VOCAB, seed)["token"] for seed in (0, 1))
    np.testing.assert_array_equal(same, model.params["token"])
    assert np.abs(np.asarray(same - other)).max() > 0


def test_starts_near_the_uniform_guess(model):
    logits = model.logits(music_like())
    loss = -jax.nn.log_softmax(logits)[..., 7].mean()
    assert abs(float(loss) - np.log(VOCAB)) < 0.2


def test_every_parameter_has_a_gradient(model):
    events, segment = music_like(), jnp.ones((2, 40), jnp.int32)

    def loss(params):
        logits = model.family.apply(params, model.config, events, segment).logits
        return -jax.nn.log_softmax(logits)[..., 3].mean()

    for name, gradient in jax.jit(jax.grad(loss))(model.params).items():
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0, name


def test_dropout_follows_its_key(model):
    dropping = Model(dataclasses.replace(model.config, dropout=0.5))
    events = music_like()
    first, again, other = (dropping.logits(events, key=jax.random.key(i)) for i in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(np.asarray(first - other)).max() > 1e-3
    assert np.abs(np.asarray(first - model.logits(events))).max() > 1e-3


def test_bfloat16_stays_close(model):
    events = music_like()
    got = Model(dataclasses.replace(model.config, dtype="bfloat16")).logits(events)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, model.logits(events), atol=0.03)


def test_hidden_states_on_request(model):
    events, segment = music_like(), jnp.ones((2, 40), jnp.int32)
    plain, more = (
        model.output(model.params, model.config, events, segment, want=want)
        for want in ((), ("hidden",))
    )
    assert plain.hidden is None
    assert more.hidden.shape == (model.config.layers, 2, 40, model.config.width)
    np.testing.assert_allclose(more.logits, plain.logits, atol=1e-5)


def test_wrong_settings_are_refused(model):
    with pytest.raises(UserError, match=r"model\.dtype"):
        model.family.check(dataclasses.replace(model.config, dtype="float16"))


def test_costs_grow_with_the_model(model):
    family, config = model.family, model.config
    larger = dataclasses.replace(config, layers=2 * config.layers)
    small, large = (family.flops(c, VOCAB, 64) for c in (config, larger))
    assert small < large < 2 * small
    split = base.Split("cpu")
    small, large = (family.costs(c, VOCAB, 64, split) for c in (config, larger))
    assert small.activations < large.activations and small.moved < large.moved
    lighter, steps = config, 0
    while (next_ := family.lighter(lighter)) is not None:
        kept = [family.costs(c, VOCAB, 64, split).activations for c in (lighter, next_)]
        assert kept[1] < kept[0]
        lighter, steps = next_, steps + 1
    assert steps < 9


@pytest.mark.quick
def test_decoding_gives_the_logits_of_the_full_pass(model):
    events = music_like()
    want, weights, state = model.logits(events), model.prepare(), model.begin(2, 16)
    first, state = model.feed(weights, state, part(events, 0, 11))
    np.testing.assert_allclose(first, want[:, 10], atol=1e-4)
    state = model.family.grow(state, 64)
    # Places from the ninth on are padding that leaves no trace.
    last, state = model.feed(weights, state, part(events, 11, 25), count=9)
    np.testing.assert_allclose(last, want[:, 19], atol=1e-4)
    for i in range(20, 40):
        logits, state = model.feed(weights, state, part(events, i, i + 1))
        np.testing.assert_allclose(logits, want[:, i], atol=1e-4)


def test_decoding_in_a_while_loop(model):
    events = music_like(1, 30)
    want, weights = model.logits(padded(events)), model.prepare()

    @jax.jit
    def run(events, real):
        state = model.begin(1, 32)
        logits, state = model.family.feed(
            model.config, weights, state, part(events, 0, 16), count=real
        )

        def body(carry):
            i, state, _ = carry
            one = Events(*(jax.lax.dynamic_slice_in_dim(x, i, 1, 1) for x in events))
            logits, state = model.family.feed(model.config, weights, state, one)
            return i + 1, state, logits

        return jax.lax.while_loop(lambda c: c[0] < 30, body, (real, state, logits))[2]

    np.testing.assert_allclose(run(events, jnp.int32(10)), want[:1, 29], atol=1e-4)


def test_rows_skip_events_and_take_them_back(model):
    """Each row gives the logits of a stream in which what it skipped or took back never was."""
    rng, events = np.random.default_rng(3), music_like(3, 40)
    weights, state = model.prepare(), model.begin(3, 64)
    keep = rng.random((3, 40)) < 0.7
    keep[:, 0] = True
    logits, state = model.feed(
        weights, state, part(events, 0, 16), count=10, keep=jnp.asarray(keep[:, :16])
    )
    read = [[i for i in range(10) if keep[row, i]] for row in range(3)]
    marks, mark = [list(r) for r in read], model.family.mark(state)
    for i in range(10, 40):
        if i % 7 == 0:
            # Rows mark moments of their own.
            now = rng.random(3) < 0.5
            mark = jax.tree.map(functools.partial(select, now), model.family.mark(state), mark)
            marks = [list(read[r]) if now[r] else marks[r] for r in range(3)]
        if i % 7 == 3:
            back = rng.random(3) < 0.5
            state = model.family.rewind(state, mark, jnp.asarray(back))
            read = [list(marks[r]) if back[r] else read[r] for r in range(3)]
        logits, state = model.feed(
            weights, state, part(events, i, i + 1), keep=jnp.asarray(keep[:, i : i + 1])
        )
        for row in np.flatnonzero(keep[:, i]):
            read[row].append(i)
            alone = Events(*(x[row : row + 1, np.array(read[row])] for x in events))
            want = model.logits(padded(alone))[0, len(read[row]) - 1]
            np.testing.assert_allclose(logits[row], want, atol=1e-4)
