"""Spectral normalisation of a group of weights in one call."""

from __future__ import annotations

import torch
from torch import Tensor

from fastwgan.ops._library import is_direct
from fastwgan.ops.spectral_norm import _checks, reference
from fastwgan.ops.spectral_norm import dispatched as _dispatched  # noqa: F401 - defines the ops
from fastwgan.ops.spectral_norm.autograd import (
    BACKENDS,
    SpectralNorm,
    apply_to_plain,
    is_transformed,
    run_forward,
    run_plain_forward,
)
from fastwgan.ops.spectral_norm.reference import matrix_sizes, vector_dtype

_is_neg = Tensor.is_neg
_requires_grad = Tensor.requires_grad.__get__  # type: ignore[attr-defined]

__all__ = ["BACKENDS", "matrix_sizes", "spectral_norm", "vector_dtype"]


def spectral_norm(
    weights: list[Tensor],
    u: list[Tensor],
    v: list[Tensor],
    *,
    dims: list[int],
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    first: str = "v",
) -> tuple[list[Tensor], Tensor]:
    """Divides each weight by an estimate of its largest singular value.

    A weight is viewed as a matrix [rows, columns] with its dimension `dim` moved to the front and
    the others flattened. Each power iteration replaces v by W^T u and u by W v, both divided by
    max(norm, eps); then sigma = u^T W v. Where a product is exactly zero its vector is kept, and
    where sigma is 0 (an all-zero weight) the result is zeros, with a gradient of zeros.

    Args:
        weights: One tensor a layer, of one dtype (floating or complex) on one device, any strides.
        u: One vector [rows] a layer, in float32 for half precision weights, else in the weights'
            dtype. Updated in place if `n_power_iterations` is above 0.
        v: One vector [columns] a layer, as u.
        dims: The dimension of each weight that becomes the rows, 0 <= dim < weight.dim().
        n_power_iterations: Iterations before sigma is taken; 0 takes u and v as they are.
        eps: Least divisor of a product.
        first: "v" or "u", the vector each iteration replaces first: torch's hook form starts with
            v, its parametrization with u.

    Returns:
        The normalised weights in the weights' dtype and strides, and sigma [layers] in the dtype
        of u. Both are differentiable in the weights to any order; u and v count as constants.

    Raises:
        TypeError: a dtype or memory layout that cannot be normalised, or a wrong type.
        ValueError: sizes, devices or settings that do not fit together. Nothing is written before
            everything has been checked.

    Cost: 3 reads and 1 write of the weights forward and backward each, in one kernel call on the
    CPU backend. Complex weights run the reference.

    Source: Miyato et al. 2018, https://arxiv.org/abs/1802.05957, algorithm 1.
    """
    outputs = run_plain_forward(weights, u, v, dims, n_power_iterations, eps, first)
    apply = apply_to_plain
    if outputs is None:
        apply = SpectralNorm.apply
        # A lazily negated tensor's memory holds the wrong sign; the library resolves it.
        direct = is_direct([*weights, *u, *v]) and not any(map(_is_neg, weights))
        _checks.check(weights, u, v, dims, n_power_iterations, eps, first)
        if weights[0].is_complex() or (not direct and is_transformed()):
            return reference.forward(weights, u, v, dims, n_power_iterations, eps, first)[:2]
        if not direct:
            return _through_library(weights, u, v, dims, n_power_iterations, eps, first)
        with torch.no_grad():
            outputs = run_forward(weights, u, v, dims, n_power_iterations, eps, first)
    if torch.is_grad_enabled() and any(map(_requires_grad, weights)):
        sigma, *normalised = apply(outputs, dims, *weights)
        return normalised, sigma
    return outputs[:2]


def _through_library(
    weights: list[Tensor],
    u: list[Tensor],
    v: list[Tensor],
    dims: list[int],
    n_power_iterations: int,
    eps: float,
    first: str,
) -> tuple[list[Tensor], Tensor]:
    normalised, sigma, vectors = torch.ops.fastwgan.spectral_norm(
        weights, u, v, dims, n_power_iterations, eps, first
    )
    if n_power_iterations > 0:
        with torch.no_grad():
            offset = 0
            for vector in (vector for pair in zip(u, v, strict=True) for vector in pair):
                vector.copy_(vectors[offset : offset + vector.shape[0]])
                offset += vector.shape[0]
    return normalised, sigma
