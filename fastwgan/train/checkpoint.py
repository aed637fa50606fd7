"""Checkpoints: written whole or not at all, checked and read without running any of their bytes."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

_FORMAT = "fastwgan training run, version 1"


class CheckpointError(RuntimeError):
    """A checkpoint that isn't there, isn't ours or isn't whole."""


def save(path: Path, state: dict[str, Any]) -> None:
    """Writes `state` to `path`; whoever reads meanwhile, or after a crash, finds old or new whole.

    Args:
        path: Replaced when it is there; its folder must be.
        state: Tensors, numbers, strings, lists and dicts of them.
    """
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        torch.save(state | {"format": _FORMAT}, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
    _sync_folder(path.parent)


def load(path: Path) -> dict[str, Any]:
    """Reads what `save` wrote, onto the CPU.

    Raises:
        CheckpointError: the file is missing, damaged, not one of ours, or holds anything but data.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}.")
    _check_whole(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"checkpoint {path} was refused: it holds objects other than tensors and plain data."
        ) from None
    except (RuntimeError, EOFError, KeyError, ValueError):
        raise CheckpointError(f"checkpoint {path} can't be read: it is damaged.") from None
    if not isinstance(state, dict) or state.get("format") != _FORMAT:
        raise CheckpointError(f"checkpoint {path} isn't one of `fastwgan train`.")
    return state


def _check_whole(path: Path) -> None:
    """Compares every entry of the zip archive that torch writes with its CRC-32."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError):
        damaged = path.name
    if damaged is not None:
        raise CheckpointError(f"checkpoint {path} is damaged, or no checkpoint at all.")


def _sync_folder(folder: Path) -> None:
    """Puts the new name on the disk too; Windows has no such call and needs none."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
