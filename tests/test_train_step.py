"""The train step, the loss and the optimiser."""

import dataclasses

import device_fakes
import jax
import jax.numpy as jnp
import mathematics
import numpy as np
import optax
import pytest
import train_fakes as fakes

from jaxmusic import config
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.models import base, transformer
from jaxmusic._src.models.loss import summed_losses, token_losses
from jaxmusic._src.models.mesh import make_mesh
from jaxmusic._src.train import optimizer, spikes, step


def make(experiment, devices=None, **options):
    codec = fakes.codec()
    mesh = make_mesh(experiment.mesh, devices)
    return step.Program(experiment, codec.vocab_size, codec.onset_tokens, mesh, **options)


@pytest.fixture(scope="module")
def built():
    experiment = fakes.experiment()
    loader = fakes.FakeLoader(experiment.data, fakes.codec())
    return experiment, make(experiment), loader


@pytest.fixture(scope="module")
def guarded():
    """A program that leaves out spikes and averages its weights."""
    settings = dataclasses.replace(fakes.experiment().optimizer, spike=6.0, ema=0.5)
    return make(fakes.experiment(optimizer=settings, steps=200))


@pytest.mark.quick
def test_loss_is_the_likelihood_of_the_softmax_and_z_loss_is_not_reported():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 3, 5)).astype(np.float32) * 30
    target, weight = rng.integers(0, 5, (2, 3)), rng.integers(0, 2, (2, 3)).astype(np.float32)
    exact = logits.astype(np.float64)
    likely = np.take_along_axis(exact, target[..., None], -1)[..., 0]
    normaliser = np.log(np.exp(exact - exact.max(-1, keepdims=True)).sum(-1)) + exact.max(-1)
    want = normaliser - likely
    np.testing.assert_allclose(token_losses(jnp.asarray(logits), target), want, atol=1e-5)
    plain, squares = (want * weight).sum(), (normaliser**2 * weight).sum()
    minimised, nll = summed_losses(jnp.asarray(logits), target, jnp.asarray(weight), 0.5)
    np.testing.assert_allclose([nll, minimised], [plain, plain + 0.5 * squares], rtol=1e-5)
    assert summed_losses(jnp.asarray(logits), target, jnp.asarray(weight)) == (nll, nll)


def test_z_loss_of_the_step(built):
    experiment, program, loader = built
    with_z = make(dataclasses.replace(experiment, objective=config.CrossEntropy(0.1)))
    batch = loader.batch(0)
    _, metrics = program.train(program.initial(), batch)
    _, other = with_z.train(with_z.initial(), batch)
    np.testing.assert_allclose(other["nll"], metrics["nll"], rtol=1e-6)
    # At the start logits are small: the normaliser is about the size of the vocabulary, and the
    # second term pulls on all logits alike.
    assert abs(float(other["grad_norm"] / metrics["grad_norm"]) - 1) > 1e-3


@pytest.mark.quick
def test_schedules_rise_to_the_peak_and_fall_to_its_share():
    settings = config.Optimizer(learning_rate=2.0, final=0.1, warmup=4, decay=0.25)
    rate = optimizer.make_schedule(settings, steps=10)
    got = [float(rate(i)) for i in range(10)]
    np.testing.assert_allclose(got[:4], [0.5, 1.0, 1.5, 2.0])
    assert got[3:] == sorted(got[3:], reverse=True)
    assert got[6] == pytest.approx(2.0 * (0.1 + 0.9 / 2)) and got[9] == pytest.approx(0.2)
    assert float(optimizer.make_schedule(config.Optimizer(warmup=0), 10)(0)) > 0.9e-3
    wsd = optimizer.make_schedule(dataclasses.replace(settings, schedule="wsd"), steps=20)
    got = [float(wsd(i)) for i in range(20)]
    np.testing.assert_allclose(got[:15], [0.5, 1.0, 1.5, *[2.0] * 12], rtol=1e-6)
    # The last quarter, five updates, leads to the final share in equal steps.
    np.testing.assert_allclose(got[15:], 2.0 - 1.8 * np.arange(1, 6) / 5, rtol=1e-5)


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


def test_muon_makes_updates_of_matrices_orthogonal(built):
    experiment, *_ = built
    axes = transformer.axes(experiment.model, 50)
    settings = config.Optimizer(
        name="muon", learning_rate=1.0, warmup=0, final=1.0, weight_decay=0.0, clip=1e9
    )
    mine = optimizer.make_optimizer(settings, 10, axes)
    rng = np.random.default_rng(0)
    shapes = base.abstract_params(experiment.model, 50)
    params = {n: jnp.zeros(a.shape) for n, a in shapes.items()}
    grads = {n: jnp.asarray(rng.normal(size=p.shape), jnp.float32) for n, p in params.items()}
    updates, _ = mine.update(grads, mine.init(params), params)
    assert {name for name, a in axes.items() if optimizer._sides(a)} == {
        *("layers.query", "layers.key", "layers.value", "layers.output"),
        *("layers.gate", "layers.up", "layers.down"),
    }
    assert {name for name, value in optimizer._matrices(axes).items() if not value} == {
        *("norm", "layers.attention_norm", "layers.hidden_norm"),
        *("layers.query_norm", "layers.key_norm"),
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


@pytest.mark.parametrize(
    ("mesh", "changes", "message"),
    [
        ((1, 1, 1, 1), {"accumulate": 3}, r"data\.batch to a multiple of 3"),
        ((1, 8, 1, 1), {}, r"data\.batch to a multiple of 8: 4 rows"),
        ((1, 1, 32, 1), {}, r"data\.context to a multiple of 32: rows of 16 tokens"),
        ((1, 1, 1, 2), {}, "kv_heads of size 1 cannot be split over 2 devices"),
        ((1, 1, 1, 2), {"model": config.LSTM(layers=1, width=16)}, r"Set mesh\.tensor to 1"),
    ],
)
def test_what_does_not_divide_is_one_sentence(mesh, changes, message):
    experiment = fakes.experiment(mesh=config.Mesh(*mesh), **changes)
    with pytest.raises(UserError, match=message):
        make(experiment, device_fakes.cpus(int(np.prod(mesh))))


def test_step_is_plain_gradient_descent_of_the_mean_loss(built):
    experiment, program, loader = built
    batch = loader.batch(0)
    state = program.initial()

    def loss(params):
        logits = transformer.apply(params, experiment.model, batch.events, batch.segment).logits
        chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), batch.target[..., None], -1)
        return -(chosen[..., 0] * batch.weight).sum() / batch.weight.sum()

    value, grads = jax.jit(jax.value_and_grad(loss))(state.params)
    before = jax.device_get(state.params)
    state, metrics = program.train(state, jax.device_put(batch, program.batch))
    assert float(metrics["nll"] / metrics["weight"]) == pytest.approx(float(value), rel=1e-5)
    assert float(metrics["grad_norm"]) == pytest.approx(float(optax.global_norm(grads)), rel=1e-3)
    assert float(metrics["learning_rate"]) == pytest.approx(experiment.optimizer.learning_rate / 2)
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
    state = program.initial()
    params = state.params
    weight = np.zeros_like(batch.weight)
    weight[0, :3] = 1
    batch = batch._replace(weight=weight)
    few = program.evaluate(params, state.frozen, jax.device_put(batch, program.batch))
    assert float(few["weight"]) == 3 and float(few["notes"]) == 3
    batch.target[1:] = 0
    same = program.evaluate(params, state.frozen, jax.device_put(batch, program.batch))
    assert float(same["nll"]) == float(few["nll"])


def test_updates_that_are_not_finite_are_left_out_and_counted(built):
    _, program, loader = built
    batch = jax.device_put(loader.batch(0), program.batch)
    state, _ = program.train(program.initial(), batch)
    before = jax.device_get((state.params, state.opt_state))
    poisoned = loader.batch(1)
    poisoned.weight[:] = np.nan
    state, metrics = program.train(state, jax.device_put(poisoned, program.batch))
    assert float(metrics["skipped"]) == 1 and int(state.skipped) == 1 and int(state.step) == 2
    after = jax.device_get((state.params, state.opt_state))
    jax.tree.map(np.testing.assert_array_equal, before, after)


def test_step_moves_nothing_between_host_and_device_and_reuses_memory(built):
    _, program, loader = built
    batch = jax.device_put(loader.batch(0), program.batch)
    state, _ = program.train(program.initial(), batch)
    with jax.transfer_guard("disallow"):
        new, _ = program.train(state, batch)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state))
    assert new.params["token"].sharding == program.state.params["token"].sharding


def test_bfloat16_keeps_float32_parameters(built):
    experiment, *_ = built
    model = dataclasses.replace(experiment.model, dtype="bfloat16")
    program = make(dataclasses.replace(experiment, model=model))
    assert {str(leaf.dtype) for leaf in program.state.params.values()} == {"float32"}
    moments = jax.tree.leaves(program.state.opt_state)
    assert {str(leaf.dtype) for leaf in moments} == {"float32", "int32"}


@pytest.mark.quick
def test_the_usual_loss_is_the_mean_of_the_last_updates():
    rng = np.random.default_rng(0)
    values = rng.normal([3.0, 1.0], [0.1, 0.3], (spikes.MEMORY, 2)).astype(np.float32)
    usual = spikes.nothing_yet(jnp.float32)
    for value in values:
        usual = jax.jit(spikes.updated)(usual, value)
    np.testing.assert_allclose(usual.mean, values.mean(0), rtol=1e-5)
    np.testing.assert_allclose(usual.variance, values.var(0), rtol=1e-4)
    # From here on the older ones fade.
    for _ in range(3 * spikes.MEMORY):
        usual = jax.jit(spikes.updated)(usual, jnp.array([5.0, 1.0]))
    np.testing.assert_allclose(usual.mean[0], 5.0 - 2.0 * np.exp(-3), rtol=1e-2)


@pytest.mark.quick
def test_what_stands_out():
    usual = spikes.Usual(
        jnp.array(spikes.SETTLED), jnp.array([3.0, 1.0]), jnp.array([0.1, 0.3]) ** 2
    )
    for loss, norm, out in ((3.5, 2.0, False), (3.7, 1.0, True), (3.0, 2.9, True), (0, 0, False)):
        assert bool(spikes.stands_out(usual, jnp.array([loss, norm]), 6.0)) == out
    early = usual._replace(updates=usual.updates - 1)
    assert not spikes.stands_out(early, jnp.array([9.0, 9.0]), 6.0)
    # Losses that do not change at all would make spikes of rounding.
    still = usual._replace(variance=jnp.zeros(2))
    assert not spikes.stands_out(still, jnp.array([3.0001, 1.0]), 6.0)


def test_spikes_are_left_out_and_do_not_become_usual(guarded, built):
    batch = jax.device_put(built[2].batch(0), guarded.batch)
    state, metrics = guarded.train(guarded.initial(), batch)
    assert float(metrics["skipped"]) == 0 and int(state.usual.updates) == 1
    loss, norm = float(metrics["nll"] / metrics["weight"]), float(metrics["grad_norm"])
    np.testing.assert_allclose(state.usual.mean, [loss, norm], rtol=1e-6)
    # As if losses had been much lower for long; put where the program has it, or it would be
    # compiled again.
    places = jax.tree.map(lambda x: x.sharding, state.usual)
    low = spikes.Usual(jnp.array(100), jnp.array([loss / 2, norm]), jnp.array([0.01, 0.01]))
    state = state._replace(usual=jax.device_put(low, places))
    before = jax.device_get(state)
    for times in (1, 2):
        state, metrics = guarded.train(state, batch)
        assert np.isfinite(metrics["nll"]) and float(metrics["skipped"]) == 1
        want = before._replace(step=before.step + times, skipped=np.int32(times))
        jax.tree.map(np.testing.assert_array_equal, jax.device_get(state), want)
    loss, norm = float(metrics["nll"] / metrics["weight"]), float(metrics["grad_norm"])
    usual = before.usual._replace(mean=np.array([loss, norm], np.float32))
    state, metrics = guarded.train(state._replace(usual=jax.device_put(usual, places)), batch)
    assert float(metrics["skipped"]) == 0 and int(state.usual.updates) == 101
    assert not np.array_equal(state.params["token"], before.params["token"])


def test_the_average_starts_at_the_weights_and_follows_them(guarded, built):
    loader = built[2]
    state = guarded.initial()
    want = jax.device_get(state.params)
    jax.tree.map(np.testing.assert_array_equal, want, jax.device_get(state.average))
    for t in range(12):
        state, _ = guarded.train(state, jax.device_put(loader.batch(t), guarded.batch))
        keep = min(0.5, (1 + t) / (10 + t))
        now = jax.device_get(state.params)
        want = {name: keep * old + (1 - keep) * now[name] for name, old in want.items()}
    for name, array in state.weights.items():
        np.testing.assert_allclose(array, want[name], rtol=1e-5, atol=1e-6)
    assert not np.allclose(state.average["token"], now["token"])
    assert state.average["token"].dtype == np.float32
    plain = built[1].initial()
    assert plain.weights is plain.params
    other = state.starting_from(plain.params)
    np.testing.assert_array_equal(other.average["token"], plain.params["token"])
    guarded.train(other, jax.device_put(loader.batch(0), guarded.batch))


SHARDED = """
    import sys
    import jax
    import optax
    sys.path.append("tests")
    import train_fakes as fakes
    from jaxmusic import config
    from jaxmusic._src.models.mesh import make_mesh
    from jaxmusic._src.train import optimizer, step

    # Any other optimiser is one line.
    optimizer.OPTIMIZERS["adafactor"] = lambda c, rate, axes: (optax.adafactor(rate, 8),)

    def held(arrays, device):
        return sum(
            shard.data.nbytes
            for leaf in jax.tree.leaves(arrays)
            for shard in leaf.addressable_shards
            if shard.device == device
        )

    codec = fakes.codec()
    data = config.Data(dataset="fake", context=16, batch=8)
    batches = fakes.FakeLoader(data, codec)
    for name in ("muon", "adafactor"):  # muon has AdamW for what is no matrix
        settings = config.Optimizer(name=name, learning_rate=1e-2, warmup=0, ema=0.9)
        experiment = fakes.experiment(optimizer=settings, data=data)
        mesh = make_mesh(experiment.mesh)
        program = step.Program(experiment, codec.vocab_size, codec.onset_tokens, mesh)
        state, losses = program.initial(), []
        for at in range(4):
            state, metrics = program.train(state, jax.device_put(batches.batch(at), program.batch))
            losses.append(float(metrics["nll"] / metrics["weight"]))
        assert losses[-1] < losses[0], (name, losses)
        parts = [state.params, state.average, state.opt_state]
        if name == "adafactor":  # keeps sums over rows and columns, split where their axis is
            sums = parts.pop()[1][0].v_row["token"]
            assert sums.shape == (16,) and sums.sharding.shard_shape((16,)) == (2,)
        for part in parts:
            # Only the scales of queries and keys and the counters are on every device.
            whole = sum(leaf.nbytes for leaf in jax.tree.leaves(part))
            assert all(held(part, device) <= whole / 8 + 500 for device in jax.devices()), name
        token = state.average["token"]
        assert token.sharding.shard_shape(token.shape) == (token.shape[0], token.shape[1] // 8)
    print(jax.device_count())
"""


def test_each_device_holds_its_share_whatever_the_optimizer(unoptimised):
    assert device_fakes.program_on_eight(SHARDED) == 8


def test_the_mathematics_are_the_same_on_a_mesh(starter_data, unoptimised):
    """In short; tests/slow/test_same_mathematics.py has all axes, policies and processes."""
    cases = [mathematics.case(), mathematics.case((1, 2, 1, 2), 4, "nothing")]
    one, other = mathematics.run(starter_data, cases, devices=4)
    assert one["dtypes"] == ["float64"] and one["losses"][-1] < one["losses"][0] - 0.5
    np.testing.assert_allclose(other["losses"], one["losses"], rtol=1e-8)
    assert other["rows"] == one["rows"]
