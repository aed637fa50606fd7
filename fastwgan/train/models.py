"""Small generators and critics, chosen by the shape of a sample."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import nn

from fastwgan.train.config import TrainConfig

_SMALLEST_CONVOLVED = 16  # pixels a side; smaller images train faster and better by an MLP


def build_generator(config: TrainConfig, shape: Sequence[int], classes: int = 0) -> nn.Sequential:
    """The network from noise [batch, latent_size] to samples [batch, *shape]."""
    if _is_convolved(shape):
        return _convolutional_generator(config.latent_size, config.width, shape)
    size = torch.Size(shape).numel()
    if len(shape) == 3:
        hidden = _layers((config.latent_size, config.width, config.width), _normalised_relu)
        return nn.Sequential(
            *hidden, nn.Linear(config.width, size), nn.Tanh(), nn.Unflatten(1, tuple(shape))
        )
    hidden = _layers((config.latent_size, *3 * (config.width,)), _relu)
    return nn.Sequential(*hidden, nn.Linear(config.width, size))


def build_critic(config: TrainConfig, shape: Sequence[int], classes: int = 0) -> nn.Sequential:
    """The network from samples [batch, *shape] to one score each, [batch, 1].

    It has no BatchNorm: under a gradient penalty every score must depend on its own sample alone
    (Gulrajani et al. 2017, section 4).
    """
    if _is_convolved(shape):
        return _convolutional_critic(config.width, shape)
    sizes = (torch.Size(shape).numel(), *3 * (config.width,))
    hidden = _layers(sizes, _leaky_relu if len(shape) == 3 else _relu)
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(config.width, 1))


def _is_convolved(shape: Sequence[int]) -> bool:
    """Whether an image is large enough, and can be halved twice."""
    sides = shape[1:]
    return len(shape) == 3 and min(sides) >= _SMALLEST_CONVOLVED and not any(n % 4 for n in sides)


def _layers(
    sizes: Sequence[int], after: Callable[[int], list[nn.Module]]
) -> itertools.chain[nn.Module]:
    pairs = itertools.pairwise(sizes)
    return itertools.chain.from_iterable((nn.Linear(a, b), *after(b)) for a, b in pairs)


def _relu(_: int) -> list[nn.Module]:
    return [nn.ReLU()]


def _leaky_relu(_: int) -> list[nn.Module]:
    return [nn.LeakyReLU(0.2)]


def _normalised_relu(features: int) -> list[nn.Module]:
    return [nn.BatchNorm1d(features), nn.ReLU()]


def _convolutional_generator(latent_size: int, width: int, shape: Sequence[int]) -> nn.Sequential:
    """Radford et al. 2016 (DCGAN), two doublings up to `shape`."""
    channels, height, rest = shape[0], shape[1] // 4, shape[2] // 4
    return nn.Sequential(
        nn.Linear(latent_size, 2 * width * height * rest),
        nn.Unflatten(1, (2 * width, height, rest)),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(),
        nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.ConvTranspose2d(width, channels, 4, stride=2, padding=1),
        nn.Tanh(),
    )


def _convolutional_critic(width: int, shape: Sequence[int]) -> nn.Sequential:
    """Radford et al. 2016 (DCGAN) without BatchNorm, two halvings down from `shape`."""
    channels, height, rest = shape[0], shape[1] // 4, shape[2] // 4
    return nn.Sequential(
        nn.Conv2d(channels, width, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(2 * width * height * rest, 1),
    )
