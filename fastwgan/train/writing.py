"""Errors of writing, in one sentence that names the file and the reason."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path


class OutputError(OSError):
    """A file can't be written, since the disk is full, the folder is gone or alike."""


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """While entered, an error of the operating system is one of writing `path`.

    Raises:
        OutputError: with the file and the reason.
    """
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"{path} can't be written: {error.strerror or error}") from error
