"""How alike two sets of feature vectors are: FID, precision and recall, density and coverage."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_ROWS = 1024  # of a table of distances at a time

PRECISION_NEIGHBOURS = 3
"""k of the balls of precision and recall (Kynkäänniemi et al. 2019, section 3)."""

DENSITY_NEIGHBOURS = 5
"""k of the balls of density and coverage (Naeem et al. 2020, section 4)."""


class Likeness(NamedTuple):
    """What nearest neighbours say of a generator.

    Attributes:
        precision: Share of generated samples within the real ones' balls: are they good?
        recall: Share of real samples within the generated ones' balls: are all kinds made?
        density: Mean number of real balls that a generated sample lies in, over k; 1 where both
            are of one distribution. An outlier's wide ball counts for little, unlike in precision.
        coverage: Share of real samples whose ball holds a generated one.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def frechet_distance(real: Tensor, fake: Tensor) -> float:
    """The squared Wasserstein-2 distance between Gaussians fitted to both: FID, in its space.

    ‖μ₁ - μ₂‖² + tr(C₁ + C₂ - 2 (C₁^½ C₂ C₁^½)^½). The root is of a symmetric matrix, by its
    eigenvalues, so that singular covariances give no complex numbers and no NaN.

    Args:
        real: [n, features], n of at least 2.
        fake: [m, features], m of at least 2.

    Source: Heusel et al. 2017, "GANs trained by a two time-scale update rule".
    """
    (mean, covariance), (other_mean, other_covariance) = (
        (rows.double().mean(dim=0), torch.atleast_2d(torch.cov(rows.double().T)))
        for rows in (real, fake)
    )
    root = _root(covariance)
    crossed = torch.linalg.eigvalsh(root @ other_covariance @ root).clamp(min=0).sqrt().sum()
    spread = covariance.trace() + other_covariance.trace() - 2 * crossed
    return max(float((mean - other_mean).square().sum() + spread), 0.0)


def likeness(real: Tensor, fake: Tensor) -> Likeness:
    """Precision, recall, density and coverage of generated samples.

    Args:
        real: [n, features], n above `DENSITY_NEIGHBOURS`.
        fake: [m, features], m above `PRECISION_NEIGHBOURS`.

    Sources: Kynkäänniemi et al. 2019, "Improved precision and recall metric for assessing
    generative models"; Naeem et al. 2020, "Reliable fidelity and diversity metrics for generative
    models".
    """
    real, fake = real.double(), fake.double()
    around_real = _radii(real, PRECISION_NEIGHBOURS)
    around_fake = _radii(fake, PRECISION_NEIGHBOURS)
    wider = _radii(real, DENSITY_NEIGHBOURS)
    precise = torch.zeros(len(fake), dtype=torch.bool)
    recalled, covered, inside = [], [], 0
    for rows in torch.arange(len(real)).split(_ROWS):
        apart = _distances(real[rows], fake)
        precise |= (apart <= around_real[rows, None]).any(dim=0)
        recalled.append((apart <= around_fake).any(dim=1))
        within = apart <= wider[rows, None]
        covered.append(within.any(dim=1))
        inside += int(within.sum())
    return Likeness(
        precision=float(precise.double().mean()),
        recall=float(torch.cat(recalled).double().mean()),
        density=inside / (DENSITY_NEIGHBOURS * len(fake)),
        coverage=float(torch.cat(covered).double().mean()),
    )


def _root(matrix: Tensor) -> Tensor:
    """The symmetric root of a symmetric matrix without negative eigenvalues, to rounding."""
    values, vectors = torch.linalg.eigh(matrix)
    root: Tensor = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    return root


def _radii(rows: Tensor, neighbour: int) -> Tensor:
    """From each row to its k-th nearest other one, [n]."""
    found = []
    for own in torch.arange(len(rows)).split(_ROWS):
        apart = _distances(rows[own], rows)
        apart[torch.arange(len(own)), own] = 0.0  # exactly, so that it is the nearest to itself
        found.append(apart.kthvalue(neighbour + 1, dim=1).values)
    return torch.cat(found)


def _distances(rows: Tensor, others: Tensor) -> Tensor:
    # By differences: by products, equal rows would be apart by rounding.
    return torch.cdist(rows, others, compute_mode="donot_use_mm_for_euclid_dist")
