"""Tables as data sets."""

from __future__ import annotations

from typing import Any, NoReturn

from fastwgan.train.config import ConfigError
from fastwgan.train.data import table_notes
from fastwgan.train.data.dataset import Data
from fastwgan.train.data.naming import counted, some
from fastwgan.train.data.splitting import hold_out
from fastwgan.train.data.table_column import Column
from fastwgan.train.data.table_layout import TableLayout
from fastwgan.train.data.table_values import UnusableColumnError
from fastwgan.train.suggestions import nearest


def from_frame(
    frame: Any, name: str = "table", label_column: str | None = None, *, source: str | None = None
) -> Data:
    """The rows of a pandas table; see `TableLayout` for what becomes of each column.

    Args:
        frame: Columns of numbers, text, booleans, categories, dates or times.
        name: Of the data.
        label_column: The column that holds each row's class rather than features.
        source: What an error calls the table; by default its name.

    Raises:
        ConfigError: there are fewer than two rows, nothing varies, or a column can't be coded.
    """
    source = source or name
    if len(frame) < 2:
        _refuse(source, f"which holds {counted(len(frame), 'row')}; it must hold at least two")
    _check_names(frame, source)
    if label_column is not None:
        _check_label_column(frame, label_column)
    layout = _layout(frame, label_column, source)
    if not layout.features:
        _refuse(source, "where no column but the labels' varies; there is nothing to imitate")
    notes = tuple(table_notes.notes(frame, layout))
    values, labels = layout.encode(frame), layout.labels(frame)
    return hold_out(
        Data(name, values, labels=labels, classes=layout.classes, table=layout, notes=notes)
    )


def _refuse(source: str, problem: str) -> NoReturn:
    raise ConfigError("data", f"was {source}, {problem}.")


def _check_names(frame: Any, source: str) -> None:
    strange = [repr(name) for name in frame.columns if not isinstance(name, str) or not name]
    if strange:
        _refuse(source, f"whose columns must have texts for names, but {some(strange)}")
    twice = sorted(set(frame.columns[frame.columns.duplicated()]))
    if twice:
        _refuse(source, f"which has more than one column named {some(twice)}")


def _check_label_column(frame: Any, label_column: str) -> None:
    if label_column not in frame.columns:
        raise ConfigError(
            "label_column",
            f"was {label_column!r}{nearest(label_column, frame.columns)}; "
            f"it must be one of {', '.join(frame.columns)}.",
        )
    missing = int(frame[label_column].isna().sum())
    if missing:
        raise ConfigError(
            "label_column",
            f"was {label_column!r}, which is missing in {counted(missing, 'row')} of "
            f"{len(frame):,}: fill it in, or leave these rows out.",
        )


def _layout(frame: Any, label_column: str | None, source: str) -> TableLayout:
    columns, problems = [], []
    for name in frame.columns:
        try:
            columns.append(Column.fit(name, frame[name], levels=name == label_column))
        except UnusableColumnError as error:
            if name == label_column:
                raise ConfigError("label_column", f"was {name!r}, which {error}.") from None
            problems.append(f"{name} {error}")
    if problems:
        can = "column can't" if len(problems) == 1 else "columns can't"
        _refuse(
            source,
            f"where {len(problems)} {can} be used, and must be left out or changed: "
            f"{some(problems, '; ')}",
        )
    return TableLayout(tuple(columns), label_column)
