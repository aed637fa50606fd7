"""Any folder of images: read once, brought to one size, and kept as one array."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import Tensor

from fastwgan.train.config import ConfigError
from fastwgan.train.data import image_cache, image_reading
from fastwgan.train.data.dataset import Data
from fastwgan.train.data.image_cache import ImageArray
from fastwgan.train.data.image_files import SUFFIXES, ImageFile, list_images
from fastwgan.train.data.image_reading import UnreadableImageError
from fastwgan.train.data.naming import counted, shown, some
from fastwgan.train.data.splitting import hold_out

if TYPE_CHECKING:
    from fastwgan.train.data.image_reading import Pixels

_SIDES = tuple(2**power for power in range(3, 8))  # 8 … 128

_Found = TypeVar("_Found")


def load(folder: Path, name: str, side: int | None) -> Data:
    """The images in a folder and its subfolders.

    They are labelled by the subfolders when every image lies in one of at least two.

    Args:
        folder: Where they are.
        name: Of the data.
        side: Pixels a side; by default the largest power of two from 8 to 128 that the smallest
            image fills.

    Raises:
        ConfigError: the folder holds no images, or more than half of them can't be read.
        MissingExtraError: Pillow isn't installed.
    """
    try:
        listing = list_images(folder)
    except OSError as error:
        raise ConfigError(
            "data", f"was {folder}, which can't be listed: {error.strerror}."
        ) from None
    if not listing.images:
        found = "".join(f" {note}" for note in listing.notes)
        raise ConfigError(
            "data",
            f"was {folder}, a folder without images; it must hold files {', '.join(SUFFIXES)}."
            + found,
        )
    array, notes = _cached(folder, listing.images, side)
    labels, classes, note = _labels(array.names)
    notes = [*listing.notes, *array.notes, *notes, *note]
    return hold_out(
        Data(name, scaled(array.pixels), labels=labels, classes=classes, notes=tuple(notes))
    )


def scaled(pixels: Pixels) -> Tensor:
    """uint8 [images, height, width, channels] as float32 [images, channels, …] in [-1, 1]."""
    values = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))).float()
    return values.div_(127.5).sub_(1)


def _cached(
    folder: Path, files: Sequence[ImageFile], side: int | None
) -> tuple[ImageArray, list[str]]:
    """The images from the cache, or else into it; and what is to say of it."""
    cache, key = image_cache.Cache(folder, side), image_cache.key(files)
    array = cache.read(key)
    if array is not None:
        return array, []
    array = _read(folder, files, side)
    problem = cache.write(key, array)
    if problem is None:
        return array, []
    return array, [f"The images couldn't be cached, and are read again next time: {problem}."]


def _read(folder: Path, files: Sequence[ImageFile], side: int | None) -> ImageArray:
    with image_reading.strict():
        images, problems, notes = _all_of_one_size(folder, files, side)
    if problems:
        notes.insert(0, f"Of {counted(len(files), 'image')} {_listed(problems)}, and left out.")
    shape = next(iter(images.values())).shape[:2]
    channels = 3 if any(image.ndim == 3 for image in images.values()) else 1
    pixels = np.empty((len(images), *shape, channels), np.uint8)
    for row, image in zip(pixels, images.values(), strict=True):
        row[:] = image if image.ndim == 3 else image[:, :, None]
    return ImageArray(pixels, list(images), notes)


def _all_of_one_size(
    folder: Path, files: Sequence[ImageFile], side: int | None
) -> tuple[dict[str, Pixels], dict[str, str], list[str]]:
    """Each readable image by its name, the problem of each other, and a sentence on the size."""
    if side is not None:
        images, problems = _each(partial(image_reading.read, side=side), files)
        _refuse_if_most(folder, files, problems)
        return images, problems, []
    sides, problems = _each(image_reading.shorter_side, files)
    _refuse_if_most(folder, files, problems)
    smallest = min(sides, key=lambda name: sides[name])
    side = max(size for size in _SIDES if size <= max(sides[smallest], _SIDES[0]))
    images, problems, _ = _all_of_one_size(folder, files, side)
    if smallest in problems:
        readable = [file for file in files if file.name in images]
        images, _, notes = _all_of_one_size(folder, readable, None)
        return images, problems, notes
    note = (
        f"Images are brought to {side}x{side} pixels, by the smallest, {shown(smallest)}, whose "
        f"shorter side has {sides[smallest]:,}; image_size chooses another size."
    )
    return images, problems, [note]


def _each(
    function: Callable[[Path], _Found], files: Sequence[ImageFile]
) -> tuple[dict[str, _Found], dict[str, str]]:
    """The function's result for each file's name, or its problem."""
    found: dict[str, _Found] = {}
    problems: dict[str, str] = {}

    def attempt(file: ImageFile) -> _Found | UnreadableImageError:
        try:
            return function(file.path)
        except UnreadableImageError as error:
            return error

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow decodes and resizes without the GIL
        for file, result in zip(files, pool.map(attempt, files), strict=True):
            if isinstance(result, UnreadableImageError):
                problems[file.name] = str(result)
            else:
                found[file.name] = result
    return found, problems


def _refuse_if_most(folder: Path, files: Sequence[ImageFile], problems: dict[str, str]) -> None:
    if 2 * len(problems) > len(files):
        raise ConfigError(
            "data",
            f"was {folder}, where of {counted(len(files), 'image')} {_listed(problems)}; "
            "at least half must be readable.",
        )


def _listed(problems: dict[str, str]) -> str:
    names = [f"{name} ({reason})" for name, reason in problems.items()]
    return f"{len(problems):,} can't be read: {some(names)}"


def _labels(names: Sequence[str]) -> tuple[Tensor | None, tuple[str, ...], list[str]]:
    """The labels that subfolders give, what they mean, and why there are none."""
    folders = [name.partition("/")[0] if "/" in name else None for name in names]
    classes = sorted({folder for folder in folders if folder is not None})
    outside = [name for name, folder in zip(names, folders, strict=True) if folder is None]
    if not classes or (len(classes) == 1 and not outside):
        return None, (), []
    if outside:
        note = (
            f"There are no labels, since {counted(len(outside), 'image')} "
            f"{'lies' if len(outside) == 1 else 'lie'} outside of the subfolders: {some(outside)}."
        )
        return None, (), [note]
    index = {folder: label for label, folder in enumerate(classes)}
    labels = torch.tensor([index[folder] for folder in folders if folder is not None])
    return labels, tuple(shown(folder) for folder in classes), []
