"""The two pairs of distributions: points of each, and where to read what is exact of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fastwgan.train.divergences import exact
from fastwgan.train.divergences.exact import Exact


@dataclass(frozen=True)
class Example:
    """A distribution in the plane, and the same one moved by θ along the first axis.

    Attributes:
        name: In divergences.json.
        title: In the picture and the tables.
        height: Second coordinate of a line through the middle of both.
        draw: Draws float32 [count, 2] of the one that stays.
        exact: The divergences at a θ.
    """

    name: str
    title: str
    height: float
    draw: Callable[[int, torch.Generator], Tensor]
    exact: Callable[[float], Exact]


def moved(points: Tensor, theta: float) -> Tensor:
    """The generator: [count, 2], moved by θ along the first axis."""
    return points + torch.tensor([theta, 0.0])


def _draw_line(count: int, generator: torch.Generator) -> Tensor:
    points = torch.zeros(count, 2)
    points[:, 1] = torch.rand(count, generator=generator)
    return points


def _draw_gaussian(count: int, generator: torch.Generator) -> Tensor:
    """By the inverse of the distribution function, so that nothing is drawn twice."""
    share = exact.SHARE * (2 * torch.rand(count, 2, generator=generator, dtype=torch.float64) - 1)
    return (exact.SIGMA * math.sqrt(2) * torch.erfinv(share)).float()


EXAMPLES = (
    Example("lines", "two parallel lines", 0.5, _draw_line, exact.of_lines),
    Example(
        "gaussians", "two narrow Gaussians, truncated", 0.0, _draw_gaussian, exact.of_gaussians
    ),
)
"""What the demo compares, in its order."""
