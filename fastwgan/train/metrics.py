"""Numbers of a run: gathered on the device without waiting for it, then one JSON object a line."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fastwgan.train.writing import OutputError, writing

Record = dict[str, float]

TIMINGS = frozenset(("seconds", "steps_per_second"))  # all else is equal in equal runs


class Meter:
    """Scalars of the steps since the last reading, left on their device until they are read."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._rows: list[Tensor] = []

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Keeps one step's scalars, detached; every step brings the same names."""
        self._names = list(values)
        self._rows.append(torch.stack([value.detach() for value in values.values()]))

    def read(self) -> Record:
        """The mean of each value over the steps kept, by name; waits for the device."""
        means: list[float] = torch.stack(self._rows).mean(dim=0).tolist()
        return dict(zip(self._names, means, strict=True))

    def first_not_finite(self) -> tuple[int, str] | None:
        """Which kept step, counted from 0, brought the first NaN or Inf, and in which value."""
        if not self._rows:
            return None
        wrong = (~torch.stack(self._rows).isfinite()).nonzero()
        if not len(wrong):
            return None
        row, column = wrong[0].tolist()
        return row, self._names[column]

    def clear(self) -> None:
        """Forgets the steps kept."""
        self._rows.clear()

    def __len__(self) -> int:
        """How many steps are kept."""
        return len(self._rows)

    def state_dict(self) -> dict[str, Any]:
        """The steps kept, for a checkpoint between two readings."""
        return {"names": list(self._names), "rows": list(self._rows)}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Goes on where the `Meter` that gave `state` was."""
        self._names = list(state["names"])
        self._rows = [row.to(device) for row in state["rows"]]


class MetricsFile:
    """metrics.jsonl, appended to line by line.

    Args:
        path: The file; made when it isn't there.
        step: The step that the run goes on from: lines of later steps, and a line that a crash
            left torn, are cut off.

    Raises:
        OutputError: by any method; the file can't be written.
    """

    def __init__(self, path: Path, step: int = 0) -> None:
        self._path = path
        with writing(path):
            if path.is_symlink():  # in a folder from elsewhere: it would be cut off where it leads
                raise OutputError(f"{path} can't be written: it is a link.")
            kept = _whole_lines(path, step) if path.exists() else b""
            # Unbuffered, so that what a full disk refused isn't tried again when it is closed.
            self._file = path.open("r+b" if path.exists() else "w+b", buffering=0)
            self._file.truncate(len(kept))
            self._file.seek(len(kept))

    def write(self, record: Record) -> None:
        """Appends one line and hands it to the operating system."""
        line = json.dumps(record, allow_nan=False).encode() + b"\n"
        with writing(self._path):
            while line:
                line = line[self._file.write(line) :]

    def sync(self) -> None:
        """Waits until every line is on the disk: before a checkpoint says that they are."""
        with writing(self._path):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


class NoMetricsFile:
    """What a process that writes no files writes its lines to."""

    def write(self, record: Record) -> None:
        """Does nothing."""

    def sync(self) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Does nothing."""


def read(path: Path) -> list[Record]:
    """The whole lines of a metrics.jsonl, without a last one that a crash left torn.

    Raises:
        OutputError: another line isn't one that a run writes.
    """
    *lines, _ = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, 1):
        if math.isinf(_step(line)):
            raise OutputError(f"{path} is damaged: its line {number} is none of a run's metrics")
    return [json.loads(line) for line in lines]


def _whole_lines(path: Path, last_step: int) -> bytes:
    """The lines up to `last_step`, which were on the disk before its checkpoint was."""
    kept = []
    for line in path.read_bytes().splitlines(keepends=True):
        if not line.endswith(b"\n") or not _step(line) <= last_step:
            break
        kept.append(line)
    return b"".join(kept)


def _step(line: bytes) -> float:
    """The step of a line; infinite for what isn't one, such as what a crash left."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf
