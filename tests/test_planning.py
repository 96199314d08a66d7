"""Planning: hardware by name, what a compiled program sends, and what fits where."""

import dataclasses
import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from jaxmusic import config as configs
from jaxmusic.cluster import topology
from jaxmusic.core.errors import UserError
from jaxmusic.planning import ahead, arithmetic, collectives, plan
from jaxmusic.planning import text as plan_text
from jaxmusic.runs import experiments

AXES = {"replica": 2, "fsdp": 4, "context": 1, "tensor": 1}
TOY = configs.Experiment(
    data=configs.Data(context=256, batch=16),
    model=configs.Transformer(layers=2, width=64, heads=4, kv_heads=2, head_dim=16, hidden=128),
)


@pytest.mark.quick
def test_hardware_by_name():
    found = topology.parse("v5e:16x16", 2)
    assert (found.count, found.shape, found.chip.kind) == (512, (16, 16), "tpu")
    assert found.closes(0) and not topology.parse("v5e:4x16").closes(0)
    assert topology.parse("v5p:4x4x8").closes(2) and not topology.parse("v5p:2x4x4").closes(1)
    assert topology.parse("H100:64").count == 64


@pytest.mark.quick
@pytest.mark.parametrize(
    ("name", "slices", "message"),
    [
        ("v9:2x2", 1, "with one of v4, v5e"),
        ("v5e", 1, "as in v5e:16x16"),
        ("v5e:4", 1, "2 dimensions, as in v5e:4x4"),
        ("v5p:4x4", 1, "3 dimensions, as in v5p:4x4x4"),
        ("v5e:0x4", 1, "at least one chip"),
        ("h100:12", 1, "up to 8 or a multiple of 8"),
        ("h100:2x4", 1, "as in h100:8"),
        ("h100:8", 2, "h100:64"),
        ("v5e:4x4", 0, "at least 1"),
    ],
)
def test_hardware_that_there_is_not(name, slices, message):
    with pytest.raises(UserError, match=message):
        topology.parse(name, slices)


def program(*lines):
    """The text of a program with these instructions."""
    return "\n".join(["ENTRY %main (x: f32[8]) -> f32[8] {", *(f"  {line}" for line in lines), "}"])


@pytest.mark.quick
@pytest.mark.parametrize(
    ("line", "kind", "size", "axes"),
    [
        (
            "%a = bf16[64,8]{1,0} all-gather(%x), channel_id=1, replica_groups=[2,4]<=[8], "
            "dimensions={0}",
            "all-gather",
            1024 * 3 / 4,
            ("fsdp",),
        ),
        (
            "%a = f32[16]{0} all-reduce(%x), channel_id=1, replica_groups=[4,2]<=[2,4]T(1,0)",
            "all-reduce",
            64 * 2 / 2,
            ("replica",),
        ),
        (
            "%a = f32[16]{0:T(128)} all-reduce(%x), replica_groups=mesh['a'=8] {'a'}, to_apply=%s",
            "all-reduce",
            64 * 2 * 7 / 8,
            ("replica", "fsdp"),
        ),
        (
            "%a = f32[4]{0} reduce-scatter(%x), replica_groups=mesh['a'=2,'b'=4] {'b'}, "
            "dimensions={0}",
            "reduce-scatter",
            16 * 4 * 3 / 4,
            ("fsdp",),
        ),
        (
            "%a = f32[16]{0} all-to-all(%x), replica_groups={{0,1,2,3},{4,5,6,7}}, dimensions={0}",
            "all-to-all",
            64 * 3 / 4,
            ("fsdp",),
        ),
        (
            "%a = (bf16[16]{0}, bf16[16]{0}, u32[], u32[]) collective-permute-start(%x), "
            "source_target_pairs={{0,1},{1,2},{2,3},{3,0}}",
            "collective-permute",
            32 * 4 / 8,
            ("fsdp",),
        ),
        (
            "%a = ((bf16[4]{0}, f32[2]{0}), (bf16[16]{0}, f32[8]{0})) all-gather-start(%x, %y), "
            "replica_groups={{0,1,2,3},{4,5,6,7}}, dimensions={0}",
            "all-gather",
            (32 + 32) * 3 / 4,
            ("fsdp",),
        ),
    ],
)
def test_one_collective(line, kind, size, axes):
    (found,) = collectives.collectives(program(line), AXES)
    assert (found.kind, found.bytes, found.axes, found.times) == (kind, size, axes, 1)


@pytest.mark.quick
def test_what_ends_elsewhere_and_what_is_done_in_pieces_counts_once():
    start = "%a = f32[16]{0} all-reduce-start(%x), channel_id=7, replica_groups={{0,1}}"
    piece = "%b = f32[16]{0} all-reduce(%x), channel_id=7, replica_groups={{0,1}}"
    done = "%c = f32[16]{0} all-reduce-done(%a)"
    assert len(collectives.collectives(program(start, piece, done), AXES)) == 1


@pytest.mark.quick
def test_a_sum_of_which_each_device_keeps_a_share_is_a_reduce_scatter():
    text = (
        "%all-reduce-scatter.1 (i: f32[16]) -> f32[4] {\n"
        "  %r = f32[16]{0} all-reduce(%i), replica_groups={{0,1,2,3},{4,5,6,7}}\n"
        "}\n" + program("%f = f32[4]{0} fusion(%x), kind=kCustom, calls=%all-reduce-scatter.1")
    )
    (found,) = collectives.collectives(text, AXES)
    assert (found.kind, found.bytes) == ("reduce-scatter", 64 * 3 / 4)


@pytest.mark.quick
def test_what_goes_between_slices():
    line = (
        "%s = (bf16[64]{0}, u32[], token[]) send(%x, %t), channel_id=3, is_host_transfer=true, "
        'frontend_attributes={_xla_megascale_transfer_type="ALL_REDUCE"}'
    )
    near = "%a = f32[16]{0} all-reduce(%x), channel_id=3, replica_groups={{0,1,2,3}}"
    other, found = collectives.collectives(program(near, line), AXES, slices=2)
    # One slice counts its own devices, from 0 on.
    assert not other.network and other.axes == ("fsdp",)
    assert found.network and found.axes == ("replica",)
    assert (found.kind, found.bytes) == ("all-reduce", 128)


@pytest.mark.quick
@pytest.mark.parametrize(
    ("groups", "axes"),
    [
        ("{{0,4},{1,5},{2,6},{3,7}}", ("replica",)),
        ("{}", ("replica", "fsdp")),
        ("[1,8]<=[8]", ("replica", "fsdp")),
        ("[2,4]<=[4,2]T(1,0)", ("replica", "fsdp")),
        ("mesh['a'=4,'b'=2], device_ids=([2,4]T(1,0)) {'a'}", ("fsdp",)),
        ("mesh['a'=2,'b'=4], device_ids=(4,5,6,7,0,1,2,3) {'a'}", ("replica",)),
        ("mesh['a'=8] {'a':(1)2}", ("replica",)),
        ("mesh['a'=8] {'a':(2)4}", ("fsdp",)),
        ("mesh['a'=2,'b'=4] {'b','a'}", ("replica", "fsdp")),
    ],
)
def test_every_way_in_which_groups_are_written(groups, axes):
    line = f"%a = f32[4]{{0}} all-reduce(%x), replica_groups={groups}, to_apply=%s"
    (found,) = collectives.collectives(program(line), AXES)
    assert found.axes == axes


@pytest.mark.quick
def test_groups_that_are_written_in_an_unknown_way_are_not_guessed():
    with pytest.raises(ValueError, match="groups"):
        collectives.collectives(program("%a = f32[4]{0} all-reduce(%x), channel_id=1"), AXES)


@pytest.fixture(scope="module")
def compiled():
    """The collectives of a small program in loops within loops, compiled for 8 devices."""
    code = """
    import dataclasses, json, jax, jax.numpy as jnp, numpy as np
    from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec as P
    from jaxmusic.planning.collectives import collectives
    axes = ("replica", "fsdp", "context", "tensor")
    mesh = Mesh(np.array(jax.devices()).reshape(2, 4, 1, 1), axes, axis_types=(AxisType.Auto,) * 4)
    at = lambda *spec: NamedSharding(mesh, P(*spec))
    def loss(w, x):
        def layer(x, w):
            w = jax.lax.with_sharding_constraint(w, at(None, None))
            return jnp.tanh(x @ w), None
        def part(total, x):
            return total + jnp.sum(jax.lax.scan(layer, x, w)[0] ** 2), None
        return jax.lax.scan(part, 0.0, x)[0]
    w = jax.ShapeDtypeStruct((3, 64, 64), jnp.float32, sharding=at(None, "fsdp", None))
    x = jax.ShapeDtypeStruct((5, 16, 64), jnp.float32, sharding=at(None, ("replica", "fsdp"), None))
    text = jax.jit(loss).lower(w, x).compile().as_text()
    found = collectives(text, dict(zip(axes, (2, 4, 1, 1))))
    print(json.dumps([dataclasses.asdict(c) for c in found]))
    """
    env = {**os.environ, "JAX_PLATFORMS": "cpu"}
    env["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_loops_count_as_often_as_they_go_round(compiled):
    (gather,) = [c for c in compiled if c["kind"] == "all-gather"]
    # Three layers in each of five parts; of 64 x 64 numbers of 4 bytes three quarters are sent.
    assert gather["times"] == 15
    assert gather["bytes"] == 64 * 64 * 4 * 3 / 4
    assert (gather["axes"], gather["dtype"], gather["network"]) == (["fsdp"], "f32", False)


def test_the_loss_is_summed_over_all_rows(compiled):
    sums = [c for c in compiled if c["kind"] == "all-reduce"]
    assert {tuple(c["axes"]) for c in sums} == {("replica", "fsdp")}
    assert sum(c["bytes"] * c["times"] for c in sums) in (4 * 2 * 7 / 8, 5 * 4 * 2 * 7 / 8)


@pytest.mark.quick
def test_what_the_compiler_says_of_too_large_a_program():
    message = (
        "RESOURCE_EXHAUSTED: E1000: CompileTimeHbmOom: Ran out of memory on HBM, the total memory "
        "required for HLO temporaries (232.93G) exceeds available HBM (15.75G). HLO module: f."
    )
    found = ahead.refused(message)
    assert found is not None and not found.fits
    assert found.total == 232.93 * 2**30 and found.available == 15.75 * 2**30
    assert ahead.refused("RESOURCE_EXHAUSTED: of patience") is None


@pytest.mark.quick
def test_a_plan_for_gpus_is_arithmetic():
    found = plan.plan(TOY, "h100:8")
    assert not found.compiled and found.fits and found.mesh["fsdp"] == 8
    assert found.traffic == found.least * 2  # float32 is twice as wide as bfloat16
    # Parameters and two moments of 4 bytes each, split over 8, and the batch.
    batch = 4 * 8 * 16 * 256 / 8
    assert found.memory.arguments == pytest.approx(12 * found.parameters / 8 + batch, rel=1e-3)
    assert found.mfu is not None and 0 < found.mfu <= 1
    assert found.days == pytest.approx(found.experiment.steps * found.roofline.step / 86_400)


@pytest.mark.quick
def test_text_and_json_say_the_same():
    found = plan.plan(TOY, "h100:8")
    text, read = plan_text.as_text(found), json.loads(plan_text.as_json(found))
    assert "analytic" in text and "unverified" in text
    assert read["parameters"] == found.parameters and not read["verified"]
    assert read["memory"]["total"] == found.memory.total
    assert sum(c["bytes"] for c in read["collectives"]) == pytest.approx(read["traffic"])
    assert "h100" in plan_text.costs(TOY)


@pytest.mark.quick
def test_what_does_not_fit_is_answered_with_what_does():
    wide = configs.Transformer(
        layers=24, width=2048, heads=16, kv_heads=8, head_dim=128, hidden=5632
    )
    large = configs.Experiment(data=configs.Data(context=16_384, batch=32), model=wide)
    found = plan.plan(large, "h100:4")
    assert not found.fits
    assert found.instead is not None and found.instead.data.batch == 32
    assert plan.plan(found.instead, "h100:4").fits
    text = plan_text.as_text(found)
    assert "too much" in text and f"--accumulate {found.instead.accumulate}" in text


@pytest.mark.quick
def test_where_nothing_fits_more_chips_are_asked_for():
    huge = configs.Transformer(
        layers=48, width=8192, heads=64, kv_heads=8, head_dim=128, hidden=28_672
    )
    found = plan.plan(configs.Experiment(model=huge), "a100:1")
    assert not found.fits and found.instead is None
    assert "take more chips" in plan_text.as_text(found)


@pytest.mark.quick
def test_smaller_settings_keep_the_batch_as_long_as_they_can():
    found = plan.plan(TOY, "h100:4")
    found = dataclasses.replace(
        found, memory=dataclasses.replace(found.memory, total=2 * found.memory.available)
    )
    made = []
    while (other := plan.smaller(found)) is not None and len(made) < 9:
        made.append((other.data.batch, other.accumulate, other.model.remat))
        found = dataclasses.replace(found, experiment=other)
    assert made == [
        (16, 1, "attention"),
        (16, 1, "nothing"),
        (16, 4, "nothing"),
    ]


@pytest.mark.quick
def test_less_kept_is_less_memory_and_more_arithmetic():
    def of(remat):
        model = configs.Transformer(
            layers=8, width=512, heads=8, kv_heads=8, hidden=1408, remat=remat
        )
        return plan.plan(configs.Experiment(data=TOY.data, model=model), "h100:8")

    products, attention, nothing = (of(name) for name in ("products", "attention", "nothing"))
    assert products.memory.total > attention.memory.total > nothing.memory.total
    assert products.work.again < attention.work.again < nothing.work.again
    assert products.work.flops == attention.work.flops == nothing.work.flops


@pytest.mark.quick
def test_slow_links_and_networks_bound_a_step():
    work = arithmetic.Work(tokens=1, flops=1.0, again=0.0, moved=1.0)
    sent = [collectives.Collective("all-gather", 450e9, 2, ("fsdp",), False, "bf16")]
    near = arithmetic.roofline(work, sent, topology.parse("h100:8"), {"replica": 1, "fsdp": 8})
    assert (near.bound, near.step) == ("links", 2.0)
    far = arithmetic.roofline(work, sent, topology.parse("h100:16"), {"replica": 1, "fsdp": 16})
    assert (far.bound, far.step) == ("network", 18.0)


@pytest.mark.quick
@pytest.mark.parametrize("topology", ["h100:3", "h100:16"])
def test_batches_that_do_not_divide_are_refused(topology):
    if topology == "h100:16":
        small = configs.Experiment(data=configs.Data(batch=8), model=TOY.model)
        with pytest.raises(UserError, match=r"data\.batch to a multiple of 16"):
            plan.plan(small, topology)
    else:
        with pytest.raises(UserError, match="over 3 devices"):
            plan.plan(TOY, topology)


@pytest.mark.quick
def test_without_the_compiler_for_tpus_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setattr(ahead.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'jaxmusic\[plan\]'"):
        plan.plan(TOY, "v5e:2x2")


HARDWARE = {
    "pop_cpu": ("h100:1",),
    "pop_gpu": ("h100:1",),
    "starter_cpu": ("h100:1",),
    "starter_control": ("h100:1",),
    "pretrain_100m": ("h100:1", "h100:8"),
    "pretrain_350m": ("h100:8", "h200:8"),
    "pretrain_1b": ("h100:256",),
    "pretrain_7b": ("h100:128",),
}


@pytest.mark.quick
@pytest.mark.parametrize("name", experiments.names())
def test_every_experiment_can_be_planned(name):
    experiment = experiments.load_experiment(name)
    for hardware in HARDWARE[name]:
        found = plan.plan(experiment, hardware)
        assert found.fits and np.isfinite(found.days)


@pytest.mark.quick
@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["pop_gpu"], 0, "hardware for --topology"),
        (["pop_gpu", "--topology", "h100:8"], 0, "fits"),
        (["pop_gpu", "--topology", "a100:1", "--data.batch", "4096"], 3, "This does"),
        (["pop_gpu", "--topology", "x100:8"], 2, "as in v5e:16x16"),
        ([], 2, "config first"),
    ],
)
def test_the_command(arguments, code, says):
    done = subprocess.run(
        [sys.executable, "-m", "jaxmusic", "plan", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == code, done.stderr
    assert says in done.stdout + done.stderr
