"""WGAN-GP's gradient penalty: its value and its backward into the critic's parameters, alone.

All contestants draw their interpolation weights by one `torch.rand` from the same seed, so that
they penalise the same points.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, grad_and_value

import fastwgan
from benchmarks.critics import Layer, dcgan, mlp
from benchmarks.race import Contestant, RunCase
from benchmarks.roofline import Work

WEIGHT = 10.0
REQUIRED = 1.3

Build = Callable[[], nn.Module]
leaky_relu = partial(nn.LeakyReLU, 0.2)

CASES = [
    pytest.param(
        "MLP 2-512-512-512-1, B 256",
        partial(mlp, (2, 512, 512, 512, 1), nn.ReLU),
        (256, 2),
        id="mlp-2",
    ),
    pytest.param(
        "MLP 1560-256-256-1, B 50",
        partial(mlp, (1560, 256, 256, 1), leaky_relu),
        (50, 1560),
        id="mlp-1560",
    ),
    pytest.param(
        "MLP 784-1024-1024-1024-1, B 64",
        partial(mlp, (784, 1024, 1024, 1024, 1), leaky_relu),
        (64, 784),
        id="mlp-784",
    ),
    pytest.param("DCGAN 3×32×32, B 64", partial(dcgan, 32), (64, 3, 32, 32), id="dcgan-32"),
    pytest.param("DCGAN 3×64×64, B 32", partial(dcgan, 64), (32, 3, 64, 64), id="dcgan-64"),
]


@pytest.mark.parametrize(("critic", "build", "shape"), CASES)
def bench_gradient_penalty(
    critic: str, build: Build, shape: tuple[int, ...], run_case: RunCase
) -> None:
    peers = [DoubleBackward(build, shape, REQUIRED), Compiled(build, shape)]
    # Looser than the rest: a unit within rounding of ReLU's kink may fall on either side of it.
    run_case(
        f"gradient penalty, {critic}",
        ours=Ours(build, shape),
        peers=peers,
        work=_work(build(), shape),
        bound=1e-3,
    )


class _Penalising(Contestant):
    def __init__(self, build: Build, shape: tuple[int, ...], required: float | None = None) -> None:
        self.required = required
        torch.manual_seed(0)
        self.critic = build()
        self.parameters = list(self.critic.parameters())
        self._weights = [p.detach().clone() for p in self.parameters]
        self._real, self._fake = torch.randn(shape), torch.randn(shape)
        self.penalty = torch.empty(())

    def prepare(self, step: int) -> None:
        torch.manual_seed(step)
        factor = 1.0 + 0.1 * math.sin(step)
        self.real, self.fake = self._real * factor, self._fake / factor
        for parameter, weight in zip(self.parameters, self._weights, strict=True):
            torch.mul(weight, factor, out=parameter.detach())
            parameter.grad = None

    def results(self) -> list[Tensor]:
        return [self.penalty.detach(), *_gradients(self.parameters)]


class Ours(_Penalising):
    name = "fastwgan.gradient_penalty"

    def run(self) -> None:
        self.penalty = fastwgan.gradient_penalty(self.critic, self.real, self.fake, weight=WEIGHT)
        self.penalty.backward()


class DoubleBackward(_Penalising):
    """The recipe that everyone copies."""

    name = "autograd double backward"

    def run(self) -> None:
        points = _interpolate(self.real, self.fake, torch.rand(len(self.real)))
        points.requires_grad_(True)
        scores = self.critic(points)
        (gradient,) = torch.autograd.grad(
            scores, points, torch.ones_like(scores), create_graph=True, retain_graph=True
        )
        self.penalty = _penalty(gradient)
        self.penalty.backward()


class Compiled(_Penalising):
    """A gradient of a gradient, compiled as one graph, the only form that torch.compile takes."""

    name = "torch.func under torch.compile"

    def __init__(self, build: Build, shape: tuple[int, ...], required: float | None = None) -> None:
        super().__init__(build, shape, required)
        self.named: dict[str, Tensor] = dict(self.critic.named_parameters())
        self.compiled = torch.compile(grad_and_value(self._value), fullgraph=True, dynamic=False)

    def _value(
        self, parameters: dict[str, Tensor], real: Tensor, fake: Tensor, alpha: Tensor
    ) -> Tensor:
        def total_score(points: Tensor) -> Tensor:
            scores: Tensor = functional_call(self.critic, parameters, (points,))
            return scores.sum()

        return _penalty(grad(total_score)(_interpolate(real, fake, alpha)))

    def run(self) -> None:
        alpha = torch.rand(len(self.real))
        gradients, self.penalty = self.compiled(self.named, self.real, self.fake, alpha)
        for name, parameter in self.named.items():
            parameter.grad = gradients[name]


def _interpolate(real: Tensor, fake: Tensor, alpha: Tensor) -> Tensor:
    alpha = alpha.reshape(-1, *[1] * (real.dim() - 1))
    return alpha * real + (1 - alpha) * fake


def _penalty(gradient: Tensor) -> Tensor:
    norms = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
    penalty: Tensor = WEIGHT * ((norms - 1) ** 2).mean()
    return penalty


def _gradients(parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    """Zeros for the parameters that the penalty does not depend on, such as the last bias."""
    return [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]


def _work(critic: nn.Module, shape: tuple[int, ...]) -> Work:
    """Four products a layer (forward, transpose, tangent, weights); each tensor moved once."""
    products = 0.0

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], _output: Tensor) -> None:
        nonlocal products
        products += _products(layer, inputs[0])

    for module in critic.modules():
        if isinstance(module, Layer):
            module.register_forward_hook(count)
    points = torch.randn(shape)
    with torch.no_grad():
        critic(points)
    weights = sum(p.numel() for p in critic.parameters())
    return Work(bytes=4.0 * (2 * weights + 2 * points.numel()), flops=4 * 2 * products)


def _products(layer: nn.Module, inputs: Tensor) -> float:
    """Multiplications of one pass, those with a convolution's padding left out."""
    if isinstance(layer, nn.Conv2d):
        plane, kernel = torch.ones_like(inputs[:1, :1]), torch.ones_like(layer.weight[:1, :1])
        taps = nn.functional.conv2d(plane, kernel, None, layer.stride, layer.padding).sum()
        return float(taps) * layer.in_channels * layer.out_channels * len(inputs)
    assert isinstance(layer, nn.Linear)
    return float(layer.weight.numel() * len(inputs))
