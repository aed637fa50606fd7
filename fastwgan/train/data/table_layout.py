"""Tables as rows of features for a network, and samples as tables again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fastwgan.train.data.table_column import Column
from fastwgan.train.data.table_values import pandas


@dataclass(frozen=True)
class TableLayout:
    """How rows [rows, features] become the columns of a table, and came from them.

    A column of numbers or times is one feature, scaled by its median and the middle 90 %; text,
    booleans and categories are one feature a level; a column with missing values has one more
    feature, which says where they are; a constant column has none. See `Number` and `Choice`.

    Attributes:
        columns: Every column of the table, in its order.
        label: The name of the column that holds the labels, and has no features.
    """

    columns: tuple[Column, ...]
    label: str | None = None

    @property
    def features(self) -> int:
        """How many features a row has."""
        return sum(column.features for column in self._coded())

    @property
    def feature_names(self) -> tuple[str, ...]:
        """What each feature is called: `age`, `colour=red`, `age is missing`."""
        return tuple(name for column in self._coded() for name in column.feature_names())

    @property
    def classes(self) -> tuple[str, ...]:
        """What the labels mean."""
        return tuple(self._label_column().levels()) if self.label is not None else ()

    def encode(self, frame: Any) -> Tensor:
        """A pandas table of these columns as float32 [rows, features]."""
        parts = [column.encode(frame[column.name]) for column in self._coded()]
        return torch.from_numpy(np.concatenate(parts, axis=1))

    def labels(self, frame: Any) -> Tensor | None:
        """The labels of a pandas table of these columns, int64 [rows]."""
        if self.label is None:
            return None
        return torch.from_numpy(self._label_column().index(frame[self.label]))

    def frame(self, samples: Tensor, labels: Tensor | None = None) -> Any:
        """Samples as a pandas table, with the types, categories and order of the columns encoded.

        What was encoded comes back as it was; floats of more than a few decimals, and whole numbers
        and times that span more than 2 ** 20 steps, to the rounding of float32.

        Args:
            samples: [rows, features].
            labels: int64 [rows]; without them the label column is left out.
        """
        features = samples.detach().cpu().double().numpy()
        columns, begin = {}, 0
        for column in self.columns:
            if column.name == self.label:
                if labels is not None:
                    columns[column.name] = column.take(labels.cpu().numpy())
                continue
            end = begin + column.features
            columns[column.name] = column.decode(features[:, begin:end])
            begin = end
        return pandas().DataFrame(columns)

    def to_dict(self) -> dict[str, Any]:
        """In numbers, strings, lists and dicts, as a checkpoint holds it."""
        return {"columns": [column.to_dict() for column in self.columns], "label": self.label}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TableLayout:
        """The inverse of `to_dict`."""
        return cls(tuple(Column.from_dict(column) for column in values["columns"]), values["label"])

    def _coded(self) -> list[Column]:
        return [column for column in self.columns if column.name != self.label]

    def _label_column(self) -> Column:
        return next(column for column in self.columns if column.name == self.label)
