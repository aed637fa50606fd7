"""Weight clipping by Triton: one launch for all tensors of a dtype."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastwgan.ops import _triton
from fastwgan.ops._rounding import rounded
from fastwgan.ops._triton import ALIGNMENT, DTYPES, clipped, load, number, store, wide_dtype

_BLOCK = 1024
_CHUNK = 4 * _BLOCK


def clip_(tensors: Sequence[Tensor], bound: float) -> None:
    """The contract of `reference.clip_`."""
    by_dtype: dict[torch.dtype, list[Tensor]] = {}
    copies: list[tuple[Tensor, Tensor]] = []
    for tensor in tensors:
        if _triton.is_packed(tensor):
            by_dtype.setdefault(tensor.dtype, []).append(tensor)
        else:
            copies.append((tensor, _triton.packed_copy(tensor)))
    for dtype, group in by_dtype.items():
        _clip(group, rounded(bound, dtype))
    with torch.no_grad():
        for tensor, copy in copies:
            _clip([copy], rounded(bound, tensor.dtype))
            tensor.copy_(copy)


def _clip(tensors: list[Tensor], bound: float) -> None:
    device, dtype = tensors[0].device, tensors[0].dtype
    sizes = [tensor.numel() for tensor in tensors]
    chunks = _triton.chunks_of(sizes, _CHUNK)
    pairs = zip((tensor.data_ptr() for tensor in tensors), sizes, strict=True)
    _triton.launch(
        weight_clip_kernel,
        len(chunks),
        device,
        _triton.table((entry for pair in pairs for entry in pair), device),
        _triton.table(chunks, device),
        bound,
        DTYPE=DTYPES[dtype],
        WIDE=DTYPES[wide_dtype(dtype)],
        BLOCK=_BLOCK,
        CHUNK=_CHUNK,
    )


@triton.jit(do_not_specialize_on_alignment=["tensors", "chunks"])
def weight_clip_kernel(
    tensors,  # [count, 2]: address, size
    chunks,  # [programs]: tensor << 32 | chunk
    bound: tl.float64,
    DTYPE: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
    CHUNK: tl.constexpr,
):
    """Clips one chunk of one tensor."""
    chunk = tl.load(chunks + tl.program_id(0))
    row = tensors + 2 * (chunk >> 32)
    address, size = tl.load(row), tl.load(row + 1)
    start = (chunk & 0xFFFFFFFF) * CHUNK
    pointer = address.to(tl.pointer_type(DTYPE))
    limit = number(bound, WIDE)
    if address % ALIGNMENT == 0 and start + CHUNK <= size:
        _clip_chunk(pointer, start, size, limit, WIDE, BLOCK, CHUNK, True)
    else:
        _clip_chunk(pointer, start, size, limit, WIDE, BLOCK, CHUNK, False)


@triton.jit
def _clip_chunk(
    pointer,
    start,
    size,
    limit,
    WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
    CHUNK: tl.constexpr,
    WHOLE: tl.constexpr,
):
    for step in range(0, CHUNK, BLOCK):
        offsets = start + step + tl.arange(0, BLOCK)
        inside = offsets < size
        x = load(pointer, offsets, inside, WIDE, WHOLE)
        store(pointer, offsets, inside, clipped(x, limit), WHOLE)
