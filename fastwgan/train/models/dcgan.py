"""DCGAN (Radford et al. 2016), its critic without BatchNorm, for images of any even sides.

Channels double with each halving of the image, `width` at first, up to eight times that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import nn

from fastwgan.train.config import TrainConfig
from fastwgan.train.models.families import halvings
from fastwgan.train.models.labels import in_a_row, normalised, scored

_MOST = 8


def generator(config: TrainConfig, shape: Sequence[int], classes: int) -> nn.Module:
    """From noise to images; see `build_generator`."""
    return in_a_row(_generator_layers(config, shape, classes), classes)


def critic(config: TrainConfig, shape: Sequence[int], classes: int) -> nn.Module:
    """From images to scores; see `build_critic`."""
    channels, height, width = _sizes(config, shape)
    layers: list[nn.Module] = []
    for inputs, outputs in zip((shape[0], *channels), channels, strict=False):
        layers += [nn.Conv2d(inputs, outputs, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
    return scored((*layers, nn.Flatten()), channels[-1] * height * width, classes)


def _generator_layers(
    config: TrainConfig, shape: Sequence[int], classes: int
) -> Iterable[nn.Module]:
    channels, height, width = _sizes(config, shape)
    norm = normalised(nn.BatchNorm2d, classes)
    yield nn.Linear(config.latent_size, channels[-1] * height * width)
    yield nn.Unflatten(1, (channels[-1], height, width))
    descending = channels[::-1]
    for inputs, outputs in zip(descending, (*descending[1:], shape[0]), strict=True):
        yield norm(inputs)
        yield nn.ReLU()
        yield nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)
    yield nn.Tanh()


def _sizes(config: TrainConfig, shape: Sequence[int]) -> tuple[list[int], int, int]:
    """Channels after each halving, and the sides after the last."""
    times = halvings(shape[1:])
    channels = [config.width * min(1 << level, _MOST) for level in range(times)]
    return channels, shape[1] >> times, shape[2] >> times
