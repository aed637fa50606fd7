"""One job an operation, on tensors of any device: its inputs, and what makes results of them.

Inputs are made on the CPU, so that two devices can be given the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fastwgan.ops.bias_activation import activate_, differentiate
from fastwgan.ops.gradient_penalty import interpolate
from fastwgan.ops.gradient_penalty.autograd import run_norm_penalty
from fastwgan.ops.rmsprop import rmsprop_
from fastwgan.ops.spectral_norm import spectral_norm, vector_dtype
from fastwgan.ops.weight_clip import clip_
from tests.ops.spectral_norm_cases import make_group

LAYERS = (((64, 27), 0), ((1, 8192), 0), ((512, 1024), 0), ((33, 5, 3, 3), 0), ((9, 31, 4, 4), 1))
SIZES = (1, 7, 4096, 4097, 70_003, 0, 33)
NUMBERS: dict[str, Any] = {
    "lr": 0.05,
    "alpha": 0.9,
    "eps": 1e-6,
    "weight_decay": 0.1,
    "momentum": 0.8,
    "maximize": False,
    "weight_clip": 0.7,
}


class Job(NamedTuple):
    inputs: Callable[[torch.dtype], list[Tensor]]
    run: Callable[[list[Tensor]], list[Tensor]]  # may write its inputs
    op: str
    order: int


def _many(copies: int) -> Callable[[torch.dtype], list[Tensor]]:
    return lambda dtype: [
        (0.5 + torch.rand(size)).to(dtype) for _ in range(copies) for size in SIZES
    ]


def _clip(inputs: list[Tensor]) -> list[Tensor]:
    clip_(inputs, 0.7)
    return inputs


def _rmsprop(inputs: list[Tensor]) -> list[Tensor]:
    count = len(SIZES)
    lists = [inputs[i * count : (i + 1) * count] for i in range(4)]
    rmsprop_(*lists, [], **NUMBERS)
    return inputs


def _points(dtype: torch.dtype) -> list[Tensor]:
    wide = torch.float64 if dtype is torch.float64 else torch.float32
    real, fake = 0.1 + torch.rand(2, 6, 3, 33, 17)
    return [real.to(dtype), fake.to(dtype), torch.rand(6, dtype=wide)]


def _gradient(dtype: torch.dtype) -> list[Tensor]:
    return [(torch.randn(5, 3 * 64 * 64) / 30).to(dtype), (torch.randn(7, 33) / 9).to(dtype)]


def _norms(inputs: list[Tensor]) -> list[Tensor]:
    return [result for each in inputs for result in run_norm_penalty(each, "wgan-gp", 0.1, 10.0)]


def _matrix(dtype: torch.dtype) -> list[Tensor]:
    return [
        torch.randn(3000, 68).to(dtype),
        torch.randn(68).to(dtype),
        torch.randn(3000, 68).to(dtype),
    ]


def _activation(inputs: list[Tensor]) -> list[Tensor]:
    values, bias, cotangents = inputs
    activate_(values, bias, 0.2)
    differentiate(cotangents, values, cotangents, 0.2, 2000)
    return [values, cotangents]


def _group(dtype: torch.dtype) -> list[Tensor]:
    group = make_group(LAYERS, dtype)
    cotangents = [torch.randn(shape).to(dtype) for shape, _ in LAYERS]
    return [*group.weights, *group.u, *group.v, *cotangents]


def _spectral(inputs: list[Tensor]) -> list[Tensor]:
    n = len(LAYERS)
    weights, u, v, cotangents = (inputs[i * n : (i + 1) * n] for i in range(4))
    leaves = [weight.detach().requires_grad_() for weight in weights]
    assert u[0].dtype is vector_dtype(weights[0])
    dims = [dim for _, dim in LAYERS]
    normalised, sigma = spectral_norm(leaves, u, v, dims=dims, n_power_iterations=2)
    gradients = torch.autograd.grad(normalised, leaves, cotangents)
    return [*(each.detach() for each in normalised), sigma.detach(), *u, *v, *gradients]


JOBS = {
    "weight_clip": Job(_many(1), _clip, "weight_clip", 0),
    "rmsprop": Job(_many(4), _rmsprop, "rmsprop", 0),
    "interpolate": Job(
        _points, lambda inputs: [interpolate(*inputs)], "gradient_penalty_interpolate", 0
    ),
    "norm": Job(_gradient, _norms, "gradient_penalty_norm", 0),
    "bias_activation": Job(_matrix, _activation, "bias_activation", 0),
    "spectral_norm": Job(_group, _spectral, "spectral_norm", 1),
}
