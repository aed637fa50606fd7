"""Columns of pandas as plain numpy values, and back with their types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastwgan.train.extras import require

if TYPE_CHECKING:
    import numpy.typing as npt

    Plain = npt.NDArray[Any]


class UnusableColumnError(Exception):
    """What a column holds can't be imitated; the message says what that is."""


def pandas() -> Any:
    """The module."""
    return require("pandas", "reading and writing tables")


@dataclass(frozen=True)
class Storage:
    """How the present values of a column stand as numpy values.

    Attributes:
        kind: integer, float, boolean, text, time, date, category.
        dtype: pandas' type of the column.
        categories: What a category's codes mean, as plain values; empty for other kinds.
        category: How those are stored themselves.
        ordered: Whether the categories are.
    """

    kind: str
    dtype: str
    categories: tuple[Any, ...] = ()
    category: Storage | None = None
    ordered: bool = False

    @classmethod
    def of(cls, column: Any) -> Storage:
        """The storage of a column.

        Raises:
            UnusableColumnError: it holds what can't be imitated.
        """
        types, dtype = pandas().api.types, column.dtype
        if isinstance(dtype, pandas().CategoricalDtype):
            names = dtype.categories.to_series()
            category = cls.of(names)
            plain = tuple(category.to_plain(names).tolist())
            return cls("category", "category", plain, category, bool(dtype.ordered))
        kinds = {
            "boolean": types.is_bool_dtype,
            "integer": types.is_integer_dtype,
            "float": types.is_float_dtype,
            "time": _is_time,
        }
        for kind, is_kind in kinds.items():
            if is_kind(dtype):
                return cls(kind, str(dtype))
        found = types.infer_dtype(column, skipna=True)
        of_objects = {"string": "text", "empty": "text", "boolean": "boolean", "date": "date"}
        if found not in of_objects:
            known = types.is_object_dtype(dtype)
            raise UnusableColumnError(f"holds values of type {found if known else dtype}")
        return cls(of_objects[found], str(dtype))

    def to_plain(self, present: Any) -> Plain:
        """The values of a column without missing ones: of int64, uint64, float64, bool or str."""
        if self.kind == "date":
            return np.array(present.tolist(), "datetime64[D]").astype(np.int64)
        if self.kind == "category":
            present = present.cat.codes
        if self.kind == "time":
            present = present.astype("int64")
        plain: Plain = present.to_numpy(dtype=self.plain_dtype)
        return plain

    def to_column(self, plain: Plain, present: npt.NDArray[np.bool_]) -> Any:
        """The column with `plain` where values are `present`, and missing ones elsewhere."""
        column = self._whole(plain)
        if present.all():
            return column
        column.index = np.flatnonzero(present)
        return column.reindex(np.arange(len(present)))

    def _whole(self, plain: Plain) -> Any:
        frames = pandas()
        if self.category is not None:
            names = np.array(self.categories, dtype=self.category.plain_dtype)
            categories = frames.Index(self.category._whole(names))
            dtype = frames.CategoricalDtype(categories, self.ordered)
            return frames.Series(frames.Categorical.from_codes(plain, dtype=dtype))
        if self.kind == "date":
            return frames.Series(plain.astype("datetime64[D]").astype(object), dtype=self.dtype)
        if self.kind == "time":
            return frames.Series(plain).astype(self.dtype)
        return frames.Series(plain, dtype=self.dtype)

    @property
    def plain_dtype(self) -> Any:
        """Numpy's type of the plain values."""
        if self.kind == "integer" and "uint" in self.dtype.lower():
            return np.uint64
        kinds = {"float": np.float64, "boolean": np.bool_, "text": np.object_}
        return kinds.get(self.kind, np.int64)

    def to_dict(self) -> dict[str, Any]:
        """In numbers, strings, lists and dicts."""
        return {
            "kind": self.kind,
            "dtype": self.dtype,
            "categories": list(self.categories),
            "category": None if self.category is None else self.category.to_dict(),
            "ordered": self.ordered,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Storage:
        """The inverse of `to_dict`."""
        category = values["category"]
        return cls(
            values["kind"],
            values["dtype"],
            tuple(values["categories"]),
            None if category is None else cls.from_dict(category),
            values["ordered"],
        )


def _is_time(dtype: Any) -> bool:
    types = pandas().api.types
    return bool(types.is_datetime64_any_dtype(dtype) or types.is_timedelta64_dtype(dtype))
