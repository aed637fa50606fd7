"""Networks of dense layers, for samples of any shape.

Those of images end in tanh and have LeakyReLU and batch normalisation, as DCGAN's; those of other
samples are the toy networks in the code of Gulrajani et al. 2017.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence

from torch import nn

from fastwgan.train.config import TrainConfig
from fastwgan.train.models.labels import WithEmbedding, in_a_row, normalised, scored


def generator(config: TrainConfig, shape: Sequence[int], classes: int) -> nn.Module:
    """From noise to samples of any shape; see `build_generator`."""
    make = _image_layers if len(shape) == 3 else _point_layers
    return in_a_row(make(config, shape, classes), classes)


def critic(config: TrainConfig, shape: Sequence[int], classes: int) -> nn.Module:
    """From samples of any shape to scores; see `build_critic`."""
    sizes = (math.prod(shape), *3 * (config.width,))
    hidden = _dense(sizes, _leaky_relu if len(shape) == 3 else _relu)
    return scored((nn.Flatten(), *hidden), config.width, classes)


def _image_layers(config: TrainConfig, shape: Sequence[int], classes: int) -> Iterable[nn.Module]:
    norm = normalised(nn.BatchNorm1d, classes)
    sizes = (config.latent_size, config.width, config.width)
    yield from _dense(sizes, lambda size: (norm(size), nn.ReLU()))
    yield nn.Linear(config.width, math.prod(shape))
    yield nn.Tanh()
    yield nn.Unflatten(1, tuple(shape))


def _point_layers(config: TrainConfig, shape: Sequence[int], classes: int) -> Iterable[nn.Module]:
    inputs = config.latent_size
    if classes:
        embedded = min(classes, config.width)
        yield WithEmbedding(classes, embedded)
        inputs += embedded
    yield from _dense((inputs, *3 * (config.width,)), _relu)
    yield nn.Linear(config.width, math.prod(shape))
    if len(shape) != 1:
        yield nn.Unflatten(1, tuple(shape))


def _dense(
    sizes: Sequence[int], after: Callable[[int], Iterable[nn.Module]]
) -> Iterable[nn.Module]:
    for inputs, outputs in itertools.pairwise(sizes):
        yield nn.Linear(inputs, outputs)
        yield from after(outputs)


def _relu(_: int) -> Iterable[nn.Module]:
    return (nn.ReLU(),)


def _leaky_relu(_: int) -> Iterable[nn.Module]:
    return (nn.LeakyReLU(0.2),)
