"""Pixels of any convention as [-1, 1]."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from fastwgan.train.config import ConfigError

if TYPE_CHECKING:
    import numpy.typing as npt


def to_unit(path: Path, images: npt.NDArray[Any]) -> tuple[Tensor, list[str]]:
    """Images as float32 in [-1, 1].

    Args:
        path: Where they are from.
        images: bool, or whole numbers from 0 to 255, or floats in one of [-1, 1], [0, 1] and
            [0, 255], which is told by their extremes.

    Returns:
        The images, and for floats a sentence on what they were taken for.

    Raises:
        ConfigError: pixels lie outside.
    """
    low, high = float(images.min()), float(images.max())
    floating = images.dtype.kind == "f"
    if images.dtype.kind == "b":
        taken = (0, 1)
    elif floating and -1 <= low < 0 and high <= 1:
        taken = (-1, 1)
    elif floating and low >= 0 and high <= 1:
        taken = (0, 1)
    elif low >= 0 and high <= 255:
        taken = (0, 255)
    else:
        allowed = "from 0 to 255" + ", or floats in [0, 1] or [-1, 1]" * floating
        raise ConfigError(
            "data",
            f"was {path}, whose pixels range from {low:g} to {high:g}; they must be {allowed}.",
        )
    values = torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32))
    middle = (taken[0] + taken[1]) / 2
    values = values.sub(middle).div_(taken[1] - middle)
    note = f"Pixels are floats from {low:g} to {high:g}, and were taken for {list(taken)}."
    return values, [note] if floating else []
