"""The same losses from the same rows: every axis of the mesh, part, policy, number of processes."""

import mathematics
import numpy as np
import pytest

case, run = mathematics.case, mathematics.run
# Each axis alone and with others, each policy and a divided batch on some of them.
CASES = [
    case((1, 8, 1, 1)),
    case((8, 1, 1, 1), remat="attention"),
    case((1, 1, 8, 1), remat="nothing"),
    case((2, 2, 2, 1), accumulate=4),
    case((1, 2, 2, 2), accumulate=4, remat="nothing"),
    case(accumulate=4, remat="attention"),
]
SHARED = {
    # Along which axis the processes lie is the first that has more than one device.
    2: (4, [case((1, 8, 1, 1)), case((1, 1, 4, 2), accumulate=4)]),
    4: (2, [case((1, 2, 2, 2), remat="attention"), case((2, 1, 4, 1))]),
}


@pytest.fixture(scope="module")
def one(starter_data):
    """One device, AdamW and Muon."""
    return run(starter_data, [case(), case(name="muon")], devices=1)


def agree(found, one):
    np.testing.assert_allclose(found["losses"], one["losses"], rtol=1e-8)
    assert found["rows"] == one["rows"]
    assert found["dtypes"] == ["float64"]


def test_training_learns(one):
    for each in one:
        assert len(each["losses"]) == mathematics.STEPS
        assert each["losses"][-1] < each["losses"][0] - 0.5
    assert one[0]["losses"] != one[1]["losses"]
    assert len({row for step in one[0]["rows"] for row in step}) > 60


def test_one_process(starter_data, one):
    *found, muon = run(starter_data, [*CASES, case((1, 2, 2, 2), name="muon")])
    for each in found:
        agree(each, one[0])
    agree(muon, one[1])


@pytest.mark.parametrize("processes", SHARED)
def test_several_processes(starter_data, one, processes):
    devices, cases = SHARED[processes]
    for found in run(starter_data, cases, devices, processes):
        agree(found, one[0])


def test_processes_that_share_rows(starter_data, one):
    for found in run(starter_data, [case((1, 1, 2, 1)), case((1, 1, 1, 2))], 1, processes=2):
        agree(found, one[0])
        assert found["blocks"] == [[0, 1], [0, 1]]
