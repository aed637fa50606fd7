"""What trained critics say of two distributions, and what a generator would learn from them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus
from torch.optim import Optimizer

import fastwgan
from fastwgan.train.divergences.exact import LOG2
from fastwgan.train.divergences.examples import Example, moved

PENALTY_WEIGHT = 20.0
"""λ, reached halfway through a training.

It rises to that from 0: under a large λ from the start, a critic of near distributions is held at
norm 1 in whichever direction it began with, before their difference has turned it. The best slope s
between the distributions is that of the largest s |θ| − λ (s − 1)², so the estimate under a penalty
is |θ| (1 + |θ| / 2λ): 2.5 % too much at |θ| = 1.
"""
WEIGHT_CLIP = 0.1

_WIDTH = 32
_BATCH = 128
_MEASURED = 2048  # samples of each distribution
_MEASURED_SEED = 1  # of those samples, the same for every critic
_MARGIN = 0.5  # by which places go beyond the distributions
_PLACES = 151


@dataclass(frozen=True)
class Method:
    """A way to train a critic.

    Attributes:
        name: Of `TrainConfig.method` where it is one; "gan" for the plain GAN's discriminator.
        title: In the picture and the tables.
        penalty: The kind of gradient penalty.
        loss: Of `fastwgan.critic_loss`.
    """

    name: str
    title: str
    penalty: str | None = None
    loss: str = "wasserstein"


METHODS = (
    Method("wgan-gp", "gradient penalty", penalty="wgan-gp"),
    Method("wgan-lp", "one-sided penalty", penalty="wgan-lp"),
    Method("sn-gan", "spectral norm"),
    Method("wgan", "weight clipping"),
    Method("gan", "GAN discriminator", loss="logistic"),
)


@dataclass(frozen=True)
class Found:
    """What one trained critic f found at one θ.

    Attributes:
        value: mean f(real) − mean f(fake), the Kantorovich–Rubinstein estimate of Wasserstein-1 as
            found; of the plain GAN's discriminator, its bound on the Jensen–Shannon divergence.
        gradient: The derivative in θ of that value with the critic held: what a generator that
            moves its samples by θ is given.
        lipschitz: The largest gradient norm of f met at real and fake samples and between them.
    """

    value: float
    gradient: float
    lipschitz: float

    def scaled(self) -> Found:
        """Of f divided by its Lipschitz constant, which makes it 1-Lipschitz; of a constant f 0."""
        scale = max(self.lipschitz, sys.float_info.min)
        return Found(self.value / scale, self.gradient / scale, self.lipschitz / scale)


def train(example: Example, theta: float, method: Method, steps: int, seed: int) -> nn.Module:
    """A critic of fresh samples at θ, trained by the library's own calls; in evaluation mode.

    Args:
        example: Where the real samples are from.
        theta: How far the generator's are moved.
        method: How the critic is held 1-Lipschitz, if at all.
        steps: Critic steps; the learning rate falls to zero over them.
        seed: Of the weights and of every batch. Torch's global generator is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        critic = _critic()
        if method.name == "sn-gan":
            fastwgan.spectral_norm(critic)
    optimizer, rate = _optimizer(method, critic)
    draws = torch.Generator().manual_seed(seed)
    for step in range(steps):
        real = example.draw(_BATCH, draws)
        fake = moved(example.draw(_BATCH, draws), theta)
        done = fastwgan.critic_loss(
            critic,
            real,
            fake,
            penalty=method.penalty,
            weight=PENALTY_WEIGHT * min(1.0, 2 * (step + 1) / steps),
            loss=method.loss,
            generator=draws,
        )
        optimizer.zero_grad()
        done.total.backward()
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 - step / steps)
        optimizer.step()
    return critic.eval()


def measure(critic: nn.Module, example: Example, theta: float, method: Method) -> Found:
    """The value, the generator's gradient and the Lipschitz constant of a trained critic."""
    draws = torch.Generator().manual_seed(_MEASURED_SEED)
    real = example.draw(_MEASURED, draws)
    fake = moved(real, theta).requires_grad_()
    value = _VALUES[method.loss](critic(real), critic(fake))
    (moving,) = torch.autograd.grad(value, fake)  # the value is a mean, so rows add up to d/dθ
    order = torch.randperm(_MEASURED, generator=draws)
    share = torch.rand(_MEASURED, 1, generator=draws)
    between = torch.lerp(real, fake.detach()[order], share)
    norms = _gradient_norms(critic, torch.cat([real, fake.detach(), between]))
    return Found(float(value.detach()), float(moving[:, 0].sum()), float(norms.max()))


def places(theta: float) -> Tensor:
    """First coordinates [places] through both distributions and somewhat beyond."""
    return torch.linspace(min(0.0, theta) - _MARGIN, max(0.0, theta) + _MARGIN, _PLACES)


def scores_along(critic: nn.Module, example: Example, theta: float, method: Method) -> Tensor:
    """What a trained critic says at `places(theta)`, at the height of both middles; [places].

    A critic's scores are taken relative to that halfway between the distributions, which its loss
    leaves open; a discriminator's are made probabilities that a sample is real.
    """
    along = places(theta)
    halfway = torch.tensor([[theta / 2, example.height]])
    with torch.no_grad():
        scores = critic(torch.stack([along, torch.full_like(along, example.height)], dim=1))[:, 0]
        middle = critic(halfway)[0, 0]
    shown: Tensor = torch.sigmoid(scores) if method.loss == "logistic" else scores - middle
    return shown


def _critic() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(2, _WIDTH),
        nn.ReLU(),
        nn.Linear(_WIDTH, _WIDTH),
        nn.ReLU(),
        nn.Linear(_WIDTH, 1),
    )


def _optimizer(method: Method, critic: nn.Module) -> tuple[Optimizer, float]:
    """The papers' kinds, at a rate for a few hundred steps of a small critic; and that rate."""
    if method.name == "wgan":
        rate = 3e-3
        optimizer = fastwgan.optim.RMSprop(critic.parameters(), rate, weight_clip=WEIGHT_CLIP)
        return optimizer, rate
    rate = 1e-2
    return torch.optim.Adam(critic.parameters(), rate, betas=(0.0, 0.9), fused=True), rate


def _kantorovich(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    return real_scores.mean() - fake_scores.mean()


def _jensen_shannon(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """log 2 less half the logistic loss: at most the divergence, and equal at the best scores.

    Source: Goodfellow et al. 2014, theorem 1.
    """
    return LOG2 - (softplus(-real_scores).mean() + softplus(fake_scores).mean()) / 2


_VALUES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "wasserstein": _kantorovich,
    "logistic": _jensen_shannon,
}


def _gradient_norms(critic: nn.Module, points: Tensor) -> Tensor:
    points = points.clone().requires_grad_()
    (gradients,) = torch.autograd.grad(critic(points).sum(), points)
    norms: Tensor = torch.linalg.vector_norm(gradients, dim=1)
    return norms
