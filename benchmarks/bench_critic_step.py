"""The whole WGAN-GP critic step, loss and all gradients, against autograd's, eager and compiled.

All contestants draw their interpolation weights by one `torch.rand` from the same seed, so that
they penalise the same points.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, grad_and_value

import fastwgan
from benchmarks.critics import Layer, dcgan, digits, mlp, packed, resnet_gp
from benchmarks.race import Contestant, RunCase
from benchmarks.roofline import Work

WEIGHT = 10.0

Build = Callable[[], nn.Module]
leaky_relu = partial(nn.LeakyReLU, 0.2)


def _mlp(*widths: int) -> Build:
    return partial(mlp, widths, leaky_relu)


CASES = [
    pytest.param("MLP 2-512-512-512-1, B 256", _mlp(2, 512, 512, 512, 1), (256, 2), 1.5),
    pytest.param("MLP 2-128-128-128-1, B 256", _mlp(2, 128, 128, 128, 1), (256, 2), 2.2),
    pytest.param("packed MLP 1560-256-256-1, dropout, B 50", packed, (50, 1560), 2.0),
    pytest.param("MLP 784-1024-1024-1024-1, B 64", _mlp(784, 1024, 1024, 1024, 1), (64, 784), 1.9),
    pytest.param("MLP 784-512-512-512-1, B 256", _mlp(784, 512, 512, 512, 1), (256, 784), 1.3),
    pytest.param("DCGAN 1×8×8, B 64", digits, (64, 1, 8, 8), 2.5),
    pytest.param("DCGAN 3×32×32, B 64", partial(dcgan, 32), (64, 3, 32, 32), 1.45),
    pytest.param("DCGAN 3×64×64, B 32", partial(dcgan, 64), (32, 3, 64, 64), 1.5),
    pytest.param("ResNet WGAN-GP 3×32×32, B 32", resnet_gp, (32, 3, 32, 32), 1.4),
]


@pytest.mark.parametrize(("critic", "build", "shape", "required"), CASES)
def bench_critic_step(
    critic: str, build: Build, shape: tuple[int, ...], required: float, run_case: RunCase
) -> None:
    peers: list[Contestant] = [Eager(build, shape, required), Transformed(build, shape, 1.15)]
    if hasattr(torch._dynamo.config, "trace_autograd_ops"):
        peers.append(Traced(build, shape, 1.15))
    # Looser than the rest: some units are within rounding of their kinks in almost every round.
    run_case(
        f"critic step, {critic}",
        ours=Ours(build, shape),
        peers=peers,
        work=work_of(build(), shape),
        bound=1e-3,
    )


class _Stepping(Contestant):
    def __init__(self, build: Build, shape: tuple[int, ...], required: float | None = None) -> None:
        self.required = required
        torch.manual_seed(0)
        self.critic = build()
        self.parameters = list(self.critic.parameters())
        self._weights = [p.detach().clone() for p in self.parameters]
        self._real, self._fake = torch.randn(shape), torch.randn(shape)
        self.total = torch.empty(())

    def prepare(self, step: int) -> None:
        torch.manual_seed(step)
        factor = 1.0 + 0.1 * math.sin(step)
        self.real, self.fake = self._real * factor, self._fake / factor
        for parameter, weight in zip(self.parameters, self._weights, strict=True):
            torch.mul(weight, factor, out=parameter.detach())
            parameter.grad = None
        self.alpha = torch.rand(len(self.real))

    def results(self) -> list[Tensor]:
        """The loss; the gradient of all weights as one vector, and that of all biases.

        A single bias's is the difference of two means that nearly cancel in some layers, where the
        rounding of float32 shows in the third digit, of everybody's.
        """
        self._run_without_masks()
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters]
        weights = [g.flatten() for g in gradients if g.dim() > 1]
        biases = [g for g in gradients if g.dim() == 1]
        return [self.total.detach(), torch.cat(weights), torch.cat(biases)]

    def _run_without_masks(self) -> None:
        """Masks are drawn in an order of each contestant's own: what is compared has none."""
        masked = [m for m in self.critic.modules() if isinstance(m, nn.Dropout)]
        if not masked:
            return
        for module in masked:
            module.eval()
        for parameter in self.parameters:
            parameter.grad = None
        self.run()
        for module in masked:
            module.train()


class Ours(_Stepping):
    name = "fastwgan.critic_loss"

    def run(self) -> None:
        done = fastwgan.critic_loss(
            self.critic, self.real, self.fake, weight=WEIGHT, alpha=self.alpha
        )
        done.total.backward()
        self.total = done.total


class Eager(_Stepping):
    """The recipe that everyone copies."""

    name = "eager autograd"

    def run(self) -> None:
        self.total = plain_loss(self.critic, self.real, self.fake, self.alpha)
        self.total.backward()


class Transformed(_Stepping):
    """A gradient of a gradient, compiled as one graph."""

    name = "torch.func, compiled"

    def __init__(self, build: Build, shape: tuple[int, ...], required: float | None = None) -> None:
        super().__init__(build, shape, required)
        self.named: dict[str, Tensor] = dict(self.critic.named_parameters())
        step = grad_and_value(self._loss)
        self.compiled = torch.compile(step, fullgraph=True, dynamic=False)

    def _loss(
        self, parameters: Mapping[str, Tensor], real: Tensor, fake: Tensor, alpha: Tensor
    ) -> Tensor:
        def scores(x: Tensor) -> Tensor:
            found: Tensor = functional_call(self.critic, dict(parameters), (x,))
            return found

        gradient = grad(lambda x: scores(x).sum())(interpolate(real, fake, alpha))
        return scores(fake).mean() - scores(real).mean() + penalty(gradient)

    def run(self) -> None:
        gradients, self.total = self.compiled(self.named, self.real, self.fake, self.alpha)
        for name, parameter in self.named.items():
            parameter.grad = gradients[name]


class Traced(_Stepping):
    """The plain step with its gradients, compiled under `trace_autograd_ops`."""

    name = "trace_autograd_ops, compiled"

    def __init__(self, build: Build, shape: tuple[int, ...], required: float | None = None) -> None:
        super().__init__(build, shape, required)
        self.compiled = torch.compile(self._step, fullgraph=True, dynamic=False)

    def _step(self, real: Tensor, fake: Tensor, alpha: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        total = plain_loss(self.critic, real, fake, alpha)
        return total.detach(), torch.autograd.grad(total, self.parameters, allow_unused=True)

    def run(self) -> None:
        with torch._dynamo.config.patch(trace_autograd_ops=True):
            self.total, gradients = self.compiled(self.real, self.fake, self.alpha)
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient


def plain_loss(critic: nn.Module, real: Tensor, fake: Tensor, alpha: Tensor) -> Tensor:
    """Gulrajani et al. 2017, algorithm 1, lines 4-7."""
    real_scores, fake_scores = critic(real), critic(fake)
    points = interpolate(real, fake, alpha).requires_grad_(True)
    scores = critic(points)
    (gradient,) = torch.autograd.grad(
        scores, points, torch.ones_like(scores), create_graph=True, retain_graph=True
    )
    total: Tensor = fake_scores.mean() - real_scores.mean() + penalty(gradient)
    return total


def interpolate(real: Tensor, fake: Tensor, alpha: Tensor) -> Tensor:
    alpha = alpha.reshape(-1, *[1] * (real.dim() - 1))
    return alpha * real + (1 - alpha) * fake


def penalty(gradient: Tensor) -> Tensor:
    norms = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
    found: Tensor = WEIGHT * ((norms - 1) ** 2).mean()
    return found


def work_of(critic: nn.Module, shape: tuple[int, ...]) -> Work:
    """Ten products of the batch and a layer's weights, eight of the first's; each tensor once.

    Forward of three sets of rows, transpose and tangent of one, gradients of three weights and of
    two inputs, which the first layer's samples need not.
    """
    products: list[float] = []

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], _output: Tensor) -> None:
        products.append(_products(layer, inputs[0]))

    first = []
    for module in critic.modules():
        if isinstance(module, Layer):
            module.register_forward_hook(count)
            first.append(module)
    samples = torch.randn(shape)
    with torch.no_grad():
        critic(samples)
    weights = sum(p.numel() for p in critic.parameters())
    flops = 2 * (10 * sum(products) - 2 * products[0])
    return Work(bytes=4.0 * (2 * weights + 3 * samples.numel()), flops=flops)


def _products(layer: nn.Module, inputs: Tensor) -> float:
    """Multiplications of one pass, those with a convolution's padding left out."""
    if isinstance(layer, nn.Conv2d):
        plane, kernel = torch.ones_like(inputs[:1, :1]), torch.ones_like(layer.weight[:1, :1])
        taps = nn.functional.conv2d(plane, kernel, None, layer.stride, layer.padding).sum()
        return float(taps) * layer.in_channels * layer.out_channels * len(inputs)
    assert isinstance(layer, nn.Linear)
    return float(layer.weight.numel() * len(inputs))
