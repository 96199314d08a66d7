import numpy as np
import pytest

from jaxmusic._src.evaluate import distance


def normal(seed: int, count: int, mean: float = 0.0, deviation: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, deviation, (count, 1))


@pytest.mark.quick
def test_sets_of_one_kind_are_near_and_others_far():
    reference = normal(0, 400)
    near = distance.distance(normal(1, 100), reference)
    assert abs(near.difference) < 0.3
    assert near.divergence < 0.05
    assert near.overlap > 0.9
    moved = distance.distance(normal(1, 100, mean=5.0), reference)
    assert moved.difference == pytest.approx(5, abs=0.5)
    assert moved.divergence > 1
    assert moved.overlap < 0.2
    # Pieces that are all alike are no good either, though their mean is right.
    same = distance.distance(normal(1, 100, deviation=0.01), reference)
    assert abs(same.difference) < 0.2
    assert same.overlap < 0.85 < near.overlap
    further = [distance.distance(normal(1, 100, mean=m), reference) for m in (0, 1, 2, 3)]
    assert sorted(d.overlap for d in further)[::-1] == [d.overlap for d in further]
    assert sorted(d.divergence for d in further) == [d.divergence for d in further]


def test_densities_are_those_of_gaussian_kernels():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(3)
    one, other = np.abs(rng.normal(0, 1, 3000)), np.abs(rng.normal(0.5, 2, 500))
    p, q = distance.densities(one, other)
    widths = [d.std(ddof=1) * len(d) ** -0.2 for d in (one, other)]
    largest = max(one.max(), other.max())
    at = np.linspace(-3 * max(widths), largest + 3 * max(widths), len(p))
    for found, distances in ((p, one), (q, other)):
        exact = stats.gaussian_kde(distances)(at)  # Scott's rule is what it does by itself
        assert found == pytest.approx(exact / exact.sum(), abs=2e-3 * found.max())
        assert found.sum() == pytest.approx(1)
        assert found.min() > 0


def test_histograms_have_euclidean_distances():
    rng = np.random.default_rng(4)
    a, b = rng.dirichlet(np.ones(5), 30), rng.dirichlet(np.ones(5), 40)
    exact = [[np.linalg.norm(x - y) for y in b] for x in a]
    assert distance._between(a, b) == pytest.approx(np.array(exact))
    found = distance.distance(a, b)
    away = np.linalg.norm(a.mean(0) - b.mean(0)) / np.sqrt(b.var(0, ddof=1).sum())
    assert found.difference == pytest.approx(away)
    assert found.overlap > 0.8


@pytest.mark.quick
@pytest.mark.parametrize("count", [0, 1])
def test_no_piece_or_one_piece_has_no_distance(count: int):
    many = [float(x) for x in normal(0, 20)[:, 0]]
    nothing = distance.Distance(None, None, None)
    few = distance.compare_one(many[:count], many)
    assert few.pieces == count
    assert few.deviation is None
    assert few.distance == few.floor == nothing
    assert distance.compare_one(many, many[:count]).distance == nothing
    assert distance.compare_one([None, None], many).distance == nothing
    assert distance.compare_one([], []).mean is None


@pytest.mark.quick
def test_a_reference_of_three_pieces_has_no_floor():
    found = distance.compare_one([1.0, 2.0], [1.0, 2.0, 3.0])
    assert found.distance.overlap is not None
    assert found.floor == distance.Distance(None, None, None)


def test_pieces_that_are_all_the_same():
    same, other = np.full((5, 1), 2.0), np.full((5, 1), 3.0)
    assert distance.distance(same, same) == distance.Distance(None, 0.0, 1.0)
    apart = distance.distance(same, other)
    assert apart.difference is None
    assert apart.overlap < 0.01
    assert 15 < apart.divergence < 21.5
    alike = distance.distance(normal(0, 50), same)
    assert np.isfinite(alike.divergence)
    assert 0 <= alike.overlap < 0.5


def test_a_set_from_the_reference_is_at_its_floor():
    reference = [float(x) for x in normal(0, 600)[:, 0]]
    found = distance.compare_one([float(x) for x in normal(7, 60)[:, 0]], reference)
    assert abs(found.distance.overlap - found.floor.overlap) < 0.05
    assert found.floor.overlap > 0.9
    # Small sets are further away by chance, and so is the floor that stands beside them.
    few = distance.floor(normal(0, 600), 5)
    assert few.difference > found.floor.difference
