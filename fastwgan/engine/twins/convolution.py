"""Convolutions as one closed bilinear system of three operations.

y = conv(x, w) is linear in x and in w, hence so are its two gradients: g ↦ convᵀ(g, w) for the
input and (g, x) ↦ corr(g, x) for the weight. Every derivative of any of the three is one of the
three again, so that any order is right and every product is one of the fast kernels. Autograd's own
double backward computes the second weight gradient as a convolution over the batch dimension, and
carries zeros back through the forward convolution.
"""

# ruff: noqa: D102 - a Function's methods have their contract in the class

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from fastwgan.engine.twins.geometry import Geometry
from fastwgan.engine.twins.wanted import wanted


class Convolution(Function):
    """conv(x, w) + bias."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.set_materialize_grads(False)
        ctx.geometry = geometry
        return geometry.convolve(x, weight, bias)

    @staticmethod
    def backward(
        ctx: Any, g: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        if g is None:
            return None, None, None, None
        x, weight = ctx.saved_tensors
        wants_x, wants_weight, wants_bias = wanted(ctx, 3)
        return (
            InputGradient.apply(g, weight, x.shape, ctx.geometry) if wants_x else None,
            WeightGradient.apply(g, x, weight.shape, ctx.geometry) if wants_weight else None,
            g.sum([0, *range(2, g.dim())]) if wants_bias else None,
            None,
        )


class InputGradient(Function):
    """convᵀ(g, w): the gradient of ⟨g, conv(x, w)⟩ with respect to x."""

    @staticmethod
    def forward(
        ctx: Any, g: Tensor, weight: Tensor, input_shape: torch.Size, geometry: Geometry
    ) -> Tensor:
        ctx.save_for_backward(g, weight)
        ctx.set_materialize_grads(False)
        ctx.geometry = geometry
        return geometry.input_gradient(g, weight, input_shape)

    @staticmethod
    def backward(ctx: Any, t: Tensor | None) -> tuple[Tensor | None, Tensor | None, None, None]:
        if t is None:
            return None, None, None, None
        g, weight = ctx.saved_tensors
        wants_g, wants_weight = wanted(ctx, 2)
        return (
            Convolution.apply(t, weight, None, ctx.geometry) if wants_g else None,
            WeightGradient.apply(g, t, weight.shape, ctx.geometry) if wants_weight else None,
            None,
            None,
        )


class WeightGradient(Function):
    """corr(g, x): the gradient of ⟨g, conv(x, w)⟩ with respect to w."""

    @staticmethod
    def forward(
        ctx: Any, g: Tensor, x: Tensor, weight_shape: torch.Size, geometry: Geometry
    ) -> Tensor:
        ctx.save_for_backward(g, x)
        ctx.set_materialize_grads(False)
        ctx.geometry = geometry
        return geometry.weight_gradient(g, x, weight_shape)

    @staticmethod
    def backward(ctx: Any, t: Tensor | None) -> tuple[Tensor | None, Tensor | None, None, None]:
        if t is None:
            return None, None, None, None
        g, x = ctx.saved_tensors
        wants_g, wants_x = wanted(ctx, 2)
        return (
            Convolution.apply(x, t, None, ctx.geometry) if wants_g else None,
            InputGradient.apply(g, t, x.shape, ctx.geometry) if wants_x else None,
            None,
            None,
        )
