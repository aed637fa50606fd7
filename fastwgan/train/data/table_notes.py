"""What a person must know of a table before it is trained on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from fastwgan.train.data.naming import counted, some
from fastwgan.train.data.table_coding import Number
from fastwgan.train.data.table_column import Column
from fastwgan.train.data.table_layout import TableLayout
from fastwgan.train.data.table_values import pandas

_SHOWN = 20  # columns
_WILD = 100.0  # half-widths of the middle 90 % from the median
_APART = 10.0  # times as far as what isn't wild
_FEW = 0.01  # of the rows
_DAY = re.compile(r"\d+-\d\d-\d\d")


def notes(frame: Any, layout: TableLayout) -> Iterator[str]:
    """Sentences on a pandas table and what is made of it."""
    described = [f"{column.name}: {_described(column, layout)}" for column in layout.columns]
    yield f"Columns: {some(described, ' · ', most=_SHOWN)}."
    yield from _missing(frame)
    yield from _wild(frame, layout)
    yield from _rounded(frame, layout)
    yield from _left_out(frame)


def _described(column: Column, layout: TableLayout) -> str:
    if column.name == layout.label:
        return f"the labels, {counted(len(layout.classes), 'class', 'classes')}"
    if isinstance(column.coding, Number):
        low, high = (_shown(value) for value in column.ends())
        if column.storage.kind in ("time", "date"):
            days = _DAY.fullmatch(low) and _DAY.fullmatch(high)
            return f"{'dates' if days else 'times'} {low} to {high}"
        return f"numbers {low} to {high}"
    levels = len(column.coding.levels)
    if levels > 1:
        return f"{levels} categories"
    return "constant" if levels else "all missing"


def _shown(value: Any) -> str:
    """A number in up to six digits, midnight as its day."""
    if isinstance(value, float):
        return f"{value:g}"
    return str(value).removesuffix(" 00:00:00")


def _wild(frame: Any, layout: TableLayout) -> Iterator[str]:
    """On few values far beyond all others: slips, or codes among numbers."""
    found = [text for column in layout.columns for text in _wild_of(column, frame[column.name])]
    if found:
        yield (
            f"Far beyond all others, and perhaps slips, are {some(found, '; ')}. Mend them or "
            "leave those cells empty."
        )


def _wild_of(column: Column, given: Any) -> Iterator[str]:
    if not isinstance(column.coding, Number):
        return
    present = np.flatnonzero(given.notna())
    distances = column.coding.distances(column.storage.to_plain(given.iloc[present]))
    wild = distances > _WILD
    others, count = distances[~wild].max(), int(wild.sum())
    few = 0 < count <= max(1, _FEW * len(given))
    if few and distances[wild].min() >= _APART * others:
        row = present[distances.argmax()]
        more = f" and {counted(count - 1, 'more row')}" if count > 1 else ""
        yield (
            f"{column.name} {_shown(given.iloc[row])} in row {row + 1:,} below the header{more}, "
            f"{distances.max() / others:,.0f} times as far from the median as the rest"
        )


def _missing(frame: Any) -> Iterator[str]:
    counts = frame.isna().sum()
    found = [f"{name} in {count:,}" for name, count in counts.items() if count]
    if found:
        yield (
            f"Of {counted(len(frame), 'row')} values are missing, as they will be of samples: "
            f"{some(found)}."
        )


def _rounded(frame: Any, layout: TableLayout) -> Iterator[str]:
    """On columns of whole numbers and times that float32 can't tell apart."""
    rounded = []
    for column in layout.columns:
        grid = column.coding.grid if isinstance(column.coding, Number) else None
        if grid is not None and grid.whole:
            given = frame[column.name].reset_index(drop=True)
            if not column.decode(column.encode(given).astype(float)).equals(given):
                rounded.append(column.name)
    if rounded:
        yield (
            f"Values of {some(rounded)} span more steps than float32 can tell apart, and come back "
            "rounded; a column that only numbers its rows is better left out."
        )


def _left_out(frame: Any) -> Iterator[str]:
    if not isinstance(frame.index, pandas().RangeIndex):
        yield "The table's index was left out: make it a column to imitate it too."
