"""RMSprop with clipping by Triton: one launch for all parameters of a dtype."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastwgan.ops import _triton
from fastwgan.ops._rounding import rounded
from fastwgan.ops._triton import (
    ALIGNMENT,
    DTYPES,
    clipped,
    divided,
    load,
    number,
    root,
    store,
    wide_dtype,
)
from fastwgan.ops.rmsprop._checks import check_lists

_BLOCK = 1024
_CHUNK = 4 * _BLOCK

Row = list[Tensor | None]  # parameter, gradient, square average, momentum buffer, gradient average


def rmsprop_(
    parameters: Sequence[Tensor],
    gradients: Sequence[Tensor],
    square_averages: Sequence[Tensor],
    momentum_buffers: Sequence[Tensor],
    gradient_averages: Sequence[Tensor],
    lr: float,
    alpha: float,
    eps: float,
    weight_decay: float,
    momentum: float,
    maximize: bool,
    weight_clip: float | None,
) -> None:
    """The contract of `reference.rmsprop_`."""
    lists = (parameters, gradients, square_averages, momentum_buffers, gradient_averages)
    check_lists(*lists)
    bound = inf if weight_clip is None else weight_clip
    numbers = (lr, alpha, eps, weight_decay, momentum, -1.0 if maximize else 1.0)
    by_dtype: dict[torch.dtype, list[Row]] = {}
    copies: list[tuple[Tensor, Row, Row]] = []
    for index, parameter in enumerate(parameters):
        row = [tensors[index] if tensors else None for tensors in lists]
        if _are_alike(row):
            by_dtype.setdefault(parameter.dtype, []).append(row)
        else:
            wide: Row = [None if t is None else _copy(t, parameter) for t in row]
            copies.append((parameter, row, wide))
    for dtype, rows in by_dtype.items():
        _step(rows, numbers, rounded(bound, dtype))
    for parameter, row, copy in copies:
        _step([copy], numbers, rounded(bound, parameter.dtype))
        _write_back(row, copy)


def _are_alike(row: Row) -> bool:
    """True when a parameter's tensors share dtype and layout, and their elements are packed."""
    first = row[0]
    assert first is not None
    return all(
        t is None
        or (t.dtype is first.dtype and t.stride() == first.stride() and _triton.is_packed(t))
        for t in row
    )


def _copy(tensor: Tensor, parameter: Tensor) -> Tensor:
    wide = wide_dtype(parameter.dtype)
    return tensor.detach().to(wide, memory_format=torch.contiguous_format, copy=True)


def _write_back(row: Row, copy: Row) -> None:
    with torch.no_grad():
        for index, (tensor, values) in enumerate(zip(row, copy, strict=True)):
            if tensor is not None and values is not None and index != 1:  # the gradient is read
                tensor.copy_(values)


def _step(rows: list[Row], numbers: tuple[float, ...], bound: float) -> None:
    first = rows[0][0]
    assert first is not None
    sizes = [row[0].numel() for row in rows if row[0] is not None]
    entries: list[int] = []
    for row, size in zip(rows, sizes, strict=True):
        entries += (0 if t is None else t.data_ptr() for t in row)
        entries.append(size)
    chunks = _triton.chunks_of(sizes, _CHUNK)
    _triton.launch(
        rmsprop_kernel,
        len(chunks),
        first.device,
        _triton.table(entries, first.device),
        _triton.table(chunks, first.device),
        *numbers,
        bound,
        DTYPE=DTYPES[first.dtype],
        WIDE=DTYPES[wide_dtype(first.dtype)],
        MOMENTUM=rows[0][3] is not None,
        CENTERED=rows[0][4] is not None,
        BLOCK=_BLOCK,
        CHUNK=_CHUNK,
    )


@triton.jit(do_not_specialize_on_alignment=["tensors", "chunks"])
def rmsprop_kernel(
    tensors,  # [count, 6]: parameter, gradient, square average, buffer, gradient average, size
    chunks,  # [programs]: tensor << 32 | chunk
    lr: tl.float64,
    alpha: tl.float64,
    eps: tl.float64,
    weight_decay: tl.float64,
    momentum: tl.float64,
    sign: tl.float64,
    bound: tl.float64,
    DTYPE: tl.constexpr,
    WIDE: tl.constexpr,
    MOMENTUM: tl.constexpr,
    CENTERED: tl.constexpr,
    BLOCK: tl.constexpr,
    CHUNK: tl.constexpr,
):
    """Steps one chunk of one parameter."""
    chunk = tl.load(chunks + tl.program_id(0))
    row = tensors + 6 * (chunk >> 32)
    parameter, gradient, square = tl.load(row), tl.load(row + 1), tl.load(row + 2)
    buffer, mean, size = tl.load(row + 3), tl.load(row + 4), tl.load(row + 5)
    start = (chunk & 0xFFFFFFFF) * CHUNK
    numbers = (
        number(lr, WIDE),
        number(alpha, WIDE),
        number(1 - alpha, WIDE),
        number(eps, WIDE),
        number(weight_decay, WIDE),
        number(momentum, WIDE),
        number(sign, WIDE),
        number(bound, WIDE),
    )
    pointers = (
        parameter.to(tl.pointer_type(DTYPE)),
        gradient.to(tl.pointer_type(DTYPE)),
        square.to(tl.pointer_type(DTYPE)),
        buffer.to(tl.pointer_type(DTYPE)),
        mean.to(tl.pointer_type(DTYPE)),
    )
    addresses = parameter | gradient | square | buffer | mean
    if addresses % ALIGNMENT == 0 and start + CHUNK <= size:
        for step in range(0, CHUNK, BLOCK):
            _step_block(
                pointers, numbers, start + step, size, WIDE, MOMENTUM, CENTERED, BLOCK, True
            )
    else:
        for step in range(0, CHUNK, BLOCK):
            _step_block(
                pointers, numbers, start + step, size, WIDE, MOMENTUM, CENTERED, BLOCK, False
            )


@triton.jit
def _step_block(
    pointers,
    numbers,
    start,
    size,
    WIDE: tl.constexpr,
    MOMENTUM: tl.constexpr,
    CENTERED: tl.constexpr,
    BLOCK: tl.constexpr,
    WHOLE: tl.constexpr,
):
    lr, alpha, rest, eps, weight_decay, momentum, sign, bound = numbers
    parameter, gradient, square_average, buffer, gradient_average = pointers
    offsets = start + tl.arange(0, BLOCK)
    inside = offsets < size
    p = load(parameter, offsets, inside, WIDE, WHOLE)
    # Without decay a parameter of NaN or Inf takes no part in its own gradient.
    decay = tl.where(weight_decay != 0, weight_decay * p, tl.zeros_like(p))
    g = sign * load(gradient, offsets, inside, WIDE, WHOLE) + decay
    square = alpha * load(square_average, offsets, inside, WIDE, WHOLE) + rest * (g * g)
    store(square_average, offsets, inside, square, WHOLE)
    if CENTERED:
        mean = load(gradient_average, offsets, inside, WIDE, WHOLE)
        mean += rest * (g - mean)
        store(gradient_average, offsets, inside, mean, WHOLE)
        square -= mean * mean
    d = divided(g, root(square, WIDE) + eps, WIDE)
    if MOMENTUM:
        d += momentum * load(buffer, offsets, inside, WIDE, WHOLE)
        store(buffer, offsets, inside, d, WHOLE)
    store(parameter, offsets, inside, clipped(p - lr * d, bound), WHOLE)
