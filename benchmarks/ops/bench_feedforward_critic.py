"""A feed-forward critic's three calls, against the same passes in plain torch.

Timed are scores of real, fake and points, the gradient at the points, and all gradients. What the
caller computes between the calls, seeds and start, is given.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from benchmarks.race import Contestant, RunCase
from benchmarks.roofline import Work
from fastwgan.ops import feedforward_critic
from fastwgan.ops.feedforward_critic import Layer, Pass, reference

# A unit within rounding of the kink falls on either side of it, which changes a gradient by about
# (1 - slope) / √(rows · units). No time depends on the slope.
SLOPE = 0.9


class Sizes(NamedTuple):
    batch: int
    image: tuple[int, int, int]  # channels, height, width
    weights: tuple[tuple[int, ...], ...]
    halves: bool = False  # whether each layer but the last has stride 2 and padding 1
    masked: bool = False  # by dropout of half of each layer but the last


MLP = Sizes(64, (784, 1, 1), ((1024, 784, 1, 1), *[(1024, 1024, 1, 1)] * 2, (1, 1024, 1, 1)))
PACKED = Sizes(50, (1560, 1, 1), ((256, 1560, 1, 1), (256, 256, 1, 1), (1, 256, 1, 1)), masked=True)
DCGAN = Sizes(
    64,
    (3, 32, 32),
    ((64, 3, 4, 4), (128, 64, 4, 4), (256, 128, 4, 4), (1, 256, 4, 4)),
    halves=True,
)
CASES = [
    pytest.param("MLP 784-1024-1024-1024-1, B 64", MLP, id="mlp-784"),
    pytest.param("packed 1560-256-256-1, dropout, B 50", PACKED, id="packed"),
    pytest.param("DCGAN 3×32×32, B 64", DCGAN, id="dcgan-32"),
]


@pytest.mark.parametrize(("name", "sizes"), CASES)
def bench_feedforward_critic(name: str, sizes: Sizes, run_case: RunCase) -> None:
    run_case(
        f"feed-forward critic, {name}",
        ours=Ours(sizes),
        peers=[Reference(sizes)],
        work=work_of(sizes),
        bound=1e-3,
    )


class _Passing(Contestant):
    """Real, fake and points are a third of the rows each."""

    def __init__(self, sizes: Sizes) -> None:
        torch.manual_seed(0)
        self.layers = [_layer(sizes, index) for index in range(len(sizes.weights))]
        self._weights = [layer.weight.clone() for layer in self.layers]
        self.loss_rows = 2 * sizes.batch
        self.samples = _images(3 * sizes.batch, sizes.image)
        self.start = _images(sizes.batch, sizes.image)
        self._samples, self._start = self.samples.clone(), self.start.clone()
        self.seeds = torch.randn(3 * sizes.batch, 1, 1, 1)
        self.found: list[Tensor] = []

    def prepare(self, step: int) -> None:
        factor = 1.0 + 0.1 * math.sin(step)
        torch.mul(self._samples, factor, out=self.samples)
        torch.mul(self._start, factor, out=self.start)
        for layer, weight in zip(self.layers, self._weights, strict=True):
            torch.mul(weight, factor, out=layer.weight)

    def results(self) -> list[Tensor]:
        return self.found

    def finish(self, run: Pass) -> None:
        adjoint = run.backward(self.seeds, [(True, True)] * len(self.layers), of_all=False)
        gradients = [g for pair in run.tangent(self.start) for g in pair if g is not None]
        self.found = [run.scores, adjoint, *gradients]


class Ours(_Passing):
    name = "fastwgan"

    def run(self) -> None:
        self.finish(feedforward_critic.score(self.samples, self.layers, self.loss_rows))


class Reference(_Passing):
    name = "the same passes in torch"

    def run(self) -> None:
        self.finish(reference.score(self.samples, self.layers, self.loss_rows))


def _layer(sizes: Sizes, index: int) -> Layer:
    shape = sizes.weights[index]
    is_last = index + 1 == len(sizes.weights)
    mask = None
    if sizes.masked and not is_last:
        mask = 2.0 * torch.rand(3 * sizes.batch, shape[0]).gt(0.5)
    strided = sizes.halves and not is_last
    return Layer(
        torch.randn(shape) / math.sqrt(math.prod(shape[1:])),
        torch.randn(shape[0]),
        1.0 if is_last else SLOPE,
        mask,
        (2, 2) if strided else (1, 1),
        (1, 1) if strided else (0, 0),
    )


def _images(rows: int, image: tuple[int, int, int]) -> Tensor:
    channels, height, width = image
    return torch.randn(rows, height, width, channels).permute(0, 3, 1, 2)


def work_of(sizes: Sizes) -> Work:
    """Ten products of a batch with a hidden layer's weight, eight with the first, nine the last."""
    products, (_, height, width) = 0, sizes.image
    for index, (outputs, *patch) in enumerate(sizes.weights):
        is_first, is_last = index == 0, index + 1 == len(sizes.weights)
        height, width = (height // 2, width // 2) if sizes.halves and not is_last else (1, 1)
        times = 10 - 2 * is_first - is_last
        products += times * sizes.batch * height * width * outputs * math.prod(patch)
    weights = sum(math.prod(shape) for shape in sizes.weights)
    moved = 2 * weights + 5 * sizes.batch * math.prod(sizes.image)
    return Work(bytes=4.0 * moved, flops=2.0 * products)
