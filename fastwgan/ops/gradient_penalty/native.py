"""The gradient penalty's own arithmetic on the CPU."""

from __future__ import annotations

import torch
from torch import Tensor

from fastwgan import _cpu
from fastwgan.ops._pointers import packed

_INTERPOLATE = {
    torch.float32: _cpu.gradient_penalty_interpolate_f32,
    torch.float64: _cpu.gradient_penalty_interpolate_f64,
}
_NORM = {
    torch.float32: _cpu.gradient_penalty_norm_f32,
    torch.float64: _cpu.gradient_penalty_norm_f64,
}
_TWO_SIDED, _ONE_SIDED, _SQUARE = 0, 1, 2  # fw_penalty_kind
KINDS = {
    "wgan-gp": _TWO_SIDED,
    "dragan": _TWO_SIDED,
    "wgan-lp": _ONE_SIDED,
    "r1": _SQUARE,
    "r2": _SQUARE,
}
"""Of each kind of penalty, which function of the norm it is."""


def interpolate(real: Tensor, fake: Tensor, alpha: Tensor) -> Tensor:
    """The contract of `reference.interpolate`, for float32 and float64."""
    real, fake, alpha = packed(real), packed(fake), packed(alpha)
    interpolates = torch.empty_like(real)  # [batch, *sample]
    rows = real.size(0)
    _INTERPOLATE[real.dtype](
        real.data_ptr(),
        fake.data_ptr(),
        alpha.data_ptr(),
        interpolates.data_ptr(),
        rows,
        real.numel() // rows if rows else 0,
        alpha.numel(),
        torch.get_num_threads(),
    )
    return interpolates


def norm_penalty(
    gradient: Tensor, kind: str, target: float, weight: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The contract of `reference.norm_penalty`, for float32 and float64."""
    gradient = packed(gradient)  # [rows, size]
    rows, size = gradient.shape
    penalty = gradient.new_empty(())
    norms = gradient.new_empty(rows)
    cotangent = torch.empty_like(gradient)
    _NORM[gradient.dtype](
        gradient.data_ptr(),
        rows,
        size,
        KINDS[kind],
        target,
        weight,
        penalty.data_ptr(),
        norms.data_ptr(),
        cotangent.data_ptr(),
        torch.get_num_threads(),
    )
    return penalty, norms, cotangent
