"""The twins of torch's convolution calls: from their arguments to the three bilinear operations."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from fastwgan.engine.twins.convolution import Convolution
from fastwgan.engine.twins.eligible import is_plain
from fastwgan.engine.twins.geometry import Geometry
from fastwgan.engine.twins.numbers import are_numbers, each

Call = tuple[tuple[Any, Any, Any], Geometry]
"""Input, weight and bias of a call, and the rest of it."""


def geometry_of(
    dims: int,
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: Any = 1,
    **other: Any,
) -> Call | None:
    """A call of torch.conv1d, conv2d or conv3d; None where its two paddings differ."""
    if other or not are_numbers(stride, dilation, groups):
        return None
    each_stride, each_dilation = each(stride, dims), each(dilation, dims)
    if isinstance(padding, str):
        padding = _named_padding(padding, weight, each_stride, each_dilation)
    if not are_numbers(padding):
        return None
    geometry = Geometry(each_stride, each(padding, dims), each_dilation, False, [0] * dims, groups)
    return (input, weight, bias), geometry


def geometry_of_transpose(
    dims: int,
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: Any = 1,
    dilation: Any = 1,
    **other: Any,
) -> Call | None:
    """A call of torch.conv_transpose1d, conv_transpose2d or conv_transpose3d."""
    if other or not are_numbers(stride, padding, output_padding, dilation, groups):
        return None
    geometry = Geometry(
        each(stride, dims),
        each(padding, dims),
        each(dilation, dims),
        True,
        each(output_padding, dims),
        groups,
    )
    return (input, weight, bias), geometry


def _twin(dims: int, find: Callable[..., Call | None], *args: Any, **kwargs: Any) -> Any:
    call = find(dims, *args, **kwargs)
    if call is None or not _are_convolved(dims, *call[0]):
        return NotImplemented
    return _apply(*call[0], call[1])


def _are_convolved(dims: int, input: Any, weight: Any, bias: Any) -> bool:
    """True for a batch and a weight that the twins compute on, some gradient being recorded."""
    tensors = (input, weight) if bias is None else (input, weight, bias)
    return (
        all(is_plain(tensor) for tensor in tensors)
        and any(tensor.requires_grad for tensor in tensors)
        and input.dim() == weight.dim() == dims + 2
        and all(size > 0 for size in input.shape)
    )


def _apply(input: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Any:
    kind = input.device.type
    if torch.is_autocast_enabled(kind):
        input, weight, bias = (
            _autocast(tensor, torch.get_autocast_dtype(kind)) for tensor in (input, weight, bias)
        )
    return Convolution.apply(input, weight, bias, geometry)


def _autocast(tensor: Any, dtype: torch.dtype) -> Any:
    """The cast autocast makes before a convolution, which leaves float64 alone."""
    if tensor is None or tensor.dtype is torch.float64:
        return tensor
    return tensor.to(dtype)


def _named_padding(
    name: str, weight: Tensor, stride: list[int], dilation: list[int]
) -> list[int] | None:
    """padding="valid" or "same" as numbers; None where it has none, the two sides differing."""
    if name == "valid":
        return [0] * len(stride)
    totals = [step * (size - 1) for step, size in zip(dilation, weight.shape[2:], strict=True)]
    if name != "same" or any(total % 2 for total in totals) or any(step != 1 for step in stride):
        return None
    return [total // 2 for total in totals]


def _twins(dims: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    return partial(_twin, dims, geometry_of), partial(_twin, dims, geometry_of_transpose)


TWINS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.conv1d: _twins(1)[0],
    torch.conv2d: _twins(2)[0],
    torch.conv3d: _twins(3)[0],
    torch.conv_transpose1d: _twins(1)[1],
    torch.conv_transpose2d: _twins(2)[1],
    torch.conv_transpose3d: _twins(3)[1],
}
