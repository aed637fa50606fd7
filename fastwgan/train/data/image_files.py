"""Which files of a folder are images, in an order that doesn't depend on the file system."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fastwgan.train.data.naming import counted, some

CACHE = ".fastwgan-cache"

# Formats whose readers are in Pillow itself; EPS, for one, would run Ghostscript.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm"),
)


@dataclass(frozen=True)
class ImageFile:
    """A file that may be an image.

    Attributes:
        name: Its path within the folder, with forward slashes.
        path: Where it is.
        size: Its bytes; -1 for a link that leads nowhere.
        modified: Its modification time, in nanoseconds.
    """

    name: str
    path: Path
    size: int
    modified: int


@dataclass(frozen=True)
class Listing:
    """What is in a folder and its subfolders.

    Attributes:
        images: Files with an image's suffix, by name.
        notes: Sentences on what else there is, and isn't read.
    """

    images: list[ImageFile]
    notes: tuple[str, ...]


def list_images(folder: Path) -> Listing:
    """Walks a folder; linked folders too, each only once, so that a loop of links ends.

    Raises:
        OSError: the folder itself can't be listed.
    """
    walk = _Walk(folder)
    images, others = [], []
    for path in walk.files():
        name = path.relative_to(folder).as_posix()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
            images.append(_described(name, path))
        else:
            others.append(name)
    images.sort(key=lambda image: image.name)
    return Listing(images, tuple(_notes(sorted(others), walk)))


class _Walk:
    """The files of a folder, and of which folders in it there are none.

    Attributes:
        again: Folders met before, by their names.
        closed: Folders that can't be listed.
    """

    def __init__(self, folder: Path) -> None:
        self.again: list[str] = []
        self.closed: list[str] = []
        self._folder = folder
        self._seen: set[tuple[int, int]] = set()
        os.listdir(folder)

    def files(self) -> Iterator[Path]:
        """Every file, and every hidden folder but the cache."""
        self._is_new(self._folder)
        for place, folders, files in os.walk(
            self._folder, followlinks=True, onerror=self._cannot_list
        ):
            hidden = [name for name in folders if name.startswith(".")]
            folders[:] = [
                name
                for name in sorted(folders)
                if name not in hidden and self._is_new(Path(place, name))
            ]
            yield from (Path(place, name) for name in [*files, *hidden] if name != CACHE)

    def _is_new(self, folder: Path) -> bool:
        try:
            status = folder.stat()
        except OSError as error:
            self._cannot_list(error)
            return False
        identity = status.st_dev, status.st_ino
        if identity in self._seen:
            self.again.append(self._name(folder))
            return False
        self._seen.add(identity)
        return True

    def _cannot_list(self, error: OSError) -> None:
        self.closed.append(self._name(error.filename))

    def _name(self, path: str | Path) -> str:
        return Path(path).relative_to(self._folder).as_posix()


def _described(name: str, path: Path) -> ImageFile:
    try:
        status = path.stat()
    except OSError:
        return ImageFile(name, path, -1, 0)
    return ImageFile(name, path, status.st_size, status.st_mtime_ns)


def _notes(others: list[str], walk: _Walk) -> Iterator[str]:
    if others:
        were = "was" if len(others) == 1 else "were"
        yield (
            f"{counted(len(others), 'file')} without an image's suffix {were} left alone: "
            f"{some(others)}."
        )
    if walk.again:
        yield f"Links to folders that were read already were left out: {some(walk.again)}."
    if walk.closed:
        yield f"Folders that can't be listed were left out: {some(walk.closed)}."
