"""The gradient penalty's own arithmetic by Triton: one launch for the points, two for the penalty.

Norms are taken by Blue's three sums (of squares of large, middling and small elements, each scaled
into range), so that one reading suffices and no square leaves the range of float32 or float64.
Source: Anderson 2017, "Algorithm 978: Safe Scaling in the Level 1 BLAS", ACM TOMS 44, 1.
"""

from __future__ import annotations

from math import nan

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastwgan.ops import _triton
from fastwgan.ops._triton import DTYPES, divided, number, root, wide_dtype

_TILE = 1024
_LEAST_PART, _MOST_PARTS = 4096, 256  # elements of a row summed by one program; parts of a row
_REDUCED = 2048  # partial sums that the penalty's program reads at once
_TWO_SIDED, _ONE_SIDED, _SQUARE = (tl.constexpr(kind) for kind in range(3))
_KINDS = {"wgan-gp": 0, "dragan": 0, "wgan-lp": 1, "r1": 2, "r2": 2}


def interpolate(real: Tensor, fake: Tensor, alpha: Tensor) -> Tensor:
    """The contract of `reference.interpolate`."""
    real, fake, alpha = real.contiguous(), fake.contiguous(), alpha.contiguous()
    interpolates = torch.empty_like(real)  # [batch, *sample]
    if real.numel() == 0:
        return interpolates
    rows = real.size(0)
    size = real.numel() // rows
    height, width = _tile(size)
    _triton.launch(
        interpolate_kernel,
        triton.cdiv(rows, height) * triton.cdiv(size, width),
        real.device,
        real,
        fake,
        alpha,
        interpolates,
        rows,
        size,
        rows // alpha.numel(),
        WIDE=DTYPES[wide_dtype(real.dtype)],
        HEIGHT=height,
        WIDTH=width,
    )
    return interpolates


def norm_penalty(
    gradient: Tensor, kind: str, target: float, weight: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The contract of `reference.norm_penalty`."""
    gradient = gradient.contiguous()  # [rows, size]
    rows, size = gradient.shape
    wide = wide_dtype(gradient.dtype)
    penalty = gradient.new_empty((), dtype=wide)
    norms = gradient.new_empty(rows, dtype=wide)
    cotangent = torch.empty_like(gradient, dtype=wide)
    if rows == 0:
        return penalty.fill_(nan), norms, cotangent
    height, width = _tile(size)
    step = width
    if size > width:
        step = max(_LEAST_PART, triton.next_power_of_2(triton.cdiv(size, _MOST_PARTS)))
    parts = max(triton.cdiv(size, step), 1)
    squares = gradient.new_empty((3, rows, parts), dtype=wide)  # large, middling, small
    groups = triton.cdiv(rows, height)
    shape = {"WIDE": DTYPES[wide], "HEIGHT": height, "WIDTH": width, "STEP": step}
    reduced = triton.next_power_of_2(parts)
    _triton.launch(
        squares_kernel,
        groups * parts,
        gradient.device,
        gradient,
        squares,
        rows,
        size,
        parts,
        **shape,
    )
    _triton.launch(
        norm_penalty_kernel,
        groups * parts + 1,
        gradient.device,
        gradient,
        squares,
        penalty,
        norms,
        cotangent,
        rows,
        size,
        parts,
        target,
        weight,
        KIND=_KINDS[kind],
        PARTS=reduced,
        ROWS=_REDUCED // reduced,
        **shape,
    )
    return penalty, norms, cotangent


def _tile(size: int) -> tuple[int, int]:
    """Rows and columns of a tile: of few shapes, since each is compiled apart."""
    width = 16 if size <= 16 else 128 if size <= 128 else _TILE
    return _TILE // width, width


@triton.jit
def interpolate_kernel(
    real,  # [rows, size], as fake and interpolates
    fake,
    alpha,  # [rows / rows_each]
    interpolates,
    rows,
    size,
    rows_each,
    WIDE: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """One tile of alpha real + (1 - alpha) fake."""
    strips = tl.cdiv(size, WIDTH)
    row = (tl.program_id(0) // strips).to(tl.int64) * HEIGHT + tl.arange(0, HEIGHT)
    column = (tl.program_id(0) % strips) * WIDTH + tl.arange(0, WIDTH)
    inside = (row < rows)[:, None] & (column < size)[None, :]
    offsets = row[:, None] * size + column[None, :]
    share = tl.load(alpha + row // rows_each, mask=row < rows, other=0.0)[:, None]
    first = tl.load(real + offsets, mask=inside, other=0.0).to(WIDE)
    second = tl.load(fake + offsets, mask=inside, other=0.0).to(WIDE)
    mixed = share * first + (1 - share) * second
    tl.store(interpolates + offsets, mixed.to(interpolates.dtype.element_ty), mask=inside)


@triton.jit
def squares_kernel(
    gradient,  # [rows, size]
    squares,  # [3, rows, parts]
    rows,
    size,
    parts,
    WIDE: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    STEP: tl.constexpr,
):
    """Blue's three sums over one part, STEP elements, of HEIGHT rows."""
    part = tl.program_id(0) % parts
    row = (tl.program_id(0) // parts).to(tl.int64) * HEIGHT + tl.arange(0, HEIGHT)
    large = tl.zeros([HEIGHT, WIDTH], WIDE)
    middling = tl.zeros([HEIGHT, WIDTH], WIDE)
    small = tl.zeros([HEIGHT, WIDTH], WIDE)
    for start in range(0, STEP, WIDTH):
        column = part.to(tl.int64) * STEP + start + tl.arange(0, WIDTH)
        inside = (row < rows)[:, None] & (column < size)[None, :]
        offsets = row[:, None] * size + column[None, :]
        x = tl.load(gradient + offsets, mask=inside, other=0.0).to(WIDE)
        magnitude = tl.abs(x)
        if tl.float64 == WIDE:
            is_large, is_small = magnitude > 2.0**486, magnitude < 2.0**-511
            shrunk, grown = x * 2.0**-538, x * 2.0**537
        else:
            is_large, is_small = magnitude > 2.0**52, magnitude < 2.0**-63
            shrunk, grown = x * 2.0**-76, x * 2.0**75
        zero = tl.zeros_like(x)
        large += tl.where(is_large, shrunk * shrunk, zero)
        small += tl.where(is_small, grown * grown, zero)
        middling += tl.where(is_large | is_small, zero, x * x)  # NaN is neither
    plane = number(rows, tl.int64) * parts
    target = squares + row * parts + part
    tl.store(target, tl.sum(large, axis=1), mask=row < rows)
    tl.store(target + plane, tl.sum(middling, axis=1), mask=row < rows)
    tl.store(target + 2 * plane, tl.sum(small, axis=1), mask=row < rows)


@triton.jit
def _norms(squares, row, rows, parts, PARTS: tl.constexpr, WIDE: tl.constexpr):
    """The norms [HEIGHT] of rows from Blue's sums [3, rows, parts]; 0 outside."""
    part = tl.arange(0, PARTS)
    inside = (row < rows)[:, None] & (part < parts)[None, :]
    pointers = squares + row[:, None] * parts + part[None, :]
    plane = number(rows, tl.int64) * parts
    large = tl.sum(tl.load(pointers, mask=inside, other=0.0), axis=1)
    middling = tl.sum(tl.load(pointers + plane, mask=inside, other=0.0), axis=1)
    small = tl.sum(tl.load(pointers + 2 * plane, mask=inside, other=0.0), axis=1)
    if tl.float64 == WIDE:
        shrink, grow = 2.0**-538, 2.0**537
    else:
        shrink, grow = 2.0**-76, 2.0**75
    # The other sums matter only beside it: scaled to the range of the largest that is not empty.
    above = root(large + middling * shrink * shrink, WIDE) / shrink
    amid = root(middling + small / grow / grow, WIDE)
    below = root(small, WIDE) / grow
    found = tl.where(middling == 0, below, amid)  # NaN in the middle stays
    return tl.where(large > 0, above, found)


@triton.jit
def norm_penalty_kernel(
    gradient,  # [rows, size]
    squares,  # [3, rows, parts]
    penalty,  # []
    norms,  # [rows]
    cotangent,  # [rows, size]
    rows,
    size,
    parts,
    target: tl.float64,
    weight: tl.float64,
    KIND: tl.constexpr,
    PARTS: tl.constexpr,
    ROWS: tl.constexpr,
    WIDE: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    STEP: tl.constexpr,
):
    """The cotangent on one part of HEIGHT rows and their norms; the last program: the penalty."""
    last = tl.num_programs(0) - 1
    if tl.program_id(0) == last:
        _write_penalty(squares, penalty, rows, parts, target, weight, KIND, PARTS, WIDE, ROWS)
    else:
        part = tl.program_id(0) % parts
        row = (tl.program_id(0) // parts).to(tl.int64) * HEIGHT + tl.arange(0, HEIGHT)
        norm = _norms(squares, row, rows, parts, PARTS, WIDE)
        tl.store(norms + row, norm, mask=(row < rows) & (part == 0))
        share = number(weight, WIDE) / number(rows, WIDE)
        excess = norm - number(target, WIDE)
        if KIND == _ONE_SIDED:
            excess = tl.where(excess < 0, tl.zeros_like(excess), excess)
        slope = (2 * share * excess)[:, None]
        divisor = tl.where(norm == 0, tl.full([HEIGHT], 1, WIDE), norm)[:, None]
        for start in range(0, STEP, WIDTH):
            column = part.to(tl.int64) * STEP + start + tl.arange(0, WIDTH)
            inside = (row < rows)[:, None] & (column < size)[None, :]
            offsets = row[:, None] * size + column[None, :]
            x = tl.load(gradient + offsets, mask=inside, other=0.0).to(WIDE)
            if KIND == _SQUARE:
                values = 2 * share * x
            else:
                direction = divided(x, tl.broadcast_to(divisor, [HEIGHT, WIDTH]), WIDE)
                # Of a zero row too, where the slope may be infinite.
                values = tl.where((norm == 0)[:, None], tl.zeros_like(x), slope * direction)
            tl.store(cotangent + offsets, values, mask=inside)


@triton.jit
def _write_penalty(
    squares,
    penalty,
    rows,
    parts,
    target,
    weight,
    KIND: tl.constexpr,
    PARTS: tl.constexpr,
    WIDE: tl.constexpr,
    ROWS: tl.constexpr,
):
    total = tl.zeros([ROWS], WIDE)
    for start in range(0, rows, ROWS):
        row = start + tl.arange(0, ROWS).to(tl.int64)
        norm = _norms(squares, row, rows, parts, PARTS, WIDE)
        excess = norm if KIND == _SQUARE else norm - number(target, WIDE)
        if KIND == _ONE_SIDED:
            excess = tl.where(excess < 0, tl.zeros_like(excess), excess)
        total += tl.where(row < rows, excess * excess, tl.zeros_like(excess))
    mean = tl.sum(total, axis=0) / number(rows, WIDE)
    tl.store(penalty, number(weight, WIDE) * mean)
