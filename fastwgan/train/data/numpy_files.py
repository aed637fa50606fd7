"""Files of numpy, without running any of their bytes."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]


class UnreadableArrayError(Exception):
    """A file that isn't numpy's, isn't whole, or holds Python objects; the message says which."""


def read(path: Path) -> dict[str, Array]:
    """The arrays of an .npz by their names; that of an .npy has the name "".

    Raises:
        UnreadableArrayError: see the class.
    """
    try:
        with path.open("rb") as file:
            stored = np.load(file, allow_pickle=False)
            if isinstance(stored, np.ndarray):
                return {"": stored}
            return {name: stored[name] for name in stored.files}
    except _DAMAGED as error:
        if "allow_pickle" in str(error):
            raise UnreadableArrayError("it holds Python objects, or isn't numpy's") from None
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UnreadableArrayError(reason.rstrip(".")) from None


# What numpy and zipfile raise on bytes that aren't as they should be.
_DAMAGED = (
    *(OSError, EOFError, ValueError, KeyError, MemoryError, NotImplementedError),
    *(tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)
