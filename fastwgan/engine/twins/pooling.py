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

from fastwgan.engine.twins.eligible import is_plain, is_recorded
from fastwgan.engine.twins.numbers import are_numbers, each
from fastwgan.engine.twins.piecewise_linear import PiecewiseLinear

_aten = torch.ops.aten


@dataclass(frozen=True, slots=True)
class Pooled:
    """A pooling.

    Attributes:
        op: What is done.
        lifted: 1 where the op's input has a dimension of one element more than the function's.
        is_mean: It is but a mean over all positions.
    """

    op: Average | Maximum
    lifted: int
    is_mean: bool = False


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
        return self.gradient(g, _shaped(self.input_shape, g))


def _shaped(shape: torch.Size, like: Tensor) -> Tensor:
    """What a gradient reads of its pooling's input: shape and memory format alone.

    The memory is not written, so that the system never gives any.
    """
    if like.dim() == 4 and not like.is_contiguous():
        format = torch.channels_last
        if like.is_contiguous(memory_format=format):
            return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=format)
    return like.new_empty(1).expand(shape)


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
        return self.gradient(g, _shaped(self.input_shape, g), pieces)


def find_average(
    dims: int,
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: Any = False,
    count_include_pad: Any = True,
    divisor_override: Any = None,
    **other: Any,
) -> Pooled | None:
    """F.avg_pool1d, avg_pool2d and avg_pool3d; None for a form not known here."""
    stride = kernel_size if _is_absent(stride) else stride
    if other or not _is_pooled(dims, input) or not are_numbers(kernel_size, stride, padding):
        return None
    x, lifted = lift(dims, input)
    window = _window(dims, kernel_size, stride, padding)
    rest = (ceil_mode, count_include_pad, divisor_override)
    pool, gradient = _AVERAGES[x.dim() - 2]
    op = Average(
        lambda t: pool(t, *window, *rest), lambda g, x: gradient(g, x, *window, *rest), x.shape
    )
    return Pooled(op, lifted)


def find_maximum(
    dims: int,
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: Any = False,
    return_indices: Any = False,
    **other: Any,
) -> Pooled | None:
    """F.max_pool1d, max_pool2d and max_pool3d; None for a form not known here."""
    stride = kernel_size if _is_absent(stride) else stride
    if other or return_indices or not _is_pooled(dims, input):
        return None
    if not are_numbers(kernel_size, stride, padding, dilation):
        return None
    x, lifted = lift(dims, input)
    window = _window(dims, kernel_size, stride, padding)
    rest = ([1] * lifted + each(dilation, dims), ceil_mode)
    pool, gradient = _MAXIMA[x.dim() - 2]
    op = Maximum(
        lambda t: pool(t, *window, *rest),
        lambda g, x, places: gradient(g, x, *window, *rest, places),
        x.shape,
    )
    return Pooled(op, lifted)


def find_adaptive_average(dims: int, input: Any, output_size: Any, **other: Any) -> Pooled | None:
    """F.adaptive_avg_pool1d, 2d and 3d; None for a form not known here."""
    sizes = None if other else _output_sizes(dims, input, output_size)
    if sizes is None:
        return None
    x, lifted = lift(dims, input)
    pool, gradient = _ADAPTIVE_AVERAGES[x.dim() - 2]
    op = Average(lambda t: pool(t, [1] * lifted + sizes), gradient, x.shape)
    return Pooled(op, lifted, is_mean=all(size == 1 for size in sizes))


def find_adaptive_maximum(
    dims: int, input: Any, output_size: Any, return_indices: Any = False, **other: Any
) -> Pooled | None:
    """F.adaptive_max_pool1d, 2d and 3d; None for a form not known here."""
    sizes = None if other or return_indices else _output_sizes(dims, input, output_size)
    if sizes is None:
        return None
    x, lifted = lift(dims, input)
    pool, gradient = _ADAPTIVE_MAXIMA[x.dim() - 2]
    return Pooled(Maximum(lambda t: pool(t, [1] * lifted + sizes), gradient, x.shape), lifted)


def lift(dims: int, input: Tensor) -> tuple[Tensor, int]:
    """The input with at least two spatial dimensions, and how many were added."""
    return (input.unsqueeze(-2), 1) if dims == 1 else (input, 0)


def _twin(find: Callable[..., Pooled | None], dims: int, input: Any, *args: Any, **kw: Any) -> Any:
    """Twin of the pooling that `find` finds; a mean needs none."""
    pooled = find(dims, input, *args, **kw) if is_recorded(input) else None
    if pooled is None or pooled.is_mean:
        return NotImplemented
    x, lifted = lift(dims, input)
    y: Tensor = PiecewiseLinear.apply(x, pooled.op, False)
    return y.squeeze(-2) if lifted else y


def _is_pooled(dims: int, input: Any) -> bool:
    """True for a batch the twins compute on; autocast widens some poolings of half precision."""
    return (
        is_plain(input)
        and input.dim() == dims + 2
        and (input.dtype.itemsize >= 4 or not torch.is_autocast_enabled(input.device.type))
    )


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
    if not _is_pooled(dims, input):
        return None
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

POOLINGS: dict[Callable[..., Any], tuple[Callable[..., Pooled | None], int]] = {
    torch.avg_pool1d: (find_average, 1),
    F.avg_pool2d: (find_average, 2),
    F.avg_pool3d: (find_average, 3),
    F.max_pool1d: (find_maximum, 1),
    F.max_pool2d: (find_maximum, 2),
    F.max_pool3d: (find_maximum, 3),
    torch.max_pool1d: (find_maximum, 1),
    torch.max_pool2d: (find_maximum, 2),
    torch.max_pool3d: (find_maximum, 3),
    torch.adaptive_avg_pool1d: (find_adaptive_average, 1),
    F.adaptive_avg_pool2d: (find_adaptive_average, 2),
    F.adaptive_avg_pool3d: (find_adaptive_average, 3),
    F.adaptive_max_pool1d: (find_adaptive_maximum, 1),
    F.adaptive_max_pool2d: (find_adaptive_maximum, 2),
    F.adaptive_max_pool3d: (find_adaptive_maximum, 3),
}
"""What finds each function's pooling, and in how many dimensions."""

TWINS: dict[Callable[..., Any], Callable[..., Any]] = {
    function: partial(_twin, find, dims) for function, (find, dims) in POOLINGS.items()
}
