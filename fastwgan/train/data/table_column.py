"""One column of a table as features, and back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastwgan.train.data.naming import counted
from fastwgan.train.data.table_coding import Choice, Number, coding_of
from fastwgan.train.data.table_values import Storage, UnusableColumnError, pandas

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastwgan.train.data.table_coding import Features

MOST_LEVELS = 128
_NUMBERS = 0.9  # of the texts, from which on others among them are slips
_ENOUGH = 10
_LONGEST = 40  # text in a sentence


@dataclass(frozen=True)
class Column:
    """How one column of a table is coded.

    Attributes:
        name: Of the column.
        storage: How its values are stored.
        coding: How they are coded; one level takes no feature, none means that all are missing.
        missing: Whether one more feature, behind the others, says where a value is missing.
    """

    name: str
    storage: Storage
    coding: Number | Choice
    missing: bool

    @classmethod
    def fit(cls, name: str, column: Any, *, levels: bool = False) -> Column:
        """The coding of a column by its values.

        Args:
            name: Of the column.
            column: A pandas series.
            levels: Whether numbers are levels too.

        Raises:
            UnusableColumnError: it can't be coded.
        """
        storage = Storage.of(column)
        if storage.kind == "text" and not levels:
            _refuse_slips(column)
        plain = storage.to_plain(column[column.notna()])
        if storage.kind == "float" and not np.isfinite(plain).all():
            raise UnusableColumnError(
                f"is infinite in {counted(int(np.isinf(plain).sum()), 'row')}"
            )
        different = len(pandas().unique(plain))
        are_numbers = storage.kind in ("integer", "float", "time", "date") and not levels
        if are_numbers and different > 1:
            coding: Number | Choice = Number.fit(plain)
        elif different <= MOST_LEVELS:
            coding = Choice.fit(plain)
        else:
            raise UnusableColumnError(_too_many(storage, column, different))
        return cls(name, storage, coding, 0 < len(plain) < len(column))

    @property
    def features(self) -> int:
        """How many features it takes."""
        return self.coding.features + self.missing

    def feature_names(self) -> Iterator[str]:
        """What each feature is called."""
        if isinstance(self.coding, Number):
            yield self.name
        elif self.coding.features:
            yield from (f"{self.name}={level}" for level in self.levels())
        if self.missing:
            yield f"{self.name} is missing"

    def ends(self) -> tuple[Any, Any]:
        """The lowest and the highest value of numbers and times."""
        assert isinstance(self.coding, Number)
        plain = self.coding.ends(self.storage.plain_dtype)
        low, high = self.storage.to_column(plain, np.ones(len(plain), bool))
        return low, high

    def levels(self) -> list[str]:
        """The levels of a choice, as text."""
        return [str(level) for level in self.take(np.arange(len(self._choice().levels)))]

    def index(self, column: Any) -> npt.NDArray[np.int64]:
        """Which level each value of a pandas series without missing values is, [rows]."""
        return self._choice().index(self.storage.to_plain(column))

    def take(self, index: npt.NDArray[np.int64]) -> Any:
        """The levels of indices [rows] as a pandas series."""
        plain = self._choice().take(index, self.storage.plain_dtype)
        return self.storage.to_column(plain, np.ones(len(plain), bool))

    def _choice(self) -> Choice:
        assert isinstance(self.coding, Choice)
        return self.coding

    def encode(self, column: Any) -> npt.NDArray[np.float32]:
        """A pandas series as features [rows, features]."""
        present = column.notna().to_numpy()
        features = np.zeros((len(column), self.features), np.float32)
        inner = self.coding.features
        features[present, :inner] = self.coding.encode(self.storage.to_plain(column[present]))
        features[~present, inner:] = 1
        return features

    def decode(self, features: Features) -> Any:
        """Features [rows, features] as a pandas series."""
        inner = self.coding.features
        present = np.full(len(features), self.coding != Choice(()))
        if self.missing:
            others = features[:, :inner]
            beaten_by = others.max(axis=1) if isinstance(self.coding, Choice) and inner else 0.5
            present = features[:, inner] <= beaten_by
        dtype = self.storage.plain_dtype
        return self.storage.to_column(self.coding.decode(features[present, :inner], dtype), present)

    def to_dict(self) -> dict[str, Any]:
        """In numbers, strings, lists and dicts."""
        return {
            "name": self.name,
            "storage": self.storage.to_dict(),
            "coding": self.coding.to_dict(),
            "missing": self.missing,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Column:
        """The inverse of `to_dict`."""
        storage, coding = Storage.from_dict(values["storage"]), coding_of(values["coding"])
        return cls(values["name"], storage, coding, values["missing"])


def _refuse_slips(column: Any) -> None:
    """Refuses a few texts among numbers, for which all of these would be categories.

    Raises:
        UnusableColumnError: there are some.
    """
    present = column.notna().to_numpy()
    are_numbers = pandas().to_numeric(column, errors="coerce").notna().to_numpy()
    slips = np.flatnonzero(present & ~are_numbers)
    numbers = int(are_numbers.sum())
    if not len(slips) or numbers < max(_ENOUGH, _NUMBERS * present.sum()):
        return
    text = column.iloc[slips[0]]
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    first = f"{text!r} in row {slips[0] + 1:,} below the header"
    found, cells = (
        (first, "mend it or leave that cell empty")
        if len(slips) == 1
        else (f"{len(slips):,} texts, the first {first}", "mend them or leave those cells empty")
    )
    raise UnusableColumnError(
        f"holds {counted(numbers, 'number')} and {found} ({cells}; a column of categories must "
        "have that type in a .parquet)"
    )


def _too_many(storage: Storage, column: Any, different: int) -> str:
    problem = f"holds {different:,} different values, more than {MOST_LEVELS}"
    if storage.kind != "text":
        return problem
    numbers = pandas().to_numeric(column, errors="coerce")
    texts = column[numbers.isna() & column.notna()]
    if 0 < len(texts) < len(column) / 2:
        return f"{problem}, since among its numbers stands {texts.iloc[0]!r}"
    return problem.replace("values", "texts")
