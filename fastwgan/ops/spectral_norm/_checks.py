"""What a call of spectral normalisation must fulfil, tested before anything is written.

Calls on plain CPU tensors are tested in C++; those that fail there come here for the reason.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fastwgan.ops.spectral_norm.reference import matrix_sizes, vector_dtype


def check(
    weights: list[Tensor],
    u: list[Tensor],
    v: list[Tensor],
    dims: list[int],
    n_power_iterations: int,
    eps: float,
    first: str,
) -> None:
    """Raises one sentence for arguments that do not fit."""
    if not weights or not len(weights) == len(u) == len(v) == len(dims):
        raise ValueError(
            f"weights, u, v and dims had lengths {len(weights)}, {len(u)}, {len(v)}, {len(dims)};"
            " they must be equal and above 0."
        )
    for name, tensors in (("weights", weights), ("u", u), ("v", v)):
        for index, tensor in enumerate(tensors):
            if not isinstance(tensor, Tensor):
                kind = type(tensor).__name__
                raise TypeError(f"{name}[{index}] was a {kind}; it must be a tensor.")
    _check_settings(n_power_iterations, eps, first)
    for index, (weight, dim) in enumerate(zip(weights, dims, strict=True)):
        _check_weight(weight, weights[0], dim, index)
        rows, columns = matrix_sizes(weight, dim)
        dtype = vector_dtype(weight)
        _check_vector(u[index], rows, dtype, weight.device, f"u[{index}]")
        _check_vector(v[index], columns, dtype, weight.device, f"v[{index}]")


def _check_settings(n_power_iterations: int, eps: float, first: str) -> None:
    if n_power_iterations < 0:
        raise ValueError(f"n_power_iterations was {n_power_iterations}; it must be 0 or more.")
    if not 0 <= eps < math.inf:
        raise ValueError(f"eps was {eps}; it must be a finite number, 0 or more.")
    if first not in ("u", "v"):
        raise ValueError(f"first was {first!r}; it must be 'u' or 'v'.")


def _check_weight(weight: Tensor, model: Tensor, dim: int, index: int) -> None:
    if not (weight.dtype.is_floating_point or weight.dtype.is_complex):
        raise TypeError(
            f"weights[{index}] was {weight.dtype}; it must be of a floating or complex dtype."
        )
    if weight.layout is not torch.strided:
        raise TypeError(f"weights[{index}] had layout {weight.layout}; it must be dense.")
    if weight.dtype is not model.dtype or weight.device != model.device:
        raise ValueError(
            f"weights[{index}] was {weight.dtype} on {weight.device}; it must be {model.dtype} on "
            f"{model.device} as weights[0]."
        )
    if not 0 <= dim < weight.dim():
        raise ValueError(
            f"dims[{index}] was {dim}; it must be at least 0 and below {weight.dim()}, the number "
            f"of dimensions of weights[{index}]."
        )


def _check_vector(
    vector: Tensor, size: int, dtype: torch.dtype, device: torch.device, name: str
) -> None:
    if vector.dtype is not dtype:
        raise TypeError(f"{name} was {vector.dtype}; it must be {dtype} for these weights.")
    if vector.device != device:
        raise ValueError(f"{name} was on {vector.device}; it must be on {device}.")
    if vector.shape != (size,):
        raise ValueError(f"{name} had shape {tuple(vector.shape)}; it must be ({size},).")
    if vector.stride(0) == 0 and size > 1:
        raise ValueError(
            f"{name} was expanded from one element; it must own memory for all {size}."
        )
