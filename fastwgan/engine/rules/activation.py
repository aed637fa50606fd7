"""ReLU and LeakyReLU: the sign of the output tells the slope."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fastwgan.backends import has_kernel
from fastwgan.engine.rules.base import Bound, Rule, Site, Tensors
from fastwgan.ops.bias_activation import as_matrix, differentiate

_aten = torch.ops.aten


class LeakyRelu(Rule):
    """x where positive, else slope x, slope ≥ 0; `options` is the slope."""

    kind = "leaky_relu"
    piecewise_linear = True
    reads_inputs = False
    places = True
    in_place = True

    def __init__(self, slope: float | None = None) -> None:
        self._slope = slope  # None: an argument of the call
        if slope == 0:
            self.kind = "relu"

    def bind(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Bound | None:
        """All forms of the call; a negative slope loses the sign of x in the output."""
        x, slope = (
            _bind_leaky_relu(*args, **kwargs)
            if self._slope is None
            else (_bind_relu(*args, **kwargs), self._slope)
        )
        if not isinstance(slope, (int, float)) or not slope >= 0 or not x.is_floating_point():
            return None
        return Bound((x,), float(slope))

    def forward(self, options: float, inputs: Tensors) -> tuple[Tensors, tuple[Any, ...]]:
        """Out of place."""
        x = inputs[0]
        return (_aten.relu(x) if options == 0 else _aten.leaky_relu(x, options),), ()

    def forward_in_place(self, options: float, inputs: Tensors) -> Tensors:
        """Over the input."""
        x = inputs[0]
        return (_aten.relu_(x) if options == 0 else _aten.leaky_relu_(x, options),)

    def adjoint(
        self, site: Site, cotangents: Tensors, wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """Times one or the slope."""
        d = cotangents[0]
        return [None if d is None or not wanted[0] else self.adjoint_at(site, d, None)]

    def tangent(self, site: Site, tangents: Tensors) -> Tensors:
        """Times one or the slope."""
        t = tangents[0]
        return (None if t is None else self.tangent_at(site, t, None),)

    def second_order(
        self, site: Site, cotangents: Tensors, tangents: Tensors, wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """None: the slopes are constants."""
        return [None]

    def adjoint_at(self, site: Site, cotangent: Tensor, out: Tensor | None) -> Tensor:
        """Times one or the slope."""
        return self.adjoint_and_sum(site, cotangent, out, None)[0]

    def adjoint_and_sum(
        self, site: Site, cotangent: Tensor, out: Tensor | None, summed_rows: int | None
    ) -> tuple[Tensor, Tensor | None]:
        """The adjoint, and its sum over the first `summed_rows` rows where one pass gives both.

        Args:
            site: The layer.
            cotangent: As the output.
            out: Where the adjoint goes, if anywhere; may be the cotangent or the output.
            summed_rows: How many rows of the batch; None for no sum.
        """
        y, slope = site.output, site.options
        if has_kernel("bias_activation", y):
            result = torch.empty_like(cotangent) if out is None else out
            d, outputs, results = as_matrix(cotangent), as_matrix(y), as_matrix(result)
            if d is not None and outputs is not None and results is not None:
                positions = d.shape[0] // y.shape[0] if y.shape[0] else 0  # of one row
                rows = None if summed_rows is None else summed_rows * positions
                return result, differentiate(d, outputs, results, slope, rows)
        return _by_torch(cotangent, y, slope, out), None

    def tangent_at(self, site: Site, tangent: Tensor, out: Tensor | None) -> Tensor:
        """The same."""
        return self.adjoint_at(site, tangent, out)


def _by_torch(cotangent: Tensor, y: Tensor, slope: float, out: Tensor | None) -> Tensor:
    place = {} if out is None else {"grad_input": out}
    result: Tensor = (
        _aten.threshold_backward(cotangent, y, 0, **place)
        if slope == 0
        else _aten.leaky_relu_backward(cotangent, y, slope, True, **place)
    )
    return result


def _bind_relu(input: Any, inplace: bool = False) -> Any:
    return input


def _bind_leaky_relu(input: Any, negative_slope: Any = 0.01, inplace: bool = False) -> Any:
    return input, negative_slope


_relu, _leaky_relu = LeakyRelu(0.0), LeakyRelu()

RULES: dict[Callable[..., Any], Rule] = {
    F.relu: _relu,
    torch.relu: _relu,
    torch.relu_: _relu,
    Tensor.relu: _relu,
    Tensor.relu_: _relu,
    F.leaky_relu: _leaky_relu,
    F.leaky_relu_: _leaky_relu,
}
