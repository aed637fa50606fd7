"""Average and max pooling, fixed and adaptive, in one, two and three dimensions.

Averages are linear; a maximum is linear once the place of every maximum is known. One-dimensional
pooling is the two-dimensional kind with a dimension of one, as in torch.
"""

# ruff: noqa: D102 - these methods have their contract in the protocol

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fastwgan.engine.twins.eligible import is_recorded
from fastwgan.engine.twins.numbers import are_numbers, each
from fastwgan.engine.twins.piecewise_linear import PiecewiseLinear

_aten = torch.ops.aten


@dataclass(frozen=True, slots=True)
class Average:
    """A mean over windows: the same linear map everywhere."""

    pool: Callable[[Tensor], Tensor]
    gradient: Callable[[Tensor, Tensor], Tensor]
    input_shape: torch.Size

    def evaluate(self, x: Tensor) -> tuple[Tensor, None]:
        return self.pool(x), None

    def tangent(self, t: Tensor, pieces: Tensor | None) -> Tensor:
        return self.pool(t)

    def transpose(self, g: Tensor, pieces: Tensor | None) -> Tensor:
        # The gradient reads the shape of its second argument alone.
        return self.gradient(g, g.new_empty(1).expand(self.input_shape))


@dataclass(frozen=True, slots=True)
class Maximum:
    """A maximum over windows. Its pieces are the flat index of each window's maximum."""

    pool: Callable[[Tensor], tuple[Tensor, Tensor]]
    gradient: Callable[[Tensor, Tensor, Tensor], Tensor]
    input_shape: torch.Size

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.pool(x)

    def tangent(self, t: Tensor, pieces: Tensor | None) -> Tensor:
        assert pieces is not None
        chosen = t.flatten(2).gather(2, pieces.flatten(2))
        return chosen.view(pieces.shape)

    def transpose(self, g: Tensor, pieces: Tensor | None) -> Tensor:
        assert pieces is not None
        return self.gradient(g, g.new_empty(1).expand(self.input_shape), pieces)


def average(
    dims: int,
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: Any = False,
    count_include_pad: Any = True,
    divisor_override: Any = None,
    **other: Any,
) -> Any:
    """Twin of F.avg_pool1d, avg_pool2d and avg_pool3d."""
    stride = kernel_size if _is_absent(stride) else stride
    if other or not _is_pooled(dims, input) or not are_numbers(kernel_size, stride, padding):
        return NotImplemented
    x, lifted = _lift(dims, input)
    window = _window(dims, kernel_size, stride, padding)
    rest = (ceil_mode, count_include_pad, divisor_override)
    pool, gradient = _AVERAGES[x.dim() - 2]
    op = Average(
        lambda t: pool(t, *window, *rest), lambda g, x: gradient(g, x, *window, *rest), x.shape
    )
    return _apply(x, op, lifted)


def maximum(
    dims: int,
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: Any = False,
    return_indices: Any = False,
    **other: Any,
) -> Any:
    """Twin of F.max_pool1d, max_pool2d and max_pool3d."""
    stride = kernel_size if _is_absent(stride) else stride
    if other or return_indices or not _is_pooled(dims, input):
        return NotImplemented
    if not are_numbers(kernel_size, stride, padding, dilation):
        return NotImplemented
    x, lifted = _lift(dims, input)
    window = _window(dims, kernel_size, stride, padding)
    rest = ([1] * lifted + each(dilation, dims), ceil_mode)
    pool, gradient = _MAXIMA[x.dim() - 2]
    op = Maximum(
        lambda t: pool(t, *window, *rest),
        lambda g, x, places: gradient(g, x, *window, *rest, places),
        x.shape,
    )
    return _apply(x, op, lifted)


def adaptive_average(dims: int, input: Any, output_size: Any, **other: Any) -> Any:
    """Twin of F.adaptive_avg_pool1d, 2d and 3d; to one cell it is a mean, which needs none."""
    if other or not _is_pooled(dims, input):
        return NotImplemented
    sizes = _output_sizes(dims, input, output_size)
    if sizes is None or all(size == 1 for size in sizes):
        return NotImplemented
    x, lifted = _lift(dims, input)
    pool, gradient = _ADAPTIVE_AVERAGES[x.dim() - 2]
    op = Average(lambda t: pool(t, [1] * lifted + sizes), gradient, x.shape)
    return _apply(x, op, lifted)


def adaptive_maximum(
    dims: int, input: Any, output_size: Any, return_indices: Any = False, **other: Any
) -> Any:
    """Twin of F.adaptive_max_pool1d, 2d and 3d."""
    if other or return_indices or not _is_pooled(dims, input):
        return NotImplemented
    sizes = _output_sizes(dims, input, output_size)
    if sizes is None:
        return NotImplemented
    x, lifted = _lift(dims, input)
    pool, gradient = _ADAPTIVE_MAXIMA[x.dim() - 2]
    op = Maximum(lambda t: pool(t, [1] * lifted + sizes), gradient, x.shape)
    return _apply(x, op, lifted)


def _is_pooled(dims: int, input: Any) -> bool:
    """True for a batch the twins compute on; autocast widens some poolings of half precision."""
    return (
        is_recorded(input)
        and input.dim() == dims + 2
        and (input.dtype.itemsize >= 4 or not torch.is_autocast_enabled(input.device.type))
    )


def _lift(dims: int, input: Tensor) -> tuple[Tensor, int]:
    """The input with at least two spatial dimensions, and how many were added."""
    return (input.unsqueeze(-2), 1) if dims == 1 else (input, 0)


def _apply(x: Tensor, op: Average | Maximum, lifted: int) -> Tensor:
    y: Tensor = PiecewiseLinear.apply(x, op, False)
    return y.squeeze(-2) if lifted else y


def _window(dims: int, kernel_size: Any, stride: Any, padding: Any) -> tuple[list[int], ...]:
    lifted = int(dims == 1)
    return (
        [1] * lifted + each(kernel_size, dims),
        [1] * lifted + each(stride, dims),
        [0] * lifted + each(padding, dims),
    )


def _is_absent(stride: Any) -> bool:
    """True for each of torch's ways to say that the stride is the kernel's size."""
    return stride is None or (isinstance(stride, (list, tuple)) and len(stride) == 0)


def _output_sizes(dims: int, input: Tensor, output_size: Any) -> list[int] | None:
    """The output's size, where None stands for the input's; None for a form not known here."""
    sizes = output_size if isinstance(output_size, (list, tuple)) else [output_size] * dims
    if len(sizes) != dims:
        return None
    filled = [
        own if size is None else size for size, own in zip(sizes, input.shape[2:], strict=True)
    ]
    return filled if are_numbers(filled) and min(filled) >= 0 else None


_AVERAGES = {
    2: (_aten.avg_pool2d, _aten.avg_pool2d_backward),
    3: (_aten.avg_pool3d, _aten.avg_pool3d_backward),
}
_MAXIMA = {
    2: (_aten.max_pool2d_with_indices, _aten.max_pool2d_with_indices_backward),
    3: (_aten.max_pool3d_with_indices, _aten.max_pool3d_with_indices_backward),
}
_ADAPTIVE_AVERAGES = {
    2: (_aten._adaptive_avg_pool2d, _aten._adaptive_avg_pool2d_backward),
    3: (_aten._adaptive_avg_pool3d, _aten._adaptive_avg_pool3d_backward),
}
_ADAPTIVE_MAXIMA = {
    2: (_aten.adaptive_max_pool2d, _aten.adaptive_max_pool2d_backward),
    3: (_aten.adaptive_max_pool3d, _aten.adaptive_max_pool3d_backward),
}

TWINS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.avg_pool1d: partial(average, 1),
    F.avg_pool2d: partial(average, 2),
    F.avg_pool3d: partial(average, 3),
    F.max_pool1d: partial(maximum, 1),
    F.max_pool2d: partial(maximum, 2),
    F.max_pool3d: partial(maximum, 3),
    torch.max_pool1d: partial(maximum, 1),
    torch.max_pool2d: partial(maximum, 2),
    torch.max_pool3d: partial(maximum, 3),
    torch.adaptive_avg_pool1d: partial(adaptive_average, 1),
    F.adaptive_avg_pool2d: partial(adaptive_average, 2),
    F.adaptive_avg_pool3d: partial(adaptive_average, 3),
    F.adaptive_max_pool1d: partial(adaptive_maximum, 1),
    F.adaptive_max_pool2d: partial(adaptive_maximum, 2),
    F.adaptive_max_pool3d: partial(adaptive_maximum, 3),
}
