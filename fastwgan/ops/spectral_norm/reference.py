"""Spectral normalisation in plain torch, for any dtype and device: the definition of correct.

`forward` is itself differentiable, to any order; `backward` and `double_backward` are the formulas
of README.md, which the kernels (the first) and autograd (the second) rely on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

Cotangents = list[Tensor | None]


def vector_dtype(weight: Tensor) -> torch.dtype:
    """Dtype of u, v and sigma, and of all arithmetic: the weight's own, at least float32."""
    return torch.float32 if weight.dtype in (torch.float16, torch.bfloat16) else weight.dtype


def matrix_sizes(weight: Tensor, dim: int) -> tuple[int, int]:
    """Rows and columns of the matrix that `weight` is with dimension `dim` moved to the front."""
    rows, columns = weight.shape[dim], 1
    for index, size in enumerate(weight.shape):
        columns *= size if index != dim else 1
    return rows, columns


def matrix_view(weight: Tensor, dim: int) -> Tensor:
    """`weight` as a matrix [rows, columns]: dimension `dim` first, the others in their order."""
    return weight.movedim(dim, 0).reshape(matrix_sizes(weight, dim))


def forward(
    weights: list[Tensor],
    u: list[Tensor],
    v: list[Tensor],
    dims: list[int],
    n_power_iterations: int,
    eps: float,
    first: str,
) -> tuple[list[Tensor], Tensor, Tensor]:
    """Power iteration in place on u [rows] and v [columns] of each weight, then weight / sigma.

    Complex weights follow the torch form whose order they take: first="u" (parametrization) uses
    the adjoint and the conjugated product, first="v" (hook) the plain transpose.

    Returns:
        The normalised weights in the weights' dtypes; sigma [number of weights]; and one flat
        tensor with copies of u, v as they are left: u of the first weight, its v, u of the next.
    """
    normalised, sigmas, vectors = [], [], []
    with _without_autocast(weights):
        for weight, left, right, dim in zip(weights, u, v, dims, strict=True):
            wide = weight.to(vector_dtype(weight))
            matrix = matrix_view(wide, dim)  # [rows, columns]
            _power_iteration(matrix, left, right, n_power_iterations, eps, first)
            left, right = left.clone(), right.clone()
            inner = torch.vdot if first == "u" else torch.dot
            sigma = inner(left, torch.mv(matrix, right))
            normalised.append(_divide_or_zero(wide, sigma).to(weight.dtype))
            sigmas.append(sigma)
            vectors += [left, right]
    return normalised, torch.stack(sigmas), torch.cat(vectors)


def backward(
    grads: Sequence[Tensor],
    normalised: Sequence[Tensor],
    sigma: Tensor,
    vectors: Tensor,
    dims: Sequence[int],
    grad_sigma: Tensor | None,
) -> list[Tensor]:
    """dW = (G - <G, normalised> u v^T) / sigma + grad_sigma u v^T, one a weight; u, v constant."""
    results = []
    outers = outer_products(normalised, vectors, dims)
    for index, (grad, output, outer) in enumerate(zip(grads, normalised, outers, strict=True)):
        wide = grad.to(sigma.dtype)
        along = (wide * output.to(sigma.dtype)).sum()
        result = _divide_or_zero(wide - along * outer, sigma[index])
        if grad_sigma is not None:
            result = result + grad_sigma[index] * outer
        results.append(result.to(output.dtype))
    return results


def double_backward(
    cotangents: Sequence[Tensor | None],
    grads: Sequence[Tensor],
    normalised: Sequence[Tensor],
    sigma: Tensor,
    vectors: Tensor,
    dims: Sequence[int],
    grad_sigma: Tensor | None,
) -> tuple[Cotangents, Cotangents, Tensor, Tensor | None]:
    """Derivatives of sum_i <cotangent_i, backward_i>, themselves differentiable to any order.

    Returns:
        The derivatives with respect to grads, normalised, sigma and grad_sigma.
    """
    by_grad: Cotangents = []
    by_normalised: Cotangents = []
    by_sigma, by_grad_sigma = [], []
    outers = outer_products(normalised, vectors, dims)
    for index, outer in enumerate(outers):
        cotangent = cotangents[index]
        if cotangent is None:
            by_grad.append(None)
            by_normalised.append(None)
            by_sigma.append(torch.zeros_like(sigma[index]))
            by_grad_sigma.append(torch.zeros_like(sigma[index]))
            continue
        wide = cotangent.to(sigma.dtype)
        grad, output = grads[index].to(sigma.dtype), normalised[index].to(sigma.dtype)
        across = (wide * outer).sum()  # u^T H v
        along = (grad * output).sum()
        by_grad.append(_divide_or_zero(wide - across * output, sigma[index]).to(grads[index].dtype))
        by_normalised.append(
            _divide_or_zero(-across * grad, sigma[index]).to(normalised[index].dtype)
        )
        once = _divide_or_zero(across * along - (wide * grad).sum(), sigma[index])
        by_sigma.append(_divide_or_zero(once, sigma[index]))
        by_grad_sigma.append(across)
    stacked = torch.stack(by_grad_sigma) if grad_sigma is not None else None
    return by_grad, by_normalised, torch.stack(by_sigma), stacked


def outer_products(
    weights: Sequence[Tensor], vectors: Tensor, dims: Sequence[int]
) -> Iterator[Tensor]:
    """u v^T of each layer, in the shape of its weight."""
    offset = 0
    for weight, dim in zip(weights, dims, strict=True):
        rows, columns = matrix_sizes(weight, dim)
        left = vectors[offset : offset + rows]
        right = vectors[offset + rows : offset + rows + columns]
        offset += rows + columns
        front = (rows, *(size for index, size in enumerate(weight.shape) if index != dim))
        yield (left.unsqueeze(1) * right).reshape(front).movedim(0, dim)


@torch.no_grad()
def _power_iteration(
    matrix: Tensor, left: Tensor, right: Tensor, iterations: int, eps: float, first: str
) -> None:
    for _ in range(iterations):
        if first == "u":
            _set_unit(left, torch.mv(matrix, right), eps)
            _set_unit(right, torch.mv(matrix.mH, left), eps)
        else:
            _set_unit(right, torch.mv(matrix.mT, left), eps)
            _set_unit(left, torch.mv(matrix, right), eps)


def _set_unit(vector: Tensor, product: Tensor, eps: float) -> None:
    """vector <- product over its norm; kept where the norm is 0, lest u and v die for good."""
    norm = _norm(product)
    # By out=, which torch.func.grad lets write to a tensor from outside, where copy_ may not.
    torch.where(norm == 0, vector, product / norm.clamp_min(eps), out=vector)


def _norm(vector: Tensor) -> Tensor:
    """The Euclidean norm, of the vector over its largest entry: no square leaves the range."""
    sizes = vector.abs()
    if sizes.numel() == 0:
        return sizes.sum()
    largest = sizes.amax()
    usable = (largest > 0) & (largest < torch.inf)  # also False for NaN, which then stays NaN
    scale = torch.where(usable, largest, 1)
    norm: Tensor = torch.linalg.vector_norm(sizes / scale) * scale
    return norm


def _divide_or_zero(tensor: Tensor, sigma: Tensor) -> Tensor:
    """tensor / sigma, and 0 with gradient 0 where sigma is 0."""
    vanishes = sigma == 0
    quotient = tensor / torch.where(vanishes, torch.ones_like(sigma), sigma)
    return torch.where(vanishes, torch.zeros_like(quotient), quotient)


@contextmanager
def _without_autocast(weights: list[Tensor]) -> Iterator[None]:
    """Autocast would run the products in half precision and push u, v and sigma out of float32."""
    with torch.autocast(weights[0].device.type, enabled=False):
        yield
