"""Spectral norm on a GPU: a whole group's forward or backward in a handful of launches.

How a group is cut into tiles depends on its shapes and dtype alone: it is planned once and kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from math import prod
from typing import Any

import torch
from torch import Tensor

from fastwgan import _gpu
from fastwgan.ops._cuda import DTYPES, device_table, packed, place, scratch
from fastwgan.ops._pointers import table
from fastwgan.ops.spectral_norm.reference import vector_dtype


def forward(
    weights: Sequence[Tensor],
    u: Sequence[Tensor],
    v: Sequence[Tensor],
    dims: Sequence[int],
    n_power_iterations: int,
    eps: float,
    first: str,
) -> tuple[list[Tensor], Tensor, Tensor]:
    """The contract of `reference.forward`, for half, single and double precision."""
    matrices = [packed(weight) for weight in weights]
    normalised = [torch.empty_like(matrix) for matrix in matrices]
    model = matrices[0]
    wide = vector_dtype(model)
    plan, uploaded = _planned(matrices, dims)
    sigma = model.new_empty(len(matrices), dtype=wide)  # [layers]
    length = sum(each.numel() for each in (*u, *v))
    vectors = model.new_empty(length, dtype=wide)  # u and v of each layer
    memory = scratch(plan.scratch, model)
    quadruples, pointer_table = _pointers(matrices, u, v, normalised)
    _gpu.cuda_module().spectral_norm_forward(
        quadruples.address,
        plan,
        DTYPES[model.dtype],
        n_power_iterations,
        first == "u",
        eps,
        uploaded.data_ptr(),
        sigma.data_ptr(),
        vectors.data_ptr(),
        memory.data_ptr(),
        0 if pointer_table is None else pointer_table.data_ptr(),
        *place(model),
    )
    return [_in_layout_of(w, n) for w, n in zip(weights, normalised, strict=True)], sigma, vectors


def backward(
    grads: Sequence[Tensor],
    normalised: Sequence[Tensor],
    sigma: Tensor,
    vectors: Tensor,
    dims: Sequence[int],
    grad_sigma: Tensor | None,
) -> list[Tensor]:
    """The contract of `reference.backward`, for half, single and double precision."""
    dtype = normalised[0].dtype
    cotangents = [packed(grad.to(dtype)) for grad in grads]
    outputs = [packed(weight) for weight in normalised]
    gradients = [torch.empty_like(cotangent) for cotangent in cotangents]
    if grad_sigma is not None:
        grad_sigma = packed(grad_sigma)
    model = cotangents[0]
    plan, uploaded = _planned(cotangents, dims)
    memory = scratch(plan.scratch, model)
    quadruples, pointer_table = _pointers(cotangents, outputs, gradients, gradients)
    _gpu.cuda_module().spectral_norm_backward(
        quadruples.address,
        plan,
        DTYPES[dtype],
        uploaded.data_ptr(),
        sigma.data_ptr(),
        0 if grad_sigma is None else grad_sigma.data_ptr(),
        vectors.data_ptr(),
        memory.data_ptr(),
        0 if pointer_table is None else pointer_table.data_ptr(),
        *place(model),
    )
    return [_in_layout_of(w, g) for w, g in zip(normalised, gradients, strict=True)]


def _planned(weights: Sequence[Tensor], dims: Sequence[int]) -> tuple[Any, Tensor]:
    """The group's plan, and its copy in device memory."""
    extents = chain.from_iterable(map(_extents, weights, dims))
    plan, plan_table = _plan(_gpu.cuda_module(), tuple(extents), DTYPES[weights[0].dtype])
    return plan, device_table(plan_table, weights[0])


@lru_cache(maxsize=64)
def _plan(cuda: Any, extents: tuple[int, ...], dtype: int) -> tuple[Any, bytes]:
    plan = cuda.SpectralNormPlan(extents, dtype)
    return plan, plan.table


def _pointers(*lists: Sequence[Tensor]) -> tuple[Any, Tensor | None]:
    """Four addresses a layer, and their copy in device memory where they are too many by value."""
    addresses = [t.data_ptr() for layer in zip(*lists, strict=True) for t in layer]
    quadruples = table(addresses)
    if len(lists[0]) <= _gpu.cuda_module().SPECTRAL_NORM_BY_VALUE:
        return quadruples, None
    return quadruples, device_table(quadruples.entries.tobytes(), lists[0][0])


def _extents(weight: Tensor, dim: int) -> tuple[int, int, int]:
    """Sizes before, at and after the normalised dimension: the kernel's [outer, rows, inner]."""
    shape = weight.shape
    return prod(shape[:dim]), shape[dim], prod(shape[dim + 1 :])


def _in_layout_of(weight: Tensor, values: Tensor) -> Tensor:
    """`values` in the memory layout of `weight` (channels-last weights stay so)."""
    if weight.is_contiguous():
        return values
    return torch.empty_like(weight).copy_(values)
