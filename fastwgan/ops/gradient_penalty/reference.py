"""The gradient penalty's own arithmetic in plain torch: the definition of correct."""

from __future__ import annotations

import torch
from torch import Tensor

KINDS = ("wgan-gp", "wgan-lp", "r1", "r2", "dragan")
_SQUARE = ("r1", "r2")


def wide_dtype(dtype: torch.dtype) -> torch.dtype:
    """What is computed in: float64 for float64, else float32."""
    return torch.float64 if dtype is torch.float64 else torch.float32


def interpolate(real: Tensor, fake: Tensor, alpha: Tensor) -> Tensor:
    """The mix alpha real + (1 - alpha) fake, one alpha for each batch / groups samples."""
    share = per_sample(alpha, real)
    return (share * real + (1 - share) * fake).to(real.dtype)


def per_sample(alpha: Tensor, like: Tensor) -> Tensor:
    """The given alpha [groups] as [batch, 1, ...] to multiply `like` by, [batch, *sample]."""
    rows = like.shape[0] // max(alpha.shape[0], 1)
    each = alpha.to(wide_dtype(like.dtype)).repeat_interleave(rows)
    return each.view(-1, *[1] * (like.dim() - 1))


def norm_penalty(
    gradient: Tensor, kind: str, target: float, weight: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The penalty [], the norms [rows] and d penalty / d gradient [rows, size], in `wide_dtype`."""
    wide = gradient.to(wide_dtype(gradient.dtype))
    norms, directions = polar(wide)
    value, slope, _ = phi(norms, kind, target)
    share = weight / gradient.shape[0] if gradient.shape[0] else weight
    # The smooth kinds need no direction, which has no derivative where the norm is zero.
    smooth = kind in _SQUARE
    cotangent = 2 * share * wide if smooth else share * slope[:, None] * directions
    return weight * value.mean(), norms, cotangent


def polar(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Norms [rows] and unit vectors [rows, size], zero where the norm is.

    Differentiable to any order where the norm is not zero; there, its derivative is taken as zero.
    Rows are scaled by their largest entry, so that no square leaves the range of the dtype.
    """
    if gradient.shape[1] == 0:
        return gradient.sum(1), gradient
    largest = gradient.detach().abs().amax(1, keepdim=True)
    usable = (largest > 0) & (largest < torch.inf)  # also False for NaN, which then stays NaN
    scale = torch.where(usable, largest, 1)
    scaled = gradient / scale
    squares = scaled.square().sum(1, keepdim=True)
    is_zero = squares == 0
    # sqrt has no finite derivative at 0: the zero rows are kept out of it, not masked after it.
    lengths = torch.where(is_zero, 0, torch.where(is_zero, 1, squares).sqrt())
    directions = torch.where(is_zero, 0, scaled / torch.where(is_zero, 1, lengths))
    return (lengths * scale).squeeze(1), directions


def phi(norms: Tensor, kind: str, target: float) -> tuple[Tensor, Tensor, Tensor]:
    """The penalty's profile phi at each norm, and its first and second derivative."""
    if kind in _SQUARE:
        return norms.square(), 2 * norms, torch.full_like(norms, 2)
    excess = norms - target
    curvature = torch.full_like(norms, 2)
    if kind == "wgan-lp":
        curvature = curvature * (excess > 0)
        excess = excess.clamp(min=0)  # keeps NaN
    return excess.square(), 2 * excess, curvature


def curvature_product(
    gradient: Tensor, direction: Tensor, kind: str, target: float, weight: float
) -> Tensor:
    """The penalty's Hessian at `gradient` times `direction`, both [rows, size].

    With u the unit vector of a row and n its norm, that is the row's share of the weight times
    phi'(n) / n (t - u <u, t>) + phi''(n) u <u, t>; zero at n = 0 for the kinds whose norm has no
    derivative there. Plain differentiable torch, hence right to any order.
    """
    share = weight / gradient.shape[0]
    wide = gradient.to(wide_dtype(gradient.dtype))
    t = direction.to(wide.dtype)
    if kind in _SQUARE:
        return 2 * share * t
    norms, u = polar(wide)
    _, slope, curvature = phi(norms, kind, target)
    along = (u * t).sum(1, keepdim=True)
    is_zero = (norms == 0)[:, None]
    across = slope[:, None] / torch.where(is_zero, 1, norms[:, None])
    product = across * (t - u * along) + curvature[:, None] * u * along
    return share * torch.where(is_zero, 0, product)
