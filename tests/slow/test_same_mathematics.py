"""The same losses from the same rows: every mesh, part, policy and number of processes."""

import mathematics
import numpy as np
import pytest

case = mathematics.case
MESHES = [
    (1, 8, 1, 1),
    (8, 1, 1, 1),
    (1, 4, 1, 2),
    (2, 2, 2, 1),
    (1, 2, 2, 2),
    (2, 2, 1, 2),
    (1, 1, 8, 1),
    (1, 1, 4, 2),
]
CASES = [
    *(case(mesh) for mesh in MESHES),
    case(accumulate=4),
    *(case(remat=policy) for policy in ("attention", "nothing")),
]
"""What float32 is measured on as well: how far its rounding goes."""
COMBINED = [
    *(case(mesh, accumulate=4) for mesh in ((1, 8, 1, 1), (1, 2, 2, 2))),
    *(case((1, 2, 2, 2), remat=policy) for policy in ("attention", "nothing")),
]
SHARED = {
    # Along which axis the processes lie is the first that has more than one device.
    2: (4, [(1, 8, 1, 1), (2, 2, 2, 1), (1, 1, 4, 2)]),
    4: (2, [(1, 8, 1, 1), (1, 2, 2, 2), (2, 1, 4, 1)]),
}
WITHIN = {"float64": 1e-8, "float32": 2e-4}


@pytest.fixture(scope="module", params=WITHIN)
def dtype(request):
    return request.param


@pytest.fixture(scope="module")
def one(starter_data, dtype):
    """One device, AdamW and Muon."""
    cases = [case(), case(name="muon")]
    return mathematics.run(starter_data, cases, dtype, devices=1)


def agree(found, one, dtype):
    """Compares losses and rows; `pytest -s` shows the largest difference."""
    losses, known = np.asarray(found["losses"]), np.asarray(one["losses"])
    print(f"{dtype}: {np.max(np.abs(losses / known - 1)):.1e}")
    np.testing.assert_allclose(found["losses"], one["losses"], rtol=WITHIN[dtype])
    assert found["rows"] == one["rows"]
    assert found["dtypes"] == [dtype]


def test_training_learns(one):
    for each in one:
        assert len(each["losses"]) == 20 and each["losses"][-1] < each["losses"][0] - 1
    assert one[0]["losses"] != one[1]["losses"]
    assert len({row for step in one[0]["rows"] for row in step}) > 300


def test_one_process(starter_data, one, dtype):
    cases = CASES + (COMBINED if dtype == "float64" else [])
    for found in mathematics.run(starter_data, cases, dtype, timeout=1200):
        agree(found, one[0], dtype)
    (muon,) = mathematics.run(starter_data, [case((1, 2, 2, 2), name="muon")], dtype)
    agree(muon, one[1], dtype)


@pytest.mark.parametrize("processes", SHARED)
def test_several_processes(starter_data, one, dtype, processes):
    devices, meshes = SHARED[processes]
    cases = [*map(case, meshes), case(meshes[1], accumulate=4)]
    cases = cases if dtype == "float64" else cases[:2]
    for found in mathematics.run(starter_data, cases, dtype, devices, processes, 1200):
        agree(found, one[0], dtype)


@pytest.mark.parametrize("mesh", [(1, 1, 2, 1), (1, 1, 1, 2)])
def test_processes_that_share_rows(starter_data, one, dtype, mesh):
    (found,) = mathematics.run(starter_data, [case(mesh)], dtype, devices=1, processes=2)
    agree(found, one[0], dtype)
    assert found["blocks"] == [[0, 1], [0, 1]]
