"""Groups of weights with their u and v, and the operation's values and gradients by definition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fastwgan.ops.spectral_norm import matrix_sizes, reference, vector_dtype

# (shape, dim): sizes around every vector width, and weights with axes before and after `dim`.
Layers = Sequence[tuple[tuple[int, ...], int]]
ODD: Layers = (
    *(((size, 97 - size), 0) for size in (1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65)),
    *(((size,), 0) for size in (1, 17, 33)),
    ((33, 5, 3, 3), 0),
    ((7, 31, 3, 2), 1),
    ((4, 6, 17), 2),
    ((9, 2, 7), 1),
    ((1, 97), 0),
    ((97, 1), 0),
    ((1, 1), 0),
)
EMPTY: Layers = (((0, 5), 0), ((5, 0), 0), ((3, 0, 2), 1), ((0,), 0))


class Group(NamedTuple):
    weights: list[Tensor]
    u: list[Tensor]
    v: list[Tensor]
    dims: list[int]

    def to(self, dtype: torch.dtype) -> Group:
        """A copy in another dtype, u and v in the dtype that such weights need."""
        weights = [weight.detach().to(dtype).clone() for weight in self.weights]
        vectors = vector_dtype(weights[0])
        u, v = ([each.to(vectors).clone() for each in part] for part in (self.u, self.v))
        return Group(weights, u, v, self.dims)

    def copy(self) -> Group:
        return self.to(self.weights[0].dtype)


def make_group(layers: Layers, dtype: torch.dtype) -> Group:
    """Random weights, random unit v and the u that belongs to it.

    With both random, u^T W v is a sum that cancels, and no precision says much about it.
    """
    weights = [torch.randn(shape, dtype=torch.float64).to(dtype) for shape, _ in layers]
    vectors = vector_dtype(weights[0])
    dims = [dim for _, dim in layers]
    u, v = [], []
    for weight, dim in zip(weights, dims, strict=True):
        rows, columns = matrix_sizes(weight, dim)
        right = torch.randn(columns, dtype=torch.float64)
        left = weight.double().movedim(dim, 0).reshape(rows, columns) @ right
        u.append(F.normalize(left, dim=0).to(vectors))
        v.append(F.normalize(right, dim=0).to(vectors))
    return Group(weights, u, v, dims)


class Truth(NamedTuple):
    normalised: list[Tensor]
    sigma: Tensor
    u: list[Tensor]
    v: list[Tensor]
    gradients: list[Tensor]


def truth(
    group: Group,
    cotangents: Sequence[Tensor],
    sigma_cotangent: Tensor,
    *,
    n_power_iterations: int,
    first: str,
    eps: float = 1e-12,
) -> Truth:
    """The definition in float64, its gradients by autograd through it."""
    wide = group.to(torch.float64)
    for weight in wide.weights:
        weight.requires_grad_()
    normalised, sigma, _ = reference.forward(
        wide.weights, wide.u, wide.v, wide.dims, n_power_iterations, eps, first
    )
    gradients = torch.autograd.grad(
        [*normalised, sigma],
        wide.weights,
        [*(each.double() for each in cotangents), sigma_cotangent.double()],
    )
    detached = [weight.detach() for weight in normalised]
    return Truth(detached, sigma.detach(), wide.u, wide.v, list(gradients))


def layer_by_layer(
    weights: Sequence[Tensor], dims: Sequence[int], u: Sequence[Tensor], v: Sequence[Tensor]
) -> list[Tensor]:
    """u^T W v of each layer, by einsum: independent of the reference's matrix view."""
    sigmas = []
    for weight, dim, left, right in zip(weights, dims, u, v, strict=True):
        rest = [size for axis, size in enumerate(weight.shape) if axis != dim]
        axes = "abcdefg"[: weight.dim()]
        others = axes.replace(axes[dim], "")
        equation = f"{axes},{axes[dim]},{others}->"
        sigmas.append(torch.einsum(equation, weight, left, right.reshape(rest)))
    return sigmas


def strides_that_matter(tensor: Tensor) -> list[int]:
    """Strides of the axes that are stepped along; those of axes of size 1 are arbitrary."""
    pairs = zip(tensor.shape, tensor.stride(), strict=True)
    return [stride for size, stride in pairs if size > 1 and tensor.numel()]
