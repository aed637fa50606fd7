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

UlpKey = tuple[str, str, torch.dtype]

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

_BIAS_ACTIVATION: dict[Key, Bound] = {}
for _dtype in (torch.float32, torch.float64):
    _BIAS_ACTIVATION |= {
        ("bias_activation", _dtype, 0): Bound(rounded(_dtype, 2), "one addition, one product"),
        ("bias_activation", _dtype, 1): Bound(rounded(_dtype, 1), "one product, rounded once"),
        # Terms of both signs: the sum is about the root of their number smaller than they are.
        ("bias_activation", _dtype, 2): Bound(summed(_dtype, 3000), "sums of up to 3,000 rows"),
    }

_FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)

_RMSPROP: dict[Key, Bound] = {
    ("rmsprop", dtype, 0): Bound(
        rounded(dtype, 12),
        "one step: each of 6 coefficients and 6 intermediate results is rounded once; the tests' "
        "magnitudes keep its sums from cancelling",
    )
    for dtype in _FLOATS
} | {
    ("rmsprop_steps", dtype, 0): Bound(
        rounded(dtype, 60), "the errors of 5 steps, 12 roundings each, add up in the state"
    )
    for dtype in (torch.float32, torch.float64)
}

# Largest extent of a matrix in the tests, and the steps of the longest replay beside torch.
_SPECTRAL_NORM: dict[Key, Bound] = (
    {
        ("spectral_norm", dtype, 0): Bound(
            summed(dtype, 4096),
            "two products of up to 4096 terms an iteration, each normalised, which divides its "
            "error by about as much as it divides the product",
        )
        for dtype in (torch.float32, torch.float64, torch.complex64, torch.complex128)
    }
    | {
        ("spectral_norm", dtype, 0): Bound(
            rounded(dtype, 1) + summed(torch.float32, 4096),
            "computed in float32, then rounded once to the weight's dtype",
        )
        for dtype in (torch.bfloat16, torch.float16)
    }
    | {
        ("spectral_norm", dtype, order): Bound(
            summed(dtype, 65536),
            "<G, W> over a whole weight of up to 65536 elements beside the errors of the values",
        )
        for dtype in (torch.float32, torch.float64, torch.complex64)
        for order in (1, 2)
    }
    | {
        ("spectral_norm", dtype, 1): Bound(
            rounded(dtype, 3) + summed(torch.float32, 65536),
            "the normalised weight, the cotangent and the result are rounded to the weight's dtype",
        )
        for dtype in (torch.bfloat16, torch.float16)
    }
)

# Longest row of a gradient in the tests: an image of 3 by 64 by 64, three of them in one test.
_ROW = 3 * 3 * 64 * 64

_GRADIENT_PENALTY: dict[Key, Bound] = (
    {
        ("gradient_penalty_interpolate", dtype, 0): Bound(
            rounded(dtype, 4),
            "1 - alpha, two products and a sum; the tests' real and fake have equal signs",
        )
        for dtype in (torch.float32, torch.float64)
    }
    | {
        ("gradient_penalty_interpolate", dtype, 0): Bound(
            rounded(dtype, 1) + rounded(torch.float32, 4), "computed in float32, then rounded once"
        )
        for dtype in (torch.bfloat16, torch.float16)
    }
    | {
        ("gradient_penalty_norm", dtype, order): Bound(
            summed(dtype, _ROW, condition=2),
            "sums of the squares of a row; |g| - target loses at most the factor 4 / 3 at the "
            "tests' norms of 1/4 and 4, and is squared",
        )
        for dtype in (torch.float32, torch.float64)
        for order in (0, 1, 2)
    }
    | {
        ("gradient_penalty_norm", dtype, 1): Bound(
            rounded(dtype, 1) + summed(torch.float32, _ROW),
            "computed in float32, then rounded once",
        )
        for dtype in (torch.bfloat16, torch.float16)
    }
)

_FEEDFORWARD_CRITIC: dict[Key, Bound] = {
    ("feedforward_critic", dtype, order): Bound(
        summed(dtype, terms),
        f"products of up to {terms} terms, layer after layer, of random weights that neither grow "
        "nor shrink what they are given; a unit within rounding of the kink would break it, and "
        "the tests' seeds have none",
    )
    for dtype in (torch.float32, torch.float64)
    for order, terms in ((0, 576), (1, 780))
}

_TWINS: dict[Key, Bound] = {
    ("twins", torch.float64, order): Bound(
        1e-12, "sums of at most some hundred terms in another order, through three derivatives"
    )
    for order in (0, 1, 2)
} | {
    ("twins", dtype, 1): Bound(
        rounded(dtype, 8), "the same kernels on the same numbers: at most the order of sums differs"
    )
    for dtype in (torch.float32, torch.bfloat16)
}

_PENALTY: dict[Key, Bound] = {
    ("penalty", torch.float64, order): Bound(
        1e-10, "the promise of gradient_penalty: of the norm of the whole gradient, in any critic"
    )
    for order in (0, 1)
} | {
    ("penalty", torch.float32, 0): Bound(
        summed(torch.float32, 256, condition=4),
        "products of up to 256 terms a layer; |g| - 1 loses some digits where a norm is near 1",
    ),
    ("penalty", torch.float32, 1): Bound(
        summed(torch.float32, 256, condition=16),
        "as the value, through two passes more and norms that the critic's weights amplify",
    ),
    ("penalty_autocast", torch.bfloat16, 0): Bound(
        rounded(torch.bfloat16, 4),
        "float32, but computed of bfloat16, beside the recipe under autocast: the same kernels, "
        "with half-precision sums and products between them rounded in another order",
    ),
    ("penalty_autocast", torch.bfloat16, 1): Bound(
        rounded(torch.bfloat16, 12), "as the value, over the three passes that lead to a gradient"
    ),
    **{
        ("penalty_half", dtype, order): Bound(
            rounded(dtype, 4 + 4 * order),
            "a critic of three layers all in half precision: the points and each layer's value, "
            "gradient and tangent are rounded",
        )
        for dtype in (torch.bfloat16, torch.float16)
        for order in (0, 1)
    },
}


class Nearness(NamedTuple):
    """The largest distance from float64 that a step of a sequence may have: bound * (norm + floor).

    The floor is there for sums that cancel to rounding, where a norm alone would ask for nothing
    but luck. Nothing is asked for where an activation was given a value nearer to its kink than
    `kink`, whose slope rounding decides, or one beyond `reach`, whose own rounding decides all; or
    one that saturates was given one beyond `saturation`: the slope of tanh is 1 - y^2, of which
    e^(2x) / 4 rounding units are lost.
    """

    bound: float
    floor: float
    kink: float
    reach: float
    saturation: float


# Critics of three layers of up to 18 terms a sum, each step begun at the same numbers.
SEQUENCES: dict[torch.dtype, Nearness] = {
    torch.float64: Nearness(1e-11, 1e-2, 1e-11, 1e5, 5.0),
    torch.float32: Nearness(1e-4, 1e-2, 1e-4, 1e2, 3.5),
    torch.float16: Nearness(rounded(torch.float16, 40), 1.0, 0.1, 4.0, 4.0),
    torch.bfloat16: Nearness(rounded(torch.bfloat16, 40), 1.0, 1.0, 4.0, 4.0),
}

# The rows below serve test_compare.py, which proves that the comparison itself fails when it must.
_SELF_TEST: dict[Key, Bound] = {
    ("self_test", torch.float32, 0): Bound(1e-3, "a round number just above the error injected"),
    ("self_test", torch.float32, 1): Bound(1e-3, "a round number just above the error injected"),
    ("self_test", torch.float64, 0): Bound(EXACT, "an exact row: any difference at all must fail"),
}

_BLOCKS: tuple[dict[Key, Bound], ...] = (
    _BIAS_ACTIVATION,
    _SPECTRAL_NORM,
    _GRADIENT_PENALTY,
    _FEEDFORWARD_CRITIC,
    _TWINS,
    _PENALTY,
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

# Errors in units in the last place of the exact result, as tests/numerics measures them over the
# whole range: a key is (operation, result, dtype of the input). Where terms of both signs can
# cancel, the unit is that of the sum of their magnitudes.


def chain(times: int) -> float:
    """Units lost by `times` roundings one after another: the last half, each before up to one."""
    return times - 0.5


def walk(terms: int) -> float:
    """Units lost by a sum: 3.5 standard deviations of a random walk of errors of half a unit."""
    return math.sqrt(terms)


# One rounding from float32: what float32 has lost before is a thousandth of a half's unit.
ROUNDED_ONCE = Bound(0.51, "computed in float32, then rounded once")
_HALVES = (torch.bfloat16, torch.float16)

_ULPS: dict[tuple[str, str], Bound] = {
    ("weight_clip", "value"): Bound(chain(1), "an input, or the bound as the dtype rounds it"),
    ("bias_activation", "value"): Bound(chain(3), "the slope, a sum, a product"),
    ("bias_activation", "derivative"): Bound(chain(2), "the slope, a product"),
    ("bias_activation", "bias gradient"): Bound(
        walk(300) + chain(2), "a sum of 300 rows of one sign that differ, each a derivative"
    ),
    ("rmsprop", "square average"): Bound(chain(4), "1 - alpha, two products, a sum"),
    ("rmsprop", "gradient average"): Bound(chain(4), "1 - alpha, a difference, a product, a sum"),
    ("rmsprop", "momentum buffer"): Bound(
        chain(9),
        "a variance of 7 roundings where m^2 is taken off, which a root halves; the root, eps, "
        "two sums and a division",
    ),
    ("rmsprop", "parameter"): Bound(chain(12), "the step, then lr, a product and a difference"),
    ("gradient_penalty", "points"): Bound(chain(3), "1 - alpha, a product, a sum"),
    ("gradient_penalty", "norms"): Bound(
        walk(97) / 2 + chain(4),
        "a root halves the error of 97 squares; the scale divides and multiplies; the root",
    ),
    ("gradient_penalty", "penalty"): Bound(
        walk(97) + 2 * chain(4) + chain(6),
        "a norm, squared; the target, a mean of three, the weight",
    ),
    ("gradient_penalty", "cotangent"): Bound(
        walk(97) + 2 * chain(4) + chain(5), "a norm twice: in the slope and in the unit vector"
    ),
    ("spectral_norm", "sigma"): Bound(walk(37) + chain(3), "a product of up to 37 terms, its norm"),
    ("spectral_norm", "vectors"): Bound(
        2 * walk(37) + chain(3), "a product of up to 37 terms with a vector that was one, its norm"
    ),
    ("spectral_norm", "normalised"): Bound(walk(37) + chain(5), "sigma, its inverse, a product"),
    ("spectral_norm", "gradient"): Bound(
        2 * walk(37) + chain(4), "sigma, <G, W>, u and v: their errors do not know of one another"
    ),
} | {
    ("feedforward_critic", result): Bound(
        walk(65 + 19) + chain(3), "products of 65 and of 19 terms, a bias, a slope"
    )
    for result in ("scores", "gradient of samples", "gradient of weights")
}

_ULPS_OF_HALVES: dict[tuple[str, str], Bound] = {
    ("gradient_penalty", "points"): ROUNDED_ONCE,
    ("spectral_norm", "normalised"): ROUNDED_ONCE,
    ("spectral_norm", "gradient"): Bound(
        chain(1) + 0.5, "rounded once; <G, W> is of the normalised weight as it was rounded"
    ),
}

ULPS: dict[UlpKey, Bound] = {
    (*key, dtype): bound for key, bound in _ULPS.items() for dtype in _FLOATS
}
ULPS |= {(*key, dtype): bound for key, bound in _ULPS_OF_HALVES.items() for dtype in _HALVES}
