"""The images of a folder as one array beside them, for as long as no file of them changes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fastwgan.train.data import numpy_files
from fastwgan.train.data.image_files import CACHE, ImageFile
from fastwgan.train.data.numpy_files import UnreadableArrayError
from fastwgan.train.writing import opened_anew

if TYPE_CHECKING:
    from fastwgan.train.data.image_reading import Pixels

_VERSION = 1  # of what is stored, and of how images are brought to size


@dataclass(frozen=True)
class ImageArray:
    """What was read of a folder.

    Attributes:
        pixels: uint8 [images, side, side, channels].
        names: The file of each, [images].
        notes: Sentences on files that weren't read.
    """

    pixels: Pixels
    names: list[str]
    notes: list[str]


def key(files: Sequence[ImageFile]) -> str:
    """What an array is good for: files of these names, sizes and times of modification."""
    about = [_VERSION, *([file.name, file.size, file.modified] for file in files)]
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()


class Cache:
    """The stored array of one folder and size.

    It lies in `.fastwgan-cache` inside of the folder, or, where that can't be written, in
    fastwgan's part of the user's cache ($XDG_CACHE_HOME, by default ~/.cache).

    Args:
        folder: The images'.
        side: Pixels a side that were asked for; None for those that the images decide.
    """

    def __init__(self, folder: Path, side: int | None) -> None:
        name = f"images-{side or 'auto'}.npz"
        self._places = [folder / CACHE / name]
        with contextlib.suppress(RuntimeError):  # no home folder
            caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
            of_folder = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
            self._places.append(caches / "fastwgan" / f"{of_folder}-{name}")

    def read(self, key: str) -> ImageArray | None:
        """The array stored under `key`; None when there is none, or no whole one."""
        for place in self._places:
            with contextlib.suppress(UnreadableArrayError, KeyError):
                stored = numpy_files.read(place)
                if str(stored["key"]) == key:
                    names, notes = stored["names"].tolist(), stored["notes"].tolist()
                    return ImageArray(stored["pixels"], names, notes)
        return None

    def write(self, key: str, array: ImageArray) -> str | None:
        """Stores an array, whole or not at all.

        Returns:
            Why it couldn't be; None when it is stored.
        """
        problem = None
        for place in self._places:
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
                with _partial(place) as partial, opened_anew(partial) as file:
                    np.savez(
                        file,
                        key=np.array(key),
                        pixels=array.pixels,
                        names=np.array(array.names),
                        notes=np.array(array.notes, dtype=np.str_),
                    )
            except OSError as error:
                problem = error.strerror or str(error)
            else:
                return None
        return problem


@contextlib.contextmanager
def _partial(path: Path) -> Iterator[Path]:
    """A file of this process that becomes `path` at the end, or is gone."""
    partial = path.with_name(f"{path.name}.partial-{os.getpid()}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
