"""The benchmark of a GPU runs from end to end, at toy size on a CPU."""

import importlib.util
import json
import sys

import pytest

from benchmarks import __main__, gpu, gpu_sides, page, runner


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
    record = __main__.run("gpu", ["--size", "toy", "--repeats", "1", "--minutes", "60"])
    assert record == json.loads((results / "gpu.json").read_text())
    assert record["machine"]["devices"] == "cpu"
    assert record["command"].endswith("gpu --size toy --repeats 1 --minutes 60")
    (table,) = record["tables"]
    cells = dict(zip(table["columns"], table["rows"][0]))
    assert cells["model"] == "toy" and cells["MFU"] == "-"
    assert min(cells["tokens/s"], cells["tokens/s, packed"], cells["PyTorch: tokens/s"]) > 0
    assert not record["goals"]
    assert cells["ratio"] == pytest.approx(cells["tokens/s"] / cells["PyTorch: tokens/s"], rel=0.1)
    assert not any(" It ended" in note for note in record["notes"])
    assert f"| toy | {cells['parameters']:,} |" in page.details([record])


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
    cells, goals = gpu.row("100m", ours, theirs)
    assert cells[2:7] == ["8, products", 400_000, "40.0%", 30.0, 800_000]
    assert cells[7:] == ["4, autocast", 320_000, 20.0, 1.25]
    assert [(goal.measured, goal.reached) for goal in goals] == [("40.0%", True), ("1.25", True)]
    assert [goal.reached for goal in gpu.row("350m", ours, theirs)[1]] == [False, True]
    failed = gpu.Side(failure="ended with -9")
    result = gpu.result({("100m", "jaxmusic"): ours, ("100m", "pytorch"): failed})
    assert result.devices == "NVIDIA H100" and len(result.goals) == 1
    assert "1 TFLOP/s" in result.notes[1]
    assert "16 rows, nothing: out of memory" in result.notes[2]
    assert result.notes[3].endswith("nothing. It ended with -9.")
    assert gpu.row("1b", gpu.Side(), gpu.Side()) == (["1b", *["-"] * 10], [])


def test_a_side_that_fails_or_takes_too_long_is_named(monkeypatch):
    monkeypatch.setattr(gpu, "GRACE", 0.0)
    found = gpu.measured("jaxmusic", "no_such_size", 600.0, 1)
    assert found.failure.startswith("ended with 1 after 0 trials") and not found.trials
    assert "no_such_size" in found.failure
    assert gpu.measured("jaxmusic", "toy", 0.01, 1).failure.startswith("ended with -9")


def test_the_process_that_waits_leaves_the_gpu_alone():
    import subprocess

    code = "import sys\nfrom benchmarks import gpu\nprint({'jax', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_page_shows_equal_goals_as_one():
    goals = [
        {"goal": "small", "measured": "a 1", "reached": True},
        {"goal": "small", "measured": "b 3", "reached": False},
        {"goal": "large", "measured": "4", "reached": True},
    ]
    rows = page.goals([{"name": "gpu-h100", "goals": goals}]).splitlines()[2:]
    assert rows == [
        "| small | a 1; b 3 | **1 of 2** | `python -m benchmarks gpu` (h100) |",
        "| large | 4 | yes | `python -m benchmarks gpu` (h100) |",
    ]


def test_paths_are_left_out_of_the_command_of_a_result(results, monkeypatch):
    table = runner.Table(("value",), [(1,)])

    def found(data: str = "", count: int = 0) -> runner.Result:
        """Returns a result made of its arguments."""
        return runner.Result([table], [runner.at_least("it", 1, count)], [data])

    monkeypatch.setattr(gpu, "run", found)
    words = ["--data", "/secret", "--count", "2", "--label", "here"]
    record = __main__.run("gpu", words)
    assert record["command"] == "python -m benchmarks gpu --data DATA --count 2 --label here"
    assert record == json.loads((results / "gpu-here.json").read_text())
    assert record["goals"] == [{"goal": "it: at least 1", "measured": "2", "reached": True}]
    assert record["notes"] == ["/secret"]
    assert len(__main__.names()) == 14
