"""Every public operation as a call that repeats: same inputs, fresh state, all that it gave."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

import fastwgan
from fastwgan import optim, parametrizations
from fastwgan.ops import spectral_norm as spectral_norm_op
from fastwgan.ops.bias_activation import differentiate

Call = Callable[[], list[Tensor]]

ITERATIONS = 6  # so that more of a call is spent in the kernel, where threads can meet


class Given(NamedTuple):
    """What the threads share and only read: a critic, samples, and fakes with shares of them."""

    critic: nn.Module
    real: Tensor
    fake: Tensor
    alpha: Tensor


def dense(width: int = 300) -> nn.Module:
    """One layer that a team shares, and smaller ones that it does not."""
    return nn.Sequential(
        nn.Linear(40, width),
        nn.LeakyReLU(0.2),
        nn.Linear(width, width),
        nn.ReLU(),
        nn.Linear(width, 1),
    )


def little() -> nn.Module:
    return dense(8)


def images() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 24, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(24, 40, 4, 2, 1),
        nn.ReLU(),
        nn.Conv2d(40, 1, 4),
    )


def smooth() -> nn.Module:
    """Recorded, since LayerNorm and SiLU have second-order terms."""
    return nn.Sequential(nn.Linear(40, 60), nn.LayerNorm(60), nn.SiLU(), nn.Linear(60, 1))


SHAPES: dict[Callable[[], nn.Module], tuple[int, ...]] = {
    dense: (40,),
    little: (40,),
    images: (3, 16, 16),
    smooth: (40,),
}


def given(make: Callable[[], nn.Module], seed: int, batch: int = 24) -> Given:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        real, fake = torch.randn(2, batch, *SHAPES[make])
        return Given(make(), real, fake, torch.rand(batch))


def _filled(*tensors: Tensor | None) -> list[Tensor]:
    return [tensor.detach().clone() for tensor in tensors if tensor is not None]


def _gradients(total: Tensor, critic: nn.Module) -> list[Tensor]:
    """Past `.grad`, of which a shared critic has only one."""
    return _filled(*torch.autograd.grad(total, list(critic.parameters()), allow_unused=True))


def critic_loss(one: Given, engine: str = "auto") -> list[Tensor]:
    done = fastwgan.critic_loss(one.critic, one.real, one.fake, alpha=one.alpha, engine=engine)
    return _filled(*done) + _gradients(done.total, one.critic)


def penalty(one: Given, kind: str = "wgan-gp", engine: str = "auto") -> list[Tensor]:
    alpha = one.alpha if kind == "wgan-gp" else None
    value, scores = fastwgan.gradient_penalty(
        one.critic, one.real, one.fake, kind=kind, alpha=alpha, engine=engine, return_scores=True
    )
    return _filled(value, scores) + _gradients(value + scores.mean(), one.critic)


def normalised(one: Given, first: str = "v") -> list[Tensor]:
    """The operation alone, of weights that all threads read: u and v are each call's own."""
    weights = [p.detach().requires_grad_() for p in one.critic.parameters() if p.dim() > 1]
    u = [torch.ones(w.shape[0]) for w in weights]
    v = [torch.ones(w[0].numel()) for w in weights]
    outputs, sigma = spectral_norm_op.spectral_norm(
        weights, u, v, dims=[0] * len(weights), n_power_iterations=20, first=first
    )
    total = sum((w.detach() * y).sum() for w, y in zip(weights, outputs, strict=True)) + sigma.sum()
    return _filled(*outputs, sigma, *u, *v, *torch.autograd.grad(total, weights))


def in_eval(one: Given) -> list[Tensor]:
    """A normalised critic that no forward changes."""
    with torch.no_grad():
        return _filled(one.critic(one.real), one.critic(one.fake))


def trained(one: Given) -> list[Tensor]:
    """Two steps of a copy of a normalised critic: scores, gradients, and buffers as they end."""
    critic = copy.deepcopy(one.critic)
    found: list[Tensor] = []
    for _ in range(2):
        critic.zero_grad()
        scores = critic(one.real)
        scores.square().sum().backward()
        found += _filled(scores, *(p.grad for p in critic.parameters()))
    return found + _filled(*critic.buffers())


def clipped(one: Given) -> list[Tensor]:
    critic = copy.deepcopy(one.critic)
    fastwgan.clip_weights_(critic, 0.02)
    return _filled(*critic.parameters())


def stepped(one: Given) -> list[Tensor]:
    """Three steps with every kind of state, gradients being what the threads share."""
    critic = copy.deepcopy(one.critic)
    optimizer = optim.RMSprop(
        critic.parameters(), lr=1e-3, momentum=0.5, centered=True, weight_clip=0.05
    )
    for parameter, gradient in zip(critic.parameters(), one.critic.parameters(), strict=True):
        parameter.grad = gradient.detach()
    for _ in range(3):
        optimizer.step()
    return _filled(
        *critic.parameters(), *(s for each in optimizer.state.values() for s in each.values())
    )


def bias_gradient(one: Given) -> list[Tensor]:
    """Cotangents through LeakyReLU, of more rows than one thread takes, with their sums."""
    outputs = one.real.repeat(100, 1)
    results = torch.empty_like(outputs)
    sums = differentiate(outputs.flip(0), outputs, results, 0.2, len(outputs))
    return _filled(results, sums)


def _hooked(make: Callable[[], nn.Module]) -> nn.Module:
    critic = make()
    for layer in critic.modules():
        if hasattr(layer, "weight") and layer.weight.dim() > 1:
            fastwgan.spectral_norm(layer, n_power_iterations=ITERATIONS)
    return critic


def _parametrized(make: Callable[[], nn.Module]) -> nn.Module:
    critic = make()
    for layer in list(critic.modules()):
        if hasattr(layer, "weight") and layer.weight.dim() > 1:
            parametrizations.spectral_norm(layer, n_power_iterations=ITERATIONS)
    return critic


def hooked() -> nn.Module:
    return _hooked(dense)


def grouped() -> nn.Module:
    return fastwgan.spectral_norm(dense(), n_power_iterations=ITERATIONS)


def parametrized() -> nn.Module:
    return _parametrized(images)


def grouped_in_eval() -> nn.Module:
    return grouped().eval()


def hooked_in_eval() -> nn.Module:
    return hooked().eval()


SHAPES |= {
    hooked: (40,),
    grouped: (40,),
    grouped_in_eval: (40,),
    hooked_in_eval: (40,),
    parametrized: (3, 16, 16),
}


class Operation(NamedTuple):
    """A call, what it is called with, and what the contract says of numbers of threads."""

    run: Callable[[Given], list[Tensor]]
    make: Callable[[], nn.Module]
    any_threads: bool  # the same bits for any number


OPERATIONS: dict[str, Operation] = {
    "spectral norm": Operation(normalised, dense, False),
    "spectral norm, u first": Operation(lambda one: normalised(one, "u"), images, False),
    "spectral norm, hooks": Operation(trained, hooked, False),
    "spectral norm, group": Operation(trained, grouped, False),
    "spectral norm, parametrization": Operation(trained, parametrized, False),
    "spectral norm, hooks in eval": Operation(in_eval, hooked_in_eval, False),
    "spectral norm, group in eval": Operation(in_eval, grouped_in_eval, False),
    "gradient_penalty, dense": Operation(penalty, dense, False),
    "gradient_penalty, images": Operation(penalty, images, False),
    "gradient_penalty, recorded": Operation(penalty, smooth, False),
    "gradient_penalty, r1": Operation(lambda one: penalty(one, "r1"), dense, False),
    "gradient_penalty, generic": Operation(lambda one: penalty(one, engine="never"), dense, False),
    "critic_loss, dense": Operation(critic_loss, dense, True),
    "critic_loss, images": Operation(critic_loss, images, True),
    "critic_loss, recorded": Operation(critic_loss, smooth, False),
    "critic_loss, generic": Operation(lambda one: critic_loss(one, "never"), dense, False),
    "clip_weights_": Operation(clipped, dense, True),
    "RMSprop": Operation(stepped, dense, True),
    "activation's derivative": Operation(bias_gradient, dense, False),
}


def calls(name: str, seeds: range) -> list[Call]:
    """One call a seed, each of tensors of its own."""
    operation = OPERATIONS[name]
    return [_call(operation.run, given(operation.make, seed)) for seed in seeds]


def _call(run: Callable[[Given], list[Tensor]], one: Given) -> Call:
    return lambda: run(one)


def same_bits(found: list[Tensor], wanted: list[Tensor]) -> bool:
    """NaN, and the sign of a zero, included."""
    return len(found) == len(wanted) and all(
        a.shape == b.shape and a.dtype is b.dtype and _bytes(a) == _bytes(b)
        for a, b in zip(found, wanted, strict=True)
    )


def _bytes(tensor: Tensor) -> bytes:
    return tensor.contiguous().numpy().tobytes()
