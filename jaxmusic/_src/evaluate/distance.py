"""Distances of a set of pieces from a reference, statistic by statistic.

After Yang and Lerch, "On the evaluation of generative models in music", 2020: pieces differ among
themselves, so the distances between pieces of the reference (intra-set) are compared with those
from the set's pieces to them (inter-set). The floor is the distance of real music from real music.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from tqdm.auto import tqdm

from jaxmusic._src.evaluate.statistics import STATISTICS, Value, mean_and_deviation

SPLITS = 5
"""Random halvings of the reference for the floor."""
MOST = 2000
"""Maximum pieces of a set; larger sets are subsampled with a fixed seed."""
_POINTS = 2048
_NARROWEST = 1 / 256
_UNIFORM = 1e-6


class Distance(NamedTuple):
    """Distance of one set from another in one statistic; undefined figures are None.

    Attributes:
      difference: standardised mean difference, ``(mean - mean_ref) / deviation_ref``; of a
        histogram ``|mean - mean_ref| / sqrt(sum of variances_ref)``. 0 is best.
      divergence: Kullback-Leibler divergence in nats of the inter-set distances' density q from
        the intra-set distances' density p, ``sum p log(p / q)``: 0 is best, 21 the most.
      overlap: the area under both densities, ``sum min(p, q)``: 0 to 1, and 1 is best.
    """

    difference: float | None = None
    divergence: float | None = None
    overlap: float | None = None


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One statistic of a set and of the reference.

    Attributes:
      pieces, reference_pieces: numbers of pieces with this statistic.
      mean, deviation: over the set's pieces, see `mean_and_deviation`.
      reference_mean, reference_deviation: likewise.
      distance: of the set from the reference.
      floor: of the reference from itself: the mean over `SPLITS` random halvings of the distance
        of one half, cut to the size of the set, from the other. Its difference is the mean of
        absolute values.
    """

    pieces: int
    reference_pieces: int
    mean: Value
    deviation: Value
    reference_mean: Value
    reference_deviation: Value
    distance: Distance
    floor: Distance


def compare(
    pieces: Mapping[str, Sequence[Value]],
    reference: Mapping[str, Sequence[Value]],
    progress: bool = False,
) -> dict[str, Comparison]:
    """Compares a set with a reference in each of `STATISTICS`, with fixed seeds.

    Args:
      pieces: values of the set, as of `measure_all`.
      reference: values of the reference.
      progress: show a progress bar on stderr if it takes over two seconds.
    """
    shown = tqdm(STATISTICS, desc="comparing", delay=2, disable=not progress)
    return {name: compare_one(pieces[name], reference[name]) for name in shown}


def compare_one(pieces: Sequence[Value], reference: Sequence[Value]) -> Comparison:
    """Compares values of one statistic; pieces without a value are left out."""
    ours, theirs = known(pieces), known(reference)
    return Comparison(
        len(ours),
        len(theirs),
        *mean_and_deviation(pieces),
        *mean_and_deviation(reference),
        distance(ours, theirs),
        floor(theirs, len(ours)),
    )


def distance(ours: np.ndarray, theirs: np.ndarray) -> Distance:
    """Computes the distance of a set from a reference; undefined below two pieces.

    Distances between pieces are Euclidean. Densities are estimated with Gaussian kernels whose
    bandwidth is Scott's (1992): the distances' standard deviation times their number to the power
    of -1/5, each pair of pieces counted once; but at least 1 / 256 of the largest distance of all,
    so that equal pieces have a density too. Both densities are mixed with a millionth of a uniform
    one, so that the divergence is finite.

    Args:
      ours: float64 [N, K], values of the set; numbers have K = 1.
      theirs: float64 [M, K], values of the reference.
    """
    if len(ours) < 2 or len(theirs) < 2:
        return Distance()
    ours, theirs = _drawn(ours), _drawn(theirs)
    spread = float(np.sqrt(theirs.var(0, ddof=1).sum()))
    away = ours.mean(0) - theirs.mean(0)
    size = float(away[0]) if len(away) == 1 else float(np.linalg.norm(away))
    within = _between(theirs, theirs)[np.triu_indices(len(theirs), 1)]
    across = _between(ours, theirs).ravel()
    if not max(within.max(), across.max()):  # all pieces of both sets are equal
        return Distance(None, 0.0, 1.0)
    p, q = densities(within, across)
    return Distance(
        difference=size / spread if spread else None,
        divergence=float((p * np.log(p / q)).sum()),
        overlap=float(np.minimum(p, q).sum()),
    )


def floor(theirs: np.ndarray, most: int) -> Distance:
    """Computes the mean distance of halves of a reference, the first cut to `most` pieces.

    Args:
      theirs: float64 [M, K], values of the reference; undefined below four.
      most: size of the set, at least two.
    """
    half = len(theirs) // 2
    if half < 2 or most < 2:
        return Distance()
    rng = np.random.default_rng(0)
    found = []
    for _ in range(SPLITS):
        order = rng.permutation(len(theirs))
        one = distance(theirs[order[:half][:most]], theirs[order[half:]])
        found.append(one._replace(difference=None if one[0] is None else abs(one[0])))
    return Distance(*(None if None in values else float(np.mean(values)) for values in zip(*found)))


def densities(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Estimates densities of two sets of distances, not all 0, at the same points, with sum 1.

    See `distance`. The points reach three bandwidths beyond all distances; each distance is shared
    between the two nearest of them, so that millions of distances cost no more than thousands.
    """
    largest = float(max(one.max(), other.max()))
    widths = [max(_scott(d), largest * _NARROWEST) for d in (one, other)]
    margin = 3 * max(widths)
    step = (largest + 2 * margin) / (_POINTS - 1)
    return _density(one, widths[0], margin, step), _density(other, widths[1], margin, step)


def _density(distances: np.ndarray, width: float, margin: float, step: float) -> np.ndarray:
    place = (distances + margin) / step
    left = np.minimum(place.astype(np.int64), _POINTS - 2)
    right = place - left
    mass = np.bincount(left, 1 - right, _POINTS) + np.bincount(left + 1, right, _POINTS)
    kernel = np.exp(-0.5 * (np.arange(1 - _POINTS, _POINTS) * (step / width)) ** 2)
    smooth = np.maximum(_convolve(mass, kernel)[_POINTS - 1 : 2 * _POINTS - 1], 0)
    return (1 - _UNIFORM) * smooth / smooth.sum() + _UNIFORM / _POINTS


def _convolve(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    size = 1 << (len(a) + len(b) - 1).bit_length()
    return np.fft.irfft(np.fft.rfft(a, size) * np.fft.rfft(b, size), size)


def _scott(distances: np.ndarray) -> float:
    """Computes Scott's bandwidth of distances; 0 for a single one."""
    spread = float(distances.std(ddof=1)) if len(distances) > 1 else 0.0
    return spread * len(distances) ** -0.2


def _between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Computes Euclidean distances [N, M] of points [N, K] from points [M, K]."""
    if a.shape[1] == 1:
        return np.abs(a - b[:, 0])
    return np.sqrt(sum((x[:, None] - y) ** 2 for x, y in zip(a.T, b.T)))


def _drawn(values: np.ndarray) -> np.ndarray:
    if len(values) <= MOST:
        return values
    return values[np.random.default_rng(0).choice(len(values), MOST, replace=False)]


def known(values: Sequence[Value]) -> np.ndarray:
    """Returns the defined values of a statistic: float64 [N, K]."""
    defined = [np.atleast_1d(value) for value in values if value is not None]
    return np.array(defined, np.float64).reshape(len(defined), -1 if defined else 1)
