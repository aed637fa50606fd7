"""Tables in .csv and .parquet files."""

from __future__ import annotations

import contextlib
import csv
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastwgan.train.config import ConfigError
from fastwgan.train.data.dataset import Data
from fastwgan.train.data.naming import some
from fastwgan.train.data.table_values import pandas
from fastwgan.train.data.tables import from_frame
from fastwgan.train.extras import require

_ISO_TIME = r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)?"


def load(path: Path, name: str, label_column: str | None) -> Data:
    """The rows of a `.csv`, with a header, commas and UTF-8, or of a `.parquet`.

    Raises:
        ConfigError: the file can't be read, or `from_frame` refuses what it holds.
        MissingExtraError: pandas, or for `.parquet` pyarrow, isn't installed.
    """
    frame = (_parquet if path.suffix.lower() == ".parquet" else _csv)(path)
    return from_frame(frame, name, label_column, source=str(path))


def _refusal(path: Path, problem: str) -> ConfigError:
    return ConfigError("data", f"was {path}, which {problem}.")


def _csv(path: Path) -> Any:
    """The table, texts that are all dates or times of ISO 8601 as times."""
    frames = pandas()
    try:
        problem = _header_problem(path)
        if problem is None:
            with warnings.catch_warnings():
                warnings.simplefilter("error", frames.errors.ParserWarning)
                frame = _read_csv(path, dtype_backend="numpy_nullable")
                frame = _with_large_numbers(frame, path)
    except UnicodeDecodeError as error:
        problem = f"isn't UTF-8: it holds the byte 0x{error.object[error.start]:02x}"
    except (frames.errors.ParserWarning, OSError, ValueError, csv.Error) as error:
        problem = _cannot(error)
    if problem is not None:
        raise _refusal(path, problem)
    return frames.DataFrame({name: _typed(frame[name]) for name in frame.columns})


def _read_csv(path: Path, **options: Any) -> Any:
    return pandas().read_csv(path, encoding="utf-8-sig", index_col=False, **options)


def _with_large_numbers(frame: Any, path: Path) -> Any:
    """The table with whole numbers of 2^63 and above, which pandas before 3 reads as missing."""
    frames = pandas()
    if int(frames.__version__.partition(".")[0]) >= 3:
        return frame
    whole = [
        name
        for name, column in frame.items()
        if frames.api.types.is_integer_dtype(column.dtype) and column.isna().any()
    ]
    texts = _read_csv(path, usecols=whole, dtype="string") if whole else {}
    for name in whole:
        if texts[name].notna().all():
            numbers = [int(text) for text in texts[name]]
            frame[name] = frames.array(numbers, dtype="UInt64" if min(numbers) >= 0 else "Float64")
    return frame


def _cannot(error: Exception) -> str:
    reason = str(error).partition("\n")[0].rstrip(". ")
    return f"can't be read as a table: {reason or type(error).__name__}"


def _header_problem(path: Path) -> str | None:
    """Where pandas would make up names, or take a row of values for names."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        names = next((row for row in csv.reader(file) if row), [])
    if not names:
        return "is empty"
    if "" in names:
        return f"has no name for its column {names.index('') + 1} in its first line"
    if all(_is_number(name) for name in names):
        return f"has no header: its first line, {some(names)}, must name the columns"
    if len(names) == 1 and any(mark in names[0] for mark in ";\t|"):
        return f"has the single column {names[0]!r}; columns must be separated by commas"
    return _repeated(names)


def _repeated(names: Sequence[str]) -> str | None:
    twice = sorted({name for name in names if names.count(name) > 1})
    return f"has more than one column named {some(twice)}" if twice else None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _typed(column: Any) -> Any:
    """A column without pandas' types for missing values where none are missing, times as times."""
    frames = pandas()
    types = frames.api.types
    if types.is_float_dtype(column.dtype):
        return column.astype("float64")
    present = column.dropna()
    if types.is_string_dtype(column.dtype):
        if len(present) and present.str.fullmatch(_ISO_TIME).all():
            with warnings.catch_warnings(), contextlib.suppress(ValueError, FutureWarning):
                warnings.simplefilter("error", FutureWarning)  # as pandas 2 says of several zones
                times = frames.to_datetime(column, format="ISO8601")
                if types.is_datetime64_any_dtype(times.dtype):  # not in several zones
                    return times
        return column
    return column if len(present) < len(column) else column.astype(column.dtype.numpy_dtype)


def _parquet(path: Path) -> Any:
    """The table; whole numbers and booleans stay such where some are missing."""
    arrow = require("pyarrow", "reading .parquet files")
    files = require("pyarrow.parquet", "reading .parquet files")
    try:
        problem = _repeated(files.read_schema(path).names)
        if problem is None:
            table = files.read_table(path)
            frame = table.to_pandas()
    except (arrow.ArrowException, *_DAMAGED) as error:
        problem = _cannot(error)
    if problem is not None:
        raise _refusal(path, problem)
    for field in table.schema:
        kind = _nullable(arrow, field.type)
        if kind is not None and table[field.name].null_count and field.name in frame:
            values = table[field.name].to_pandas(integer_object_nulls=True)
            frame[field.name] = pandas().array(values, dtype=kind)
    return frame


# What reading raises on bytes, and on pandas' notes in them, that aren't as they should be.
_DAMAGED = (OSError, ValueError, TypeError, KeyError, NotImplementedError)


def _nullable(arrow: Any, kind: Any) -> str | None:
    """pandas' type for whole numbers or booleans that may be missing; None for other types."""
    if arrow.types.is_boolean(kind):
        return "boolean"
    if not arrow.types.is_integer(kind):
        return None
    return f"{'Int' if arrow.types.is_signed_integer(kind) else 'UInt'}{kind.bit_width}"
