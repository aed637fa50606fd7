"""RMSprop with clipping on a GPU: one launch for all parameters of a dtype and device."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import torch
from torch import Tensor

from fastwgan import _gpu
from fastwgan.ops._cuda import DTYPES, is_dense, place, uploaded_table
from fastwgan.ops._pointers import pointers, table
from fastwgan.ops.rmsprop._checks import check_lists

_GRADIENT = 1  # its index in a row of parameter, gradient and state


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
    """The contract of `reference.rmsprop_`, for half, single and double precision."""
    lists = (parameters, gradients, square_averages, momentum_buffers, gradient_averages)
    check_lists(*lists)
    numbers = (
        lr,
        alpha,
        eps,
        weight_decay,
        momentum if momentum_buffers else 0.0,
        inf if weight_clip is None else weight_clip,
        bool(gradient_averages),
        maximize,
    )
    groups: dict[tuple[torch.dtype, torch.device], list[list[Tensor | None]]] = {}
    for index, parameter in enumerate(parameters):
        row = [tensors[index] if tensors else None for tensors in lists]
        dtype = parameter.dtype
        groups.setdefault((_computed(row, dtype), parameter.device), []).append(row)
    for (dtype, _), rows in groups.items():
        _step_group(rows, dtype, numbers)


def _computed(row: Sequence[Tensor | None], dtype: torch.dtype) -> torch.dtype:
    """The dtype of the call: the row's own, or, where state and parameter differ, a wide one."""
    state = [tensor.dtype for i, tensor in enumerate(row) if i != _GRADIENT and tensor is not None]
    if all(own is dtype for own in state) and row[_GRADIENT] is not None:
        gradient = row[_GRADIENT].dtype  # type: ignore[union-attr]
        if gradient is dtype:
            return dtype
    return torch.float64 if dtype is torch.float64 else torch.float32


def _step_group(
    rows: Sequence[Sequence[Tensor | None]], dtype: torch.dtype, numbers: tuple[float, ...]
) -> None:
    copies = [_alike(row, dtype) for row in rows]
    _call(copies, dtype, numbers)
    with torch.no_grad():
        for row, copy in zip(rows, copies, strict=True):
            for index, (tensor, own) in enumerate(zip(row, copy, strict=True)):
                read_only = own is tensor or index == _GRADIENT
                if tensor is not None and own is not None and not read_only:
                    tensor.copy_(own)


def _alike(row: Sequence[Tensor | None], dtype: torch.dtype) -> list[Tensor | None]:
    """The row itself where its tensors have one dense layout and `dtype`, else copies that have."""
    given = [tensor for tensor in row if tensor is not None]
    strides = given[0].stride()
    if all(t.dtype is dtype and t.stride() == strides and is_dense(t) for t in given):
        return list(row)
    return [
        None
        if tensor is None
        else tensor.detach()
        .to(dtype, memory_format=torch.contiguous_format, copy=True)
        .resolve_neg()
        for tensor in row
    ]


def _call(
    rows: Sequence[Sequence[Tensor | None]], dtype: torch.dtype, numbers: tuple[float, ...]
) -> None:
    first = rows[0][0]
    assert first is not None
    columns = [[t for t in column if t is not None] for column in zip(*rows, strict=True)]
    lists = [pointers(column) for column in columns]
    sizes = table(tensor.numel() for tensor in columns[0])
    addresses = [each.address if len(each.entries) else 0 for each in lists]
    uploaded = uploaded_table(addresses, sizes, first)
    _gpu.cuda_module().rmsprop(
        *addresses,
        sizes.address,
        len(rows),
        DTYPES[dtype],
        *numbers,
        0 if uploaded is None else uploaded.data_ptr(),
        *place(first),
    )
