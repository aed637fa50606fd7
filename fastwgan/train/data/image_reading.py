"""One image file as a square of bytes."""

from __future__ import annotations

import contextlib
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastwgan.train.data.image_files import FORMATS
from fastwgan.train.extras import require

if TYPE_CHECKING:
    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]

_SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
_UNSUPPORTED = ("I", "F")  # whole numbers and floats of 32 bits, which have no white


class UnreadableImageError(Exception):
    """A file that isn't an image, isn't whole, or is of a kind that isn't supported."""


def image_module() -> Any:
    """Pillow's `Image`."""
    return require("PIL.Image", "reading a folder of images")


@contextlib.contextmanager
def strict() -> Iterator[None]:
    """While images are read: Pillow's doubts about a file's size count, its others don't."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        warnings.simplefilter("error", image_module().DecompressionBombWarning)
        yield


def shorter_side(path: Path) -> int:
    """Pixels of an image's shorter side, from its header alone.

    Raises:
        UnreadableImageError: see the class.
    """
    with _opened(path) as file:
        return int(min(file.size))


def read(path: Path, side: int) -> Pixels:
    """The middle square of an image, brought to `side` pixels with antialiasing.

    Turned as its EXIF data says, transparency laid on white.

    Returns:
        uint8: [side, side] where every pixel is grey, else [side, side, 3].

    Raises:
        UnreadableImageError: see the class.
    """
    operations = require("PIL.ImageOps", "reading a folder of images")
    with _opened(path) as file:
        file.draft(None, (2 * side, 2 * side))  # JPEG's own shrinking, by far the faster part
        image = _on_white(operations.exif_transpose(file))
        resampling = image_module().Resampling.LANCZOS
        pixels: Pixels = np.array(operations.fit(image, (side, side), resampling))
    if pixels.ndim == 3 and (pixels == pixels[:, :, :1]).all():
        pixels = pixels[:, :, 0].copy()
    return pixels


def _on_white(image: Any) -> Any:
    """The image in mode L or RGB."""
    if image.mode in _SIXTEEN_BITS:
        return image_module().fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in _UNSUPPORTED:
        raise UnreadableImageError(f"its pixels, of mode {image.mode}, aren't supported")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = image_module().new("RGBA", image.size, "white")
        image = image_module().alpha_composite(white, image)
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """An image file; what Pillow raises about its bytes becomes an `UnreadableImageError`."""
    images = image_module()
    try:
        with images.open(path, formats=FORMATS) as file:
            yield file
    except images.UnidentifiedImageError:
        raise UnreadableImageError("it is no image, or a damaged one") from None
    except (images.DecompressionBombWarning, images.DecompressionBombError):
        raise UnreadableImageError("it has more pixels than Pillow takes for safe") from None
    except _DAMAGED as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UnreadableImageError(reason) from None


# What Pillow's readers raise on bytes that aren't as they should be.
_DAMAGED = (
    *(OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, OverflowError),
    *(struct.error, zlib.error),
)
