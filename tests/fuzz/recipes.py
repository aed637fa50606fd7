"""Gradient penalty and critic step in plain torch, for critics that judge row by row."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from tests.critic_loss_recipe import LOSSES
from tests.penalty_recipe import plain_points


class Samples(NamedTuple):
    """Real and fake in the dtype of our critic, [rows, *sample] each."""

    real: Tensor
    fake: Tensor

    def wide(self) -> Samples:
        flows = self.real.requires_grad
        return Samples(*(t.detach().double().requires_grad_(flows) for t in self))


class Penalised(NamedTuple):
    total: Tensor
    penalty: Tensor
    norms: Tensor | None  # of the gradient at each penalised row
    scores: Tensor


def drawn(kind: str, samples: Samples, groups: int) -> Tensor | None:
    """alpha as our call draws it for samples of this dtype."""
    if kind in ("r1", "r2"):
        return None
    dtype = torch.float64 if samples.real.dtype is torch.float64 else torch.float32
    shape = samples.real.shape if kind == "dragan" else (len(samples.real) // groups,)
    return torch.rand(shape, dtype=dtype).double()


def _penalty(gradient: Tensor, kind: str, weight: float, groups: int) -> tuple[Tensor, Tensor]:
    rows = gradient.reshape(len(gradient) // groups, -1)
    squares = rows.square().sum(1)
    # The root's derivative at 0 is infinite; the norm's is taken as 0.
    norms = torch.where(squares > 0, torch.where(squares > 0, squares, 1.0).sqrt(), 0.0)
    if kind in ("r1", "r2"):
        return weight * squares.mean(), norms
    excess = norms - 1
    return weight * (excess.clamp(min=0) if kind == "wgan-lp" else excess).square().mean(), norms


def penalty(
    critic: nn.Module, samples: Samples, alpha: Tensor | None, kind: str, groups: int
) -> Penalised:
    points = plain_points(*samples, kind, alpha, groups, None)
    if not points.requires_grad:
        points.requires_grad_()
    scores = critic(points)
    (gradient,) = torch.autograd.grad(scores.sum(), points, create_graph=True)
    value, norms = _penalty(gradient, kind, 10.0, groups)
    return Penalised(value, value, norms, scores)


def critic_step(
    critic: nn.Module,
    samples: Samples,
    alpha: Tensor | None,
    kind: str | None,
    loss: str,
    *,
    groups: int,
    apart: bool,
) -> Penalised:
    """All rows in one forward, which moves spectral norm's vectors once; or each set in its own."""
    rows = len(samples.real)
    sets = [t if t.requires_grad else t.clone().requires_grad_() for t in samples]
    at = {"r1": 0, "r2": 1}.get(kind or "", 2)
    if kind is not None and (apart or at == 2):
        points = plain_points(*samples, kind, alpha, groups, None)
        at = 2
        sets.append(points if points.requires_grad else points.requires_grad_())
    scores = torch.cat([critic(x) for x in sets]) if apart else critic(torch.cat(sets))
    total = LOSSES[loss](scores[:rows], scores[rows : 2 * rows])
    if kind is None:
        return Penalised(total, torch.zeros((), dtype=torch.float64), None, scores)
    mine = scores[at * rows : (at + 1) * rows]
    (gradient,) = torch.autograd.grad(mine.sum(), sets[at], create_graph=True)
    value, norms = _penalty(gradient, kind, 10.0, groups)
    return Penalised(total + value, value, norms, scores)
