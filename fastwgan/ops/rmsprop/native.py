"""RMSprop with clipping on the CPU: one kernel call for all parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import Any

import torch
from torch import Tensor

from fastwgan import _cpu
from fastwgan.ops.rmsprop._checks import check_lists

_RMSPROP: dict[int, Callable[..., None]] = {32: _cpu.rmsprop_f32, 64: _cpu.rmsprop_f64}


def step_plain_(
    parameters: list[Tensor],
    state: dict[Tensor, Any],
    lr: float,
    alpha: float,
    eps: float,
    weight_decay: float,
    momentum: float,
    centered: bool,
    maximize: bool,
    weight_clip: float | None,
) -> list[Tensor] | None:
    """Steps a group of plain tensors by one call: what it wrote, or None where one is not plain."""
    return _cpu.plain_rmsprop(
        parameters,
        state,
        lr,
        alpha,
        eps,
        weight_decay,
        momentum,
        inf if weight_clip is None else weight_clip,
        centered,
        maximize,
        torch.get_num_threads(),
    )


def rmsprop_(
    parameters: list[Tensor],
    gradients: list[Tensor],
    square_averages: list[Tensor],
    momentum_buffers: list[Tensor],
    gradient_averages: list[Tensor],
    lr: float,
    alpha: float,
    eps: float,
    weight_decay: float,
    momentum: float,
    maximize: bool,
    weight_clip: float | None,
) -> None:
    """The contract of `reference.rmsprop_`."""
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
    lists = (parameters, gradients, square_averages, momentum_buffers, gradient_averages)
    tables = [_cpu.TensorTable(tensors) for tensors in lists]
    if _alike(tables):
        _call(tables, numbers)
        return
    check_lists(*lists)
    for i in range(len(parameters)):
        _step_packed([tensors[i] if tensors else None for tensors in lists], numbers)


def _alike(tables: Sequence[_cpu.TensorTable]) -> bool:
    """True when all lists (but for absent ones) have one float type and pairwise one layout."""
    first = tables[0]
    return first.bits != 0 and all(
        (table.bits == first.bits and table.same_layout(first)) or (optional and table.count == 0)
        for table, optional in zip(tables, (False, False, False, True, True), strict=True)
    )


def _step_packed(row: Sequence[Tensor | None], numbers: tuple[float, ...]) -> None:
    """Steps one parameter by way of contiguous copies: halves, gaps, unequal layouts."""
    parameter = row[0]
    assert parameter is not None
    wide = torch.float64 if parameter.dtype == torch.float64 else torch.float32
    copies = [
        None
        if tensor is None
        else tensor.detach().to(wide, memory_format=torch.contiguous_format, copy=True)
        for tensor in row
    ]
    _call([_cpu.TensorTable([] if copy is None else [copy]) for copy in copies], numbers)
    with torch.no_grad():
        for index, (tensor, copy) in enumerate(zip(row, copies, strict=True)):
            if tensor is not None and copy is not None and index != 1:  # the gradient is read only
                tensor.copy_(copy)


def _call(tables: Sequence[_cpu.TensorTable], numbers: tuple[float, ...]) -> None:
    first = tables[0]
    _RMSPROP[first.bits](
        *(table.pointers for table in tables),
        first.sizes,
        first.count,
        *numbers,
        torch.get_num_threads(),
    )
