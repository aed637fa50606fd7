"""The gradient penalty's own arithmetic: the points it is taken at, and norm and penalty there."""

from __future__ import annotations

import torch
from torch import Tensor

from fastwgan.ops._library import is_direct
from fastwgan.ops.gradient_penalty import dispatched as _dispatched  # noqa: F401 - defines the ops
from fastwgan.ops.gradient_penalty.autograd import (
    BACKENDS,
    Interpolate,
    NormPenalty,
    run_interpolate,
    run_norm_penalty,
)
from fastwgan.ops.gradient_penalty.reference import KINDS, wide_dtype

__all__ = ["BACKENDS", "KINDS", "interpolate", "norm_penalty", "wide_dtype"]


def interpolate(real: Tensor, fake: Tensor, alpha: Tensor) -> Tensor:
    """Mixes real and fake with one alpha for each group: alpha real + (1 - alpha) fake.

    Args:
        real: [batch, *sample], floating point, any strides.
        fake: As real: same shape, dtype and device.
        alpha: [groups], groups dividing batch, float64 for float64 samples, else float32. Samples
            k batch / groups to (k + 1) batch / groups share alpha[k].

    Returns:
        A new tensor as real, contiguous, or channels-last where both are. Half precision is
        computed in float32 and rounded once. Differentiable in real and fake to any order; alpha
        is a constant.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit together.

    Cost: two readings and one writing of the samples.

    Source: Gulrajani et al. 2017, https://arxiv.org/abs/1704.00028, algorithm 1, line 6.
    """
    _check_samples(real, fake, alpha)
    if not is_direct((real, fake, alpha)):
        dispatched: Tensor = torch.ops.fastwgan.gradient_penalty_interpolate(real, fake, alpha)
        return dispatched
    if torch.is_grad_enabled() and (real.requires_grad or fake.requires_grad):
        recorded: Tensor = Interpolate.apply(real, fake, alpha)
        return recorded
    return run_interpolate(real, fake, alpha)


def norm_penalty(
    gradient: Tensor, kind: str, target: float, weight: float
) -> tuple[Tensor, Tensor]:
    """The penalty, weight times the mean over rows of phi(|row|), and the norms.

    phi(n) is (n - target)² for "wgan-gp" and "dragan", max(0, n - target)² for "wgan-lp", and n²
    for "r1" and "r2".

    Args:
        gradient: [rows, size], floating point, any strides and device: the critic's gradient at the
            points.
        kind: One of `KINDS`.
        target: The norm asked for; read by no "r1" or "r2".
        weight: Factor of the mean.

    Returns:
        The penalty [] and the norms [rows], in float64 for float64, else float32. The penalty is
        differentiable to any order, with a derivative of zero where a norm is zero; the norms
        carry no gradient. NaN in a row is NaN in its norm and in the penalty.

    Raises:
        ValueError: gradient is no matrix, or kind is none of `KINDS`.

    Cost: one pass over the gradient, which also writes d penalty / d gradient for the backward.

    Source: Gulrajani et al. 2017, https://arxiv.org/abs/1704.00028, equation 3; Petzka et al. 2018,
    https://arxiv.org/abs/1709.08894, equation 8; Mescheder et al. 2018,
    https://arxiv.org/abs/1801.04406, equation 9, twice that since no ½ is applied here.
    """
    if gradient.dim() != 2:
        raise ValueError(
            f"gradient had shape {tuple(gradient.shape)}; it must be a matrix [rows, size]."
        )
    if kind not in KINDS:
        raise ValueError(f"kind was {kind!r}; it must be one of {list(KINDS)}.")
    if not is_direct((gradient,)):
        penalty, norms, _ = torch.ops.fastwgan.gradient_penalty_norm(gradient, kind, target, weight)
        return penalty, norms.detach()
    if torch.is_grad_enabled() and gradient.requires_grad:
        recorded: tuple[Tensor, Tensor] = NormPenalty.apply(gradient, kind, target, weight)
        return recorded
    penalty, norms, _ = run_norm_penalty(gradient, kind, target, weight)
    return penalty, norms


def _check_samples(real: Tensor, fake: Tensor, alpha: Tensor) -> None:
    if fake.shape != real.shape or fake.dtype != real.dtype or fake.device != real.device:
        raise ValueError(
            f"fake was {tuple(fake.shape)} {fake.dtype} on {fake.device}; it must be as real, "
            f"{tuple(real.shape)} {real.dtype} on {real.device}."
        )
    groups = alpha.shape[0] if alpha.dim() == 1 else 0
    if real.dim() == 0 or groups == 0 or real.shape[0] % groups:
        raise ValueError(
            f"alpha had shape {tuple(alpha.shape)}; it must be [groups], with groups dividing the "
            f"batch of real, {tuple(real.shape)}."
        )
    wide = wide_dtype(real.dtype)
    if alpha.dtype != wide or alpha.device != real.device:
        raise ValueError(
            f"alpha was {alpha.dtype} on {alpha.device}; it must be {wide} on {real.device}."
        )
