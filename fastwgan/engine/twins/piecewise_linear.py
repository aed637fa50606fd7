"""Piecewise-linear operations: y = A(x) x with A locally constant.

Then dy = A dx, the gradient is Aᵀ g, and the gradient's own derivative with respect to x is zero.
PyTorch returns that zero as a tensor for most of them (ReLU, LeakyReLU, pooling), and autograd
carries it back through everything below x: two products a layer for nothing. Here the pieces A are
constants of the graph, so that nothing leads from the gradient back to x.
"""

# ruff: noqa: D102 - a Function's methods have their contract in the class

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd import Function


class PiecewiseLinearOp(Protocol):
    """One such operation: its value, and the maps A and Aᵀ given the constants that determine A."""

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """The value y, and the tensor that determines A (x, y or indices), if any does."""
        ...

    def tangent(self, t: Tensor, pieces: Tensor | None) -> Tensor:
        """A t, shaped as y."""
        ...

    def transpose(self, g: Tensor, pieces: Tensor | None) -> Tensor:
        """Aᵀ g, shaped as x."""
        ...


class PiecewiseLinear(Function):
    """y = A(x) x; its derivatives of every order are those of the map A."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, op: PiecewiseLinearOp, in_place: bool) -> Tensor:
        y, pieces = op.evaluate(x)
        if in_place:
            ctx.mark_dirty(x)
        ctx.save_for_backward(pieces)
        ctx.set_materialize_grads(False)
        ctx.op = op
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor | None) -> tuple[Tensor | None, None, None]:
        if g is None:
            return None, None, None
        (pieces,) = ctx.saved_tensors
        if pieces is not None:
            # They may be x or y, and no edge may lead from the gradient back to those.
            pieces = pieces.detach()
        return linear_map(g, ctx.op, pieces, transposed=True), None, None


class LinearMap(Function):
    """t ↦ A t, or g ↦ Aᵀ g; each is the other's backward."""

    @staticmethod
    def forward(
        ctx: Any, t: Tensor, op: PiecewiseLinearOp, pieces: Tensor | None, transposed: bool
    ) -> Tensor:
        ctx.save_for_backward(pieces)
        ctx.set_materialize_grads(False)
        ctx.op, ctx.transposed = op, transposed
        return op.transpose(t, pieces) if transposed else op.tangent(t, pieces)

    @staticmethod
    def backward(ctx: Any, g: Tensor | None) -> tuple[Tensor | None, None, None, None]:
        if g is None:
            return None, None, None, None
        (pieces,) = ctx.saved_tensors
        return linear_map(g, ctx.op, pieces, transposed=not ctx.transposed), None, None, None


def linear_map(
    t: Tensor, op: PiecewiseLinearOp, pieces: Tensor | None, *, transposed: bool
) -> Tensor:
    """A t or Aᵀ t, recorded where gradients are."""
    if torch.is_grad_enabled() and t.requires_grad:
        mapped: Tensor = LinearMap.apply(t, op, pieces, transposed)
        return mapped
    return op.transpose(t, pieces) if transposed else op.tangent(t, pieces)
