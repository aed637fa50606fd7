"""Weight clipping on the CPU: one kernel call for all tensors of a dtype."""

from __future__ import annotations

import torch
from torch import Tensor

from fastwgan import _cpu

_CLIP = {32: _cpu.weight_clip_f32, 64: _cpu.weight_clip_f64}


def clip_plain_(tensors: list[Tensor], bound: float) -> bool:
    """Clips tensors that are all float32 or all float64, exact and without gaps, in CPU memory.

    Returns:
        False, with nothing written, when they are not, or when one is listed twice.
    """
    return _cpu.plain_weight_clip(tensors, bound, torch.get_num_threads())


def clip_(tensors: list[Tensor], bound: float) -> None:
    """The contract of `reference.clip_`."""
    table = _cpu.TensorTable(tensors)
    if table.bits:
        _call(table, bound)
        return
    by_dtype: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        by_dtype.setdefault(tensor.dtype, []).append(tensor)
    for group in by_dtype.values():
        _clip_packed(group, bound)


def _clip_packed(tensors: list[Tensor], bound: float) -> None:
    """Clips tensors of one dtype; halves and tensors with gaps by way of a packed copy.

    For halves the float32 bound is rounded to the nearest half, as torch rounds it.
    """
    dtype = tensors[0].dtype
    wide = dtype if dtype in (torch.float32, torch.float64) else torch.float32
    packed = [t if _cpu.TensorTable([t]).bits else _packed_copy(t, wide) for t in tensors]
    _call(_cpu.TensorTable(packed), bound)
    with torch.no_grad():
        for tensor, copy in zip(tensors, packed, strict=True):
            if copy is not tensor:
                tensor.copy_(copy)


def _packed_copy(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.detach().to(dtype, memory_format=torch.contiguous_format, copy=True)


def _call(table: _cpu.TensorTable, bound: float) -> None:
    _CLIP[table.bits](table.pointers, table.sizes, table.count, bound, torch.get_num_threads())
