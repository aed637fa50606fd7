"""Kernels of the forward: products with a matrix and its transpose.

Every kernel takes the layers' table (`_triton_plan.FIELDS`), its programs, the scratch memory and
the sums of squares. A vector that was not taken, since its product was zero, is the given one.
"""

from __future__ import annotations

import triton
import triton.language as tl

from fastwgan.ops._triton import ALIGNMENT, divided, number
from fastwgan.ops.spectral_norm import _triton_plan as plan
from fastwgan.ops.spectral_norm._triton_norms import norm_of, norm_of_parts, parts_at

FIELDS = tl.constexpr(len(plan.FIELDS))
BAND, STRIP, VECTOR = (tl.constexpr(size) for size in (plan.BAND, plan.STRIP, plan.VECTOR))
HEIGHT = tl.constexpr(16)  # rows of a tile of Wᵀu
WIDTH = tl.constexpr(1024)  # bytes of a row of a tile of W v, in the dtype that is computed in
_WEIGHT, _U, _V = (tl.constexpr(index) for index in range(3))
_ROWS, _COLUMNS, _INNER, _PART_ROWS, _PARTS = (tl.constexpr(index) for index in range(4, 9))
_PART_SUMS, _COLUMN_PRODUCTS, _ROW_PRODUCTS, _COLUMN_SQUARES, _ROW_SQUARES = (
    tl.constexpr(index) for index in range(10, 15)
)


@triton.jit
def place_of(column, rows, inner):
    """Where a column of row 0 lies in memory; columns are fewer than 2^31: its division is dear."""
    narrow, length = column.to(tl.int32), inner.to(tl.int32)
    return (narrow // length).to(tl.int64) * (rows * inner) + narrow % length


@triton.jit
def is_plain(address, columns, inner):
    """Whether rows start at multiples of 16 bytes, and so does each run of 16 columns."""
    return (columns == inner) & (inner % ALIGNMENT == 0) & (address % ALIGNMENT == 0)


@triton.jit
def tile(
    address, row, column, rows, columns, inner, MATRIX: tl.constexpr, WIDE: tl.constexpr,
    PLAIN: tl.constexpr,
):  # fmt: skip
    """W[row, column] of a weight [outer, rows, inner], 0 outside; PLAIN: by the widest access."""
    pointer = address.to(tl.pointer_type(MATRIX))
    if PLAIN:
        inner = tl.multiple_of(inner, ALIGNMENT)
        starts = tl.multiple_of(row[:, None] * inner, [1, ALIGNMENT])
        pointers = tl.multiple_of(pointer + (starts + column[None, :]), [1, ALIGNMENT])
        whole = tl.max_constancy((column < columns)[None, :], [1, ALIGNMENT])
        return tl.load(pointers, mask=whole & (row < rows)[:, None], other=0.0).to(WIDE)
    else:  # noqa: RET505
        inside = (row < rows)[:, None] & (column < columns)[None, :]
        pointers = pointer + (row[:, None] * inner + place_of(column, rows, inner)[None, :])
        return tl.load(pointers, mask=inside, other=0.0).to(WIDE)


@triton.jit
def unit(product, given, norm, eps, WIDE: tl.constexpr):
    """A product over its norm, at least eps; where the norm is 0, the given vector."""
    divisor = tl.where(norm < eps, eps, norm)  # NaN stays
    divisor = tl.where(norm == 0, number(1, WIDE), divisor)
    return tl.where(norm == 0, given, divided(product, divisor + tl.zeros_like(product), WIDE))


@triton.jit
def columns_kernel(
    layers,
    programs,
    scratch,
    sums,
    eps: tl.float64,
    MATRIX: tl.constexpr,
    WIDE: tl.constexpr,
    GIVEN: tl.constexpr,
):
    """One part, of PART_ROWS rows, of Wᵀu on a strip of columns; u given, or W v over its norm."""
    program = tl.load(programs + tl.program_id(0))
    layer = layers + (program >> 32) * FIELDS
    rows, columns, inner = (
        tl.load(layer + _ROWS),
        tl.load(layer + _COLUMNS),
        tl.load(layer + _INNER),
    )
    part_rows, parts = tl.load(layer + _PART_ROWS), tl.load(layer + _PARTS)
    piece = program & 0xFFFFFFFF
    part, strip = piece % parts, piece // parts
    weight = tl.load(layer + _WEIGHT)
    u = tl.load(layer + _U).to(tl.pointer_type(WIDE))
    products = scratch + tl.load(layer + _ROW_PRODUCTS)
    norm = number(0, WIDE)
    if not GIVEN:
        squares = sums + tl.load(layer + _ROW_SQUARES)
        norm = norm_of(squares, tl.cdiv(rows, BAND), products, rows, WIDE)
    column = strip * STRIP + tl.arange(0, STRIP)
    plain = is_plain(weight, columns, inner)
    total = tl.zeros([HEIGHT, STRIP], WIDE)
    for start in range(0, part_rows, HEIGHT):
        row = part * part_rows + start + tl.arange(0, HEIGHT)
        left = tl.load(u + row, mask=(row < rows) & (norm == 0), other=0.0)
        if not GIVEN:
            product = tl.load(products + row, mask=row < rows, other=0.0)
            left = unit(product, left, norm, number(eps, WIDE), WIDE)
        if plain:
            x = tile(weight, row, column, rows, columns, inner, MATRIX, WIDE, True)
        else:
            x = tile(weight, row, column, rows, columns, inner, MATRIX, WIDE, False)
        total += x * left[:, None]
    target = scratch + tl.load(layer + _PART_SUMS) + part * columns + column
    tl.store(target, tl.sum(total, axis=0), mask=column < columns)


@triton.jit
def columns_sum_kernel(layers, programs, scratch, sums, WIDE: tl.constexpr):
    """Wᵀu on VECTOR columns, and the sum of their squares."""
    program = tl.load(programs + tl.program_id(0))
    layer = layers + (program >> 32) * FIELDS
    columns, parts = tl.load(layer + _COLUMNS), tl.load(layer + _PARTS)
    piece = program & 0xFFFFFFFF
    column = piece * VECTOR + tl.arange(0, VECTOR)
    total = parts_at(scratch + tl.load(layer + _PART_SUMS), column, columns, parts)
    target = scratch + tl.load(layer + _COLUMN_PRODUCTS) + column
    tl.store(target, total, mask=column < columns)
    wide = total.to(tl.float64)
    tl.store(sums + tl.load(layer + _COLUMN_SQUARES) + piece, tl.sum(wide * wide, axis=0))


@triton.jit
def _times_right(
    weight, row, rows, columns, inner, v, products, part_sums, parts, norm, least,
    MATRIX: tl.constexpr, WIDE: tl.constexpr, SOURCE: tl.constexpr, PLAIN: tl.constexpr,
):  # fmt: skip
    """W v on BAND rows. The loop stands in each branch of its caller: it holds fewer registers."""
    width: tl.constexpr = WIDTH * 8 // WIDE.primitive_bitwidth
    total = tl.zeros([BAND, width], WIDE)
    for start in range(0, columns, width):
        column = start + tl.arange(0, width).to(tl.int64)
        right = tl.load(v + column, mask=(column < columns) & (norm == 0), other=0.0)
        if SOURCE == 1:
            product = tl.load(products + column, mask=column < columns, other=0.0)
            right = unit(product, right, norm, least, WIDE)
        if SOURCE == 2:
            right = unit(parts_at(part_sums, column, columns, parts), right, norm, least, WIDE)
        x = tile(weight, row, column, rows, columns, inner, MATRIX, WIDE, PLAIN)
        total += x * right[None, :]
    return tl.sum(total, axis=1)


@triton.jit
def rows_kernel(
    layers,
    programs,
    scratch,
    sums,
    eps: tl.float64,
    MATRIX: tl.constexpr,
    WIDE: tl.constexpr,
    SOURCE: tl.constexpr,  # of v: 0 given, 1 the sum of Wᵀu's parts, 2 the parts
    DOTS: tl.constexpr,
):
    """W v on BAND rows; and the sum of their squares, or with DOTS their part of <u, W v>."""
    program = tl.load(programs + tl.program_id(0))
    layer = layers + (program >> 32) * FIELDS
    rows, columns, inner = (
        tl.load(layer + _ROWS),
        tl.load(layer + _COLUMNS),
        tl.load(layer + _INNER),
    )
    parts = tl.load(layer + _PARTS)
    piece = program & 0xFFFFFFFF
    weight = tl.load(layer + _WEIGHT)
    v = tl.load(layer + _V).to(tl.pointer_type(WIDE))
    part_sums = scratch + tl.load(layer + _PART_SUMS)
    products = scratch + tl.load(layer + _COLUMN_PRODUCTS)
    norm = number(0, WIDE)
    if SOURCE == 1:
        squares = sums + tl.load(layer + _COLUMN_SQUARES)
        norm = norm_of(squares, tl.cdiv(columns, VECTOR), products, columns, WIDE)
    if SOURCE == 2:
        norm = norm_of_parts(part_sums, columns, parts, WIDE)
    row = piece * BAND + tl.arange(0, BAND)
    least = number(eps, WIDE)
    if is_plain(weight, columns, inner):
        found = _times_right(
            weight, row, rows, columns, inner, v, products, part_sums, parts, norm, least,
            MATRIX, WIDE, SOURCE, True,
        )  # fmt: skip
    else:
        found = _times_right(
            weight, row, rows, columns, inner, v, products, part_sums, parts, norm, least,
            MATRIX, WIDE, SOURCE, False,
        )  # fmt: skip
    tl.store(scratch + tl.load(layer + _ROW_PRODUCTS) + row, found, mask=row < rows)
    wide = found.to(tl.float64)
    other = wide
    if DOTS:
        u = tl.load(layer + _U).to(tl.pointer_type(WIDE))
        other = tl.load(u + row, mask=row < rows, other=0.0).to(tl.float64)
    tl.store(sums + tl.load(layer + _ROW_SQUARES) + piece, tl.sum(wide * other, axis=0))
