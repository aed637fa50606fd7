"""What the Triton kernels of the operations share: tables in device memory, launches, device code.

A table carries addresses and sizes of many tensors to one launch. It reaches the device from pinned
memory by a copy that the stream orders before the kernel, so that the host never waits; a table
whose numbers were sent before on the same stream is used again. While a CUDA graph is recorded,
pinned memory may not be had: there a table is written by small kernels that carry its numbers as
arguments, and is kept for the life of the process, since the graph may be replayed that long.

Triton computes a float argument in float32 unless it is annotated, hence `tl.float64` on numbers.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

DTYPES = {
    torch.float32: tl.float32,
    torch.float64: tl.float64,
    torch.bfloat16: tl.bfloat16,
    torch.float16: tl.float16,
}
ALIGNMENT = tl.constexpr(16)  # bytes of the widest access
_WRITTEN_AT_ONCE = 16
_MOST_TABLES = 64

_tables: OrderedDict[tuple[Any, ...], Tensor] = OrderedDict()
_kept_for_graphs: list[Tensor] = []


def wide_dtype(dtype: torch.dtype) -> torch.dtype:
    """What is computed in: float64 for float64, else float32."""
    return torch.float64 if dtype is torch.float64 else torch.float32


def launch(
    kernel: Any, programs: int, device: torch.device, *arguments: Any, **others: Any
) -> None:
    """Starts `programs` programs of a kernel on the current stream of the device."""
    if programs:
        with _current(device):
            kernel[(programs,)](*arguments, **others)


def table(numbers: Iterable[int], device: torch.device) -> Tensor:
    """The numbers as an int64 tensor on the device, which nobody may write."""
    content = tuple(numbers)
    if device.type == "cpu":
        return torch.tensor(content, dtype=torch.int64)
    if device.type == "cuda" and torch.cuda.is_current_stream_capturing():
        return _written_by_kernels(content, device)
    runtime: Any = getattr(torch, device.type)
    key = (content, device, runtime.current_stream(device))
    known = _tables.get(key)
    if known is None:
        pinned = torch.tensor(content, dtype=torch.int64).pin_memory()
        known = _tables[key] = pinned.to(device, non_blocking=True)
        if len(_tables) > _MOST_TABLES:
            _tables.popitem(last=False)
    _tables.move_to_end(key)
    return known


def _written_by_kernels(content: tuple[int, ...], device: torch.device) -> Tensor:
    numbers = torch.empty(len(content), dtype=torch.int64, device=device)
    for start in range(0, len(content), _WRITTEN_AT_ONCE):
        part = content[start : start + _WRITTEN_AT_ONCE]
        filled = (*part, *[0] * (_WRITTEN_AT_ONCE - len(part)))
        launch(_write, 1, device, numbers, start, len(part), *filled)
    _kept_for_graphs.append(numbers)
    return numbers


def chunks_of(sizes: Sequence[int], length: int) -> list[int]:
    """One number a program: the tensor's index in the upper half, the chunk's in the lower."""
    return [
        index << 32 | chunk
        for index, size in enumerate(sizes)
        for chunk in range((size + length - 1) // length)
    ]


def is_packed(tensor: Tensor) -> bool:
    """True when the elements fill their memory, in any order of axes, and mean what they say."""
    if tensor.is_neg():
        return False
    if tensor.is_contiguous():
        return True
    expected = 1
    axes = zip(tensor.stride(), tensor.shape, strict=True)
    for stride, size in sorted(axis for axis in axes if axis[1] != 1):
        if stride != expected:
            return False
        expected *= size
    return True


def packed_copy(tensor: Tensor) -> Tensor:
    """A contiguous copy in the dtype that is computed in."""
    wide = wide_dtype(tensor.dtype)
    return tensor.detach().to(wide, memory_format=torch.contiguous_format, copy=True)


def _current(device: torch.device) -> AbstractContextManager[Any]:
    if device.type == "cpu":  # interpreted
        return nullcontext()
    return getattr(torch, device.type).device(device)  # type: ignore[no-any-return]


@triton.jit(do_not_specialize=[f"n{i}" for i in range(_WRITTEN_AT_ONCE)])
def _write(
    numbers,
    start,
    count,
    n0: tl.int64,
    n1: tl.int64,
    n2: tl.int64,
    n3: tl.int64,
    n4: tl.int64,
    n5: tl.int64,
    n6: tl.int64,
    n7: tl.int64,
    n8: tl.int64,
    n9: tl.int64,
    n10: tl.int64,
    n11: tl.int64,
    n12: tl.int64,
    n13: tl.int64,
    n14: tl.int64,
    n15: tl.int64,
):
    """numbers[start : start + count] = n0, n1, ..."""
    given = (n0, n1, n2, n3, n4, n5, n6, n7, n8, n9, n10, n11, n12, n13, n14, n15)
    for i in tl.static_range(16):
        if i < count:
            tl.store(numbers + start + i, given[i])


@triton.jit
def load(pointer, offsets, inside, WIDE: tl.constexpr, WHOLE: tl.constexpr):
    """Elements at the offsets, 0 outside. WHOLE: all inside and aligned, for the widest access."""
    if WHOLE:
        return tl.load(tl.multiple_of(pointer + offsets, ALIGNMENT)).to(WIDE)
    else:  # noqa: RET505 - what follows an `if` is compiled in any case
        return tl.load(pointer + offsets, mask=inside, other=0.0).to(WIDE)


@triton.jit
def store(pointer, offsets, inside, values, WHOLE: tl.constexpr):
    """Writes the values in the dtype of the pointer; WHOLE as for `load`."""
    values = values.to(pointer.dtype.element_ty)
    if WHOLE:
        tl.store(tl.multiple_of(pointer + offsets, ALIGNMENT), values)
    else:
        tl.store(pointer + offsets, values, mask=inside)


@triton.jit
def number(value, WIDE: tl.constexpr):
    """A kernel's number argument in the dtype that is computed in."""
    return tl.full([], value, WIDE)


@triton.jit
def divided(x, y, WIDE: tl.constexpr):
    """x / y, rounded to the nearest; Triton's own division of float32 is approximate."""
    if WIDE == tl.float64:  # noqa: SIM300 - a compile-time argument compares from the left alone
        return x / y
    else:  # noqa: RET505
        return tl.div_rn(x, y)


@triton.jit
def root(x, WIDE: tl.constexpr):
    """The square root, rounded to the nearest; Triton's own of float32 is approximate."""
    if WIDE == tl.float64:  # noqa: SIM300
        return tl.sqrt(x)
    else:  # noqa: RET505
        return tl.sqrt_rn(x)


@triton.jit
def clipped(x, bound):
    """The nearest number in [-bound, bound]; NaN stays."""
    x = tl.where(x < -bound, -bound, x)
    return tl.where(x > bound, bound, x)
