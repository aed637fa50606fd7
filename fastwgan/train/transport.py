"""The Wasserstein-1 distance between two samples: exact, and estimated where exact is too dear.

The exact distance is a linear programme. POT's network simplex takes about n^2 to n^2.5 in time and
n^2 in memory for n points a side: 0.2 seconds of one core for 1,000, 0.8 for 2,000, 5 for 5,000.
`EXACT_PAIRS` is where that begins to weigh on a training of minutes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from fastwgan.train.extras import require

EXACT_PAIRS = 2_000**2
"""Pairs of points up to which `estimate` is exact: 2,000 against 2,000, under a second."""

SINKHORN_PAIRS = 6_000**2
"""Pairs of points up to which `estimate` is by Sinkhorn's iteration: 300 MB of costs."""

MANY_DIMENSIONS = 16
"""Values of a point from which on Sinkhorn's iteration is worth its time."""

_REGULARISATION = 0.02  # of the mean cost
_ITERATIONS = 1000
_TOLERANCE = 1e-6  # of the plan's marginals
_PIVOTS = 10_000_000  # of the network simplex; a few hundred times what 2,000 points need


class Plan(NamedTuple):
    """An optimal way to move one sample onto another.

    Attributes:
        distance: The Wasserstein-1 distance.
        pairs: int64 [2, pairs], rows of the first sample and those of the second they go to.
    """

    distance: float
    pairs: Tensor


class Estimate(NamedTuple):
    """A distance, and how it was found: "exact", "sinkhorn" or "sliced"."""

    distance: float
    method: str


def exact(first: Tensor, second: Tensor) -> float:
    """The exact Wasserstein-1 distance between two samples under the Euclidean norm.

    Args:
        first: [points, *shape]; a point's values are taken as one vector.
        second: [other points, *shape]. Every point of a sample weighs the same.

    Raises:
        ValueError: a sample is empty, their points differ in size, or a value is not finite.
        MissingExtraError: POT isn't installed.
    """
    return plan(first, second).distance


def plan(first: Tensor, second: Tensor) -> Plan:
    """The exact distance with the transport plan that attains it; arguments as of `exact`."""
    ot, (one, other) = _pot(), _rows(first, second)
    costs = _costs(ot, one, other)
    distance, log = ot.emd2([], [], costs, numItermax=_PIVOTS, return_matrix=True, log=True)
    return Plan(float(distance), torch.from_numpy(log["G"]).nonzero().T)


def sinkhorn(first: Tensor, second: Tensor, regularisation: float = _REGULARISATION) -> float:
    """The cost of the entropically regularised plan: at least the exact distance, to rounding.

    Useful in many dimensions, where distances differ little: on 2,000 images of 28x28 it takes half
    the time of `exact` and is 5 % above it. In two dimensions it takes several times as long as
    `exact`, and a distance below the regularisation drowns in its bias.

    Args:
        first: As of `exact`.
        second: As of `exact`.
        regularisation: Of the entropy, in mean costs. Smaller is closer to exact, and slower.

    Raises:
        ValueError: as `exact`.
        MissingExtraError: POT isn't installed.

    Source: Cuturi 2013, "Sinkhorn distances: lightspeed computation of optimal transport".
    """
    ot, (one, other) = _pot(), _rows(first, second)
    costs = _costs(ot, one, other)
    if not costs.any():
        return 0.0
    found = ot.sinkhorn2(
        [],
        [],
        costs,
        regularisation * costs.mean(),
        numItermax=_ITERATIONS,
        stopThr=_TOLERANCE,
        warn=False,
    )
    return float(found)


def sliced(first: Tensor, second: Tensor, projections: int = 256, seed: int = 0) -> float:
    """The mean Wasserstein-1 distance of one-dimensional projections, in n log n.

    A distance of its own, at most the exact one and usually much smaller: compare it with the
    sliced distance of two real samples, never with an exact one.

    Args:
        first: As of `exact`.
        second: As of `exact`.
        projections: How many random directions.
        seed: Of the directions.

    Raises:
        ValueError: as `exact`.
        MissingExtraError: POT isn't installed.

    Source: Bonneel et al. 2015, "Sliced and Radon Wasserstein barycenters of measures".
    """
    ot, (one, other) = _pot(), _rows(first, second)
    found = ot.sliced_wasserstein_distance(one, other, n_projections=projections, p=1, seed=seed)
    return float(found)


def estimate(first: Tensor, second: Tensor) -> Estimate:
    """The exact distance up to `EXACT_PAIRS`, then what takes no longer than it did there.

    That is Sinkhorn's up to `SINKHORN_PAIRS` in many dimensions, and else the sliced one.

    Args:
        first: As of `exact`.
        second: As of `exact`.

    Raises:
        ValueError: as `exact`.
        MissingExtraError: POT isn't installed.
    """
    pairs = len(first) * len(second)
    if pairs <= EXACT_PAIRS:
        return Estimate(exact(first, second), "exact")
    if pairs <= SINKHORN_PAIRS and first[0].numel() >= MANY_DIMENSIONS:
        return Estimate(sinkhorn(first, second), "sinkhorn")
    return Estimate(sliced(first, second), "sliced")


def floor(
    values: Tensor, held_out: Tensor, points: int, *, splits: int = 3, seed: int = 0
) -> Estimate:
    """What a perfect generator would score: the distance of real points to the held-out ones.

    Two samples of one distribution are apart, the more so the fewer they are and the more
    dimensions they have. No generator can be asked to come closer than this, on average.

    Args:
        values: [samples, *shape], none of them held out.
        held_out: [held-out points, *shape].
        points: How many of `values` are drawn, without replacement, each time; all if there are
            fewer.
        splits: How many draws the mean is over.
        seed: Of the draws.

    Raises:
        ValueError: as `exact`.
        MissingExtraError: POT isn't installed.
    """
    stream = torch.Generator().manual_seed(seed)
    found = [
        estimate(values[torch.randperm(len(values), generator=stream)[:points]], held_out)
        for _ in range(splits)
    ]
    return Estimate(sum(each.distance for each in found) / splits, found[0].method)


def _pot() -> Any:
    return require("ot", "measuring the Wasserstein distance")


def _rows(first: Tensor, second: Tensor) -> tuple[Any, Any]:
    """Both samples as float64 matrices of numpy."""
    rows = []
    for name, sample in (("first", first), ("second", second)):
        if not len(sample):
            raise ValueError(f"{name} was empty; it must have at least one point.")
        if not bool(torch.isfinite(sample).all()):
            raise ValueError(f"{name} held NaN or Inf; every value must be finite.")
        rows.append(sample.detach().cpu().double().flatten(1).numpy())
    if first.shape[1:] != second.shape[1:]:
        raise ValueError(
            f"second has points of shape {list(second.shape[1:])}; "
            f"they must be of first's, {list(first.shape[1:])}."
        )
    return rows[0], rows[1]


def _costs(ot: Any, first: Any, second: Any) -> Any:
    return ot.dist(first, second, metric="euclidean")
