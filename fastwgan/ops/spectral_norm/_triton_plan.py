"""Which program of which launch does what, for a group of weights: planned once for their shapes.

A weight is memory [outer, rows, inner]; its matrix is [rows, columns], columns = outer * inner. A
program is one number: the layer in the upper half, the index of its piece in the lower.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from fastwgan.ops import _triton

# Sizes of the pieces; the kernels read them from here.
BAND = 4  # rows of W v in one program
STRIP = 64  # columns of a part of Wᵀu in one program
MOST_PARTS = 8  # parts of Wᵀu
LEAST_PART = 64  # rows of a part
VECTOR = 1024  # elements of u or v in one program
FLAT = 4096  # elements of a weight in one program of the division
DOTTED = 16384  # elements of a weight in one part of <G, W>
TILE_ROWS, TILE_COLUMNS = 16, 256  # of a gradient in one program

# Entries of a layer's row in the table.
FIELDS = (
    "weight",  # addresses; in the backward the cotangent, the output twice, and the gradient
    "u",
    "v",
    "output",
    "rows",
    "columns",
    "inner",
    "part_rows",  # rows of a part of Wᵀu
    "parts",
    "vectors",  # where its u, then its v start in `vectors`
    "part_sums",  # where its parts of Wᵀu [parts, columns] start in the scratch memory
    "column_products",  # where its Wᵀu [columns] starts
    "row_products",  # where its W v [rows] starts
    "column_squares",  # where the sums of squares of Wᵀu start in `sums`, one a VECTOR
    "row_squares",  # where those of W v start, or the parts of <u, W v>; one a BAND
    "dots",  # where its parts of <G, W> start, one a DOTTED
)


class Extents(NamedTuple):
    outer: int
    rows: int
    inner: int


class Plan:
    """The programs of every launch, and where each layer's part of the scratch memory starts."""

    def __init__(self, extents: Sequence[Extents]) -> None:
        self.layers: list[tuple[int, ...]] = []  # FIELDS from "rows" on
        self.vectors = self.scratch = self.sums = 0
        dots = 0
        for outer, rows, inner in extents:
            columns = outer * inner
            part_rows = max(LEAST_PART, -(-rows // MOST_PARTS // 16) * 16)
            parts = max(-(-rows // part_rows), 1)
            part_sums = self.scratch
            column_products = part_sums + parts * columns
            row_products = column_products + columns
            self.scratch = row_products + rows
            column_squares = self.sums
            row_squares = column_squares + -(-columns // VECTOR)
            self.sums = row_squares + -(-rows // BAND)
            own = (
                *(rows, columns, inner, part_rows, parts, self.vectors, part_sums),
                *(column_products, row_products, column_squares, row_squares, dots),
            )
            self.layers.append(own)
            self.vectors += rows + columns
            dots += -(-rows * columns // DOTTED)
        self._plan(extents)

    def _plan(self, extents: Sequence[Extents]) -> None:
        rows = [each.rows for each in extents]
        columns = [each.outer * each.inner for each in extents]
        sizes = [r * c for r, c in zip(rows, columns, strict=True)]
        self.strips = [
            index << 32 | piece
            for index, own in enumerate(self.layers)
            for piece in range(-(-columns[index] // STRIP) * own[4])
        ]
        self.bands = _triton.chunks_of(rows, BAND)
        self.columns = _triton.chunks_of(columns, VECTOR)
        self.weights = _triton.chunks_of(sizes, DOTTED)
        # A layer's own pieces first, then those of u and v, and one at least: it writes sigma.
        self.flat = [
            index << 32 | piece
            for index, size in enumerate(sizes)
            for piece in range(
                -(-size // FLAT) + max(-(-(rows[index] + columns[index]) // VECTOR), 1)
            )
        ]
        self.tiles = [
            index << 32 | piece
            for index in range(len(extents))
            for piece in range(-(-rows[index] // TILE_ROWS) * -(-columns[index] // TILE_COLUMNS))
        ]

    def rows(self, *tensors: Sequence[Tensor]) -> Iterable[int]:
        """The layers' rows of the table: addresses of the four lists of tensors, then the plan."""
        for own, *four in zip(self.layers, *tensors, strict=True):
            yield from (tensor.data_ptr() for tensor in four)
            yield from own

    def table(self, programs: list[int], device: torch.device) -> Tensor:
        """One of the plan's lists of programs in the memory of the device."""
        return _triton.table(programs, device)


def plan_of(weights: Sequence[Tensor], dims: Sequence[int]) -> Plan:
    """The plan for contiguous weights whose dimensions `dims` are the rows."""
    return _planned(tuple(map(_extents, weights, dims)))


def _extents(weight: Tensor, dim: int) -> Extents:
    shape = weight.shape
    return Extents(prod(shape[:dim]), shape[dim], prod(shape[dim + 1 :]))


_planned = lru_cache(maxsize=64)(Plan)
