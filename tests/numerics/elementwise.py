"""Clipping, RMSprop's step, and bias and activation: each element rounded on its own."""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from fastwgan.ops.bias_activation import activate_, differentiate
from fastwgan.ops.rmsprop import rmsprop_
from fastwgan.ops.weight_clip import clip_
from tests.guarded import special_values
from tests.numerics.ulps import MP, Real, Truth, exact, truth_of, ulps

Worst = dict[str, float]


def decades(dtype: torch.dtype, low: float, high: float, count: int, seed: int) -> Tensor:
    """Numbers of both signs, of magnitudes spread evenly over the exponents from low to high."""
    generator = torch.Generator().manual_seed(seed)
    share = torch.rand(count, generator=generator, dtype=torch.float64)
    share[:1], share[1:2] = 0.0, 1.0
    sign = torch.randint(0, 2, (count,), generator=generator) * 2 - 1
    exponents = math.log10(low) + share * (math.log10(high) - math.log10(low))
    return (10.0**exponents * sign).to(dtype)


def whole_range(dtype: torch.dtype, count: int, seed: int) -> Tensor:
    """From the smallest subnormal number on to the largest."""
    info = torch.finfo(dtype)
    return decades(dtype, info.smallest_normal * info.eps, 0.99 * info.max, count, seed)


@cache
def _clip_case(dtype: torch.dtype, bound: float) -> tuple[Tensor, Truth]:
    special = torch.tensor(special_values(dtype), dtype=dtype)
    values = torch.cat([special, whole_range(dtype, 90, 1)])
    limit = MP.mpf(bound)
    truth = [x if MP.isnan(x) else min(max(x, -limit), limit) for x in exact(values)]
    return values, truth_of(dtype, truth)


def weight_clip(dtype: torch.dtype) -> Worst:
    worst = 0.0
    for bound in (0.01, 1.0, 1e-7, 3e4):
        values, truth = _clip_case(dtype, bound)
        clipped = values.clone()
        clip_([clipped], bound)
        worst = max(worst, ulps(clipped, truth))
        kept = clipped[values == 0].signbit()
        assert torch.equal(kept, values[values == 0].signbit()), "a zero lost its sign"
    return {"value": worst}


# Extents [rows, columns]: above one block of the sums, and no multiple of a vector.
ROWS, COLUMNS = 300, 17


@cache
def _activation_case(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Values and a bias over the range, each column's of one magnitude; cotangents of one sign."""
    form = torch.finfo(dtype)
    scales = decades(dtype, form.smallest_normal * form.eps * 64, form.max / 4096, COLUMNS, 2)
    generator = torch.Generator().manual_seed(3)
    spread = torch.rand(ROWS, COLUMNS, generator=generator, dtype=torch.float64)
    sign = torch.randint(0, 2, (ROWS, COLUMNS), generator=generator) * 2 - 1
    values = ((0.5 + spread) * sign * scales.double()).to(dtype)
    bias = (scales.double() * 0.7).to(dtype)
    cotangents = ((0.5 + spread.flip(0)) * scales.double()).to(dtype)
    return values, bias, cotangents


@cache
def _activation_truth(dtype: torch.dtype, slope: float) -> tuple[Truth, Truth, Truth]:
    values, bias, cotangents = _activation_case(dtype)
    factor = MP.mpf(slope)
    sums = [z + b for z, b in zip(exact(values), exact(bias.expand_as(values)), strict=True)]
    value = [z if z > 0 else factor * z for z in sums]
    derivative = [d if z > 0 else factor * d for d, z in zip(exact(cotangents), sums, strict=True)]
    gradient = [MP.fsum(derivative[column::COLUMNS]) for column in range(COLUMNS)]
    return truth_of(dtype, value), truth_of(dtype, derivative), truth_of(dtype, gradient)


def bias_activation(dtype: torch.dtype) -> Worst:
    worst = {"value": 0.0, "derivative": 0.0, "bias gradient": 0.0}
    for slope in (0.0, 0.2):
        outputs, bias, cotangents = _activation_case(dtype)
        outputs, results = outputs.clone(), torch.empty_like(cotangents)
        activate_(outputs, bias, slope)
        gradient = differentiate(cotangents, outputs, results, slope, ROWS)
        assert gradient is not None
        found = (outputs, results, gradient)
        for name, actual, truth in zip(worst, found, _activation_truth(dtype, slope), strict=True):
            worst[name] = max(worst[name], ulps(actual, truth))
    return worst


class Step(NamedTuple):
    """RMSprop's tensors, or their truth."""

    parameter: Tensor
    gradient: Tensor
    square_average: Tensor
    momentum_buffer: Tensor
    gradient_average: Tensor


LR, ALPHA, EPS, MOMENTUM = 0.05, 0.9, 1e-6, 0.8


@cache
def _step_case(dtype: torch.dtype) -> Step:
    """Gradients whose squares are in range, a state of their size, and a mean well below its root.

    The variance s - m² then keeps three quarters of s at least, and the step is near the parameter.
    """
    info = torch.finfo(dtype)
    root = math.sqrt(info.max) / 16
    least = max(math.sqrt(info.smallest_normal) * 16, 1e-3 if dtype is torch.float16 else 0.0)
    gradient = decades(dtype, least, root, 160, 4)
    generator = torch.Generator().manual_seed(5)
    share = 0.5 + torch.rand(160, generator=generator, dtype=torch.float64)
    sign = torch.randint(0, 2, (160,), generator=generator) * 2 - 1
    wide = gradient.double()
    return Step(
        parameter=(share * sign).to(dtype),
        gradient=gradient,
        square_average=(share * wide.square()).to(dtype),
        momentum_buffer=(share.flip(0) * sign).to(dtype),
        gradient_average=(share * wide / 8).to(dtype),
    )


@cache
def _step_truth(dtype: torch.dtype, momentum: bool, centered: bool) -> dict[str, Truth]:
    """The new numbers, in units of the terms that each is a sum of."""
    alpha, lr, eps, decay = map(MP.mpf, (ALPHA, LR, EPS, MOMENTUM))
    truth: dict[str, list[Real]] = {name: [] for name in RMSPROP_RESULTS}
    sizes: dict[str, list[Real]] = {name: [] for name in RMSPROP_RESULTS}
    for p, g, s, b, m in zip(*map(exact, _step_case(dtype)), strict=True):
        square = alpha * s + (1 - alpha) * g * g
        mean = m + (1 - alpha) * (g - m)
        step = g / (MP.sqrt(square - mean * mean if centered else square) + eps)
        buffer = decay * b + step
        taken = buffer if momentum else step
        rows = {
            "square average": (square, square),
            "gradient average": (mean, abs(m) + (1 - alpha) * (abs(g) + abs(m))),
            "momentum buffer": (buffer, decay * abs(b) + abs(step)),
            "parameter": (p - lr * taken, abs(p) + lr * abs(taken)),
        }
        for name, (value, size) in rows.items():
            truth[name].append(value)
            sizes[name].append(size)
    return {name: truth_of(dtype, truth[name], sizes[name]) for name in RMSPROP_RESULTS}


RMSPROP_RESULTS = ("parameter", "square average", "momentum buffer", "gradient average")


def rmsprop(dtype: torch.dtype) -> Worst:
    worst = dict.fromkeys(RMSPROP_RESULTS, 0.0)
    for momentum in (False, True):
        for centered in (False, True):
            step = Step(*(tensor.clone() for tensor in _step_case(dtype)))
            rmsprop_(
                [step.parameter],
                [step.gradient],
                [step.square_average],
                [step.momentum_buffer] if momentum else [],
                [step.gradient_average] if centered else [],
                lr=LR,
                alpha=ALPHA,
                eps=EPS,
                weight_decay=0.0,
                momentum=MOMENTUM if momentum else 0.0,
                maximize=False,
                weight_clip=None,
            )
            truth = _step_truth(dtype, momentum, centered)
            found = {"parameter": step.parameter, "square average": step.square_average}
            found |= {"momentum buffer": step.momentum_buffer} if momentum else {}
            found |= {"gradient average": step.gradient_average} if centered else {}
            for name, actual in found.items():
                worst[name] = max(worst[name], ulps(actual, truth[name]))
    return worst
