"""Spectral norm of all layers of a critic: normalised weights, then their backward.

Only the spectral norm is timed, no convolution: every contestant computes the normalised weights
of all layers and then runs autograd's engine on them from given cotangents, with `.grad` set to
None before. Torch's hooks are called directly, `hook(layer, None)`, which spares them the
cost of `Module.__call__`; its parametrization runs when `layer.weight` is read; ours runs as the
hook of a root module whose forward only reads the weights.

Every weight has one singular value well above the others, as trained critics have, and only this
value changes from step to step, not its singular vectors. So all contestants converge to the same
vectors during the warm-up, whichever of the two half-steps they take first, and their results can
be compared to rounding. The change is made in place, as an optimizer makes it, and so is that of
the cotangents: no other array is dragged through the caches before a timed call.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from operator import attrgetter

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import Variable
from torch.nn.utils.spectral_norm import SpectralNorm

import fastwgan
from benchmarks.critics import Layer, dense4096, mlp512, resnet_sngan32, sngan32
from benchmarks.race import Contestant, RunCase
from benchmarks.roofline import Work

CASES = [
    pytest.param("SNGAN-32", sngan32, 6.0, id="sngan32"),
    pytest.param("4096×4096 Linear", dense4096, 10.0, id="dense4096"),
    pytest.param("MLP 512", mlp512, 5.0, id="mlp512"),
    pytest.param("ResNet-SNGAN-32", resnet_sngan32, 5.0, id="resnet-sngan32"),
]


@pytest.mark.parametrize(("critic", "build", "required"), CASES)
def bench_spectral_norm(
    critic: str, build: Callable[[], list[Layer]], required: float, run_case: RunCase
) -> None:
    peers = [Hooks(build, required), Parametrizations(build, required), Compiled(build, None)]
    elements = sum(layer.weight.numel() for layer in build())
    # Forward: W read by each half-step and by the division, W̄ written. Backward: G and W̄ read
    # for the dot, G read and dW written for the rest.
    work = Work(bytes=4.0 * elements * (3 + 1 + 3 + 1), flops=elements * (2 + 2 + 1 + 2 + 4))
    run_case(f"spectral norm, {critic}", ours=Group(build), peers=peers, work=work, bound=2e-4)


class _Spectral(Contestant):
    def __init__(self, build: Callable[[], list[Layer]], required: float | None = None) -> None:
        self.required = required
        torch.manual_seed(0)
        self.layers = build()
        self.directions = [_Dominant(layer.weight.detach()) for layer in self.layers]
        self.cotangents = [torch.randn_like(layer.weight) for layer in self.layers]
        self.factor = 1.0
        self.weights: list[Tensor] = []
        self.originals = self.register()

    @abstractmethod
    def register(self) -> list[nn.Parameter]:
        """Puts spectral norm on the layers and returns the parameters behind them."""

    @abstractmethod
    def normalise(self) -> list[Tensor]:
        """The normalised weight of every layer."""

    def prepare(self, step: int) -> None:
        self.weights = []
        factor = 1.0 + 0.1 * math.sin(step)
        for original, direction in zip(self.originals, self.directions, strict=True):
            direction.resize(original.detach(), factor)
            original.grad = None
        for cotangent in self.cotangents:
            cotangent.mul_(factor / self.factor)
        self.factor = factor

    def run(self) -> None:
        self.weights = self.normalise()
        # The engine itself: in a critic's backward the cotangents come from the layers, without
        # the checks (20 us a tensor) that torch.autograd.backward makes of tensors handed to it.
        Variable._execution_engine.run_backward(
            tuple(self.weights), tuple(self.cotangents), False, False, (), True, True
        )

    def results(self) -> list[Tensor]:
        gradients = [original.grad for original in self.originals if original.grad is not None]
        return [*self.weights, *gradients]


class Group(_Spectral):
    name = "fastwgan.spectral_norm(critic)"

    def register(self) -> list[nn.Parameter]:
        self.root = fastwgan.spectral_norm(_WeightsOnly(self.layers))
        return _parameters(self.layers, "weight_orig")

    def normalise(self) -> list[Tensor]:
        weights: list[Tensor] = self.root()
        return weights


class Hooks(_Spectral):
    name = "torch.nn.utils.spectral_norm"

    def register(self) -> list[nn.Parameter]:
        for layer in self.layers:
            nn.utils.spectral_norm(layer)
        self.hooks = [(_hook_of(layer), layer) for layer in self.layers]
        return _parameters(self.layers, "weight_orig")

    def normalise(self) -> list[Tensor]:
        for hook, layer in self.hooks:
            hook(layer, None)
        return [layer.weight for layer in self.layers]


class Parametrizations(_Spectral):
    name = "torch parametrizations.spectral_norm"

    def register(self) -> list[nn.Parameter]:
        for layer in self.layers:
            nn.utils.parametrizations.spectral_norm(layer)
        return _parameters(self.layers, "parametrizations.weight.original")

    def normalise(self) -> list[Tensor]:
        return [layer.weight for layer in self.layers]


class Compiled(Parametrizations):
    """The parametrizations of all layers compiled together: the best that torch.compile can see."""

    name = "the same under torch.compile"

    def register(self) -> list[nn.Parameter]:
        originals = super().register()
        self.compiled = torch.compile(_WeightsOnly(self.layers), fullgraph=True, dynamic=False)
        return originals

    def normalise(self) -> list[Tensor]:
        weights: list[Tensor] = self.compiled()
        return weights


class _WeightsOnly(nn.Module):
    """A critic reduced to reading its weights."""

    def __init__(self, layers: list[Layer]) -> None:
        super().__init__()
        self.registered = nn.ModuleList(layers)
        self.layers = layers

    def forward(self) -> list[Tensor]:
        return [layer.weight for layer in self.layers]


def _parameters(layers: list[Layer], path: str) -> list[nn.Parameter]:
    return [attrgetter(path)(layer) for layer in layers]


def _hook_of(layer: Layer) -> SpectralNorm:
    hooks = layer._forward_pre_hooks.values()
    return next(hook for hook in hooks if isinstance(hook, SpectralNorm))


class _Dominant:
    """One singular value of a weight that stands out, on vectors that never change."""

    def __init__(self, weight: Tensor) -> None:
        matrix = _matrix(weight)
        rows, columns = matrix.shape
        left = nn.functional.normalize(torch.randn(rows), dim=0)
        self.right = nn.functional.normalize(torch.randn(columns), dim=0)
        # A random matrix's largest singular value is about (√rows + √columns)·std.
        self.left = 3.0 * (math.sqrt(rows) + math.sqrt(columns)) * float(matrix.std()) * left
        self.size = 0.0
        matrix.addr_(left, matrix.T @ left, alpha=-1.0)
        matrix.addr_(matrix @ self.right, self.right, alpha=-1.0)
        self.resize(weight, 1.0)

    def resize(self, weight: Tensor, size: float) -> None:
        left, right = self.left[:, None], self.right[None]
        _matrix(weight).addmm_(left, right, alpha=size - self.size)
        self.size = size


def _matrix(weight: Tensor) -> Tensor:
    return weight.view(weight.shape[0], -1)
