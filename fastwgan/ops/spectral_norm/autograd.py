"""Derivatives of spectral normalisation, and the two ways a call takes: direct or by the library.

u and v are constants for autograd. What the derivatives need of them is the operation's own copy
(`vectors`), so that a later call may move u and v before this one's backward has run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from fastwgan import backends
from fastwgan.ops._library import is_direct, takes_plain
from fastwgan.ops.spectral_norm import native, reference
from fastwgan.ops.spectral_norm.reference import matrix_sizes

BACKENDS = backends.Modules("fastwgan.ops.spectral_norm", cpu=native, reference=reference)

Gradients = list[Tensor | None]
Outputs = tuple[list[Tensor], Tensor, Tensor]  # normalised, sigma, vectors
_is_neg = Tensor.is_neg
# The gradients of autograd.grad(..., is_grads_batched=True): of exact type, without memory.
_is_batched = torch._C._functorch.is_legacy_batchedtensor

# Arguments of SpectralNorm.apply before the weights, and of SpectralNormBackward.apply before the
# tensors: autograd wants a None for each.
_SETTINGS = 2
_BACKWARD_SETTINGS = 2


def run_forward(
    weights: list[Tensor],
    u: list[Tensor],
    v: list[Tensor],
    dims: list[int],
    n_power_iterations: int,
    eps: float,
    first: str,
) -> tuple[list[Tensor], Tensor, Tensor]:
    """The chosen backend's forward, with the version counters of what it wrote moved on."""
    backend = BACKENDS[backends.select("spectral_norm", weights)]
    packed_u, packed_v = _contiguous(u), _contiguous(v)
    normalised, sigma, vectors = backend.forward(
        weights, packed_u, packed_v, dims, n_power_iterations, eps, first
    )
    if n_power_iterations > 0:
        _write_back(u, packed_u)
        _write_back(v, packed_v)
        torch.autograd.graph.increment_version([*u, *v])
    return normalised, sigma, vectors


def run_plain_forward(
    weights: list[Tensor],
    u: list[Tensor],
    v: list[Tensor],
    dims: list[int],
    n_power_iterations: int,
    eps: float,
    first: str,
) -> Outputs | None:
    """The usual forward by one call of the kernel, all checks included; None for any other."""
    if not takes_plain():
        return None
    outputs = native.forward_plain(weights, u, v, dims, n_power_iterations, eps, first)
    if outputs is not None and n_power_iterations > 0:
        torch.autograd.graph.increment_version(u + v)
    return outputs


def run_backward(
    grads: list[Tensor],
    normalised: list[Tensor],
    sigma: Tensor,
    vectors: Tensor,
    dims: list[int],
    grad_sigma: Tensor | None,
) -> list[Tensor]:
    """The chosen backend's backward."""
    backend = BACKENDS[backends.select("spectral_norm", grads)]
    gradients: list[Tensor] = backend.backward(grads, normalised, sigma, vectors, dims, grad_sigma)
    return gradients


class SpectralNorm(Function):
    """(sigma, *normalised) of the weights; both differentiable in the weights, to any order.

    The values are handed over: what has to be tested before a call is tested where they are made.
    """

    @staticmethod
    def forward(
        ctx: Any, outputs: Outputs, dims: list[int], *weights: Tensor
    ) -> tuple[Tensor, ...]:
        normalised, sigma, vectors = outputs
        ctx.dims = dims
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(sigma, vectors, *normalised)
        return (sigma, *normalised)

    @staticmethod
    def backward(ctx: Any, grad_sigma: Tensor | None, *grads: Tensor | None) -> Any:
        sigma, vectors, *normalised = ctx.saved_tensors
        needed = ctx.needs_input_grad[_SETTINGS:]
        gradients: Sequence[Tensor | None] | None = None
        if not torch.is_grad_enabled() and all(needed) and takes_plain():
            gradients = native.backward_plain(
                list(grads), normalised, sigma, vectors, ctx.dims, grad_sigma
            )
        if gradients is None:
            gradients = weight_gradients(
                grads, normalised, sigma, vectors, ctx.dims, grad_sigma, needed
            )
        return (*(None,) * _SETTINGS, *gradients)


class SpectralNormBackward(Function):
    """The gradients of the weights, as a function of the cotangents and of forward's outputs."""

    @staticmethod
    def forward(
        ctx: Any,
        dims: list[int],
        vectors: Tensor,
        sigma: Tensor,
        grad_sigma: Tensor | None,
        *grads_then_normalised: Tensor,
    ) -> tuple[Tensor, ...]:
        grads, normalised = _halves(grads_then_normalised)
        ctx.dims = dims
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(vectors, sigma, grad_sigma, *grads_then_normalised)
        return tuple(run_backward(grads, normalised, sigma, vectors, dims, grad_sigma))

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> Any:
        vectors, sigma, grad_sigma, *tensors = ctx.saved_tensors
        grads, normalised = _halves(tensors)
        by_grad, by_normalised, by_sigma, by_grad_sigma = reference.double_backward(
            cotangents, grads, normalised, sigma, vectors, ctx.dims, grad_sigma
        )
        nothing = (None,) * _BACKWARD_SETTINGS
        return (*nothing, by_sigma, by_grad_sigma, *by_grad, *by_normalised)


def is_transformed() -> bool:
    """True inside torch.func's transforms, which take plain torch but no operation of ours."""
    return bool(torch._C._are_functorch_transforms_active())


def weight_gradients(
    grads: Sequence[Tensor | None],
    normalised: list[Tensor],
    sigma: Tensor,
    vectors: Tensor,
    dims: list[int],
    grad_sigma: Tensor | None,
    needed: Sequence[bool],
) -> Gradients:
    """Gradients of the weights; None for one that needs none or whose outputs were not used."""
    used = [
        index
        for index, grad in enumerate(grads)
        if (grad is not None or grad_sigma is not None) and needed[index]
    ]
    if not used:
        return [None] * len(grads)
    cotangents = [_dense(grads[index], normalised[index]) for index in used]
    if len(used) == len(grads):
        return list(_differentiable(cotangents, normalised, sigma, vectors, dims, grad_sigma))
    gradients: Gradients = [None] * len(grads)
    parts = _differentiable(
        cotangents,
        [normalised[index] for index in used],
        sigma[used],
        _vectors_of(used, normalised, vectors, dims),
        [dims[index] for index in used],
        None if grad_sigma is None else grad_sigma[used],
    )
    for index, part in zip(used, parts, strict=True):
        gradients[index] = part
    return gradients


def _differentiable(
    grads: list[Tensor],
    normalised: list[Tensor],
    sigma: Tensor,
    vectors: Tensor,
    dims: list[int],
    grad_sigma: Tensor | None,
) -> Sequence[Tensor]:
    if is_transformed() or any(map(_is_batched, grads)):
        return reference.backward(grads, normalised, sigma, vectors, dims, grad_sigma)
    if not is_direct(grads) or any(map(_is_neg, grads)):
        gradients: list[Tensor] = torch.ops.fastwgan.spectral_norm_backward(
            grads, normalised, sigma, vectors, dims, grad_sigma
        )
        return gradients
    if not torch.is_grad_enabled():
        return run_backward(grads, normalised, sigma, vectors, dims, grad_sigma)
    results: tuple[Tensor, ...] = SpectralNormBackward.apply(
        dims, vectors, sigma, grad_sigma, *grads, *normalised
    )
    return results


def _dense(grad: Tensor | None, normalised: Tensor) -> Tensor:
    if grad is None:
        return torch.zeros_like(normalised)
    # nn.Embedding(sparse=True) hands a sparse gradient; that of the weight under it is dense.
    return grad if grad.layout is torch.strided else grad.to_dense()


def _vectors_of(
    used: list[int], normalised: list[Tensor], vectors: Tensor, dims: list[int]
) -> Tensor:
    sizes = [sum(matrix_sizes(*pair)) for pair in zip(normalised, dims, strict=True)]
    pieces = vectors.split(sizes)
    return torch.cat([pieces[index] for index in used])


def _contiguous(vectors: list[Tensor]) -> list[Tensor]:
    return [vector if vector.is_contiguous() else vector.contiguous() for vector in vectors]


def _write_back(vectors: list[Tensor], packed: list[Tensor]) -> None:
    for vector, values in zip(vectors, packed, strict=True):
        if vector is not values:
            vector.copy_(values)


def _halves(tensors: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    count = len(tensors) // 2
    return list(tensors[:count]), list(tensors[count:])
