"""Every kernel as a call that spends milliseconds in it, and next to nothing before.

Python threads that are to meet inside a kernel do so only there: outside they wait for the lock.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

import fastwgan
from fastwgan.ops.bias_activation import differentiate
from fastwgan.ops.gradient_penalty import interpolate
from fastwgan.ops.gradient_penalty.autograd import run_norm_penalty
from fastwgan.ops.rmsprop import rmsprop_
from fastwgan.ops.spectral_norm import spectral_norm
from tests import feedforward_recipe
from tests.concurrency.operations import Call, critic_loss, dense, given
from tests.feedforward_recipe import Case, Conv


def _random(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=dtype)


def _spectral(seed: int, first: str, dim: int, dtype: torch.dtype) -> Call:
    weight = _random(seed, 300, 310, dtype=dtype)

    def call() -> list[Tensor]:
        u, v = (torch.ones(weight.shape[d], dtype=dtype) for d in (dim, 1 - dim))
        with torch.no_grad():
            (normalised,), sigma = spectral_norm(
                [weight], [u], [v], dims=[dim], n_power_iterations=300, first=first
            )
        return [normalised, sigma, u, v]

    return call


def _spectral_backward(seed: int) -> Call:
    weight, cotangent = _random(seed, 900, 500), _random(seed + 100, 900, 500)
    weight.requires_grad_()
    u, v = torch.ones(900), torch.ones(500)
    (normalised,), _ = spectral_norm([weight], [u], [v], dims=[0])
    return lambda: list(torch.autograd.grad(normalised, weight, cotangent, retain_graph=True))


def _feedforward(seed: int, case: Case) -> Call:
    one = feedforward_recipe.given(case, torch.float32)
    layers = [layer._replace(weight=layer.weight * (1 + seed / 8)) for layer in one.layers]
    one = one._replace(layers=layers)

    def call() -> list[Tensor]:
        scores, adjoint, gradients = feedforward_recipe.found(one)
        return [scores, adjoint, *(g for g in gradients if g is not None)]

    return call


def _critic_loss(seed: int) -> Call:
    one = given(dense, seed, batch=128)
    return lambda: critic_loss(one)


def _differentiated(seed: int) -> Call:
    outputs, cotangents = _random(seed, 150_000, 4), _random(seed + 100, 150_000, 4)

    def call() -> list[Tensor]:
        results = torch.empty_like(outputs)
        sums = differentiate(cotangents, outputs, results, 0.2, len(outputs) // 2)
        assert sums is not None
        return [results, sums]

    return call


def _penalised(seed: int) -> Call:
    gradient = _random(seed, 64, 6000)
    return lambda: list(run_norm_penalty(gradient, "wgan-gp", 1.0, 10.0))


def _interpolated(seed: int) -> Call:
    real, fake = _random(seed, 2, 64, 6000)
    alpha = torch.linspace(0, 1, 64)
    return lambda: [interpolate(real, fake, alpha)]


def _clipped(seed: int) -> Call:
    weight = _random(seed, 500, 900)

    def call() -> list[Tensor]:
        clipped = weight.clone()
        fastwgan.clip_weights_(clipped, 0.1)
        return [clipped]

    return call


def _stepped(seed: int) -> Call:
    tensors = _random(seed, 5, 200, 500)
    numbers = {"lr": 0.1, "alpha": 0.9, "eps": 1e-8, "weight_decay": 0.1, "momentum": 0.5}

    def call() -> list[Tensor]:
        parameter, gradient, square, buffer, mean = (each.clone() for each in tensors)
        square.abs_().add_(mean.square())
        rmsprop_(
            [parameter], [gradient], [square], [buffer], [mean],
            maximize=False, weight_clip=0.5, **numbers,
        )  # fmt: skip
        return [parameter, square, buffer, mean]

    return call


LONG_CALLS: dict[str, Callable[[int], Call]] = {
    "spectral norm": partial(_spectral, first="v", dim=0, dtype=torch.float32),
    "spectral norm, u first": partial(_spectral, first="u", dim=0, dtype=torch.float64),
    "spectral norm, transposed": partial(_spectral, first="v", dim=1, dtype=torch.float32),
    "spectral norm's backward": _spectral_backward,
    "feed-forward critic, dense": partial(_feedforward, case=Case(192, (64, 1, 1), (300, 300, 1))),
    "feed-forward critic, images": partial(
        _feedforward, case=Case(96, (3, 16, 16), (Conv(24, (4, 4), (2, 2), (1, 1)), 1))
    ),
    "critic_loss": _critic_loss,
    "activation's derivative": _differentiated,
    "norm and penalty": _penalised,
    "interpolation": _interpolated,
    "clipping": _clipped,
    "RMSprop": _stepped,
}
