"""Bias and LeakyReLU by Triton: one launch forward, two for a derivative with its sum."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastwgan.ops import _triton
from fastwgan.ops._triton import DTYPES, number, wide_dtype

_TILE_BYTES = 8192  # of a tile in the dtype that is computed in
_SUMMED_ROWS = 64  # rows of one partial sum, at the least
_MOST_PARTS = 256  # partial sums of a column


def activate_(values: Tensor, bias: Tensor | None, slope: float) -> None:
    """The contract of `reference.activate_`, for contiguous values."""
    rows, columns = values.shape
    if values.numel() == 0:
        return
    height, width = _tile(columns, values.dtype)
    _triton.launch(
        bias_activation_forward_kernel,
        triton.cdiv(rows, height) * triton.cdiv(columns, width),
        values.device,
        values,
        values if bias is None else bias.contiguous(),
        rows,
        columns,
        slope,
        WIDE=DTYPES[wide_dtype(values.dtype)],
        BIASED=bias is not None,
        RELU=slope == 0,
        HEIGHT=height,
        WIDTH=width,
    )


def differentiate(
    cotangents: Tensor, outputs: Tensor, results: Tensor, slope: float, summed_rows: int | None
) -> Tensor | None:
    """The contract of `reference.differentiate`, for contiguous matrices."""
    rows, columns = cotangents.shape
    if cotangents.numel() == 0:
        return None if summed_rows is None else cotangents.new_zeros(columns)
    height, width = _tile(columns, cotangents.dtype)
    summed = summed_rows or 0
    step = max(_SUMMED_ROWS, height, triton.next_power_of_2(triton.cdiv(rows, _MOST_PARTS)))
    parts = triton.cdiv(rows, step)
    wide = wide_dtype(cotangents.dtype)
    sums = None if summed_rows is None else cotangents.new_empty(columns)
    partial = cotangents.new_empty((parts if summed else 0, columns), dtype=wide)
    strips = triton.cdiv(columns, width)
    _triton.launch(
        bias_activation_backward_kernel,
        parts * strips,
        cotangents.device,
        cotangents,
        outputs,
        results,
        partial,
        rows,
        columns,
        summed,
        slope,
        WIDE=DTYPES[wide],
        SUMMED=summed > 0,
        RELU=slope == 0,
        HEIGHT=height,
        WIDTH=width,
        STEP=step,
    )
    if sums is not None:
        _triton.launch(
            bias_activation_sum_kernel,
            strips,
            cotangents.device,
            partial,
            sums,
            parts if summed else 0,
            columns,
            WIDE=DTYPES[wide],
            HEIGHT=height,
            WIDTH=width,
        )
    return sums


def _tile(columns: int, dtype: torch.dtype) -> tuple[int, int]:
    """Rows and columns of a tile: of few shapes, since each is compiled apart."""
    width = 16 if columns <= 16 else 128
    return _TILE_BYTES // wide_dtype(dtype).itemsize // width, width


@triton.jit
def bias_activation_forward_kernel(
    values,  # [rows, columns]
    bias,  # [columns]
    rows,
    columns,
    slope: tl.float64,
    WIDE: tl.constexpr,
    BIASED: tl.constexpr,
    RELU: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """values = act(values + bias) on one tile."""
    strips = tl.cdiv(columns, WIDTH)
    row = (tl.program_id(0) // strips).to(tl.int64) * HEIGHT + tl.arange(0, HEIGHT)
    column = (tl.program_id(0) % strips) * WIDTH + tl.arange(0, WIDTH)
    inside = (row < rows)[:, None] & (column < columns)[None, :]
    pointers = values + row[:, None] * columns + column[None, :]
    x = tl.load(pointers, mask=inside, other=0.0).to(WIDE)
    if BIASED:
        x += tl.load(bias + column, mask=column < columns, other=0.0).to(WIDE)[None, :]
    if RELU:
        x = tl.where((x > 0) | (x != x), x, tl.zeros_like(x))  # not 0 x: of an infinite x, NaN
    else:
        x = tl.where(x > 0, x, number(slope, WIDE) * x)
    tl.store(pointers, x.to(values.dtype.element_ty), mask=inside)


@triton.jit
def bias_activation_backward_kernel(
    cotangents,  # [rows, columns], as outputs and results
    outputs,
    results,
    partial,  # [parts, columns]
    rows,
    columns,
    summed_rows,
    slope: tl.float64,
    WIDE: tl.constexpr,
    SUMMED: tl.constexpr,
    RELU: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    STEP: tl.constexpr,
):
    """results = cotangents act' on STEP rows of one strip of columns, and the strip's sum."""
    strips = tl.cdiv(columns, WIDTH)
    part = tl.program_id(0) // strips
    first = part.to(tl.int64) * STEP
    column = (tl.program_id(0) % strips) * WIDTH + tl.arange(0, WIDTH)
    total = tl.zeros([HEIGHT, WIDTH], WIDE)
    for start in range(0, STEP, HEIGHT):
        row = first + start + tl.arange(0, HEIGHT)
        inside = (row < rows)[:, None] & (column < columns)[None, :]
        offsets = row[:, None] * columns + column[None, :]
        d = tl.load(cotangents + offsets, mask=inside, other=0.0).to(WIDE)
        y = tl.load(outputs + offsets, mask=inside, other=0.0).to(WIDE)
        if RELU:
            d = tl.where(y > 0, d, tl.zeros_like(d))
        else:
            d = tl.where(y > 0, d, number(slope, WIDE) * d)
        d = d.to(results.dtype.element_ty)
        tl.store(results + offsets, d, mask=inside)
        if SUMMED:
            total += tl.where((row < summed_rows)[:, None], d.to(WIDE), tl.zeros_like(total))
    if SUMMED:
        sums = tl.sum(total, axis=0)
        tl.store(partial + part.to(tl.int64) * columns + column, sums, mask=column < columns)


@triton.jit
def bias_activation_sum_kernel(
    partial,  # [parts, columns]
    sums,  # [columns]
    parts,
    columns,
    WIDE: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """The sum of the parts of one strip of columns, in their order."""
    column = tl.program_id(0) * WIDTH + tl.arange(0, WIDTH)
    total = tl.zeros([HEIGHT, WIDTH], WIDE)
    for start in range(0, parts, HEIGHT):
        part = start + tl.arange(0, HEIGHT)
        inside = (part < parts)[:, None] & (column < columns)[None, :]
        offsets = part.to(tl.int64)[:, None] * columns + column[None, :]
        total += tl.load(partial + offsets, mask=inside, other=0.0)
    found = tl.sum(total, axis=0)
    tl.store(sums + column, found.to(sums.dtype.element_ty), mask=column < columns)
