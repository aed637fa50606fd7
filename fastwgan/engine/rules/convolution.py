"""Convolutions of one to three dimensions, transposed ones too.

y = conv(x, w) + b is linear in x and in w. The adjoint takes convᵀ(d, w) for the input and
corr(d, x) for the weight; the tangent is conv(t, w); the second-order term corr(δ, t) for the
weight alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from fastwgan.engine.convolutions import convolve, gradient_of_weight, input_gradient
from fastwgan.engine.rules.base import Bound, Rule, Site, Tensors
from fastwgan.engine.twins.convolution_calls import geometry_of, geometry_of_transpose
from fastwgan.engine.twins.geometry import Geometry


class Convolution(Rule):
    """`options` is the convolution's geometry."""

    kind = "convolution"
    piecewise_linear = True
    reads_outputs = False
    weights = (1, 2)
    unread = (2,)
    merges = True

    def __init__(self, dims: int, *, transposed: bool = False) -> None:
        find = geometry_of_transpose if transposed else geometry_of
        self._geometry = partial(find, dims)
        self._dims = dims

    def bind(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Bound | None:
        """All calls on a batch, but for named paddings that differ between the two sides."""
        found = self._geometry(*args, **kwargs)
        if found is None:
            return None
        (x, weight, bias), geometry = found
        batched = x.dim() == weight.dim() == self._dims + 2 and all(x.shape)
        if not batched or torch.is_autocast_enabled(x.device.type):
            return None
        return Bound((x, weight, bias), geometry)

    def forward(self, options: Geometry, inputs: Tensors) -> tuple[Tensors, tuple[Any, ...]]:
        """One convolution."""
        x, weight, bias = inputs
        assert x is not None
        assert weight is not None
        return (convolve(options, x, weight, bias),), ()

    def adjoint(
        self, site: Site, cotangents: Tensors, wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """Both products, and the sum of d over rows and positions."""
        d, geometry = cotangents[0], site.options
        assert d is not None
        x, weight = site.input(0), site.input(1)
        return [
            input_gradient(geometry, d, weight, x) if wanted[0] else None,
            gradient_of_weight(geometry, d, x, weight) if wanted[1] else None,
            d.sum([0, *range(2, d.dim())]) if wanted[2] else None,
        ]

    def tangent(self, site: Site, tangents: Tensors) -> Tensors:
        """One convolution."""
        t = tangents[0]
        return (None if t is None else convolve(site.options, t, site.input(1), None),)

    def second_order(
        self, site: Site, cotangents: Tensors, tangents: Tensors, wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """corr(δ, t)."""
        d, t = cotangents[0], tangents[0]
        if not wanted[1] or d is None or t is None:
            return [None, None, None]
        return [None, gradient_of_weight(site.options, d, t, site.input(1)), None]


RULES: dict[Callable[..., Any], Rule] = {
    torch.conv1d: Convolution(1),
    torch.conv2d: Convolution(2),
    torch.conv3d: Convolution(3),
    torch.conv_transpose1d: Convolution(1, transposed=True),
    torch.conv_transpose2d: Convolution(2, transposed=True),
    torch.conv_transpose3d: Convolution(3, transposed=True),
}
