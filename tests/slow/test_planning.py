"""Plans compiled for TPUs: minutes each, and only where the compiler for TPUs is installed."""

import importlib.util
import json
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None,
    reason="libtpu is not installed: pip install 'jaxmusic[plan]'",
)


def planned(*arguments, code=0):
    """A plan as read from the JSON that the command prints."""
    command = [sys.executable, "-m", "jaxmusic", "plan", *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


TOY = (
    *("pop_gpu", "--model.layers", "2", "--model.width", "512", "--model.heads", "4"),
    *("--model.kv-heads", "2", "--model.head-dim", "128", "--model.hidden", "1024"),
    *("--data.context", "512", "--data.batch", "16"),
)


@pytest.fixture(scope="module")
def toy():
    return planned(*TOY, "--topology", "v5e:2x2")


def test_a_toy_on_a_small_slice(toy):
    found = toy
    assert found["compiled"] and found["fits"] and found["attention"] == "splash"
    # Parameters and two moments, split over four chips, and the batch.
    state = 12 * found["parameters"] / 4
    assert state <= found["memory"]["arguments"] <= state * 1.02 + 8 * 4 * 16 * 512
    assert {tuple(each["axes"]) for each in found["collectives"]} == {("fsdp",)}


def test_parts_of_a_batch_gather_anew(toy):
    parts = planned(*TOY, "--topology", "v5e:2x2", "--accumulate", "2")
    assert 1.4 < parts["traffic"] / toy["traffic"] < 2.3


def test_slices_exchange_gradients_and_nothing_else_over_the_network():
    found = planned(*TOY, "--topology", "v5e:2x2", "--slices", "2", "--mesh.replica", "2")
    far = [each for each in found["collectives"] if each["network"]]
    assert far and all(each["axes"] == ["replica"] for each in far)
    assert found["roofline"]["network"] > 0
    # Each chip exchanges its share of the gradients: 2 or 4 bytes a number, there and back.
    share = found["parameters"] / 4
    assert 2 * share <= sum(each["bytes"] for each in far) <= 4.5 * share


def test_what_does_not_fit_says_by_how_much_and_what_does():
    found = planned(*TOY, "--topology", "v5e:2x2", "--data.batch", "32768", code=3)
    memory = found["memory"]
    assert memory["available"] == 15.75 * 2**30 < memory["total"]
    assert found["roofline"] is None and not found["collectives"]
    assert found["instead"]["batch"] == 32768 and 1 < found["instead"]["accumulate"] <= 64


def test_a_slice_that_there_is_not():
    command = [sys.executable, "-m", "jaxmusic", "plan", "pop_gpu", "--topology", "v5e:3x5"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert done.stderr.strip().endswith("there are no slices of 3 x 5 chips.")


@pytest.mark.parametrize(
    ("config", "topology"),
    [
        ("pretrain_100m", "v5e:2x4"),
        ("pretrain_1b", "v5e:16x16"),
        ("pretrain_7b", "v5p:4x4x8"),
    ],
)
def test_the_experiments_fit_and_send_little_more_than_they_must(config, topology):
    found = planned(config, "--topology", topology)
    assert found["fits"]
    assert found["traffic"] <= 1.25 * found["least_traffic"] * found["accumulate"]


SPLASH = """
    import json, re, sys
    from jaxmusic._src.cluster import topology
    topology.compile_elsewhere()
    from jaxmusic import config
    from jaxmusic._src.codecs.registry import make_codec
    from jaxmusic._src.models.mesh import make_mesh
    from jaxmusic._src.planning import ahead

    shape, width, remat = json.loads(sys.argv[1])
    experiment = config.Experiment(
        data=config.Data(context=1024, batch=4),
        model=config.Transformer(
            layers=2, width=256, heads=4, kv_heads=2, head_dim=width, hidden=512, dtype="bfloat16",
            remat=remat,
        ),
        mesh=config.Mesh(*shape),
    )
    slice_ = topology.parse("v5e:2x2")
    mesh = make_mesh(experiment.mesh, ahead.devices(slice_))
    text, _ = ahead.compile_step(experiment, make_codec(experiment.codec), slice_, mesh)
    calls = [line for line in text.splitlines() if "custom-call(" in line]
    names = ("fwd", "dkv", "dq")
    counts = [sum(f"splash_mha_{name}_segmented" in line for line in calls) for name in names]
    print(json.dumps([*counts, len(re.findall(r"\\[[0-9,]*1024,1024\\]", text))]))
"""


@pytest.mark.parametrize(
    ("shape", "width", "remat", "forward"),
    [((1, 4, 1, 1), 64, "nothing", 2), ((1, 1, 2, 2), 128, "attention", 1)],
)
def test_splash_runs_forward_and_backward_and_makes_no_scores(shape, width, remat, forward):
    command = [sys.executable, "-c", textwrap.dedent(SPLASH), json.dumps([shape, width, remat])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == [forward, 1, 1, 0]
