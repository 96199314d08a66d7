"""The benchmark of a GPU runs from end to end, at toy size on a CPU."""

import importlib.util
import json
import sys

import pytest

from benchmarks import gpu, gpu_sides, page, runner


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "RESULTS", tmp_path)
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    return tmp_path


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")
@pytest.mark.skipif(
    importlib.util.find_spec("transformers") is None, reason="Transformers is not installed"
)
def test_both_sides_at_toy_size(results, unoptimised):
    options = runner.Options(size="toy", repeats=1)
    record = runner.run("gpu", options)
    assert record == json.loads((results / "gpu.json").read_text())
    assert record["machine"]["devices"] == "cpu"
    assert record["command"].endswith("--repeats 1 --size toy")
    cells = dict(zip(record["columns"], record["rows"][0]["cells"]))
    assert cells["model"] == "toy" and cells["MFU"] == "-"
    assert min(cells["tokens/s"], cells["tokens/s, packed"], cells["PyTorch: tokens/s"]) > 0
    assert cells["ratio"] == pytest.approx(cells["tokens/s"] / cells["PyTorch: tokens/s"], rel=0.1)
    assert not any(" It ended" in note for note in record["notes"])
    assert "2 rows" in page.plain(record) or "1 rows" in page.plain(record)


def trial(speeds, tried):
    def run(way, batch):
        tried.append((way, batch))
        speed = speeds.get((way, batch))
        if speed is None:
            raise RuntimeError("RESOURCE_EXHAUSTED: out of 80 GB\nmore")
        return {"seconds": [batch / speed]}

    return run


@pytest.mark.quick
def test_the_search_ends_where_memory_or_gain_do():
    speeds = {("a", 2): 10, ("a", 4): 14, ("b", 4): 12, ("b", 8): 18, ("b", 16): 18.1}
    speeds |= {("c", 8): 19, ("c", 16): 21}
    tried: list[tuple[str, int]] = []
    found = list(gpu_sides.search(trial(speeds, tried), "abc", (2, 4, 8, 16), 60))
    assert tried == [
        *(("a", 2), ("a", 4), ("a", 8)),  # no memory for 8
        *(("b", 4), ("b", 8), ("b", 16)),  # 16 gains nothing
        *(("c", 8), ("c", 16)),
    ]
    assert found[2]["error"] == "out of memory"
    assert not list(gpu_sides.search(trial(speeds, tried), "abc", (2, 4), -1))


@pytest.mark.quick
def test_a_row_says_whether_the_goals_were_reached():
    ours = gpu.Side(
        {"device": "NVIDIA H100", "peak": 1e12, "parameters": 7, "flops": 1e6, "context": 100},
        [
            {"way": "products", "batch": 8, "seconds": [0.002], "packed": [0.001], "gib": 30.0},
            {"way": "nothing", "batch": 16, "error": "out of memory"},
        ],
    )
    theirs = gpu.Side(
        {"parameters": 6, "context": 100},
        [{"way": "autocast", "batch": 4, "seconds": [0.00125], "gib": 20.0}],
    )
    row = gpu.row("100m", ours, theirs)
    assert row.cells[2:7] == ("8, products", 400_000, "40.0%", 30.0, 800_000)
    assert row.cells[7:] == ("4, autocast", 320_000, 20.0, 1.25)
    assert row.reached is True and "at least 40%" in row.goal
    assert gpu.row("350m", ours, theirs).reached is False
    result = gpu.result({"100m": ours}, {"100m": gpu.Side(failure="ended with -9")})
    assert result.devices == "NVIDIA H100" and result.rows[0].reached is False
    assert "Peak that the MFU assumes: 1 TFLOP/s of bfloat16." in result.notes
    assert "16 rows, nothing: out of memory" in result.notes[2]
    assert result.notes[3] == "PyTorch at 100m: nothing. It ended with -9."
    assert gpu.row("1b", gpu.Side(), gpu.Side()).cells[1:] == ("-",) * 10


def test_a_side_that_fails_or_takes_too_long_is_named(monkeypatch):
    monkeypatch.setattr(gpu, "GRACE", 0.0)
    found = gpu.measured("jaxmusic", "no_such_size", 60.0, 1)
    assert found.failure.startswith("ended with 1 after 0 trials") and not found.trials
    assert "no_such_size" in found.failure
    assert gpu.measured("jaxmusic", "toy", 0.01, 1).failure.startswith("ended with -9")


def test_the_process_that_waits_leaves_the_gpu_alone():
    import subprocess

    code = "import sys\nfrom benchmarks import gpu\nprint({'jax', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
