"""Spectral norm of matrices without a negative number, so that no sum of its iteration cancels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from fastwgan.ops.spectral_norm import matrix_sizes, vector_dtype
from fastwgan.ops.spectral_norm import spectral_norm as operation
from tests.numerics.elementwise import Worst, decades
from tests.numerics.ulps import MP, Real, Truth, exact, truth_of, ulps

# Shape and normalised dimension: rows, columns, a transposed matrix, a convolution.
LAYERS = (((13, 37), 0), ((37, 13), 1), ((5, 3, 3, 3), 0), ((1, 33), 0), ((33, 1), 0))
RESULTS = ("sigma", "vectors", "normalised", "gradient")

Row = list[Real]


class Run(NamedTuple):
    magnitude: float
    iterations: int
    first: str


def runs(dtype: torch.dtype) -> list[Run]:
    """Magnitudes at which a product of W with a unit vector is in range, and so is each element."""
    magnitudes = {
        torch.float32: (1e-34, 1e-30, 1e30, 1e36),
        torch.float64: (1e-304, 1e-200, 1e200, 1e305),
        torch.bfloat16: (1e-30, 1e30),
        torch.float16: (1e-2, 1e3),
    }[dtype]
    forms = [(0, "v"), (1, "v"), (1, "u"), (3, "v"), (3, "u")]
    return [Run(1.0, *form) for form in forms] + [
        Run(m, *form) for m in magnitudes for form in ((2, "v"), (1, "u"))
    ]


@cache
def weights(dtype: torch.dtype, magnitude: float) -> list[Tensor]:
    """Elements over one decade."""
    found = []
    for index, (shape, _) in enumerate(LAYERS):
        count = torch.Size(shape).numel()
        spread = decades(torch.float64, 0.1, 1.0, count, index).abs()
        found.append((spread * magnitude).to(dtype).view(shape))
    return found


@cache
def vectors(dtype: torch.dtype, seed: int) -> tuple[list[Tensor], list[Tensor]]:
    """Positive u and v of a norm near 1."""
    u, v = [], []
    for index, (shape, dim) in enumerate(LAYERS):
        for into, size in zip((u, v), matrix_sizes(torch.empty(shape), dim), strict=True):
            numbers = decades(torch.float64, 0.3, 1.0, size, seed + index).abs()
            into.append((numbers / numbers.norm()).to(dtype))
    return u, v


@cache
def cotangents(dtype: torch.dtype) -> list[Tensor]:
    """Of both signs, near 1."""
    return [
        decades(torch.float64, 0.1, 1.0, torch.Size(shape).numel(), 50 + index)
        .to(dtype)
        .view(shape)
        for index, (shape, _) in enumerate(LAYERS)
    ]


def matrix_of(tensor: Tensor, dim: int) -> list[Row]:
    return [exact(row) for row in tensor.unbind(dim)]


def times(matrix: Sequence[Row], vector: Row) -> Row:
    return [MP.fdot(row, vector) for row in matrix]


def unit(vector: Row) -> Row:
    norm = MP.sqrt(MP.fsum(vector, squared=True))
    return [x / norm for x in vector]


def iterated(matrix: list[Row], u: Row, v: Row, run: Run) -> tuple[Row, Row]:
    """u and v after the iterations, without rounding."""
    across = [list(column) for column in zip(*matrix, strict=True)]
    for _ in range(run.iterations):
        for half in ("vu", "uv")[run.first == "u"]:
            if half == "v":
                v = unit(times(across, u))
            else:
                u = unit(times(matrix, v))
    return u, v


@cache
def true_results(dtype: torch.dtype, run: Run) -> dict[str, Truth]:
    """Of all layers together; the gradient is of <G, normalised> with G from `cotangents`."""
    wide = vector_dtype(weights(dtype, run.magnitude)[0])
    values: dict[str, Row] = {name: [] for name in RESULTS}
    sizes: Row = []  # of the gradient's two terms
    given = zip(weights(dtype, run.magnitude), cotangents(dtype), *vectors(wide, 9), strict=True)
    for (weight, grad, left, right), (_, dim) in zip(given, LAYERS, strict=True):
        matrix, towards = matrix_of(weight, dim), matrix_of(grad, dim)
        u, v = iterated(matrix, exact(left), exact(right), run)
        sigma = MP.fdot(u, times(matrix, v))
        dots = [
            (g, w / sigma)
            for a, b in zip(towards, matrix, strict=True)
            for g, w in zip(a, b, strict=True)
        ]
        along = MP.fsum(g * w for g, w in dots)
        around = MP.fsum(abs(g * w) for g, w in dots)
        values["sigma"].append(sigma)
        values["vectors"] += [*u, *v]
        for g_row, w_row, a in zip(towards, matrix, u, strict=True):
            values["normalised"] += [w / sigma for w in w_row]
            values["gradient"] += [
                (g - along * a * b) / sigma for g, b in zip(g_row, v, strict=True)
            ]
            sizes += [(abs(g) + around * a * b) / sigma for g, b in zip(g_row, v, strict=True)]
    dtypes = {"sigma": wide, "vectors": wide, "normalised": dtype, "gradient": dtype}
    return {
        name: truth_of(dtypes[name], values[name], sizes if name == "gradient" else None)
        for name in RESULTS
    }


def flat(tensors: Sequence[Tensor], dims: Sequence[int]) -> Tensor:
    return torch.cat([t.movedim(dim, 0).flatten() for t, dim in zip(tensors, dims, strict=True)])


def spectral_norm_results(dtype: torch.dtype, run: Run) -> dict[str, Tensor]:
    """The same by the operation."""
    layers = [weight.clone().requires_grad_() for weight in weights(dtype, run.magnitude)]
    u, v = ([x.clone() for x in each] for each in vectors(vector_dtype(layers[0]), 9))
    dims = [dim for _, dim in LAYERS]
    normalised, sigma = operation(
        layers, u, v, dims=dims, n_power_iterations=run.iterations, eps=0.0, first=run.first
    )
    gradients = torch.autograd.grad(normalised, layers, cotangents(dtype))
    pairs = [x for pair in zip(u, v, strict=True) for x in pair]
    return {
        "sigma": sigma,
        "vectors": torch.cat(pairs),
        "normalised": flat(normalised, dims),
        "gradient": flat(gradients, dims),
    }


def spectral_norm(dtype: torch.dtype) -> Worst:
    worst = dict.fromkeys(RESULTS, 0.0)
    for run in runs(dtype):
        found = spectral_norm_results(dtype, run)
        for name, truth in true_results(dtype, run).items():
            worst[name] = max(worst[name], ulps(found[name], truth))
    return worst
