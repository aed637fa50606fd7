"""A layer's bias and LeakyReLU forward; its derivative with the bias's gradient."""

from __future__ import annotations

from torch import Tensor

from fastwgan import backends
from fastwgan.ops.bias_activation import native, reference

__all__ = ["BACKENDS", "activate_", "as_matrix", "differentiate"]

BACKENDS = backends.Modules("fastwgan.ops.bias_activation", cpu=native, reference=reference)


def activate_(values: Tensor, bias: Tensor | None, slope: float) -> None:
    """Adds the bias and applies LeakyReLU, in place and in one pass.

    Args:
        values: [rows, columns], contiguous floating point; written.
        bias: [columns] of the same dtype and device, or None.
        slope: Of negative values, not negative; 0 is ReLU.

    Raises:
        ValueError: shapes or strides that do not fit; a negative slope.

    Not differentiable. NaN stays NaN. Cost: one reading and one writing of the values.
    """
    _check_matrix("values", values)
    _check_slope(slope)
    if bias is not None and (bias.shape != values.shape[1:] or bias.dtype is not values.dtype):
        raise ValueError(
            f"bias was {tuple(bias.shape)} {bias.dtype}; it must be {tuple(values.shape[1:])} "
            f"{values.dtype}, one for each column."
        )
    BACKENDS[backends.select("bias_activation", (values,))].activate_(values, bias, slope)


def differentiate(
    cotangents: Tensor,
    outputs: Tensor,
    results: Tensor,
    slope: float,
    summed_rows: int | None = None,
) -> Tensor | None:
    """Multiplies by LeakyReLU's derivative, read off its outputs, and sums columns on the way.

    Args:
        cotangents: [rows, columns], contiguous floating point, on any device.
        outputs: As cotangents, same dtype and device: what the activation returned.
        results: Likewise; written, and may be the memory of either of the others.
        slope: Of negative values, not negative; 0 is ReLU.
        summed_rows: How many of the first rows of the results are summed; None for no sum.

    Returns:
        The sum [columns], the gradient of a bias before the activation; or None.

    Raises:
        ValueError: shapes or strides that do not fit; a negative slope; too many rows.

    Linear in the cotangents, hence the tangent's map too; second derivatives are zero. Cost: two
    readings and one writing of a matrix.
    """
    for name, matrix in (("cotangents", cotangents), ("outputs", outputs), ("results", results)):
        _check_matrix(name, matrix)
        if matrix.shape != cotangents.shape or matrix.dtype is not cotangents.dtype:
            raise ValueError(
                f"{name} was {tuple(matrix.shape)} {matrix.dtype}; it must be as cotangents, "
                f"{tuple(cotangents.shape)} {cotangents.dtype}."
            )
    _check_slope(slope)
    if summed_rows is not None and not 0 <= summed_rows <= cotangents.shape[0]:
        raise ValueError(
            f"summed_rows was {summed_rows}; it must be at most the {cotangents.shape[0]} rows."
        )
    backend = BACKENDS[backends.select("bias_activation", (cotangents,))]
    sums: Tensor | None = backend.differentiate(cotangents, outputs, results, slope, summed_rows)
    return sums


def as_matrix(tensor: Tensor) -> Tensor | None:
    """The tensor as a contiguous view [rows, channels], or None where its memory is no such matrix.

    Channels are the dimension a bias has one number for: of images and volumes dimension 1, which
    must then be innermost in memory; of anything else the last.

    Args:
        tensor: Any shape, dtype, device and strides.

    Returns:
        A view: writing to it writes to the tensor. Differentiable as any view.
    """
    if tensor.dim() == 2:
        return tensor if tensor.is_contiguous() else None
    last = tensor.movedim(1, -1) if tensor.dim() in (4, 5) else tensor
    if not last.is_contiguous() or last.dim() < 2:
        return None
    return last.reshape(-1, last.shape[-1])


def _check_matrix(name: str, matrix: Tensor) -> None:
    if matrix.dim() != 2 or not matrix.is_contiguous():
        raise ValueError(
            f"{name} had shape {tuple(matrix.shape)} and strides {matrix.stride()}; it must be a "
            f"contiguous matrix."
        )


def _check_slope(slope: float) -> None:
    if not slope >= 0:
        raise ValueError(f"slope was {slope}; it must not be negative.")
