"""Weight clipping on a GPU: one launch for all tensors of a dtype and device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fastwgan import _gpu
from fastwgan.ops._cuda import DTYPES, is_dense, packed, place, uploaded_table
from fastwgan.ops._pointers import pointers, table


def clip_(tensors: Sequence[Tensor], bound: float) -> None:
    """The contract of `reference.clip_`, for half, single and double precision."""
    groups: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for tensor in tensors:
        groups.setdefault((tensor.dtype, tensor.device), []).append(tensor)
    for group in groups.values():
        _clip_group(group, bound)


def _clip_group(tensors: list[Tensor], bound: float) -> None:
    copies = [tensor if is_dense(tensor) else packed(tensor) for tensor in tensors]
    _call(copies, bound)
    with torch.no_grad():
        for tensor, copy in zip(tensors, copies, strict=True):
            if copy is not tensor:
                tensor.copy_(copy)


def _call(tensors: list[Tensor], bound: float) -> None:
    addresses, sizes = pointers(tensors), table(map(Tensor.numel, tensors))
    uploaded = uploaded_table([addresses.address], sizes, tensors[0])
    _gpu.cuda_module().weight_clip(
        addresses.address,
        sizes.address,
        len(tensors),
        DTYPES[tensors[0].dtype],
        bound,
        0 if uploaded is None else uploaded.data_ptr(),
        *place(tensors[0]),
    )
