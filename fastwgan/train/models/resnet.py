"""ResNets of the two papers: with spectral norm Miyato et al. 2018's, else Gulrajani et al. 2017's.

Their tables give sizes for 32, 48, 64 or 128 pixels (see `resnet_layouts`); other sizes follow the
nearest.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from fastwgan.train.config import TrainConfig
from fastwgan.train.models.labels import Labelled, Norm, in_a_row, normalised, scored
from fastwgan.train.models.resnet_layouts import layout_of

_RESIDUAL, _LINEAR = math.sqrt(2), 1.0  # gains of Glorot & Bengio's uniform draw, in both papers


def generator(config: TrainConfig, shape: Sequence[int], classes: int) -> nn.Module:
    """From noise to images; see `build_generator`."""
    return in_a_row(_generator_layers(config, shape, classes), classes)


def critic(config: TrainConfig, shape: Sequence[int], classes: int) -> nn.Module:
    """From images to scores; see `build_critic`."""
    layout = layout_of(config, shape)
    normalises = layout.normalises_critic
    inputs = shape[0]
    layers: list[nn.Module] = []
    if layout.stem is not None:
        layers.append(_convolution(inputs, layout.stem, 3, _LINEAR))
        inputs = layout.stem
    for outputs, halves in layout.critic:
        residual = _residual if layers else _first_residual
        layers.append(Added(*residual(inputs, outputs, halves, normalises)))
        inputs = outputs
    height, width = layout.last_sides
    features = inputs * height * width if layout.pooling is None else inputs
    end = nn.Flatten() if layout.pooling is None else GlobalPool(layout.pooling)
    return _drawn(scored((*layers, nn.ReLU(), end), features, classes))


def _generator_layers(
    config: TrainConfig, shape: Sequence[int], classes: int
) -> Iterable[nn.Module]:
    layout = layout_of(config, shape)
    first, *channels = layout.generator
    norm = normalised(nn.BatchNorm2d, classes)
    yield _drawn(nn.Linear(config.latent_size, first * math.prod(layout.first_sides)))
    yield nn.Unflatten(1, (first, *layout.first_sides))
    inputs = first
    for outputs in channels:
        yield Doubling(inputs, outputs, norm)
        inputs = outputs
    yield nn.BatchNorm2d(inputs)
    yield nn.ReLU()
    yield _convolution(inputs, shape[0], 3, _LINEAR)
    yield nn.Tanh()


class Doubling(Labelled):
    """A generator's residual block, which doubles the sides of what it is given."""

    def __init__(self, inputs: int, outputs: int, norm: Norm) -> None:
        super().__init__()
        self.norms = nn.ModuleList((norm(inputs), norm(outputs)))
        self.first = _convolution(inputs, outputs, 3, _RESIDUAL, bias=False)
        self.second = _convolution(outputs, outputs, 3, _RESIDUAL)
        self.shortcut = _convolution(inputs, outputs, 1, _LINEAR)

    def forward(self, values: Tensor, *labels: Tensor) -> Tensor:
        """Values [batch, inputs, height, width] to [batch, outputs, 2 height, 2 width]."""
        hidden = F.interpolate(F.relu(self.norms[0](values, *labels)), scale_factor=2)
        hidden = F.relu(self.norms[1](self.first(hidden), *labels))
        # A convolution of single pixels and copying them commute: this order has a quarter of the
        # products.
        return F.interpolate(self.shortcut(values), scale_factor=2) + self.second(hidden)  # type: ignore[no-any-return]


class Added(nn.Module):
    """The sum of a residual branch and a shortcut."""

    def __init__(self, residual: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.residual, self.shortcut = residual, shortcut

    def forward(self, values: Tensor) -> Tensor:
        """Both branches on the same values."""
        return self.shortcut(values) + self.residual(values)  # type: ignore[no-any-return]


class GlobalPool(nn.Module):
    """The mean or the sum of each channel's pixels.

    Args:
        kind: "mean" or "sum".
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, values: Tensor) -> Tensor:
        """Values [batch, channels, height, width] to [batch, channels]."""
        return values.mean(dim=(2, 3)) if self.kind == "mean" else values.sum(dim=(2, 3))


def _residual(
    inputs: int, outputs: int, halves: bool, normalises: bool
) -> tuple[nn.Module, nn.Module]:
    """A critic's block that begins with an activation."""
    norms = [nn.GroupNorm(1, inputs) if normalises else nn.Identity() for _ in range(2)]
    pool = [nn.AvgPool2d(2)] if halves else []
    branch = nn.Sequential(
        norms[0],
        nn.ReLU(),
        _convolution(inputs, inputs, 3, _RESIDUAL, bias=not normalises),
        norms[1],
        nn.ReLU(),
        _convolution(inputs, outputs, 3, _RESIDUAL),
        *pool,
    )
    if inputs == outputs and not halves:
        return branch, nn.Identity()
    # Pooled first, which commutes with a convolution of single pixels and saves products.
    return branch, nn.Sequential(*pool, _convolution(inputs, outputs, 1, _LINEAR))


def _first_residual(
    inputs: int, outputs: int, halves: bool, normalises: bool
) -> tuple[nn.Module, nn.Module]:
    """The block on the image itself, which must not be rectified."""
    pool = [nn.AvgPool2d(2)] if halves else []
    branch = nn.Sequential(
        _convolution(inputs, outputs, 3, _RESIDUAL),
        nn.ReLU(),
        _convolution(outputs, outputs, 3, _RESIDUAL),
        *pool,
    )
    return branch, nn.Sequential(*pool, _convolution(inputs, outputs, 1, _LINEAR))


def _convolution(
    inputs: int, outputs: int, kernel: int, gain: float, bias: bool = True
) -> nn.Conv2d:
    layer = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias)
    nn.init.xavier_uniform_(layer.weight, gain)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def _drawn(module: nn.Module) -> nn.Module:
    """The same module, its dense layers drawn as the papers draw them."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    return module
