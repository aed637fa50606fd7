"""Whole numbers, and floats of few decimals, as steps from the lowest."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastwgan.train.data.table_values import Plain

    Positions = npt.NDArray[np.float64]

_MOST_DECIMALS = 9
_EXACT = 2**53  # whole numbers up to here are floats
_WRAP = 2**64


@dataclass(frozen=True)
class Grid:
    """The values `(low + step * k) / 10 ** decimals` for k from 0 to `steps`.

    Attributes:
        low: Of the lowest value.
        step: The greatest that all values share.
        steps: From the lowest value to the highest.
        decimals: 0 for whole numbers.
        whole: Whether the values are of an integer type.
    """

    low: int
    step: int
    steps: int
    decimals: int
    whole: bool

    @classmethod
    def fit(cls, plain: Plain) -> Grid | None:
        """The grid of values of int64, uint64 or float64; None for floats of too many decimals."""
        whole = plain.dtype.kind in "iu"
        decimals = 0 if whole else _decimals(plain)
        if decimals is None:
            return None
        scaled = _whole(plain, decimals)
        low = int(scaled.min())
        counts = _above(scaled, low)
        step = int(np.gcd.reduce(counts)) or 1
        return cls(low, step, int(counts.max()) // step, decimals, whole)

    def positions(self, plain: Plain) -> Positions:
        """Steps from the lowest, as floats."""
        counts = _above(_whole(plain, self.decimals), self.low)
        steps: Positions = (counts // np.uint64(self.step)).astype(np.float64)
        return steps

    def values(self, positions: Positions, dtype: npt.DTypeLike) -> Plain:
        """The nearest values, of a type, none of them beyond the lowest and the highest."""
        counts = np.full(len(positions), self.steps, np.uint64)
        inner = positions < float(self.steps)
        counts[inner] = np.rint(positions[inner].clip(0)).astype(np.uint64)
        scaled = counts * np.uint64(self.step) + np.uint64(self.low % _WRAP)
        values: Plain = scaled.view(dtype if self.whole else np.int64)
        return values if self.whole else values / 10.0**self.decimals

    def to_dict(self) -> dict[str, Any]:
        """In numbers."""
        return dataclasses.asdict(self)


def _decimals(values: Plain) -> int | None:
    """The fewest decimals that all values have; None for more than `_MOST_DECIMALS`."""
    largest = float(np.abs(values).max())
    for decimals in range(_MOST_DECIMALS + 1):
        if largest * 10.0**decimals >= _EXACT:
            return None
        if (np.rint(values * 10.0**decimals) / 10.0**decimals == values).all():
            return decimals
    return None


def _whole(plain: Plain, decimals: int) -> Plain:
    """The values times 10 ** `decimals`, of an integer type."""
    return plain if plain.dtype.kind in "iu" else np.rint(plain * 10.0**decimals).astype(np.int64)


def _above(values: Plain, low: int) -> Plain:
    """How far whole numbers lie above the lowest, which int64 may not hold: modulo 2 ** 64."""
    distance: Plain = values.astype(np.uint64) - np.uint64(low % _WRAP)
    return distance
