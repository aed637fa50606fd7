"""A feed-forward critic's scores and gradients, in units of the sums of their terms' magnitudes."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from fastwgan.ops.feedforward_critic import Layer
from tests.feedforward_recipe import Given, found
from tests.numerics.elementwise import Worst, decades
from tests.numerics.ulps import MP, Real, Truth, exact, truth_of, ulps

# Above one vector of every width; inputs, hidden units, scores.
ROWS, LOSS_ROWS, INPUTS, HIDDEN, SCORES = 9, 5, 65, 19, 2
SLOPE = 0.25  # a power of two: the slope of the truth is the kernel's in every dtype
MAGNITUDES = {
    torch.float32: (1e-30, 1.0, 1e30),
    torch.float64: (1e-300, 1.0, 1e300),
}
RESULTS = ("scores", "gradient of samples", "gradient of weights")

Matrix = list[list[Real]]


@cache
def case(dtype: torch.dtype, magnitude: float) -> Given:
    """Samples and directions of the magnitude; weights and seeds near 1."""

    def spread(seed: int, *shape: int, scale: float = 1.0) -> Tensor:
        count = torch.Size(shape).numel()
        numbers = decades(torch.float64, 0.1 * scale, scale, count, seed)
        return numbers.to(dtype).view(*shape, *[1] * (4 - len(shape)))

    layers = [
        Layer(
            spread(1, HIDDEN, INPUTS),
            spread(2, HIDDEN, scale=magnitude).flatten(),
            SLOPE,
            None,
            (1, 1),
            (0, 0),
        ),
        Layer(spread(3, SCORES, HIDDEN), None, 1.0, None, (1, 1), (0, 0)),
    ]
    samples = spread(4, ROWS, INPUTS, scale=magnitude)
    seeds = spread(5, ROWS, SCORES)
    start = spread(6, ROWS - LOSS_ROWS, INPUTS, scale=magnitude)
    return Given(samples, layers, seeds, start, LOSS_ROWS, True)


class Pair(NamedTuple):
    """A matrix, and the sums of the magnitudes of what its numbers are sums of."""

    value: Matrix
    size: Matrix


def given_matrix(tensor: Tensor) -> Pair:
    rows = [exact(row) for row in tensor]
    return Pair(rows, [[abs(x) for x in row] for row in rows])


def product(a: Pair, b: Pair) -> Pair:
    """a b^T."""
    value = [[MP.fdot(x, y) for y in b.value] for x in a.value]
    return Pair(value, [[MP.fdot(x, y) for y in b.size] for x in a.size])


def turned(pair: Pair) -> Pair:
    return Pair(*([list(column) for column in zip(*each, strict=True)] for each in pair))


def masked(pair: Pair, factors: Matrix) -> Pair:
    return Pair(
        *(
            [
                [f * x for f, x in zip(*rows, strict=True)]
                for rows in zip(factors, each, strict=True)
            ]
            for each in pair
        )
    )


def part(pair: Pair, rows: slice) -> Pair:
    return Pair(pair.value[rows], pair.size[rows])


def sum_of(a: Pair, b: Pair) -> Pair:
    return Pair(
        *(
            [[x + y for x, y in zip(*rows, strict=True)] for rows in zip(*each, strict=True)]
            for each in zip(a, b, strict=True)
        )
    )


@cache
def truths(dtype: torch.dtype, magnitude: float) -> dict[str, Truth]:
    one = case(dtype, magnitude)
    samples, seeds, start = map(given_matrix, (one.samples, one.seeds, one.start))
    first, second = (given_matrix(layer.weight) for layer in one.layers)
    assert one.layers[0].bias is not None
    bias = given_matrix(one.layers[0].bias.expand(ROWS, HIDDEN))
    z = sum_of(product(samples, first), bias)
    factors = [[MP.mpf(1) if x > 0 else MP.mpf(SLOPE) for x in row] for row in z.value]
    hidden = masked(z, factors)
    scores = product(hidden, second)
    delta = masked(product(seeds, turned(second)), factors)
    adjoint = product(delta, turned(first))
    loss, others = slice(LOSS_ROWS), slice(LOSS_ROWS, None)
    moving = masked(product(start, first), factors[others])
    gradients = [
        sum_of(
            product(turned(part(delta, loss)), turned(part(samples, loss))),
            product(turned(part(delta, others)), turned(start)),
        ),
        sum_of(
            product(turned(part(seeds, loss)), turned(part(hidden, loss))),
            product(turned(part(seeds, others)), turned(moving)),
        ),
    ]
    joined = Pair(*([row for g in gradients for row in g[index]] for index in (0, 1)))
    pairs = dict(zip(RESULTS, (scores, adjoint, joined), strict=True))
    return {
        name: truth_of(
            dtype, [x for row in pair.value for x in row], [x for row in pair.size for x in row]
        )
        for name, pair in pairs.items()
    }


def feedforward_critic(dtype: torch.dtype) -> Worst:
    worst = dict.fromkeys(RESULTS, 0.0)
    for magnitude in MAGNITUDES[dtype]:
        result = found(case(dtype, magnitude))
        of_weights = [g for g in result.gradients if g is not None and g.dim() == 4]
        actual = (result.scores, result.adjoint, torch.cat([g.flatten() for g in of_weights]))
        for name, tensor in zip(RESULTS, actual, strict=True):
            worst[name] = max(worst[name], ulps(tensor, truths(dtype, magnitude)[name]))
    return worst
