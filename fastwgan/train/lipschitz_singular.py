"""The largest singular value of a linear map that is known by what it and its transpose do."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fastwgan.train.lipschitz_calls import Call

_STEPS = 120  # of one basis
_BASIS = 1 << 27  # numbers that it may hold
_RESTARTS = 4
_TOLERANCE = {torch.float64: 1e-7, torch.float32: 1e-5}  # of the residual
_SVD_WORK = 2e9  # multiplications, some seconds of a core
_PRECISE_WORK = 2e7  # multiplications of one product, above which float32 has to do

Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Singular:
    """A singular value found by iteration.

    Attributes:
        value: It, as the length to which the map takes some vector of length 1: a lower bound of
            the largest, whatever the residual.
        residual: ‖Aᵀu − σv‖ / σ of the vectors found: some singular value is as close to `value`,
            relatively.
    """

    value: float
    residual: float


def largest_singular_value(forward: Map, transpose: Map, start: Tensor) -> Singular:
    """The norm of a linear map, by power iteration.

    Of all the iterates (AᵀA)ᵏ `start` the best combination is taken (Golub, Kahan 1965; Lanczos),
    since the singular values of convolutions lie close together: the last iterate alone would take
    thousands of steps to be as near.

    Args:
        forward: The map A, of tensors like `start`.
        transpose: Its transpose.
        start: Not zero, of float32 or float64; its shape is that of the map's domain.
    """
    tolerance = _TOLERANCE[start.dtype]
    steps = max(8, min(_STEPS, _BASIS // start.numel(), start.numel()))
    vector, residual = start, math.inf
    for _ in range(_RESTARTS):
        vector, residual = _best_of_basis(forward, transpose, vector, steps, tolerance)
        if residual <= tolerance:
            break
    return Singular(_length(forward(vector)), residual)


def _best_of_basis(
    forward: Map, transpose: Map, start: Tensor, steps: int, tolerance: float
) -> tuple[Tensor, float]:
    """The unit vector of the iterates' span that is stretched most, and its residual."""
    basis = start.new_zeros(steps, start.numel())  # rows v₀, v₁, … are orthonormal
    basis[0] = (start / _length(start)).flatten()
    image = forward(basis[0].view_as(start))
    diagonal, beside = [_length(image)], list[float]()  # A V = U B, B with two diagonals
    left = image / (diagonal[0] or 1.0)
    for step in range(steps):
        weights, residual, sigma = _largest_of(diagonal, beside)
        following = transpose(left).flatten() - diagonal[-1] * basis[step]
        known = basis[: step + 1]
        for _ in range(2):  # once leaves rounding errors as large as what is taken away
            following = following - known.T @ (known @ following)
        length = _length(following)
        residual *= length / (sigma or 1.0)
        # Below rounding, the span holds every vector that the map can reach from here.
        is_last = step + 1 == steps or length <= _ROUNDING[start.dtype] * sigma
        if residual <= tolerance or is_last:
            break
        beside.append(length)
        basis[step + 1] = following / length
        image = forward(basis[step + 1].view_as(start)) - length * left
        diagonal.append(_length(image))
        left = image / (diagonal[-1] or 1.0)
    best = weights.to(basis) @ basis[: len(diagonal)]
    return (best / _length(best)).view_as(start), residual


_ROUNDING = {dtype: 10 * torch.finfo(dtype).eps for dtype in _TOLERANCE}


def _largest_of(diagonal: list[float], beside: list[float]) -> tuple[Tensor, float, float]:
    """Of B: its right vector, the last entry of its left one, and its largest singular value."""
    both = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    if beside:
        both += torch.diag(torch.tensor(beside, dtype=torch.float64), 1)
    left, sigma, right = torch.linalg.svd(both)
    return right[0], abs(float(left[-1, 0])), float(sigma[0])


def _length(vector: Tensor) -> float:
    return float(torch.linalg.vector_norm(vector, dtype=torch.float64))


def by_svd(matrix: Tensor) -> float | None:
    """The norm of a matrix by its decomposition; None for one that would take too long."""
    if matrix.numel() * min(matrix.shape) > _SVD_WORK:
        return None
    return float(torch.linalg.matrix_norm(matrix.detach().cpu().double(), ord=2))


def by_power_iteration(matrix: Tensor, generator: torch.Generator) -> Singular:
    """The norm of a matrix without its decomposition."""
    wide = matrix.detach().cpu().double()
    start = torch.randn(matrix.shape[1], generator=generator, dtype=wide.dtype)
    return largest_singular_value(wide.mv, wide.T.mv, start)


def norm_of_calls(
    calls: Sequence[Call], shape: Sequence[int], generator: torch.Generator, device: torch.device
) -> Singular:
    """The operator norm of calls that are affine in their one activation, each fed by the last.

    Args:
        calls: In order; offsets as biases are left out by taking away what zero gives.
        shape: Of the first's activation, rows included.
        generator: Of the start, on the CPU.
        device: Where to compute; one without float64 gives way to the CPU.
    """
    device = torch.device("cpu") if device.type == "mps" else device
    weight = max((t.numel() for call in calls for t in call.constants()), default=1)
    work = weight * torch.Size(shape).numel() / max(shape[1] if len(shape) > 1 else 1, 1)
    dtype = torch.float64 if work <= _PRECISE_WORK else torch.float32
    start = torch.randn(tuple(shape), generator=generator, dtype=dtype).to(device)

    def affine(z: Tensor) -> Tensor:
        for call in calls:
            (slot,) = call.inputs
            z = call.replay({slot: z}, start)
        return z

    zero = torch.zeros_like(start, requires_grad=True)
    with torch.enable_grad():
        offset = affine(zero.clone())  # a copy, which in-place calls may write to

    def forward(z: Tensor) -> Tensor:
        with torch.no_grad():
            return affine(z.clone()) - offset.detach()

    def transpose(y: Tensor) -> Tensor:
        return torch.autograd.grad(offset, zero, y, retain_graph=True)[0]

    return largest_singular_value(forward, transpose, start)
