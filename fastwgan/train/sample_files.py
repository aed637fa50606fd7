"""The formats that samples are written in, each a stream."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from fastwgan.train import sample_arrays, sample_images, sample_tables
from fastwgan.train.config import ConfigError
from fastwgan.train.data import DataSpec
from fastwgan.train.extras import require

Samples = Iterator[tuple[Tensor, Tensor | None]]


@dataclass(frozen=True)
class Format:
    """One way to write samples.

    Attributes:
        write: Writes so many samples of a kind of data to a path that isn't there.
        needs: The packages that it takes.
        is_folder: Whether the path becomes a folder.
        keeps_labels: Whether it says which class a sample was drawn from.
    """

    write: Callable[[Path, DataSpec, int, Samples], None]
    needs: tuple[str, ...] = ("numpy",)
    is_folder: bool = False
    keeps_labels: bool = True

    def notes(self, spec: DataSpec, conditional: bool) -> tuple[str, ...]:
        """Sentences on what of the data isn't in what was written."""
        if conditional and not self.keeps_labels:
            return ("This format holds no labels; an .npz or, for images, a folder does.",)
        if spec.table is not None and spec.table.label is not None and not conditional:
            return (
                f"Column {spec.table.label} is left out, since the run wasn't conditional on it.",
            )
        return ()


_ARRAYS = {
    ".npy": Format(sample_arrays.write_npy, keeps_labels=False),
    ".npz": Format(sample_arrays.write_npz),
}
_IMAGES = {
    "": Format(sample_images.write_folder, ("numpy", "PIL.Image"), is_folder=True),
    ".png": Format(sample_images.write_grid, ("numpy", "PIL.Image"), keeps_labels=False),
    **_ARRAYS,
}
_TABLES = {
    ".csv": Format(sample_tables.write_csv, ("pandas",)),
    ".parquet": Format(sample_tables.write_parquet, ("pandas", "pyarrow.parquet")),
}


def format_of(spec: DataSpec, out: Path, count: int) -> Format:
    """The format that a path means for a kind of data.

    Raises:
        ConfigError: it means none, or one that can't hold so many samples.
        MissingExtraError: a package that the format takes isn't installed.
    """
    suffix = "" if out.is_dir() else out.suffix.lower()
    if spec.table is not None:
        formats, where = _TABLES, "rows of a table are written to a .csv or .parquet"
    elif spec.is_image:
        formats = _IMAGES
        where = "images are written to a folder (a name without a suffix), .png, .npy or .npz"
    else:
        formats, where = _ARRAYS, "rows are written to an .npy or .npz"
    if suffix not in formats:
        raise ConfigError("out", f"was {out}; {where}.")
    for package in formats[suffix].needs:
        require(package, f"writing {out}")
    if suffix == ".png":
        most = sample_images.most_in_grid(spec.shape)
        if count > most:
            raise ConfigError(
                "count",
                f"was {count}; a grid holds at most {most} of these images; a folder takes any.",
            )
    return formats[suffix]


def first_not_sample(folder: Path) -> str | None:
    """A file in a folder that isn't named like a sample; None when there is none."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        is_sample = path.is_file() and re.fullmatch(r"\d{6,}\.png", name.name) is not None
        if len(name.parts) > 2 or not (is_sample or (path.is_dir() and len(name.parts) == 1)):
            return name.as_posix()
    return None
