"""Samples as PNG files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastwgan.train.data import DataSpec
from fastwgan.train.extras import require
from fastwgan.train.sample_arrays import pixels

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from fastwgan.train.sample_files import Samples

_SMALLEST_TILE = 32  # pixels a side; smaller images are enlarged by whole numbers
_GAP = 2
_WHITE = 255
_LARGEST_GRID = 2**25  # pixels, which many a viewer still opens


def write_folder(path: Path, spec: DataSpec, count: int, samples: Samples) -> None:
    """000000.png, 000001.png and so on; with labels, each in the folder of its class."""
    digits = max(6, len(str(count - 1)))
    names = _folder_names(spec.classes)
    path.mkdir()
    number = 0
    for images, labels in samples:
        for index, image in enumerate(pixels(images)):
            place = path if labels is None else path / names[int(labels[index])]
            place.mkdir(exist_ok=True)
            _image(image).save(place / f"{number:0{digits}}.png")
            number += 1


def most_in_grid(shape: Sequence[int]) -> int:
    """How many images of a shape one grid may hold."""
    side = math.isqrt(_LARGEST_GRID // _tile(shape) ** 2)
    return side * side


def write_grid(path: Path, spec: DataSpec, count: int, samples: Samples) -> None:
    """All images in one, about as many rows as columns."""
    import numpy as np

    channels, height, width = spec.shape
    scale = _scale(spec.shape)
    tile = (height * scale + _GAP, width * scale + _GAP)
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    size = (rows * tile[0] + _GAP, columns * tile[1] + _GAP, channels)
    canvas = np.full(size, _WHITE, np.uint8)
    number = 0
    for images, _ in samples:
        for image in pixels(images).repeat(scale, axis=1).repeat(scale, axis=2):
            top, left = (a * b + _GAP for a, b in zip(divmod(number, columns), tile, strict=True))
            canvas[top : top + height * scale, left : left + width * scale] = image
            number += 1
    with path.open("xb") as file:
        _image(canvas).save(file, "PNG")


def _image(array: npt.NDArray[np.uint8]) -> Any:
    """A Pillow image of uint8 [height, width, 1 or 3]."""
    module = require("PIL.Image", "writing images")
    return module.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)


def _scale(shape: Sequence[int]) -> int:
    return math.ceil(_SMALLEST_TILE / max(shape[1:]))


def _tile(shape: Sequence[int]) -> int:
    return max(shape[1:]) * _scale(shape) + _GAP


def _folder_names(classes: Sequence[str]) -> list[str]:
    """A folder for each class: its name, or its index where that can't be a folder's."""
    return [
        name
        if name.isprintable()
        and not name.startswith(".")
        and not set(name) & set('/\\:*?"<>|')
        and 0 < len(name) < 100
        else f"class-{index}"
        for index, name in enumerate(classes)
    ]
