"""Inputs and the float64 truth of the penalty's arithmetic, by other means than torch's."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tests.guarded import SIZES

KINDS = ("wgan-gp", "wgan-lp", "r1", "r2", "dragan")
WIDE = (torch.float32, torch.float64)
HALVES = (torch.bfloat16, torch.float16)
IMAGE = 3 * 64 * 64
ROW_SIZES = (*SIZES, IMAGE)
ROWS = (1, 2, 3, 7)


def wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype is torch.float64 else torch.float32


def samples(shape: tuple[int, ...], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Real and fake, of equal signs, so that no interpolation between them cancels."""
    sign = torch.randint(0, 2, shape).double() * 2 - 1
    return tuple((sign * (0.1 + torch.rand(shape).double())).to(dtype) for _ in range(2))  # type: ignore[return-value]


def mixed(real: Tensor, fake: Tensor, alpha: Tensor) -> Tensor:
    """Sample by sample in float64."""
    rows = real.shape[0] // max(alpha.shape[0], 1)
    whole = torch.empty(real.shape, dtype=torch.float64)
    for k, share in enumerate(alpha.tolist()):
        part = slice(k * rows, (k + 1) * rows)
        whole[part] = share * real[part].double() + (1 - share) * fake[part].double()
    return whole


def gradients(rows: int, size: int, dtype: torch.dtype) -> Tensor:
    """Rows [rows, size] of norms 1/4 and 4 by turns: far from a target of 1, on both its sides."""
    values = torch.randn(rows, size, dtype=torch.float64)
    norms = values.norm(dim=1, keepdim=True).clamp(min=1e-300)
    lengths = torch.tensor([0.25, 4.0], dtype=torch.float64).repeat(rows)[:rows, None]
    return (values / norms * lengths).to(dtype)


def true_norm_penalty(
    gradient: Tensor, kind: str, target: float, weight: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Penalty, norms and cotangent, every row by Python's own hypot, which cannot overflow."""
    table = gradient.double().tolist()
    norms, cotangent, values = [], [], []
    for row in table:
        norm = math.hypot(*row) if all(map(math.isfinite, row)) else math.nan
        excess = norm - target
        if kind == "wgan-lp" and excess < 0:
            excess = 0.0
        slope, value = (
            (2 * norm, norm * norm) if kind in ("r1", "r2") else (2 * excess, excess * excess)
        )
        norms.append(norm)
        values.append(value)
        share = weight / len(table) * slope
        cotangent.append([share * (x / norm if norm != 0 else 0.0) for x in row])
    mean = sum(values) / len(values) if values else math.nan
    return (
        torch.tensor(weight * mean, dtype=torch.float64),
        torch.tensor(norms, dtype=torch.float64),
        torch.tensor(cotangent, dtype=torch.float64).reshape(gradient.shape),
    )
