"""The modes of a mixture of Gaussians that a generator finds, and how much of it lies on them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from fastwgan.train.data import toy

WITHIN = 4
"""Standard deviations round a mode in which a sample counts as its own."""

LEAST_SHARE = 0.1
"""Of what a mode should get of the samples; one that gets less is not covered."""


class Mixture(NamedTuple):
    """Equal round Gaussians.

    Attributes:
        centers: [modes, features].
        deviation: Of each, in every direction.
    """

    centers: Tensor
    deviation: float


class Modes(NamedTuple):
    """What a generator makes of a mixture.

    Attributes:
        covered: Modes that get at least a tenth of the samples they should.
        modes: How many there are.
        share: Of all samples, those within 4 standard deviations of a mode.
    """

    covered: int
    modes: int
    share: float


def mixture(name: str) -> Mixture | None:
    """The mixture that a data set is drawn from, in its units; None for data that is none."""
    of = toy.MIXTURES.get(name)
    return None if of is None else Mixture(of.centers / of.scale, of.deviation / of.scale)


def count(samples: Tensor, of: Mixture) -> Modes:
    """Counts the modes covered, and the share of samples on them.

    Args:
        samples: [n, features].
        of: What they should be drawn from.
    """
    nearest = torch.cdist(samples.double(), of.centers.double()).min(dim=1)
    close = nearest.values <= WITHIN * of.deviation
    modes = len(of.centers)
    each = torch.bincount(nearest.indices[close], minlength=modes)
    covered = int((each >= LEAST_SHARE * len(samples) / modes).sum())
    return Modes(covered, modes, float(close.double().mean()))
