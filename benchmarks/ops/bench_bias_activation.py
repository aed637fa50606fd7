"""LeakyReLU's derivative with the sum of a bias's gradient, against torch's two operations."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from benchmarks.race import Contestant, RunCase
from benchmarks.roofline import Work
from fastwgan.ops.bias_activation import differentiate

SLOPE = 0.2
CASES = [
    pytest.param("768×128", 768, 128, id="mlp-128"),
    pytest.param("98,304×64 (DCGAN-64, first layer)", 98_304, 64, id="dcgan-64"),
]


@pytest.mark.parametrize(("shape", "rows", "columns"), CASES)
def bench_bias_activation(shape: str, rows: int, columns: int, run_case: RunCase) -> None:
    run_case(
        f"activation's derivative and bias gradient, {shape}",
        ours=Ours(rows, columns),
        peers=[Torch(rows, columns)],
        work=Work(bytes=4.0 * 3 * rows * columns),
        bound=1e-3,
    )


class _Differentiating(Contestant):
    def __init__(self, rows: int, columns: int) -> None:
        torch.manual_seed(0)
        self._cotangents = torch.randn(rows, columns)
        self.outputs = torch.randn(rows, columns)
        self.cotangents = self._cotangents.clone()
        self.sums = torch.empty(columns)

    def prepare(self, step: int) -> None:
        torch.mul(self._cotangents, 1.0 + 0.1 * math.sin(step), out=self.cotangents)

    def results(self) -> list[Tensor]:
        return [self.cotangents, self.sums]


class Ours(_Differentiating):
    name = "fastwgan"

    def run(self) -> None:
        rows = len(self.outputs)
        sums = differentiate(self.cotangents, self.outputs, self.cotangents, SLOPE, rows)
        assert sums is not None
        self.sums = sums


class Torch(_Differentiating):
    name = "leaky_relu_backward and sum"

    def run(self) -> None:
        backward = torch.ops.aten.leaky_relu_backward
        self.cotangents = backward(self.cotangents, self.outputs, SLOPE, True)
        self.sums = self.cotangents.sum(0)
