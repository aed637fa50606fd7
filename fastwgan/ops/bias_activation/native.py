"""Bias and LeakyReLU on the CPU: one pass each way."""

from __future__ import annotations

import torch
from torch import Tensor

from fastwgan import _cpu
from fastwgan.ops._pointers import packed

_FORWARD = {
    torch.float32: _cpu.bias_activation_forward_f32,
    torch.float64: _cpu.bias_activation_forward_f64,
}
_BACKWARD = {
    torch.float32: _cpu.bias_activation_backward_f32,
    torch.float64: _cpu.bias_activation_backward_f64,
}


def activate_(values: Tensor, bias: Tensor | None, slope: float) -> None:
    """The contract of `reference.activate_`, for contiguous float32 and float64."""
    rows, columns = values.shape
    bias = None if bias is None else packed(bias)
    address = 0 if bias is None else bias.data_ptr()
    _FORWARD[values.dtype](
        values.data_ptr(), address, rows, columns, slope, torch.get_num_threads()
    )


def differentiate(
    cotangents: Tensor, outputs: Tensor, results: Tensor, slope: float, summed_rows: int | None
) -> Tensor | None:
    """The contract of `reference.differentiate`, for contiguous float32 and float64."""
    rows, columns = cotangents.shape
    sums = None if summed_rows is None else cotangents.new_empty(columns)
    _BACKWARD[cotangents.dtype](
        cotangents.data_ptr(),
        outputs.data_ptr(),
        results.data_ptr(),
        rows,
        columns,
        slope,
        summed_rows or 0,
        0 if sums is None else sums.data_ptr(),
        torch.get_num_threads(),
    )
    return sums
