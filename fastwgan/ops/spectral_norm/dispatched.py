"""The operation as seen from outside: `torch.ops.fastwgan.spectral_norm` and its backward.

Compilers, fake tensors, modes and tensor subclasses take this way. Both operations are functional:
new u and v are returned (in `vectors`) and the caller writes them back, since two calls of an
operation that mutates lists of tensors can be merged into one by a compiler.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastwgan.ops._library import LIBRARY
from fastwgan.ops.spectral_norm import reference
from fastwgan.ops.spectral_norm.autograd import run_backward, run_forward, weight_gradients
from fastwgan.ops.spectral_norm.reference import matrix_sizes, vector_dtype

LIBRARY.define(
    "spectral_norm(Tensor[] weights, Tensor[] u, Tensor[] v, int[] dims, int n_power_iterations,"
    " float eps, str first) -> (Tensor[] normalised, Tensor sigma, Tensor vectors)"
)
LIBRARY.define(
    "spectral_norm_backward(Tensor[] grads, Tensor[] normalised, Tensor sigma, Tensor vectors,"
    " int[] dims, Tensor? grad_sigma) -> Tensor[]"
)


def _forward(
    weights: list[Tensor],
    u: list[Tensor],
    v: list[Tensor],
    dims: list[int],
    n_power_iterations: int,
    eps: float,
    first: str,
) -> tuple[list[Tensor], Tensor, Tensor]:
    own_u, own_v = [left.clone() for left in u], [right.clone() for right in v]
    normalised, sigma, vectors = run_forward(
        weights, own_u, own_v, dims, n_power_iterations, eps, first
    )
    return _laid_out_like(normalised, weights), sigma, vectors


def _forward_fake(
    weights: list[Tensor],
    u: list[Tensor],
    v: list[Tensor],
    dims: list[int],
    n_power_iterations: int,
    eps: float,
    first: str,
) -> tuple[list[Tensor], Tensor, Tensor]:
    dtype = vector_dtype(weights[0])
    total = sum(sum(matrix_sizes(*pair)) for pair in zip(weights, dims, strict=True))
    sigma = weights[0].new_empty(len(weights), dtype=dtype)
    vectors = weights[0].new_empty(total, dtype=dtype)
    return [torch.empty_like(weight) for weight in weights], sigma, vectors


def _backward(
    grads: list[Tensor],
    normalised: list[Tensor],
    sigma: Tensor,
    vectors: Tensor,
    dims: list[int],
    grad_sigma: Tensor | None,
) -> list[Tensor]:
    gradients = run_backward(grads, normalised, sigma, vectors, dims, grad_sigma)
    return _laid_out_like(gradients, normalised)


def _backward_fake(
    grads: list[Tensor],
    normalised: list[Tensor],
    sigma: Tensor,
    vectors: Tensor,
    dims: list[int],
    grad_sigma: Tensor | None,
) -> list[Tensor]:
    return [torch.empty_like(output) for output in normalised]


def _laid_out_like(results: list[Tensor], models: list[Tensor]) -> list[Tensor]:
    """Copies into the strides that the fake implementation promised, where they differ."""
    promised = [torch.empty_like(model) for model in models]
    return [
        result if result.stride() == memory.stride() else memory.copy_(result)
        for result, memory in zip(results, promised, strict=True)
    ]


def _save_for_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
    normalised, sigma, vectors = output
    ctx.dims = inputs[3]
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(vectors)
    ctx.save_for_backward(sigma, vectors, *normalised)


def _differentiate(
    ctx: Any, grads: list[Tensor | None], grad_sigma: Tensor | None, _vectors: Tensor | None
) -> Any:
    sigma, vectors, *normalised = ctx.saved_tensors
    needed = ctx.needs_input_grad[0]
    gradients = weight_gradients(grads, normalised, sigma, vectors, ctx.dims, grad_sigma, needed)
    nothing = [None] * len(grads)
    return gradients, nothing, nothing, None, None, None, None


def _save_for_double_backward(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    grads, normalised, sigma, vectors, ctx.dims, grad_sigma = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(sigma, vectors, grad_sigma, *grads, *normalised)


def _differentiate_backward(ctx: Any, cotangents: list[Tensor | None]) -> Any:
    sigma, vectors, grad_sigma, *tensors = ctx.saved_tensors
    grads, normalised = tensors[: len(ctx.dims)], tensors[len(ctx.dims) :]
    by_grad, by_normalised, by_sigma, by_grad_sigma = reference.double_backward(
        cotangents, grads, normalised, sigma, vectors, ctx.dims, grad_sigma
    )
    return by_grad, by_normalised, by_sigma, None, None, by_grad_sigma


LIBRARY.impl("spectral_norm", _forward, "CompositeExplicitAutograd")
LIBRARY.impl("spectral_norm_backward", _backward, "CompositeExplicitAutograd")
torch.library.register_fake("fastwgan::spectral_norm", _forward_fake, lib=LIBRARY)
torch.library.register_fake("fastwgan::spectral_norm_backward", _backward_fake, lib=LIBRARY)
torch.library.register_autograd(
    "fastwgan::spectral_norm", _differentiate, setup_context=_save_for_backward, lib=LIBRARY
)
torch.library.register_autograd(
    "fastwgan::spectral_norm_backward",
    _differentiate_backward,
    setup_context=_save_for_double_backward,
    lib=LIBRARY,
)
