"""A convolution's three products, each by the algorithm that is fastest for its shape.

Chosen by measurement on the layers of DCGAN: oneDNN's general algorithm runs a kernel that covers
its whole input, and gradients for few input channels, at a few percent of a matrix product's rate.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from fastwgan.engine.cpu_only import is_for_cpu
from fastwgan.engine.layout import is_channels_last
from fastwgan.engine.products import affine, times, weight_gradient
from fastwgan.engine.twins.geometry import Geometry

_FEW_CHANNELS = 4


def convolve(geometry: Geometry, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """conv(x, w) + bias."""
    if not _covers(geometry, x, weight):
        return geometry.convolve(x, weight, bias)
    order = is_channels_last(x)
    y = affine(_flat(x, order), _flat(weight, order), bias)
    return y.view(*y.shape, *[1] * (x.dim() - 2))


def input_gradient(geometry: Geometry, d: Tensor, weight: Tensor, x: Tensor) -> Tensor:
    """convᵀ(d, w), shaped as x."""
    if _covers(geometry, x, weight):
        order = is_channels_last(x)
        return _unflat(times(d.flatten(1), _flat(weight, order)), x, order)
    if _is_thin(geometry, d, weight):
        return _folded(geometry, d, weight, x)
    return geometry.input_gradient(d, weight, x)


def gradient_of_weight(geometry: Geometry, d: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """corr(d, x), shaped as the weight."""
    if _covers(geometry, x, weight):
        order = is_channels_last(x)
        return _unflat(weight_gradient(d.flatten(1), _flat(x, order)), weight, order)
    return geometry.weight_gradient(d, x, weight)


def _covers(geometry: Geometry, x: Tensor, weight: Tensor) -> bool:
    """Whether the kernel has one position: the layer is fully connected."""
    return (
        x.shape[2:] == weight.shape[2:]
        and not geometry.transposed
        and geometry.groups == 1
        and not any(geometry.padding)
        and all(step == 1 for step in geometry.dilation)
    )


def _flat(tensor: Tensor, channels_last: bool) -> Tensor:
    """[rows, ...] as [rows, elements], a view where the memory allows."""
    return (tensor.movedim(1, -1) if channels_last else tensor).flatten(1)


def _unflat(matrix: Tensor, like: Tensor, channels_last: bool) -> Tensor:
    """Back again, shaped as `like`."""
    if not channels_last:
        return matrix.view(matrix.shape[0], *like.shape[1:])
    return matrix.view(matrix.shape[0], *like.shape[2:], like.shape[1]).movedim(-1, 1)


def _is_thin(geometry: Geometry, d: Tensor, weight: Tensor) -> bool:
    return (
        is_for_cpu(d)
        and d.dtype is torch.float32
        and d.dim() == 4
        and weight.shape[1] <= _FEW_CHANNELS
        and not geometry.transposed
        and geometry.groups == 1
    )


def _folded(geometry: Geometry, d: Tensor, weight: Tensor, x: Tensor) -> Tensor:
    """One product a sample, then overlapping patches summed: two to six times oneDNN's rate."""
    rows, channels = d.shape[:2]
    positions = d.movedim(1, -1).reshape(rows, -1, channels)  # [rows, positions, out]
    patches = weight.flatten(1).t() @ positions.transpose(1, 2)  # [rows, in kernel, positions]
    return F.fold(
        patches,
        x.shape[2:],
        weight.shape[2:],
        dilation=tuple(geometry.dilation),
        padding=tuple(geometry.padding),
        stride=tuple(geometry.stride),
    )
