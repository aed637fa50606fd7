"""One process at a time trains in a run's folder."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
import weakref
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

NAME = "run.lock"
_TRIES = 100  # to open a file that nobody takes away meanwhile


class FolderBusyError(RuntimeError):
    """Another process trains in this folder."""


class FolderLock:
    """Held from its making until it is released, exited or forgotten, or the process has ended.

    It is the operating system's lock (flock) of a file in the folder, which is gone afterwards; a
    killed process leaves the file, without the lock. One process may hold several of a folder, and
    keeps others out until the last is released. Where there are no such locks, nothing is locked.

    Args:
        folder: It must be there.

    Raises:
        FolderBusyError: another process holds it.
    """

    def __init__(self, folder: Path) -> None:
        key = os.path.realpath(folder)
        _take(key, folder)
        self._release = weakref.finalize(self, _let_go, key)

    def release(self) -> None:
        """Lets it go; does nothing the second time."""
        self._release()

    def __enter__(self) -> FolderLock:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


@dataclass
class _Held:
    """What this process holds of a folder: the open file (None where nothing is locked)."""

    handle: int | None
    process: int
    holders: int = 1


_held: dict[str, _Held] = {}
_guard = threading.RLock()  # also taken by a collection inside of it


def _take(key: str, folder: Path) -> None:
    with _guard:
        held = _held.get(key)
        if held is not None and held.process == os.getpid():
            held.holders += 1
        else:  # of a fork, what its parent holds isn't its own
            _held[key] = _Held(_locked(Path(key) / NAME, folder), os.getpid())


def _let_go(key: str) -> None:
    with _guard:
        held = _held.get(key)
        if held is None or held.process != os.getpid():
            return
        held.holders -= 1
        if held.holders:
            return
        del _held[key]
        if held.handle is not None:
            with contextlib.suppress(OSError):
                if _is_at(held.handle, Path(key) / NAME):
                    os.unlink(Path(key) / NAME)
                fcntl.flock(held.handle, fcntl.LOCK_UN)  # also what a fork has of it
            os.close(held.handle)


def _locked(path: Path, folder: Path) -> int | None:
    """The file, open and locked; None where that can't be."""
    for _ in range(_TRIES if fcntl is not None else 0):
        try:
            handle = _opened(path)
        except OSError:  # a folder that can't be written to: the run's own files say so
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            process = _process(handle)
            os.close(handle)
            raise FolderBusyError(
                f"{folder} is being trained by another process{process}; stop that first."
            ) from None
        except OSError:  # a file system without locks
            os.close(handle)
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        if _is_at(handle, path):
            with contextlib.suppress(OSError):
                os.ftruncate(handle, 0)
                os.pwrite(handle, b"%d\n" % os.getpid(), 0)
            return handle
        # Whoever had it before took the file away, and maybe another has a new one.
        os.close(handle)
    return None


def _opened(path: Path) -> int:
    """The file, made where there is none; a link in its place, or alike, is taken away.

    A folder that came from elsewhere may hold links to files outside of it.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    if path.is_symlink() or (path.exists() and not _is_own(path.lstat())):
        path.unlink()
    return os.open(path, flags, 0o644)


def _is_own(status: os.stat_result) -> bool:
    """Whether a file has one name only, and so none outside of the folder."""
    return stat.S_ISREG(status.st_mode) and status.st_nlink <= 1


def _is_at(handle: int, path: Path) -> bool:
    """Whether an open file is the one of this name."""
    try:
        return os.path.samestat(os.fstat(handle), path.lstat())
    except FileNotFoundError:
        return False


def _process(handle: int) -> str:
    """Which process holds an open file's lock, as far as that is known."""
    text = os.pread(handle, 20, 0).strip()
    return f" (PID {int(text)})" if text.isdigit() else ""
