"""How far a result may lie from the float64 reference: one table, with a reason for each bound.

A key is (operation, dtype of the result, order): order 0 is a value, 1 a gradient, 2 a gradient of
a gradient. A bound is the largest relative error allowed, the norm of the difference over the norm
of what was expected, both in float64 (for gradients: over the norm of the whole gradient).

To add an operation, put one block like `_WEIGHT_CLIP` below and name it in `_BLOCKS`. Derive the
number from the arithmetic instead of from a run:

* every element rounded k times on its own: `rounded(dtype, k)`, k/2 units in the last place;
* sums of n terms: `summed(dtype, n)`; rounding errors of a sum add like a random walk, hence the
  square root; n is the longest sum of the op's tests;
* a formula that loses digits (a difference of near-equal numbers, a division by a small one): say
  the condition number in the reason and multiply by it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch


class Bound(NamedTuple):
    """The largest relative error allowed, and why it cannot be asked to be smaller."""

    value: float
    reason: str


Key = tuple[str, torch.dtype, int]

EXACT = 0.0


def unit(dtype: torch.dtype) -> float:
    """Spacing of the floating-point numbers of `dtype` just above 1."""
    return torch.finfo(dtype).eps


def rounded(dtype: torch.dtype, times: float) -> float:
    """Bound for elements that are rounded `times` times each, half a unit at most every time."""
    return 0.5 * times * unit(dtype)


def summed(dtype: torch.dtype, terms: int, condition: float = 1.0) -> float:
    """Bound for sums of `terms` terms in any order: 4 standard deviations of the random walk."""
    return 4.0 * condition * unit(dtype) * math.sqrt(terms)


_WEIGHT_CLIP: dict[Key, Bound] = {
    ("weight_clip", dtype, 0): Bound(EXACT, "a clip chooses one of two stored numbers: no rounding")
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16)
}

_FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)

_RMSPROP: dict[Key, Bound] = {
    ("rmsprop", dtype, 0): Bound(
        rounded(dtype, 12),
        "one step: each of the 6 coefficients and of the 6 intermediate results is rounded once; "
        "the tests' square averages are at least 4 times the squared means they lose",
    )
    for dtype in _FLOATS
} | {
    ("rmsprop_steps", dtype, 0): Bound(
        rounded(dtype, 60), "the errors of 5 steps, 12 roundings each, add up in the state"
    )
    for dtype in _FLOATS
}

# The rows below serve test_compare.py, which proves that the comparison itself fails when it must.
_SELF_TEST: dict[Key, Bound] = {
    ("self_test", torch.float32, 0): Bound(1e-3, "a round number just above the error injected"),
    ("self_test", torch.float32, 1): Bound(1e-3, "a round number just above the error injected"),
    ("self_test", torch.float64, 0): Bound(EXACT, "an exact row: any difference at all must fail"),
}

_BLOCKS: tuple[dict[Key, Bound], ...] = (
    _WEIGHT_CLIP,
    _RMSPROP,
    _SELF_TEST,
)


def _merged(blocks: tuple[dict[Key, Bound], ...]) -> dict[Key, Bound]:
    table: dict[Key, Bound] = {}
    for block in blocks:
        twice = table.keys() & block.keys()
        if twice:
            raise ValueError(f"two bounds for the same key: {sorted(map(str, twice))}")
        table.update(block)
    return table


TOLERANCES: dict[Key, Bound] = _merged(_BLOCKS)
