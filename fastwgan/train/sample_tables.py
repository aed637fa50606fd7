"""Samples as tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fastwgan.train.data import DataSpec
from fastwgan.train.extras import require

if TYPE_CHECKING:
    from fastwgan.train.data.table_layout import TableLayout
    from fastwgan.train.sample_files import Samples

_ROWS = 16_384  # a row group of .parquet: small ones are slow to read


def write_csv(path: Path, spec: DataSpec, count: int, samples: Samples) -> None:
    """A header and the rows, in UTF-8; a missing value is empty."""
    assert spec.table is not None
    with path.open("x", encoding="utf-8", newline="") as file:
        for number, frame in enumerate(_frames(spec.table, samples)):
            frame.to_csv(file, index=False, header=number == 0)


def write_parquet(path: Path, spec: DataSpec, count: int, samples: Samples) -> None:
    """Columns with the types, categories included, that the table had."""
    assert spec.table is not None
    arrow = require("pyarrow", "writing .parquet files")
    files = require("pyarrow.parquet", "writing .parquet files")
    frames = _frames(spec.table, samples)
    first = next(frames)
    schema = _schema(spec.table, labelled=spec.table.label in first)
    with files.ParquetWriter(path, schema) as writer:
        while first is not None:
            writer.write_table(arrow.Table.from_pandas(first, schema, preserve_index=False))
            first = next(frames, None)


def _schema(table: TableLayout, *, labelled: bool) -> Any:
    """The types of a row without missing values: a block may have a column of them alone."""
    arrow = require("pyarrow", "writing .parquet files")
    label = torch.zeros(1, dtype=torch.int64) if labelled else None
    return arrow.Schema.from_pandas(
        table.frame(torch.zeros(1, table.features), label), preserve_index=False
    )


def _frames(table: TableLayout, samples: Samples) -> Iterator[Any]:
    """Blocks of at least `_ROWS` rows, but for the last."""
    rows: list[Tensor] = []
    labels: list[Tensor] = []
    held = 0
    for each, its_labels in samples:
        rows.append(each)
        labels += [] if its_labels is None else [its_labels]
        held += len(each)
        if held >= _ROWS:
            yield _frame(table, rows, labels)
            rows, labels, held = [], [], 0
    if rows:
        yield _frame(table, rows, labels)


def _frame(table: TableLayout, rows: list[Tensor], labels: list[Tensor]) -> Any:
    return table.frame(torch.cat(rows), torch.cat(labels) if labels else None)
