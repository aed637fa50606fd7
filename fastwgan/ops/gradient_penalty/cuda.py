"""The gradient penalty's own arithmetic on a GPU: one launch to mix, two for norm and cotangent."""

from __future__ import annotations

import torch
from torch import Tensor

from fastwgan import _gpu
from fastwgan.ops._cuda import DTYPES, packed, place, scratch
from fastwgan.ops.gradient_penalty.reference import wide_dtype

_TWO_SIDED, _ONE_SIDED, _SQUARE = 0, 1, 2  # fw_penalty_kind
_KINDS = {
    "wgan-gp": _TWO_SIDED,
    "dragan": _TWO_SIDED,
    "wgan-lp": _ONE_SIDED,
    "r1": _SQUARE,
    "r2": _SQUARE,
}


def interpolate(real: Tensor, fake: Tensor, alpha: Tensor) -> Tensor:
    """The contract of `reference.interpolate`, for half, single and double precision."""
    real, fake, alpha = packed(real), packed(fake), packed(alpha)
    interpolates = torch.empty_like(real)  # [batch, *sample]
    rows = real.size(0)
    _gpu.cuda_module().gradient_penalty_interpolate(
        real.data_ptr(),
        fake.data_ptr(),
        alpha.data_ptr(),
        interpolates.data_ptr(),
        rows,
        real.numel() // rows if rows else 0,
        alpha.numel(),
        DTYPES[real.dtype],
        *place(real),
    )
    return interpolates


def norm_penalty(
    gradient: Tensor, kind: str, target: float, weight: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The contract of `reference.norm_penalty`, for half, single and double precision."""
    cuda = _gpu.cuda_module()
    gradient = packed(gradient)  # [rows, size]
    rows, size = gradient.shape
    wide = wide_dtype(gradient.dtype)
    penalty = gradient.new_empty((), dtype=wide)
    norms = gradient.new_empty(rows, dtype=wide)
    cotangent = torch.empty_like(gradient, dtype=wide)
    parts = scratch(cuda.gradient_penalty_scratch(rows, size), gradient)
    cuda.gradient_penalty_norm(
        gradient.data_ptr(),
        rows,
        size,
        DTYPES[gradient.dtype],
        _KINDS[kind],
        target,
        weight,
        penalty.data_ptr(),
        norms.data_ptr(),
        cotangent.data_ptr(),
        parts.data_ptr(),
        *place(gradient),
    )
    return penalty, norms, cotangent
