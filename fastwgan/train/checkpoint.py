"""Checkpoints: written whole or not at all, checked and read without running any of their bytes.

A checkpoint is the zip archive that `torch.save` writes, with a comment that ends in the SHA-256 of
every byte before the digest. `torch.load(path, weights_only=True)` reads it as any other.

Beside it stands the one before it, as checkpoint-previous.pt: one of the two is whole at any moment
at which the process, or the machine, may end.
"""

from __future__ import annotations

import io
import os
import pickle
import re
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import torch

from fastwgan.train.sealing import sealed_step, write_sealed
from fastwgan.train.writing import opened_anew, writing

_FORMAT = "fastwgan training run, version {}"
_VERSION = 2
_PREVIOUS = "-previous"

_PARTS = {
    "config": dict,
    "data": dict,
    "label_counts": list,
    "step": int,
    "seconds": float,
    "trainer": dict,
}

# What a forged pickle makes torch's reader raise; damage is found before.
_UNREADABLE = (
    *(RuntimeError, EOFError, LookupError, ValueError, TypeError, AttributeError),
    *(AssertionError, ArithmeticError, MemoryError, struct.error),
)

# What zipfile raises for torn archives: it seeks to negative places and asks for passwords too.
_NO_ARCHIVE = (zipfile.BadZipFile, RuntimeError, EOFError, ValueError, OSError, struct.error)


class CheckpointError(RuntimeError):
    """A checkpoint that isn't there, isn't ours or isn't whole."""


def previous_of(path: Path) -> Path:
    """Where the checkpoint before the one at `path` is kept."""
    return path.with_name(path.stem + _PREVIOUS + path.suffix)


def save(path: Path, state: dict[str, Any]) -> None:
    """Writes `state` to `path`; whoever reads meanwhile, or after a crash, finds old or new whole.

    A whole checkpoint of an earlier step at `path` is kept as `previous_of(path)`.

    Args:
        path: Replaced when it is there; its folder must be.
        state: Tensors, numbers, strings, lists and dicts of them; its `step` is a whole number.

    Raises:
        OutputError: it can't be written; what was there before is still there.
    """
    archive = io.BytesIO()
    torch.save(state | {"format": _FORMAT.format(_VERSION)}, archive)
    partial = path.with_name(path.name + ".partial")
    with writing(path):
        try:
            with opened_anew(partial) as file:
                write_sealed(file, archive.getbuffer(), state["step"])
                file.flush()
                os.fsync(file.fileno())
            _keep_previous(path, state["step"])
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
        _sync_folder(path.parent)


def load(path: Path) -> dict[str, Any]:
    """Reads what `save` wrote, onto the CPU.

    Raises:
        CheckpointError: the file is missing, damaged, not one of ours, or holds anything but data.
            Where the one kept beside a missing or damaged one is good, the sentence names it.
    """
    if not path.is_file():
        what = "checkpoint" if path.suffix or path.exists() else "run folder"
        raise CheckpointError(f"there is no {what} {path}{_other_good(path)}.")
    try:
        with path.open("rb") as file:
            is_sealed, state = _read(path, file)
    except OSError as error:
        raise CheckpointError(f"checkpoint {path} can't be read: {error.strerror}.") from None
    _check_format(path, state)
    if not is_sealed:
        raise _damaged(path)
    return _checked(path, state)


def step_of(path: Path) -> int | None:
    """The step of a checkpoint whose every byte is as it was written; None for any other file."""
    try:
        with path.open("rb") as file:
            return sealed_step(file)
    except OSError:
        return None


def last_good_path(path: Path) -> Path | None:
    """The checkpoint to go on from, `path` or the one before it; None where neither is whole."""
    return next((good for good in (path, previous_of(path)) if step_of(good) is not None), None)


def last_good(path: Path) -> str:
    """What to say of the checkpoint to go on from, `path` or the one before it, after an error."""
    good = last_good_path(path)
    if good is None:
        return "there is no checkpoint to go on from"
    return f"the last good checkpoint, of step {step_of(good)}, is {good}"


def _read(path: Path, file: BinaryIO) -> tuple[bool, Any]:
    """Whether an open file is as it was written, and what it holds."""
    is_sealed = sealed_step(file) is not None
    if not _is_archive(file) or not (is_sealed or _has_right_sums(file)):
        raise _damaged(path)
    file.seek(0)
    return is_sealed, _unpickled(path, file)


def _is_archive(file: BinaryIO) -> bool:
    """Whether this is a zip archive that takes no more memory than it has bytes."""
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
    except _NO_ARCHIVE:
        return False
    is_stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
    return is_stored and sum(entry.file_size for entry in entries) <= file.seek(0, os.SEEK_END)


def _has_right_sums(file: BinaryIO) -> bool:
    """Whether every entry of an archive has its CRC-32."""
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.testzip() is None
    except _NO_ARCHIVE:
        return False


def _check_format(path: Path, state: object) -> None:
    written = state.get("format") if isinstance(state, dict) else None
    match = re.fullmatch(_FORMAT.format(r"(\d+)"), written) if isinstance(written, str) else None
    if match is None:
        raise CheckpointError(f"checkpoint {path} isn't one of `fastwgan train`.")
    if match[1] != str(_VERSION):
        raise CheckpointError(
            f"checkpoint {path} is of format {match[1]}, and this fastwgan reads {_VERSION}: "
            "go on with the fastwgan that wrote it, or train anew."
        )


def _unpickled(path: Path, file: BinaryIO) -> object:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of forgeries, which are refused anyway
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"checkpoint {path} was refused: it holds objects other than tensors and plain data"
            f"{_other_good(path)}."
        ) from None
    except _UNREADABLE:
        raise _damaged(path) from None


def _checked(path: Path, state: Any) -> dict[str, Any]:
    for name, kind in _PARTS.items():
        if type(state.get(name)) is not kind:
            found = f"is a {type(state[name]).__name__}" if name in state else "is missing"
            raise CheckpointError(
                f"checkpoint {path} isn't one of a run: its {name} {found}; "
                f"it must be a {kind.__name__}."
            )
    for name, value in state["config"].items():
        if type(value) not in (str, int, float, bool):
            raise CheckpointError(
                f"checkpoint {path} isn't one of a run: its setting {name} is a "
                f"{type(value).__name__}; it must be a number, text or truth."
            )
    checked: dict[str, Any] = state
    return checked


def _damaged(path: Path) -> CheckpointError:
    return CheckpointError(
        f"checkpoint {path} is damaged, or no checkpoint at all{_other_good(path)}."
    )


def _other_good(path: Path) -> str:
    """Names the checkpoint beside `path` that a run can go on from, if there is one."""
    if path.stem.endswith(_PREVIOUS):
        other = path.with_name(path.stem.removesuffix(_PREVIOUS) + path.suffix)
    else:
        other = previous_of(path)
    step = step_of(other)
    if step is None:
        return ""
    return f"; the last good one is of step {step}: go on with --resume {other}"


def _keep_previous(path: Path, step: int) -> None:
    """Gives a whole checkpoint of an earlier step a second name, before it loses its first."""
    kept = step_of(path)
    if kept is None or kept >= step:
        return
    previous = previous_of(path)
    link = previous.with_name(previous.name + ".partial")
    link.unlink(missing_ok=True)
    try:
        os.link(path, link)
    except OSError:  # a file system without links: for a moment, only the previous one is there
        os.replace(path, previous)
        return
    os.replace(link, previous)
    link.unlink(missing_ok=True)  # still there where both names were of one file


def _sync_folder(folder: Path) -> None:
    """Puts the new name on the disk too; Windows has no such call and needs none."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
