"""The toy distributions of Gulrajani et al. 2017, with the constants of its published code."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from fastwgan.train.data.dataset import Data
from fastwgan.train.data.splitting import HELD_OUT_ROWS

TOY_SAMPLES = 100_000
_HELD_OUT_SEED = 2**31 - 1


def load(name: str, seed: int) -> Data:
    """One of `NAMES`: points [TOY_SAMPLES, 2] of `seed`, and others that no run trains on.

    The points held out are the same for every seed but their own.
    """
    draw = _POINTS[name]
    other_seed = _HELD_OUT_SEED - (seed == _HELD_OUT_SEED)
    return Data(
        name,
        draw(TOY_SAMPLES, torch.Generator().manual_seed(seed)),
        held_out=draw(HELD_OUT_ROWS, torch.Generator().manual_seed(other_seed)),
    )


def _gaussians(
    centers: Tensor, deviation: float, scale: float, samples: int, generator: torch.Generator
) -> Tensor:
    choice = torch.randint(len(centers), (samples,), generator=generator)
    noise = torch.randn(samples, 2, generator=generator, dtype=torch.float32)
    return (centers[choice] + deviation * noise) / scale


def _eight_gaussians(samples: int, generator: torch.Generator) -> Tensor:
    angles = torch.arange(8, dtype=torch.float32) * (math.pi / 4)
    centers = 2 * torch.stack((angles.cos(), angles.sin()), dim=1)
    return _gaussians(centers, 0.02, math.sqrt(2), samples, generator)


def _twenty_five_gaussians(samples: int, generator: torch.Generator) -> Tensor:
    ticks = 2 * torch.arange(-2, 3, dtype=torch.float32)
    return _gaussians(torch.cartesian_prod(ticks, ticks), 0.05, 2.828, samples, generator)


def _swiss_roll(samples: int, generator: torch.Generator) -> Tensor:
    """scikit-learn's make_swiss_roll(noise=0.25), seen from its side, divided by 7.5."""
    uniform = torch.rand(samples, generator=generator, dtype=torch.float32)
    turn = 1.5 * math.pi * (1 + 2 * uniform)
    roll = torch.stack((turn * turn.cos(), turn * turn.sin()), dim=1)
    noise = torch.randn(samples, 2, generator=generator, dtype=torch.float32)
    return (roll + 0.25 * noise) / 7.5


_POINTS: dict[str, Callable[[int, torch.Generator], Tensor]] = {
    "8gaussians": _eight_gaussians,
    "25gaussians": _twenty_five_gaussians,
    "swissroll": _swiss_roll,
}

NAMES = tuple(_POINTS)
