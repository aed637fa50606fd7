"""The toy distributions of Gulrajani et al. 2017, with the constants of its published code."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

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


class Mixture(NamedTuple):
    """Equal round Gaussians, of which the data is the quotient by `scale`.

    Attributes:
        centers: [modes, 2].
        deviation: Of each, in every direction.
        scale: What points are divided by.
    """

    centers: Tensor
    deviation: float
    scale: float


def _ring() -> Mixture:
    angles = torch.arange(8, dtype=torch.float32) * (math.pi / 4)
    return Mixture(2 * torch.stack((angles.cos(), angles.sin()), dim=1), 0.02, math.sqrt(2))


def _grid() -> Mixture:
    ticks = 2 * torch.arange(-2, 3, dtype=torch.float32)
    return Mixture(torch.cartesian_prod(ticks, ticks), 0.05, 2.828)


MIXTURES = {"8gaussians": _ring(), "25gaussians": _grid()}


def _gaussians(of: Mixture, samples: int, generator: torch.Generator) -> Tensor:
    choice = torch.randint(len(of.centers), (samples,), generator=generator)
    noise = torch.randn(samples, 2, generator=generator, dtype=torch.float32)
    return (of.centers[choice] + of.deviation * noise) / of.scale


def _swiss_roll(samples: int, generator: torch.Generator) -> Tensor:
    """scikit-learn's make_swiss_roll(noise=0.25), seen from its side, divided by 7.5."""
    uniform = torch.rand(samples, generator=generator, dtype=torch.float32)
    turn = 1.5 * math.pi * (1 + 2 * uniform)
    roll = torch.stack((turn * turn.cos(), turn * turn.sin()), dim=1)
    noise = torch.randn(samples, 2, generator=generator, dtype=torch.float32)
    return (roll + 0.25 * noise) / 7.5


_POINTS: dict[str, Callable[[int, torch.Generator], Tensor]] = {
    **{name: partial(_gaussians, of) for name, of in MIXTURES.items()},
    "swissroll": _swiss_roll,
}

NAMES = tuple(_POINTS)
