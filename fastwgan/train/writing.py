"""Writing files whole, with errors in one sentence that names the file and the reason."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


class OutputError(OSError):
    """A file can't be written, since the disk is full, the folder is gone or alike.

    Also: a file of its own, which a run reads back, has been damaged meanwhile.
    """


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """While entered, an error of the operating system is one of writing `path`.

    Raises:
        OutputError: with the file and the reason.
    """
    try:
        yield
    except OSError as error:
        raise named(error, path) from error


def named(error: OSError, path: Path | None = None) -> OutputError:
    """An error of the operating system as one of writing `path`, or the file that it names."""
    if isinstance(error, OutputError):
        return error
    file = error.filename if path is None else path
    reason = error.strerror or str(error)
    return OutputError(reason if file is None else f"{file} can't be written: {reason}")


def opened_anew(path: Path) -> BinaryIO:
    """Opens an empty file for writing in the place of whatever has its name: a link isn't followed.

    A folder that came from elsewhere may hold links to files outside of it.
    """
    path.unlink(missing_ok=True)
    return path.open("xb")


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file so that whoever reads it, now or after a crash, finds old or new whole.

    Raises:
        OutputError: it can't be written; what was there before is still there.
    """
    partial = path.with_name(path.name + ".partial")
    with writing(path):
        try:
            with opened_anew(partial) as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
