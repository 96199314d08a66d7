"""Planning: hardware by name, what a compiled program sends, and what fits where."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
from device_fakes import program_on_eight

from jaxmusic import config as configs
from jaxmusic._src.cluster import topology
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.planning import ahead, arithmetic, collectives, plan
from jaxmusic._src.planning import text as plan_text
from jaxmusic._src.runs import experiments

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
    ("shape", "op", "groups", "size", "axes"),
    [
        ("bf16[64,8]{1,0}", "all-gather", "[2,4]<=[8]", 1024 * 3 / 4, "fsdp"),
        ("f32[16]{0}", "all-reduce", "[4,2]<=[2,4]T(1,0)", 64 * 2 / 2, "replica"),
        ("f32[4]{0}", "reduce-scatter", "mesh['a'=2,'b'=4] {'b'}", 16 * 4 * 3 / 4, "fsdp"),
        ("f32[16]{0}", "all-to-all", "{{0,1,2,3},{4,5,6,7}}", 64 * 3 / 4, "fsdp"),
        (
            *("((bf16[4]{0}, f32[2]{0}), (bf16[16]{0}, f32[8]{0}))", "all-gather-start"),
            *("{{0,1,2,3},{4,5,6,7}}", (32 + 32) * 3 / 4, "fsdp"),
        ),
        ("f32[16]{0:T(128)}", "all-reduce", "mesh['a'=8] {'a'}", 112, "replica fsdp"),
        ("f32[4]{0}", "all-reduce", "{{0,4},{1,5},{2,6},{3,7}}", 16, "replica"),
        ("f32[4]{0}", "all-reduce", "{}", 28, "replica fsdp"),
        ("f32[4]{0}", "all-reduce", "[1,8]<=[8]", 28, "replica fsdp"),
        ("f32[4]{0}", "all-reduce", "[2,4]<=[4,2]T(1,0)", 24, "replica fsdp"),
        *[
            ("f32[4]{0}", "all-reduce", f"mesh[{groups}", size, axes)
            for groups, size, axes in (
                ("'a'=4,'b'=2], device_ids=([2,4]T(1,0)) {'a'}", 24, "fsdp"),
                ("'a'=2,'b'=4], device_ids=(4,5,6,7,0,1,2,3) {'a'}", 16, "replica"),
                ("'a'=8] {'a':(1)2}", 16, "replica"),
                ("'a'=8] {'a':(2)4}", 24, "fsdp"),
                ("'a'=2,'b'=4] {'b','a'}", 28, "replica fsdp"),
            )
        ],
    ],
)
def test_one_collective_with_every_way_to_write_its_groups(shape, op, groups, size, axes):
    line = f"%a = {shape} {op}(%x), channel_id=1, replica_groups={groups}, dimensions={{0}}"
    (found,) = collectives.collectives(program(line), AXES)
    kind = op.removesuffix("-start")
    assert found[:4] == (kind, size, 1, tuple(axes.split()))
    with pytest.raises(ValueError, match="groups"):
        collectives.collectives(program(line.replace("replica_groups", "groups")), AXES)


RING = (
    "%a = (bf16[16]{0}, bf16[16]{0}, u32[], u32[]) collective-permute-start(%x), "
    "source_target_pairs={{0,1},{1,2},{2,3},{3,0}}"
)
PIECES = (
    "%a = f32[16]{0} all-reduce-start(%x), channel_id=7, replica_groups={{0,4},{1,5}}",
    "%b = f32[16]{0} all-reduce(%x), channel_id=7, replica_groups={{0,4},{1,5}}",
    "%c = f32[16]{0} all-reduce-done(%a)",
)
SHARES = """%all-reduce-scatter.1 (i: f32[16]) -> f32[4] {
  %r = f32[16]{0} all-reduce(%i), replica_groups={{0,1,2,3},{4,5,6,7}}
}
"""
FUSED = "%f = f32[4]{0} fusion(%x), kind=kCustom, calls=%all-reduce-scatter.1"


@pytest.mark.quick
@pytest.mark.parametrize(
    ("text", "kind", "size", "axis"),
    [
        (program(RING), "collective-permute", 32 * 4 / 8, "fsdp"),
        (program(*PIECES), "all-reduce", 64, "replica"),
        (SHARES + program(FUSED), "reduce-scatter", 64 * 3 / 4, "fsdp"),
    ],
    ids=["ring", "pieces", "shares"],
)
def test_rings_pieces_and_sums_of_which_each_device_keeps_a_share(text, kind, size, axis):
    (found,) = collectives.collectives(text, AXES)
    assert found[:4] == (kind, size, 1, (axis,))


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
@pytest.mark.parametrize(("start", "by", "rounds"), [(0, 1, 12), (2, 1, 10), (2, 4, 3)])
def test_loops_whose_counter_has_to_be_read(start, by, rounds):
    text = f"""
%body (p: (s32[], f32[8])) -> (s32[], f32[8]) {{
  %i = s32[] get-tuple-element(%p), index=0
  %c = s32[] copy(%i)
  %by = s32[] constant({by})
  %next = s32[] add(%c, %by)
  %r = f32[8]{{0}} all-reduce(%x), replica_groups={{}}
  ROOT %t = (s32[], /*index=1*/f32[8]) tuple(%next, /*index=1*/%r)
}}
%test (p: (s32[], f32[8])) -> pred[] {{
  %i = s32[] get-tuple-element(%p), index=0
  %end = s32[] constant(12)
  ROOT %less = pred[] compare(%i, %end), direction=LT
}}
""" + program(
        f"%first = s32[] constant({start})",
        "%copied = s32[] copy(%first)",
        "%t = (s32[], f32[8]) tuple(%copied, %x)",
        "%w = (s32[], f32[8]) while(%t), condition=%test, body=%body",
    )
    (found,) = collectives.collectives(text, AXES)
    assert found.times == rounds
    with pytest.raises(ValueError, match="loop"):
        collectives.collectives(text.replace("direction=LT", "direction=NE"), AXES)


def test_layers_gather_twice_in_each_part_and_scatter_once():
    """Loops within loops, and parameters that are gathered where they are used."""
    sent = program_on_eight("""
        import functools, json, jax, jax.numpy as jnp
        from jaxmusic import config
        from jaxmusic._src.models.layout import Layout, gathered_layer, spec
        from jaxmusic._src.models.mesh import make_mesh
        from jaxmusic._src.planning.collectives import collectives
        mesh = make_mesh(config.Mesh(replica=2))
        axes = {"up": ("layers", "embed", "hidden"), "down": ("layers", "hidden", "embed")}
        def loss(weights, x):
            @functools.partial(jax.checkpoint, policy=jax.checkpoint_policies.nothing_saveable)
            def layer(x, w):
                w = gathered_layer(w, axes, x.dtype, Layout(mesh))
                return x + jnp.tanh(x @ w["up"]) @ w["down"], None
            return jnp.sum(jax.lax.scan(layer, x, weights)[0] ** 2)
        def step(weights, parts):
            return jax.lax.scan(lambda _, x: (None, jax.grad(loss)(weights, x)), None, parts)[1]
        at = lambda names: jax.sharding.NamedSharding(mesh, spec(mesh, names))
        array = lambda shape, *names: jax.ShapeDtypeStruct(shape, jnp.float32, sharding=at(names))
        weights = {"up": array((3, 64, 32), *axes["up"])}
        weights["down"] = array((3, 32, 64), *axes["down"])
        text = jax.jit(step).lower(weights, array((5, 16, 64), None, "batch", None)).compile()
        print(json.dumps(collectives(text.as_text(), dict(mesh.shape))))
    """)
    found = [collectives.Collective(*each) for each in sent]
    gathers = [each for each in found if each.kind == "all-gather"]
    # Three layers in each of five parts; of two matrices of 4 bytes three quarters are sent.
    assert {(each.times, *each.axes, each.dtype) for each in gathers} == {(15, "fsdp", "f32")}
    assert sum(each.bytes for each in gathers) == 2 * 2 * 64 * 32 * 4 * 3 / 4
    assert {axis for each in found for axis in each.axes} == {"replica", "fsdp"}


@pytest.mark.quick
def test_what_the_compiler_says_of_too_large_a_program():
    message = "RESOURCE_EXHAUSTED: temporaries (232.93G) exceeds available HBM (15.75G). HLO: f."
    found = ahead.refused(message)
    assert found is not None and not found.fits
    assert found.total == 232.93 * 2**30 and found.available == 15.75 * 2**30
    assert ahead.refused("RESOURCE_EXHAUSTED: of patience") is None


@pytest.mark.quick
def test_a_plan_for_gpus_is_arithmetic():
    found = plan.plan(TOY, "h100:8")
    work, read = found.work, json.loads(plan_text.as_json(found))
    assert not found.compiled and found.memory.fits and work.mesh["fsdp"] == 8
    assert found.traffic == work.least_traffic() * 2  # float32 is twice as wide as bfloat16
    # Parameters and two moments of 4 bytes each, split over 8, and the batch.
    batch = 4 * 8 * 16 * 256 / 8
    assert found.memory.arguments == pytest.approx(12 * work.parameters / 8 + batch, rel=1e-3)
    assert 0 < found.mfu <= 1
    assert found.days == pytest.approx(TOY.steps * max(found.roofline) / 86_400)
    text = plan_text.as_text(found)
    assert "analytic" in text and "unverified" in text
    assert read["parameters"] == work.parameters and not read["verified"]
    assert read["memory"]["total"] == found.memory.total
    assert sum(c["bytes"] for c in read["collectives"]) == pytest.approx(read["traffic"])


@pytest.mark.quick
def test_what_does_not_fit_is_answered_with_what_does():
    wide = configs.Transformer(
        layers=24, width=2048, heads=16, kv_heads=8, head_dim=128, hidden=5632
    )
    large = configs.Experiment(data=configs.Data(context=16_384, batch=32), model=wide)
    found = plan.plan(large, "h100:4")
    assert not found.memory.fits and found.instead.data.batch == 32
    assert plan.plan(found.instead, "h100:4").memory.fits
    text = plan_text.as_text(found)
    assert "too much" in text and f"--accumulate {found.instead.accumulate}" in text


@pytest.mark.quick
def test_where_nothing_fits_more_chips_are_asked_for():
    huge = configs.Transformer(
        layers=48, width=8192, heads=64, kv_heads=8, head_dim=128, hidden=28_672
    )
    found = plan.plan(configs.Experiment(model=huge), "a100:1")
    assert not found.memory.fits and found.instead is None
    assert "take more chips" in plan_text.as_text(found)


@pytest.mark.quick
def test_smaller_settings_keep_the_batch_as_long_as_they_can():
    found = plan.plan(TOY, "h100:4")
    memory = found.memory._replace(total=2 * found.memory.available)
    made = []
    while (other := plan.smaller(dataclasses.replace(found, memory=memory))) and len(made) < 9:
        made.append((other.data.batch, other.accumulate, other.model.remat))
        work = dataclasses.replace(found.work, experiment=other)
        found = dataclasses.replace(found, work=work)
    assert made == [(16, 1, "attention"), (16, 1, "nothing"), (16, 4, "nothing")]


@pytest.mark.quick
def test_less_kept_is_less_memory_and_more_arithmetic():
    def of(remat):
        model = configs.Transformer(
            layers=8, width=512, heads=8, kv_heads=8, hidden=1408, remat=remat
        )
        return plan.plan(configs.Experiment(data=TOY.data, model=model), "h100:8")

    plans = [of(name) for name in ("products", "attention", "nothing")]
    total, again = [p.memory.total for p in plans], [p.work.again for p in plans]
    assert total == sorted(total, reverse=True) and again == sorted(again)
    assert len(set(total)) == len(set(again)) == 3
    assert len({p.work.flops for p in plans}) == 1


@pytest.mark.quick
@pytest.mark.parametrize(
    ("name", "bound", "seconds"), [("h100:8", "links", 2), ("h100:16", "network", 18)]
)
def test_slow_links_and_networks_bound_a_step(name, bound, seconds):
    sent = [collectives.Collective("all-gather", 450e9, 2, ("fsdp",), False, "bf16")]
    found = arithmetic.roofline(plan.plan(TOY, name).work, sent, topology.parse(name), None)
    assert (found.bound, max(found)) == (bound, seconds)


@pytest.mark.quick
@pytest.mark.parametrize(
    ("name", "batch", "message"),
    [
        ("h100:3", 16, "over 3 devices"),
        ("h100:16", 8, r"data\.batch to a multiple of 16"),
        ("v5e:2x2", 16, r"pip install 'jaxmusic\[plan\]'"),
    ],
)
def test_what_cannot_be_planned_is_refused(monkeypatch, name, batch, message):
    monkeypatch.setattr(ahead.importlib.util, "find_spec", lambda name: None)
    data = dataclasses.replace(TOY.data, batch=batch)
    with pytest.raises(UserError, match=message):
        plan.plan(dataclasses.replace(TOY, data=data), name)


HARDWARE = {
    "pretrain_100m": ("h100:1", "h100:8"),
    "pretrain_350m": ("h100:8", "h200:8"),
    "pretrain_1b": ("h100:256",),
    "pretrain_7b": ("h100:128",),
}


@pytest.mark.quick
@pytest.mark.parametrize("name", experiments.names())
def test_every_experiment_can_be_planned(name):
    experiment = experiments.load_experiment(name)
    for hardware in HARDWARE.get(name, ("h100:1",)):
        found = plan.plan(experiment, hardware)
        assert found.memory.fits and np.isfinite(found.days)


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
