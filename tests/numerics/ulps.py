"""Errors in units in the last place, against truths of any precision.

A truth is computed by mpmath with so many bits that sums over the whole range of float64 still hold
all the digits that a result can have, and kept as two doubles and an exponent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from mpmath.ctx_mp import MPContext
from torch import Tensor

MP = MPContext()
MP.prec = 320
Real = Any  # mpmath's numbers have no annotations
Array = np.ndarray[Any, Any]


class Format(NamedTuple):
    """A floating-point format: digits of a significand, and exponents of its range."""

    digits: int
    smallest: int  # the smallest number above zero is 2 to this
    overflow: int  # numbers end below 2 to this


def format_of(dtype: torch.dtype) -> Format:
    info = torch.finfo(dtype)
    digits = 1 - round(math.log2(info.eps))
    smallest = math.frexp(info.smallest_normal)[1] - digits
    return Format(digits, smallest, math.frexp(info.max)[1])


class Truth(NamedTuple):
    """(high + low) times 2 to the exponent; the unit of each is 2 to `unit` in the same scale."""

    dtype: torch.dtype
    high: Array
    low: Array
    exponent: Array
    unit: Array


def exact(tensor: Tensor) -> list[Real]:
    """The elements as they are, in order."""
    return [MP.mpf(x) for x in tensor.detach().double().flatten().tolist()]


def truth_of(
    dtype: torch.dtype, values: Sequence[Real], sizes: Sequence[Real] | None = None
) -> Truth:
    """The values, whose unit is that in the last place of a number of the dtype.

    With `sizes`, the unit is that of a size each instead: of the sum of the terms' magnitudes, for
    a result that terms of both signs cancel to. What lies above the range counts as the power of
    two that ends it.
    """
    form = format_of(dtype)
    end = MP.ldexp(1, form.overflow)
    rows = []
    for value, size in zip(values, values if sizes is None else sizes, strict=True):
        if MP.isnan(value):
            rows.append((math.nan, 0.0, 0, 0))
            continue
        value, size = max(min(value, end), -end), min(abs(size), end)
        exponent = int(MP.frexp(value)[1])
        scaled = MP.ldexp(value, -exponent)
        last = int(MP.frexp(size)[1]) if size else form.smallest
        last = min(max(last - form.digits, form.smallest), form.overflow - form.digits)
        rows.append((float(scaled), float(scaled - float(scaled)), exponent, last - exponent))
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    return Truth(dtype, *columns)


def ulps(actual: Tensor, truth: Truth) -> float:
    """The largest error in units in the last place; NaN equals NaN alone."""
    assert actual.dtype is truth.dtype
    assert actual.numel() == len(truth.high), f"{actual.numel()} for {len(truth.high)} truths"
    numbers = actual.detach().double().flatten().numpy()
    with np.errstate(over="ignore"):  # what is so far off is infinitely far off
        end = np.ldexp(np.sign(numbers), format_of(actual.dtype).overflow - truth.exponent)
        found = np.where(np.isinf(numbers), end, np.ldexp(numbers, -truth.exponent))
        both = np.isnan(found) & np.isnan(truth.high)
        errors = np.where(both, 0.0, np.abs((found - truth.high) - truth.low))
        worst = np.ldexp(np.where(np.isnan(errors), np.inf, errors), -truth.unit)
    return float(worst.max(initial=0.0))
