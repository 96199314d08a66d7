"""The train step, the loss and the optimiser."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import train_fakes as fakes

from jaxmusic import config
from jaxmusic.errors import UserError
from jaxmusic.models import transformer
from jaxmusic.parallel.mesh import make_mesh
from jaxmusic.train import optimizer, step
from jaxmusic.train.loss import token_losses


@pytest.fixture(scope="module")
def built():
    experiment = fakes.experiment()
    codec = fakes.codec()
    mesh = make_mesh(experiment.mesh)
    program = step.make_program(experiment, codec.vocab_size, codec.onset_tokens, mesh)
    loader = fakes.FakeLoader(experiment.data, codec)
    return experiment, program, loader


@pytest.mark.quick
def test_loss_is_the_likelihood_of_the_softmax():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 3, 5)).astype(np.float32) * 30
    target = rng.integers(0, 5, (2, 3))
    exact = logits.astype(np.float64)
    likely = np.take_along_axis(exact, target[..., None], -1)[..., 0]
    want = np.log(np.exp(exact - exact.max(-1, keepdims=True)).sum(-1)) + exact.max(-1) - likely
    np.testing.assert_allclose(token_losses(jnp.asarray(logits), target), want, atol=1e-5)
    assert np.isclose(token_losses(jnp.zeros((1, 1, 8)), jnp.zeros((1, 1), int))[0, 0], np.log(8))


@pytest.mark.quick
def test_schedule_rises_to_the_peak_and_falls_to_its_share():
    rate = optimizer.make_schedule(
        config.Optimizer(learning_rate=2.0, final=0.1, warmup=4), steps=10
    )
    got = [float(rate(i)) for i in range(10)]
    np.testing.assert_allclose(got[:4], [0.5, 1.0, 1.5, 2.0])
    assert got[3:] == sorted(got[3:], reverse=True)
    assert got[6] == pytest.approx(2.0 * (0.1 + 0.9 / 2))
    assert got[9] == pytest.approx(0.2)
    assert float(optimizer.make_schedule(config.Optimizer(warmup=0), 10)(0)) > 0.9e-3


def test_warmup_must_be_shorter_than_the_run():
    with pytest.raises(UserError, match=r"optimizer\.warmup"):
        optimizer.make_schedule(config.Optimizer(warmup=10), steps=10)


def test_optimizer_is_adamw_with_decay_of_matrices_only():
    settings = config.Optimizer(learning_rate=0.1, warmup=0, final=1.0, clip=1e9)
    mine = optimizer.make_optimizer(settings, 10, {"w": ("embed", "out"), "scale": ("embed",)})
    want = optax.adamw(0.1, b1=0.9, b2=0.98, weight_decay=0.1, mask={"w": True, "scale": False})
    params = {"w": jnp.ones((2, 2)), "scale": jnp.ones(2)}
    grads = {"w": jnp.full((2, 2), 0.3), "scale": jnp.array([0.1, -2.0])}
    for each in range(3):
        scaled = jax.tree.map(lambda g, k=each: g * (k + 1), grads)
        if not each:
            a, b = mine.init(params), want.init(params)
        x, a = mine.update(scaled, a, params)
        y, b = want.update(scaled, b, params)
        jax.tree.map(lambda p, q: np.testing.assert_allclose(p, q, rtol=1e-5), x, y)


@pytest.mark.quick
def test_wsd_stays_at_the_peak_and_falls_at_the_end():
    settings = config.Optimizer(schedule="wsd", learning_rate=2.0, final=0.1, warmup=4, decay=0.25)
    rate = optimizer.make_schedule(settings, steps=20)
    got = [float(rate(i)) for i in range(20)]
    np.testing.assert_allclose(got[:15], [0.5, 1.0, 1.5, *[2.0] * 12], rtol=1e-6)
    # The last quarter, five updates, leads to the final share in equal steps.
    np.testing.assert_allclose(got[15:], 2.0 - 1.8 * np.arange(1, 6) / 5, rtol=1e-5)


def test_unknown_optimizers_and_schedules_are_refused():
    for change, words in (
        ({"schedule": "step"}, "cosine or wsd"),
        ({"name": "sgd"}, "adamw or muon"),
        ({"decay": 0.0}, "decay"),
    ):
        with pytest.raises(UserError, match=words):
            optimizer.make_optimizer(config.Optimizer(warmup=1, **change), 10, {})


def test_muon_makes_updates_of_matrices_orthogonal(built):
    experiment, *_ = built
    _, abstract = jax.eval_shape(lambda: transformer.make(experiment.model, 50, 0))
    axes = step.axes_of(abstract)
    settings = config.Optimizer(
        name="muon", learning_rate=1.0, warmup=0, final=1.0, weight_decay=0.0, clip=1e9
    )
    mine = optimizer.make_optimizer(settings, 10, axes)
    rng = np.random.default_rng(0)
    params = {n: jnp.zeros(a.shape) for n, a in step.named(abstract).items()}
    grads = {n: jnp.asarray(rng.normal(size=p.shape), jnp.float32) for n, p in params.items()}
    updates, _ = mine.update(grads, mine.init(params), params)
    assert {name for name, a in axes.items() if optimizer._sides(a)} == {
        *("layers.query", "layers.key", "layers.value", "layers.output"),
        *("layers.gate", "layers.up", "layers.down"),
    }
    for name, sides in ((n, optimizer._sides(a)) for n, a in axes.items()):
        if sides is None:  # Adam's first update has the signs of the gradient and one size
            size = float(jnp.abs(updates[name]).max())
            np.testing.assert_allclose(updates[name], -size * np.sign(grads[name]), rtol=1e-3)
            continue
        ins = int(np.prod([params[name].shape[i] for i in sides.reduction_axis]))
        matrix = np.asarray(updates[name][0]).reshape(ins, -1)
        values = np.linalg.svd(matrix, compute_uv=False)
        size = 0.2 * max(matrix.shape) ** 0.5
        # All but the least singular values of a random matrix come near to one value.
        assert 0.6 * size < np.quantile(values, 0.2) and values.max() < 1.3 * size, name


@pytest.mark.parametrize("parts", (2, 4))
def test_accumulated_gradients_are_those_of_the_whole_batch(built, parts):
    experiment, program, loader = built
    codec, mesh = fakes.codec(), make_mesh(experiment.mesh)
    divided = step.make_program(
        dataclasses.replace(experiment, accumulate=parts),
        *(codec.vocab_size, codec.onset_tokens, mesh),
    )
    batch = loader.batch(0)
    # Parts of unequal weight: the mean is over all targets, not over the means of parts.
    batch = batch._replace(weight=batch.weight * (np.arange(4) < 3)[:, None])
    state, metrics = program.train(program.initial(), batch)
    other, same = divided.train(divided.initial(), batch)
    assert float(same.weight) == float(metrics.weight)
    np.testing.assert_allclose(same.nll, metrics.nll, rtol=1e-5)
    np.testing.assert_allclose(same.grad_norm, metrics.grad_norm, rtol=1e-4)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=2e-4), state.params, other.params
    )


def test_parts_must_divide_the_batch(built):
    experiment, *_ = built
    codec = fakes.codec()
    with pytest.raises(UserError, match=r"data\.batch to a multiple of 3"):
        step.make_program(
            dataclasses.replace(experiment, accumulate=3),
            *(codec.vocab_size, codec.onset_tokens, make_mesh(experiment.mesh)),
        )


def test_only_matrices_decay(built):
    experiment, *_ = built
    _, abstract = jax.eval_shape(lambda: transformer.make(experiment.model, 50, 0))
    decayed = optimizer._matrices(step.axes_of(abstract))
    assert {name for name, value in decayed.items() if not value} == {
        *("norm", "layers.attention_norm", "layers.hidden_norm"),
        *("layers.query_norm", "layers.key_norm"),
    }
    assert decayed["token"] and decayed["layers.value"] and decayed["layers.query"]


def test_names_of_parameters_are_there_and_back():
    params = jax.jit(lambda: transformer.make(fakes.experiment().model, 50, 0)[1])()
    named = step.named(params)
    assert {"token", "layers.value", "layers.query", "norm"} <= named.keys()
    shuffled = dict(reversed(named.items()))
    back = step.unnamed(params, shuffled)
    assert jax.tree.structure(back) == jax.tree.structure(params)
    assert all(a is b for a, b in zip(jax.tree.leaves(back), jax.tree.leaves(params)))


def test_step_is_plain_gradient_descent_of_the_mean_loss(built):
    experiment, program, loader = built
    batch = loader.batch(0)
    state = program.initial()
    size = loader.codec.vocab_size
    graphdef, like = jax.eval_shape(lambda: transformer.make(experiment.model, size, 0))

    def loss(params):
        model = step.unnamed(like, params)
        logits = transformer.apply(graphdef, model, batch.events, batch.segment)
        chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), batch.target[..., None], -1)
        return -(chosen[..., 0] * batch.weight).sum() / batch.weight.sum()

    value, grads = jax.jit(jax.value_and_grad(loss))(state.params)
    before = jax.device_get(state.params)
    state, metrics = program.train(state, jax.device_put(batch, program.batch))
    assert float(metrics.nll / metrics.weight) == pytest.approx(float(value), rel=1e-5)
    assert float(metrics.grad_norm) == pytest.approx(float(optax.global_norm(grads)), rel=1e-3)
    assert float(metrics.learning_rate) == pytest.approx(experiment.optimizer.learning_rate / 2)
    assert int(state.step) == 1 and int(state.skipped) == 0
    # The first update of Adam is the sign of the gradient, times the rate.
    moved = np.asarray(state.params["norm"]) - before["norm"]
    clear = np.abs(np.asarray(grads["norm"])) > 1e-5
    np.testing.assert_allclose(
        moved[clear], -5e-3 * np.sign(np.asarray(grads["norm"]))[clear], rtol=2e-2
    )


def test_weights_choose_what_counts_and_the_mean_is_global(built):
    _, program, loader = built
    batch = loader.batch(1)
    params = program.initial().params
    weight = np.zeros_like(batch.weight)
    weight[0, :3] = 1
    few = program.evaluate(params, jax.device_put(batch._replace(weight=weight), program.batch))
    assert float(few.weight) == 3 and float(few.notes) == 3
    other = batch.target.copy()
    other[1:] = 0
    same = program.evaluate(
        params, jax.device_put(batch._replace(weight=weight, target=other), program.batch)
    )
    assert float(same.nll) == float(few.nll)


def test_updates_that_are_not_finite_are_left_out_and_counted(built):
    _, program, loader = built
    batch = jax.device_put(loader.batch(0), program.batch)
    state, _ = program.train(program.initial(), batch)
    before = jax.device_get((state.params, state.opt_state))
    poisoned = jax.device_put(
        loader.batch(1)._replace(weight=np.full_like(loader.batch(1).weight, np.nan)), program.batch
    )
    state, metrics = program.train(state, poisoned)
    assert float(metrics.skipped) == 1 and int(state.skipped) == 1 and int(state.step) == 2
    after = jax.device_get((state.params, state.opt_state))
    jax.tree.map(np.testing.assert_array_equal, before, after)


def test_step_moves_nothing_between_host_and_device_and_reuses_memory(built):
    _, program, loader = built
    batch = jax.device_put(loader.batch(0), program.batch)
    state, _ = program.train(program.initial(), batch)
    with jax.transfer_guard("disallow"):
        new, _ = program.train(state, batch)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state.params))
    assert new.params["token"].sharding == program.state.params["token"].sharding


def test_bfloat16_keeps_float32_parameters(built):
    experiment, _, loader = built
    model = dataclasses.replace(experiment.model, dtype="bfloat16")
    codec = loader.codec
    program = step.make_program(
        dataclasses.replace(experiment, model=model),
        codec.vocab_size,
        codec.onset_tokens,
        make_mesh(experiment.mesh),
    )
    assert {str(leaf.dtype) for leaf in program.state.params.values()} == {"float32"}
    moments = jax.tree.leaves(program.state.opt_state)
    assert {str(leaf.dtype) for leaf in moments} == {"float32", "int32"}
