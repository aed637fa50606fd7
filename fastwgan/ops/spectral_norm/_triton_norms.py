"""Device code of the forward's norms; each program takes them anew from what was launched before.

Sums of squares are float64. Those of float64 numbers can leave its range, above 1e154 or below
1e-154: then the numbers are scaled by a power of two, exactly, and read once more.
"""

from __future__ import annotations

import triton
import triton.language as tl

from fastwgan.ops._triton import number

BLOCK = tl.constexpr(1024)


@triton.jit
def added_up(parts, count):
    """The sum of `count` float64 numbers, in a fixed order."""
    total = tl.zeros([BLOCK], tl.float64)
    for start in range(0, count, BLOCK):
        offsets = start + tl.arange(0, BLOCK)
        total += tl.load(parts + offsets, mask=offsets < count, other=0.0)
    return tl.sum(total, axis=0)


@triton.jit
def norm_of(squares, count, products, size, WIDE: tl.constexpr):
    """The norm of `products` from the parts of its sum of squares, or of the numbers scaled."""
    square = added_up(squares, count)
    norm = tl.sqrt(square)
    if _out_of_range(square, WIDE):
        scale = _scale_of(square)
        total = tl.zeros([BLOCK], tl.float64)
        for start in range(0, size, BLOCK):
            offsets = start + tl.arange(0, BLOCK)
            scaled = scale * tl.load(products + offsets, mask=offsets < size, other=0.0)
            total += scaled * scaled
        norm = tl.sqrt(tl.sum(total, axis=0)) / scale
    return norm.to(WIDE)


@triton.jit
def norm_of_parts(part_sums, columns, parts, WIDE: tl.constexpr):
    """The norm of Wᵀu from its parts."""
    square = _squares_of_parts(part_sums, columns, parts, number(1, tl.float64))
    norm = tl.sqrt(square)
    if _out_of_range(square, WIDE):
        scale = _scale_of(square)
        norm = tl.sqrt(_squares_of_parts(part_sums, columns, parts, scale)) / scale
    return norm.to(WIDE)


@triton.jit
def _squares_of_parts(part_sums, columns, parts, scale):
    squares = tl.zeros([BLOCK], tl.float64)
    for start in range(0, columns, BLOCK):
        total = parts_at(part_sums, start + tl.arange(0, BLOCK), columns, parts)
        at = scale * total.to(tl.float64)
        squares += at * at
    return tl.sum(squares, axis=0)


@triton.jit
def parts_at(part_sums, column, columns, parts):
    """Wᵀu at some columns: its parts added up in their order."""
    total = tl.load(part_sums + column, mask=column < columns, other=0.0)
    for part in range(1, parts):
        total += tl.load(part_sums + part * columns + column, mask=column < columns, other=0.0)
    return total


@triton.jit
def _out_of_range(square, WIDE: tl.constexpr):
    """Whether a sum of squares, in float64, says nothing of the norm; float32's always does."""
    outside = False
    if WIDE == tl.float64:  # noqa: SIM300
        outside = (square < number(1e-280, WIDE)) | (square > number(1e300, WIDE))
    return outside


@triton.jit
def _scale_of(square):
    """A power of two that takes numbers whose squares sum up to this to where theirs do not."""
    up, down = number(2.0**600, tl.float64), number(2.0**-600, tl.float64)
    return tl.where(square < 1, up, down)
