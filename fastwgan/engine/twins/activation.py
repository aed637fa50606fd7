"""ReLU and LeakyReLU, out of place and in place, under each of their names."""

# ruff: noqa: D102 - these methods have their contract in the protocol

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fastwgan.engine.twins.eligible import can_be_overwritten, is_recorded
from fastwgan.engine.twins.piecewise_linear import PiecewiseLinear

_aten = torch.ops.aten


@dataclass(frozen=True, slots=True)
class Relu:
    """max(x, 0). Its pieces are the output, as autograd's own: it survives a change of x."""

    in_place: bool

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = _aten.relu_(x) if self.in_place else _aten.relu(x)
        return y, y

    def tangent(self, t: Tensor, pieces: Tensor | None) -> Tensor:
        mapped: Tensor = _aten.threshold_backward(t, pieces, 0)
        return mapped

    transpose = tangent


@dataclass(frozen=True, slots=True)
class LeakyRelu:
    """x where positive, else slope x. Its pieces are the input, or in place the output."""

    slope: float
    in_place: bool

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.in_place:
            y = _aten.leaky_relu_(x, self.slope)
            return y, y
        return _aten.leaky_relu(x, self.slope), x

    def tangent(self, t: Tensor, pieces: Tensor | None) -> Tensor:
        mapped: Tensor = _aten.leaky_relu_backward(t, pieces, self.slope, self.in_place)
        return mapped

    transpose = tangent


def relu(input: Any, inplace: bool = False, **other: Any) -> Any:
    """Twin of F.relu, torch.relu and Tensor.relu."""
    if inplace:
        return relu_(input, **other)
    if other or not is_recorded(input):
        return NotImplemented
    return PiecewiseLinear.apply(input, Relu(False), False)


def relu_(input: Any, **other: Any) -> Any:
    """Twin of torch.relu_ and Tensor.relu_."""
    if other or not is_recorded(input) or not can_be_overwritten(input):
        return NotImplemented
    return PiecewiseLinear.apply(input, Relu(True), True)


def leaky_relu(input: Any, negative_slope: Any = 0.01, inplace: bool = False, **other: Any) -> Any:
    """Twin of F.leaky_relu."""
    if inplace:
        return leaky_relu_(input, negative_slope, **other)
    if other or not is_recorded(input) or not isinstance(negative_slope, (int, float)):
        return NotImplemented
    return PiecewiseLinear.apply(input, LeakyRelu(negative_slope, False), False)


def leaky_relu_(input: Any, negative_slope: Any = 0.01, **other: Any) -> Any:
    """Twin of F.leaky_relu_; a negative slope loses the sign of x in place, and torch says so."""
    if other or not is_recorded(input) or not can_be_overwritten(input):
        return NotImplemented
    if not isinstance(negative_slope, (int, float)) or negative_slope < 0:
        return NotImplemented
    return PiecewiseLinear.apply(input, LeakyRelu(negative_slope, True), True)


TWINS: dict[Callable[..., Any], Callable[..., Any]] = {
    F.relu: relu,
    torch.relu: relu,
    Tensor.relu: relu,
    torch.relu_: relu_,
    Tensor.relu_: relu_,
    F.leaky_relu: leaky_relu,
    F.leaky_relu_: leaky_relu_,
}
