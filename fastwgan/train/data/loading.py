"""A data set by its name or its path."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from fastwgan.train.config import ConfigError
from fastwgan.train.data import bundled, toy
from fastwgan.train.data.dataset import Data
from fastwgan.train.defaults import ARRAYS, DATASETS, TABLES
from fastwgan.train.extras import require
from fastwgan.train.suggestions import no_such_path


def load(
    name: str, seed: int = 0, *, image_size: int | None = None, label_column: str | None = None
) -> Data:
    """A data set, of which a part that doesn't depend on the seed is held out.

    Args:
        name: digits, mnist, 8gaussians, 25gaussians, swissroll; or the path of a folder of images,
            of an array (.npz, .npy) or of a table (.csv, .parquet). A folder that is called like
            one of the names is meant by ./ before it.
        seed: Of the points of the toy distributions; the others have none.
        image_size: Pixels a side that the images of a folder are brought to; by default the largest
            power of two from 8 to 128 that the smallest image fills.
        label_column: The column of a table that holds labels.

    Returns:
        The data set, on the CPU.

    Raises:
        ConfigError: there is nothing of this name, or it can't be trained on.
        MissingExtraError: a package that reads it isn't installed.
    """
    if name in DATASETS:
        _refuse_of_others(name, image_size, label_column)
        return bundled.load(name) if name in bundled.NAMES else toy.load(name, seed)
    path = Path(name)
    if not name or not path.exists():
        _refuse(name)
    require("numpy", f"reading {name}")
    title = path.resolve().stem or "data"
    if path.is_dir():
        from fastwgan.train.data import images

        _refuse_of_others(name, None, label_column)
        _check_image_size(image_size)
        return images.load(path, path.resolve().name or "data", image_size)
    if path.suffix.lower() in ARRAYS:
        from fastwgan.train.data import arrays

        _refuse_of_others(name, image_size, label_column)
        return arrays.load(path, title)
    if path.suffix.lower() in TABLES:
        from fastwgan.train.data import table_files

        _refuse_of_others(name, image_size, None)
        return table_files.load(path, title, label_column)
    raise ConfigError(
        "data",
        f"was {name!r}, a file of a kind that isn't read; it must be one of "
        f"{', '.join(ARRAYS + TABLES)}, or a folder of images.",
    )


def _refuse(name: str) -> NoReturn:
    missing = f": {no_such_path(name)}" if name else ""
    raise ConfigError(
        "data",
        f"was {name!r}{missing}; it must be one of {', '.join(DATASETS)}, or the "
        f"path of a folder of images or of a file {', '.join(ARRAYS)}, {' or '.join(TABLES)}.",
    )


def _refuse_of_others(name: str, image_size: int | None, label_column: str | None) -> None:
    """Refuses settings that data of this kind would ignore."""
    if image_size is not None:
        raise ConfigError(
            "image_size",
            f"was {image_size!r}, but data {name!r} is no folder of images: leave it out.",
        )
    if label_column is not None:
        raise ConfigError(
            "label_column", f"was {label_column!r}, but data {name!r} is no table: leave it out."
        )


def _check_image_size(image_size: int | None) -> None:
    if image_size is not None and (type(image_size) is not int or not 8 <= image_size <= 128):
        raise ConfigError(
            "image_size", f"was {image_size!r}; it must be a whole number from 8 to 128."
        )
