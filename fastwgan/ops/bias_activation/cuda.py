"""Bias and LeakyReLU on a GPU: one pass each way, and a small one for the bias's gradient."""

from __future__ import annotations

from torch import Tensor

from fastwgan import _gpu
from fastwgan.ops._cuda import DTYPES, place, scratch


def activate_(values: Tensor, bias: Tensor | None, slope: float) -> None:
    """The contract of `reference.activate_`, for contiguous half, single and double precision."""
    rows, columns = values.shape
    bias = None if bias is None else bias.contiguous()
    _gpu.cuda_module().bias_activation_forward(
        values.data_ptr(),
        0 if bias is None else bias.data_ptr(),
        rows,
        columns,
        DTYPES[values.dtype],
        slope,
        *place(values),
    )


def differentiate(
    cotangents: Tensor, outputs: Tensor, results: Tensor, slope: float, summed_rows: int | None
) -> Tensor | None:
    """The contract of `reference.differentiate`, for contiguous matrices as `activate_`."""
    cuda = _gpu.cuda_module()
    rows, columns = cotangents.shape
    dtype = DTYPES[cotangents.dtype]
    sums = partial = None
    if summed_rows is not None:
        sums = cotangents.new_empty(columns)
        partial = scratch(cuda.bias_activation_scratch(rows, columns, dtype), cotangents)
    cuda.bias_activation_backward(
        cotangents.data_ptr(),
        outputs.data_ptr(),
        results.data_ptr(),
        rows,
        columns,
        dtype,
        slope,
        summed_rows or 0,
        0 if sums is None else sums.data_ptr(),
        0 if partial is None else partial.data_ptr(),
        *place(cotangents),
    )
    return sums
