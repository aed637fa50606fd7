"""All numbers of the demo, and how they are written to divergences.json."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastwgan.train.divergences.critics import PENALTY_WEIGHT, WEIGHT_CLIP, Found
from fastwgan.train.divergences.exact import REACH, SIGMA, Exact

_DIGITS = 6  # after the point


@dataclass(frozen=True)
class Point:
    """Everything at one distance.

    Attributes:
        theta: How far the generator's samples are moved.
        exact: The divergences.
        found: What each trained critic found, by the name of its method.
    """

    theta: float
    exact: Exact
    found: Mapping[str, Found]


@dataclass(frozen=True)
class Profile:
    """The trained critics along a line through the middle of both distributions.

    Attributes:
        theta: The distance at which they were trained.
        places: First coordinates.
        scores: At each place, by method: a critic's scores relative to halfway between the
            distributions; the discriminator's probability that a sample is real.
    """

    theta: float
    places: tuple[float, ...]
    scores: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True)
class Comparison:
    """One pair of distributions.

    Attributes:
        name: Of the `Example`.
        points: In the order of θ.
        profile: At the largest θ.
    """

    name: str
    points: tuple[Point, ...]
    profile: Profile

    def penalty_error(self) -> float:
        """The largest relative error of the gradient penalty's estimate of |θ|, at θ ≠ 0."""
        return max(
            abs(point.found["wgan-gp"].value / abs(point.theta) - 1)
            for point in self.points
            if point.theta
        )


@dataclass(frozen=True)
class Divergences:
    """What the demo found.

    Attributes:
        seed: Of the critics' weights and batches.
        steps: Critic steps of each training.
        comparisons: The pairs of distributions.
    """

    seed: int
    steps: int
    comparisons: tuple[Comparison, ...]

    def penalty_error(self) -> float:
        """The largest relative error of the gradient penalty's estimates of |θ|."""
        return max(comparison.penalty_error() for comparison in self.comparisons)

    def to_dict(self) -> dict[str, Any]:
        """Numbers, strings, lists and dicts; an infinite value is the string "infinity"."""
        settings = {
            "penalty_weight": PENALTY_WEIGHT,
            "weight_clip": WEIGHT_CLIP,
            "sigma": SIGMA,
            "reach": REACH,
        }
        plain: dict[str, Any] = _plain(dataclasses.asdict(self) | {"settings": settings})
        return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float):
        return "infinity" if value == math.inf else round(value, _DIGITS)
    return value
