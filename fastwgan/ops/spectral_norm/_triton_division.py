"""The forward's last kernel: the weights over sigma, and u, v and sigma themselves."""

from __future__ import annotations

import triton
import triton.language as tl

from fastwgan.ops._triton import ALIGNMENT, divided, load, number, store
from fastwgan.ops.spectral_norm import _triton_plan as plan
from fastwgan.ops.spectral_norm._triton_forward import BAND, FIELDS, VECTOR, unit
from fastwgan.ops.spectral_norm._triton_norms import BLOCK, added_up, norm_of

FLAT = tl.constexpr(plan.FLAT)
_WEIGHT, _U, _V, _OUTPUT, _ROWS, _COLUMNS = (tl.constexpr(index) for index in range(6))
_VECTORS, _COLUMN_PRODUCTS, _ROW_PRODUCTS, _COLUMN_SQUARES, _ROW_SQUARES = (
    tl.constexpr(index) for index in (9, 11, 12, 13, 14)
)


@triton.jit
def divide_kernel(
    layers,
    programs,
    scratch,
    sums,
    sigma,
    vectors,
    eps: tl.float64,
    MATRIX: tl.constexpr,
    WIDE: tl.constexpr,
    ITERATED: tl.constexpr,
    U_FIRST: tl.constexpr,
):
    """W / sigma on FLAT elements; or u and v on VECTOR elements, and sigma."""
    program = tl.load(programs + tl.program_id(0))
    index = program >> 32
    layer = layers + index * FIELDS
    rows, columns = tl.load(layer + _ROWS), tl.load(layer + _COLUMNS)
    piece = program & 0xFFFFFFFF
    # 0 where nothing was iterated: then u and v are the given ones.
    row_norm, column_norm = number(0, WIDE), number(0, WIDE)
    if ITERATED:
        row_squares = sums + tl.load(layer + _ROW_SQUARES)
        row_products = scratch + tl.load(layer + _ROW_PRODUCTS)
        row_norm = norm_of(row_squares, tl.cdiv(rows, BAND), row_products, rows, WIDE)
        column_squares = sums + tl.load(layer + _COLUMN_SQUARES)
        column_products = scratch + tl.load(layer + _COLUMN_PRODUCTS)
        column_norm = norm_of(
            column_squares, tl.cdiv(columns, VECTOR), column_products, columns, WIDE
        )
        norm = column_norm if U_FIRST else row_norm
        # <p / max(|p|, eps), p> for the last product p.
        least = number(eps, WIDE)
        found = tl.where(norm < least, norm * (norm / tl.where(least == 0, 1, least)), norm)
    else:
        found = added_up(sums + tl.load(layer + _ROW_SQUARES), tl.cdiv(rows, BAND)).to(WIDE)
    pieces = tl.cdiv(rows * columns, FLAT)
    if piece < pieces:
        _divide(layer, piece, rows * columns, found, MATRIX, WIDE)
    else:
        if piece == pieces:
            tl.store(sigma + index, found)
        _write_vectors(
            layer, piece - pieces, rows, columns, scratch, vectors, row_norm, column_norm,
            number(eps, WIDE), WIDE, ITERATED,
        )  # fmt: skip


@triton.jit
def _divide(layer, piece, size, sigma, MATRIX: tl.constexpr, WIDE: tl.constexpr):
    weight, output = tl.load(layer + _WEIGHT), tl.load(layer + _OUTPUT)
    source = weight.to(tl.pointer_type(MATRIX))
    target = output.to(tl.pointer_type(MATRIX))
    first = piece * FLAT
    if ((weight | output) % ALIGNMENT == 0) & (first + FLAT <= size):
        for start in range(0, FLAT, BLOCK):
            _divide_block(source, target, first + start, size, sigma, WIDE, True)
    else:
        for start in range(0, FLAT, BLOCK):
            _divide_block(source, target, first + start, size, sigma, WIDE, False)


@triton.jit
def _divide_block(source, target, start, size, sigma, WIDE: tl.constexpr, WHOLE: tl.constexpr):
    offsets = start + tl.arange(0, BLOCK)
    inside = offsets < size
    x = load(source, offsets, inside, WIDE, WHOLE)
    divisor = tl.where(sigma == 0, number(1, WIDE), sigma) + tl.zeros_like(x)
    quotient = tl.where(sigma == 0, tl.zeros_like(x), divided(x, divisor, WIDE))
    store(target, offsets, inside, quotient, WHOLE)


@triton.jit
def _write_vectors(
    layer,
    piece,
    rows,
    columns,
    scratch,
    vectors,
    row_norm,
    column_norm,
    eps,
    WIDE: tl.constexpr,
    ITERATED: tl.constexpr,
):
    """VECTOR elements of u followed by v: in place, and into `vectors`."""
    at = piece * VECTOR + tl.arange(0, VECTOR)
    own = vectors + tl.load(layer + _VECTORS) + at
    u = tl.load(layer + _U).to(tl.pointer_type(WIDE)) + at
    v = tl.load(layer + _V).to(tl.pointer_type(WIDE)) + (at - rows)
    in_u = at < rows
    in_v = (at >= rows) & (at < rows + columns)
    left, right = tl.load(u, mask=in_u, other=0.0), tl.load(v, mask=in_v, other=0.0)
    if ITERATED:
        product = tl.load(scratch + tl.load(layer + _ROW_PRODUCTS) + at, mask=in_u, other=0.0)
        left = unit(product, left, row_norm, eps, WIDE)
        sources = scratch + tl.load(layer + _COLUMN_PRODUCTS) + (at - rows)
        right = unit(tl.load(sources, mask=in_v, other=0.0), right, column_norm, eps, WIDE)
        tl.store(u, left, mask=in_u)
        tl.store(v, right, mask=in_v)
    tl.store(own, left, mask=in_u)
    tl.store(own, right, mask=in_v)
