"""y = x Wᵀ + b, on the last dimension."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fastwgan.engine.products import activated, affine, times, weight_gradient
from fastwgan.engine.rules.activation import LeakyRelu
from fastwgan.engine.rules.base import Bound, Rule, Site, Tensors


class Linear(Rule):
    """The fully connected layer. Tangent: t Wᵀ. Second order: δᵀt for the weight alone."""

    kind = "linear"
    piecewise_linear = True
    reads_outputs = False
    weights = (1, 2)
    unread = (2,)
    merges = True

    def bind(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Bound | None:
        """F.linear(input, weight, bias), the input a batch."""
        return _bind_linear(*args, **kwargs)

    def forward(self, options: Any, inputs: Tensors) -> tuple[Tensors, tuple[Any, ...]]:
        """One product."""
        x, weight, bias = inputs
        assert x is not None
        assert weight is not None
        return (affine(x, weight, bias),), ()

    def forward_activated(
        self, options: Any, inputs: Tensors, activation: Rule, activation_options: Any
    ) -> Tensors | None:
        """Bias and LeakyReLU in one pass over the product, or in none."""
        x, weight, bias = inputs
        assert x is not None
        assert weight is not None
        if not isinstance(activation, LeakyRelu):
            return None
        return (activated(x, weight, bias, activation_options),)

    def adjoint(
        self, site: Site, cotangents: Tensors, wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """d W, dᵀx and the sum of d over rows."""
        (d,) = cotangents
        assert d is not None
        return [
            times(d, site.input(1)) if wanted[0] else None,
            weight_gradient(d, site.input(0)) if wanted[1] else None,
            d.sum(list(range(d.dim() - 1))) if wanted[2] else None,
        ]

    def tangent(self, site: Site, tangents: Tensors) -> Tensors:
        """One product."""
        t = tangents[0]
        return (None if t is None else affine(t, site.input(1), None),)

    def second_order(
        self, site: Site, cotangents: Tensors, tangents: Tensors, wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """δᵀt."""
        d, t = cotangents[0], tangents[0]
        if not wanted[1] or d is None or t is None:
            return [None, None, None]
        return [None, weight_gradient(d, t), None]


def _bind_linear(input: Any, weight: Any, bias: Any = None) -> Bound | None:
    if input.dim() < 2 or torch.is_autocast_enabled(input.device.type):
        return None
    return Bound((input, weight, bias), None)


RULES: dict[Callable[..., Any], Rule] = {F.linear: Linear()}
