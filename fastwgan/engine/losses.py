"""Losses of a critic's scores, and their derivatives by the scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from fastwgan.engine.scaling import Scale

Loss = Callable[[Tensor, Tensor], Tensor]


def wasserstein(real: Tensor, fake: Tensor) -> Tensor:
    """E f(fake) - E f(real) (Arjovsky et al. 2017, arXiv:1701.07875, equation 2, negated)."""
    return fake.mean() - real.mean()


def hinge(real: Tensor, fake: Tensor) -> Tensor:
    """E max(0, 1 - f(real)) + E max(0, 1 + f(fake)) (Miyato et al. 2018, arXiv:1802.05957)."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def logistic(real: Tensor, fake: Tensor) -> Tensor:
    """E softplus(-f(real)) + E softplus(f(fake)) (Goodfellow et al. 2014, arXiv:1406.2661)."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def relativistic(real: Tensor, fake: Tensor) -> Tensor:
    """E softplus(f(fake) - f(real)), pair by pair (Jolicoeur-Martineau 2018, arXiv:1807.00734)."""
    return F.softplus(fake - real).mean()


LOSSES: dict[str, Loss] = {
    "wasserstein": wasserstein,
    "hinge": hinge,
    "logistic": logistic,
    "relativistic": relativistic,
}


Seed = Tensor | float | None
"""A loss's derivative by some scores: as these, the same for all of them, or zero."""


class Scored(NamedTuple):
    """A loss, and its derivatives by the scores."""

    value: Tensor  # []
    seeds: tuple[Seed, Seed]  # of real, of fake, times the scale
    scale: float

    def rescaled(self, scale: Scale) -> tuple[Seed, Seed]:
        """The seeds times another scale."""
        if not isinstance(scale, Tensor):
            return self.seeds
        real, fake = (None if seed is None else seed * (scale / self.scale) for seed in self.seeds)
        return real, fake


def scored(
    loss: Loss, real: Tensor, fake: Tensor, *, differentiate: bool, scale: float = 1.0
) -> Scored:
    """The loss of detached scores, by one local backward when `differentiate`.

    Args:
        loss: Of real and fake scores.
        real: These,
        fake: and these.
        differentiate: Whether seeds are asked for.
        scale: Factor of the seeds, which they can need to be representable.

    Raises:
        TypeError: the loss returned no tensor.
        ValueError: the loss was no scalar, or does not depend on the scores.
    """
    if loss is wasserstein and real.numel() and fake.numel():
        return Scored(wasserstein(real, fake), (-scale / real.numel(), scale / fake.numel()), scale)
    with torch.set_grad_enabled(differentiate):
        real_leaf, fake_leaf = (s.detach().requires_grad_(differentiate) for s in (real, fake))
        value = loss(real_leaf, fake_leaf)
        check_loss(value, differentiate)
        if not differentiate:
            return Scored(value, (None, None), scale)
        real_seed, fake_seed = torch.autograd.grad(
            value, (real_leaf, fake_leaf), torch.full_like(value, scale), allow_unused=True
        )
    return Scored(value.detach().reshape(()), (real_seed, fake_seed), scale)


def check_loss(value: Any, differentiate: bool) -> None:
    """Raises unless a loss returned a number that can be differentiated where that is asked."""
    if not isinstance(value, Tensor):
        raise TypeError(f"loss returned {type(value).__name__}; it must return a tensor.")
    if value.numel() != 1:
        raise ValueError(f"loss returned shape {tuple(value.shape)}; it must return a scalar.")
    if differentiate and not value.requires_grad:
        raise ValueError("loss returned a tensor that does not depend on the scores; it must.")
