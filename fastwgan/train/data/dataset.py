"""A data set in memory, and what remains of it in a checkpoint."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from fastwgan.train.data.table_layout import TableLayout


@dataclass(frozen=True)
class Data:
    """A data set in memory, on the CPU. Nothing of it is differentiated.

    Attributes:
        name: What plots and run folders call it.
        values: float32, [samples, *shape]: what is trained on. Images are [channels, height, width]
            in [-1, 1], anything else [features].
        held_out: float32, [held_out, *shape], never trained on; None when nothing is measured.
        labels: int64, [samples], each the index of one of `classes`.
        held_out_labels: int64, [held_out].
        classes: What the labels mean.
        table: How features become the columns of a table again; None when they were none.
        notes: Sentences for the user: what was skipped, and what was made of the rest.
    """

    name: str
    values: Tensor
    held_out: Tensor | None = None
    labels: Tensor | None = None
    held_out_labels: Tensor | None = None
    classes: tuple[str, ...] = ()
    table: TableLayout | None = None
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> torch.Size:
        """The shape of one sample."""
        return self.values.shape[1:]

    @property
    def is_image(self) -> bool:
        """Whether a sample is [channels, height, width]."""
        return len(self.shape) == 3

    def fingerprint(self) -> str:
        """The SHA-256, in hexadecimal, of all that is trained on."""
        table = None if self.table is None else self.table.to_dict()
        about = [list(self.values.shape), list(self.classes), table]
        digest = hashlib.sha256(json.dumps(about).encode())
        for tensor in (self.values, self.labels):
            if tensor is not None:
                digest.update(tensor.detach().cpu().contiguous().view(-1).numpy().data)
        return digest.hexdigest()

    def spec(self) -> DataSpec:
        """What a checkpoint keeps of it."""
        return DataSpec(self.name, tuple(self.shape), self.classes, self.table, self.fingerprint())


@dataclass(frozen=True)
class DataSpec:
    """What drawing samples takes of a data set, without the data.

    Attributes:
        name: As in `Data`.
        shape: The shape of one sample.
        classes: As in `Data`.
        table: As in `Data`.
        fingerprint: `Data.fingerprint()` of what was trained on.
    """

    name: str
    shape: tuple[int, ...]
    classes: tuple[str, ...] = ()
    table: TableLayout | None = None
    fingerprint: str = ""

    @property
    def is_image(self) -> bool:
        """Whether a sample is [channels, height, width]."""
        return len(self.shape) == 3

    def to_dict(self) -> dict[str, Any]:
        """In numbers, strings, lists and dicts, as a checkpoint holds it."""
        return {
            "name": self.name,
            "shape": list(self.shape),
            "classes": list(self.classes),
            "table": None if self.table is None else self.table.to_dict(),
            "fingerprint": self.fingerprint,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> DataSpec:
        """The inverse of `to_dict`."""
        from fastwgan.train.data.table_layout import TableLayout

        table = values["table"]
        return cls(
            values["name"],
            tuple(values["shape"]),
            tuple(values["classes"]),
            None if table is None else TableLayout.from_dict(table),
            values["fingerprint"],
        )
