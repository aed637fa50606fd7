"""Values of a column as features of about unit size, and back."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastwgan.train.data.table_grid import Grid
from fastwgan.train.data.table_values import UnusableColumnError, pandas

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastwgan.train.data.table_values import Plain

    Features = npt.NDArray[np.float64]

_LARGEST = float(np.finfo(np.float32).max)
_FAR = 10.0  # beyond which extremes are brought nearer by asinh


@dataclass(frozen=True)
class Number:
    """One feature: the distance from the median, in half-widths of the middle 90 %.

    Where extremes lie beyond ten of those, asinh brings them nearer. Nothing comes back from beyond
    the lowest and the highest value seen.

    Attributes:
        grid: Of whole numbers and of floats of few decimals, whose positions are coded rather than
            the values; what comes back lies on it.
        low: The lowest position.
        high: The highest.
        center: The median.
        scale: Half the width of the middle 90 %; of all, where that is none.
        bent: Whether asinh is taken.
    """

    grid: Grid | None
    low: float
    high: float
    center: float
    scale: float
    bent: bool

    features = 1

    @classmethod
    def fit(cls, plain: Plain) -> Number:
        """The coding of values of int64, uint64 or float64, at least two of which differ.

        Raises:
            UnusableColumnError: they span more than floats can tell.
        """
        grid = Grid.fit(plain)
        positions = plain if grid is None else grid.positions(plain)
        low, first, center, last, high = np.quantile(
            positions, (0, 0.05, 0.5, 0.95, 1), method="nearest"
        ).tolist()
        scale = (last / 2 - first / 2) or (high / 2 - low / 2)
        if scale == 0 or (high - low) / scale > _LARGEST:
            raise UnusableColumnError(f"ranges from {low:g} to {high:g}, too wide to be scaled")
        bent = max(high - center, center - low) / scale > _FAR
        return cls(grid, low, high, center, scale, bent)

    def encode(self, plain: Plain) -> Features:
        """Values [rows] as features [rows, 1]."""
        return self._bend(self._off_center(plain))[:, None]

    def distances(self, plain: Plain) -> Features:
        """How far values [rows] lie from the median, in half-widths of the middle 90 %, [rows]."""
        return np.abs(self._off_center(plain))

    def ends(self, dtype: npt.DTypeLike) -> Plain:
        """The lowest and the highest value, of a type."""
        positions = np.array([self.low, self.high])
        return positions if self.grid is None else self.grid.values(positions, dtype)

    def _off_center(self, plain: Plain) -> Features:
        positions = plain if self.grid is None else self.grid.positions(plain)
        return (positions - self.center) / self.scale

    def decode(self, features: Features, dtype: npt.DTypeLike) -> Plain:
        """Features [rows, 1] as values [rows] of a type."""
        ends = self._bend((np.array([self.low, self.high]) - self.center) / self.scale)
        bounded = features[:, 0].clip(*ends)
        straight = np.sinh(bounded) if self.bent else bounded
        positions = (straight * self.scale + self.center).clip(self.low, self.high)
        return positions if self.grid is None else self.grid.values(positions, dtype)

    def _bend(self, distances: Features) -> Features:
        return np.arcsinh(distances) if self.bent else distances

    def to_dict(self) -> dict[str, Any]:
        """In numbers, strings and dicts."""
        return dataclasses.asdict(self) | {"kind": "number"}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Number:
        """The inverse of `to_dict`."""
        grid = None if values["grid"] is None else Grid(**values["grid"])
        names = ("low", "high", "center", "scale", "bent")
        return cls(grid, **{name: values[name] for name in names})


@dataclass(frozen=True)
class Choice:
    """One feature for each of several levels, 1 at that of the value and 0 elsewhere.

    Attributes:
        levels: The plain values; of a single one nothing is left to code, and it has no feature.
    """

    levels: tuple[Any, ...]

    @property
    def features(self) -> int:
        """How many features a value takes."""
        return len(self.levels) if len(self.levels) > 1 else 0

    @classmethod
    def fit(cls, plain: Plain) -> Choice:
        """The coding of the values that there are, sorted."""
        return cls(tuple(sorted(pandas().unique(plain).tolist())))

    def index(self, plain: Plain) -> npt.NDArray[np.int64]:
        """Which level each value is, [rows]."""
        found = pandas().Index(self._array(plain.dtype)).get_indexer(plain)
        return found.astype(np.int64)  # type: ignore[no-any-return]

    def take(self, index: npt.NDArray[np.int64], dtype: npt.DTypeLike) -> Plain:
        """The level of each index, [rows]."""
        return self._array(dtype)[index]

    def encode(self, plain: Plain) -> Features:
        """Values [rows] as features [rows, features]."""
        features = np.zeros((len(plain), self.features))
        if self.features:
            features[np.arange(len(plain)), self.index(plain)] = 1
        return features

    def decode(self, features: Features, dtype: npt.DTypeLike) -> Plain:
        """Features [rows, features] as values [rows] of a type: the level of the highest."""
        index = features.argmax(axis=1) if self.features else np.zeros(len(features), np.int64)
        return self.take(index, dtype)

    def _array(self, dtype: npt.DTypeLike) -> Plain:
        return np.array(self.levels, dtype=dtype)

    def to_dict(self) -> dict[str, Any]:
        """In numbers, strings, lists and dicts."""
        return {"kind": "choice", "levels": list(self.levels)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Choice:
        """The inverse of `to_dict`."""
        return cls(tuple(values["levels"]))


def coding_of(values: dict[str, Any]) -> Number | Choice:
    """The coding whose `to_dict` gave `values`."""
    return (Number if values["kind"] == "number" else Choice).from_dict(values)
