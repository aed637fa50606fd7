"""Kernels of the backward: <G, W> in parts, then (G - <G, W> u vᵀ) / sigma + gradient of sigma."""

from __future__ import annotations

import triton
import triton.language as tl

from fastwgan.ops._triton import ALIGNMENT, divided, load, number
from fastwgan.ops.spectral_norm import _triton_plan as plan
from fastwgan.ops.spectral_norm._triton_forward import place_of
from fastwgan.ops.spectral_norm._triton_norms import BLOCK, added_up

FIELDS = tl.constexpr(len(plan.FIELDS))
DOTTED = tl.constexpr(plan.DOTTED)
TILE_ROWS, TILE_COLUMNS = tl.constexpr(plan.TILE_ROWS), tl.constexpr(plan.TILE_COLUMNS)
HEIGHT = tl.constexpr(4)  # rows of a tile at a time
_COTANGENT, _NORMALISED, _GRADIENT = (tl.constexpr(index) for index in (0, 1, 3))
_ROWS, _COLUMNS, _INNER, _VECTORS, _DOTS = (tl.constexpr(index) for index in (4, 5, 6, 9, 15))


@triton.jit
def dots_kernel(layers, programs, dots, MATRIX: tl.constexpr, WIDE: tl.constexpr):
    """One part, of DOTTED elements, of <G, W>."""
    program = tl.load(programs + tl.program_id(0))
    layer = layers + (program >> 32) * FIELDS
    piece = program & 0xFFFFFFFF
    size = tl.load(layer + _ROWS) * tl.load(layer + _COLUMNS)
    cotangent, normalised = tl.load(layer + _COTANGENT), tl.load(layer + _NORMALISED)
    first = piece * DOTTED
    g, w = cotangent.to(tl.pointer_type(MATRIX)), normalised.to(tl.pointer_type(MATRIX))
    if ((cotangent | normalised) % ALIGNMENT == 0) & (first + DOTTED <= size):
        total = _dot(g, w, first, size, WIDE, True)
    else:
        total = _dot(g, w, first, size, WIDE, False)
    tl.store(dots + tl.load(layer + _DOTS) + piece, tl.sum(total.to(tl.float64), axis=0))


@triton.jit
def _dot(g, w, first, size, WIDE: tl.constexpr, WHOLE: tl.constexpr):
    total = tl.zeros([BLOCK], WIDE)
    for start in range(0, DOTTED, BLOCK):
        offsets = first + start + tl.arange(0, BLOCK)
        inside = offsets < size
        total += load(g, offsets, inside, WIDE, WHOLE) * load(w, offsets, inside, WIDE, WHOLE)
    return total


@triton.jit
def gradients_kernel(
    layers,
    programs,
    dots,
    sigma,  # [layers], as sigma_cotangents
    vectors,
    sigma_cotangents,
    WITH_SIGMA: tl.constexpr,
    MATRIX: tl.constexpr,
    WIDE: tl.constexpr,
):
    """The gradient on one tile of TILE_ROWS by TILE_COLUMNS."""
    program = tl.load(programs + tl.program_id(0))
    index = program >> 32
    layer = layers + index * FIELDS
    piece = (program & 0xFFFFFFFF).to(tl.int32)
    rows, columns, inner = (
        tl.load(layer + _ROWS),
        tl.load(layer + _COLUMNS),
        tl.load(layer + _INNER),
    )
    across = tl.cdiv(columns, TILE_COLUMNS).to(tl.int32)
    parts = tl.cdiv(rows * columns, DOTTED)
    along = added_up(dots + tl.load(layer + _DOTS), parts).to(WIDE)
    divisor = tl.load(sigma + index)
    extra = number(0, WIDE)
    if WITH_SIGMA:
        extra = tl.load(sigma_cotangents + index)
    cotangent, gradient = tl.load(layer + _COTANGENT), tl.load(layer + _GRADIENT)
    g, target = cotangent.to(tl.pointer_type(MATRIX)), gradient.to(tl.pointer_type(MATRIX))
    u = vectors + tl.load(layer + _VECTORS)
    column = (piece % across).to(tl.int64) * TILE_COLUMNS + tl.arange(0, TILE_COLUMNS)
    right = tl.load(u + rows + column, mask=column < columns, other=0.0)
    is_plain = (columns == inner) & (inner % ALIGNMENT == 0)
    is_plain = is_plain & ((cotangent | gradient) % ALIGNMENT == 0)
    for start in range(0, TILE_ROWS, HEIGHT):
        row = (piece // across).to(tl.int64) * TILE_ROWS + start + tl.arange(0, HEIGHT)
        left = tl.load(u + row, mask=row < rows, other=0.0)
        outer = left[:, None] * right[None, :]
        if is_plain:
            stride = tl.multiple_of(inner, ALIGNMENT)
            offsets = tl.multiple_of(row[:, None] * stride, [1, ALIGNMENT]) + column[None, :]
            inside = tl.max_constancy((column < columns)[None, :], [1, ALIGNMENT])
            inside = inside & (row < rows)[:, None]
            sources = tl.multiple_of(g + offsets, [1, ALIGNMENT])
            x = tl.load(sources, mask=inside, other=0.0).to(WIDE)
            found = _gradient(x, outer, along, divisor, extra, WIDE).to(MATRIX)
            tl.store(tl.multiple_of(target + offsets, [1, ALIGNMENT]), found, mask=inside)
        else:
            inside = (row < rows)[:, None] & (column < columns)[None, :]
            places = place_of(column, rows, inner)
            offsets = row[:, None] * inner + places[None, :]
            x = tl.load(g + offsets, mask=inside, other=0.0).to(WIDE)
            found = _gradient(x, outer, along, divisor, extra, WIDE).to(MATRIX)
            tl.store(target + offsets, found, mask=inside)


@triton.jit
def _gradient(g, outer, along, sigma, extra, WIDE: tl.constexpr):
    divisor = tl.where(sigma == 0, number(1, WIDE), sigma) + tl.zeros_like(g)
    quotient = divided(g - along * outer, divisor, WIDE)
    return tl.where(sigma == 0, tl.zeros_like(g), quotient) + extra * outer
