"""RMSprop step and weight clip of a WGAN critic, as Arjovsky et al. 2017 train it.

The gradients are new tensors at every step, as after `zero_grad(set_to_none=True)` and a backward,
and they are made from the parameters and one row, so that the caches hold what a backward leaves in
them: the parameters just read, the gradients just written, the running squares gone. The row is
much larger than the parameters: RMSprop on a gradient that follows the parameter closely is
chaotic once the parameter nears zero, and no two orders of rounding would agree for long.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from benchmarks.critics import Layer, dense4096, mlp512, resnet_sngan32, sngan32
from benchmarks.race import Contestant, RunCase
from benchmarks.roofline import Work
from fastwgan.optim import RMSprop

LEARNING_RATE = 5e-5
CLIP = 0.01

# "Small" is a critic of fewer than a million parameters, where calls cost more than arithmetic.
CASES = [
    pytest.param("SNGAN-32", sngan32, 5.0, id="sngan32"),
    pytest.param("4096×4096 Linear", dense4096, 5.0, id="dense4096"),
    pytest.param("MLP 512", mlp512, 4.0, id="mlp512"),
    pytest.param("ResNet-SNGAN-32", resnet_sngan32, 5.0, id="resnet-sngan32"),
]


@pytest.mark.parametrize(("critic", "build", "required"), CASES)
def bench_rmsprop(
    critic: str, build: Callable[[], list[Layer]], required: float, run_case: RunCase
) -> None:
    peers = [Default(build, required), Foreach(build, required), Compiled(build)]
    elements = sum(p.numel() for layer in build() for p in layer.parameters())
    # Read: parameter, gradient, running square. Written: parameter, running square.
    work = Work(bytes=4.0 * elements * 5, flops=8.0 * elements)
    run_case(f"RMSprop + clip, {critic}", ours=Fused(build), peers=peers, work=work, bound=1e-5)


class _Optimizing(Contestant):
    optimizer: torch.optim.Optimizer

    def __init__(self, build: Callable[[], list[Layer]], required: float | None = None) -> None:
        self.required = required
        torch.manual_seed(0)
        self.parameters = [p for layer in build() for p in layer.parameters()]
        # [1, columns…], magnitudes between 1/2 and 1, either sign
        self._rows = [torch.empty_like(p[:1]).uniform_(0.5, 1) for p in self.parameters]
        self._rows = [torch.where(torch.rand_like(row) < 0.5, row, -row) for row in self._rows]
        self.optimizer = self.build_optimizer()

    @abstractmethod
    def build_optimizer(self) -> torch.optim.Optimizer:
        """The optimizer of this contestant over `self.parameters`."""

    def prepare(self, step: int) -> None:
        factor = math.cos(step)
        for parameter, row in zip(self.parameters, self._rows, strict=True):
            parameter.grad = None  # frees the memory that the next line takes
            parameter.grad = torch.add(parameter.detach(), row, alpha=factor)

    def results(self) -> list[Tensor]:
        squares = [self.optimizer.state[p]["square_avg"] for p in self.parameters]
        return [*self.parameters, *squares]


class Fused(_Optimizing):
    name = "fastwgan.optim.RMSprop(weight_clip)"

    def build_optimizer(self) -> torch.optim.Optimizer:
        return RMSprop(self.parameters, lr=LEARNING_RATE, weight_clip=CLIP)

    def run(self) -> None:
        self.optimizer.step()


class Default(_Optimizing):
    name = "torch RMSprop, clamp loop"

    def build_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.RMSprop(self.parameters, lr=LEARNING_RATE)

    def run(self) -> None:
        self.optimizer.step()
        with torch.no_grad():
            for parameter in self.parameters:
                parameter.clamp_(-CLIP, CLIP)


class Foreach(Default):
    name = "torch RMSprop(foreach=True), clamp loop"

    def build_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.RMSprop(self.parameters, lr=LEARNING_RATE, foreach=True)


class Compiled(Default):
    """The default's step and clamps as one compiled function."""

    name = "the default under torch.compile"

    def build_optimizer(self) -> torch.optim.Optimizer:
        self.compiled = torch.compile(super().run)
        return super().build_optimizer()

    def run(self) -> None:
        self.compiled()
