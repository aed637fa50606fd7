"""Spectral norm on the CPU: a whole group's forward or backward in one call of the kernel."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from fastwgan import _cpu
from fastwgan.ops._pointers import is_aligned, packed, pointers, table

_FORWARD = {
    torch.float32: _cpu.spectral_norm_forward_f32,
    torch.float64: _cpu.spectral_norm_forward_f64,
}
_BACKWARD = {
    torch.float32: _cpu.spectral_norm_backward_f32,
    torch.float64: _cpu.spectral_norm_backward_f64,
}


def forward_plain(
    weights: list[Tensor],
    u: list[Tensor],
    v: list[Tensor],
    dims: list[int],
    n_power_iterations: int,
    eps: float,
    first: str,
) -> tuple[list[Tensor], Tensor, Tensor] | None:
    """`reference.forward` of exact, contiguous float32 or float64 tensors in CPU memory.

    Returns:
        None, with nothing written, when any tensor or setting is another.
    """
    if first not in ("u", "v"):
        return None
    return _cpu.plain_spectral_norm(
        weights, u, v, dims, n_power_iterations, eps, first == "u", torch.get_num_threads()
    )


def backward_plain(
    grads: list[Tensor | None],
    normalised: list[Tensor],
    sigma: Tensor,
    vectors: Tensor,
    dims: list[int],
    grad_sigma: Tensor | None,
) -> list[Tensor] | None:
    """`reference.backward` likewise; None when any tensor is another or missing."""
    return _cpu.plain_spectral_norm_backward(
        grads, normalised, sigma, vectors, dims, grad_sigma, torch.get_num_threads()
    )


def forward(
    weights: Sequence[Tensor],
    u: Sequence[Tensor],
    v: Sequence[Tensor],
    dims: Sequence[int],
    n_power_iterations: int,
    eps: float,
    first: str,
) -> tuple[list[Tensor], Tensor, Tensor]:
    """The contract of `reference.forward`, for float32 and float64; halves through float32."""
    dtype = weights[0].dtype
    if dtype not in _FORWARD:
        wide, sigma, vectors = forward(
            [weight.float() for weight in weights], u, v, dims, n_power_iterations, eps, first
        )
        return [weight.to(dtype) for weight in wide], sigma, vectors

    if not all(map(is_aligned, (*u, *v))):
        return _through_copies(weights, u, v, dims, n_power_iterations, eps, first)
    matrices = [packed(weight) for weight in weights]
    layers: list[int] = []
    length = 0  # of `vectors`
    for matrix, own_u, own_v, dim in zip(matrices, u, v, dims, strict=True):
        outer, rows, inner = _extents(matrix, dim)
        layers += (matrix.data_ptr(), own_u.data_ptr(), own_v.data_ptr(), outer, rows, inner)
        length += rows + outer * inner
    normalised = _cpu.pooled_like(matrices)
    sigma = matrices[0].new_empty(len(matrices))  # [layers]
    vectors = matrices[0].new_empty(length)  # u and v of each layer
    layer_table, output_table = table(layers), pointers(normalised)
    _FORWARD[dtype](
        layer_table.address,
        output_table.address,
        sigma.data_ptr(),
        vectors.data_ptr(),
        len(matrices),
        n_power_iterations,
        first == "u",
        eps,
        torch.get_num_threads(),
    )
    return [_in_layout_of(w, n) for w, n in zip(weights, normalised, strict=True)], sigma, vectors


def _through_copies(
    weights: Sequence[Tensor], u: Sequence[Tensor], v: Sequence[Tensor], *settings: Any
) -> tuple[list[Tensor], Tensor, Tensor]:
    """`forward` of vectors that the kernel can't write where they are."""
    moved_u, moved_v = [own.clone() for own in u], [own.clone() for own in v]
    results = forward(weights, moved_u, moved_v, *settings)
    for vector, moved in zip((*u, *v), (*moved_u, *moved_v), strict=True):
        vector.copy_(moved)
    return results


def backward(
    grads: Sequence[Tensor],
    normalised: Sequence[Tensor],
    sigma: Tensor,
    vectors: Tensor,
    dims: Sequence[int],
    grad_sigma: Tensor | None,
) -> list[Tensor]:
    """The contract of `reference.backward`, for float32 and float64; halves through float32."""
    dtype = normalised[0].dtype
    if dtype not in _BACKWARD:
        wide = backward(
            [grad.float() for grad in grads],
            [weight.float() for weight in normalised],
            sigma,
            vectors,
            dims,
            grad_sigma,
        )
        return [grad.to(dtype) for grad in wide]

    cotangents = [packed(grad) for grad in grads]
    outputs = [packed(weight) for weight in normalised]
    layers: list[int] = []
    for matrix, dim in zip(cotangents, dims, strict=True):
        layers += (0, 0, 0, *_extents(matrix, dim))
    gradients = _cpu.pooled_like(cotangents)
    if grad_sigma is not None:
        grad_sigma = packed(grad_sigma)
    layer_table, cotangent_table = table(layers), pointers(cotangents)
    output_table, gradient_table = pointers(outputs), pointers(gradients)
    _BACKWARD[dtype](
        layer_table.address,
        cotangent_table.address,
        output_table.address,
        sigma.data_ptr(),
        0 if grad_sigma is None else grad_sigma.data_ptr(),
        vectors.data_ptr(),
        gradient_table.address,
        len(cotangents),
        torch.get_num_threads(),
    )
    return [_in_layout_of(w, g) for w, g in zip(normalised, gradients, strict=True)]


def _extents(weight: Tensor, dim: int) -> tuple[int, int, int]:
    """Sizes before, at and after the normalised dimension: the kernel's [outer, rows, inner]."""
    if dim == 0:
        rows = weight.size(0)
        return 1, rows, weight.numel() // rows if rows else prod(weight.shape[1:])
    shape = weight.shape
    return prod(shape[:dim]), shape[dim], prod(shape[dim + 1 :])


def _in_layout_of(weight: Tensor, values: Tensor) -> Tensor:
    """`values` in the memory layout of `weight` (channels-last weights stay so)."""
    if weight.is_contiguous():
        return values
    return torch.empty_like(weight).copy_(values)
