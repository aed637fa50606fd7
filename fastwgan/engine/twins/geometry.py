"""What a convolution is apart from its tensors, and its three products."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_aten = torch.ops.aten


@dataclass(frozen=True, slots=True)
class Geometry:
    """Strides, padding and the like; one entry a spatial dimension."""

    stride: list[int]
    padding: list[int]
    dilation: list[int]
    transposed: bool
    output_padding: list[int]
    groups: int

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """conv(x, w) + bias, as the plain operation computes it."""
        y: Tensor = _aten.convolution(
            x,
            weight,
            bias,
            self.stride,
            self.padding,
            self.dilation,
            self.transposed,
            self.output_padding,
            self.groups,
        )
        return y

    def input_gradient(self, g: Tensor, weight: Tensor, like: Tensor | torch.Size) -> Tensor:
        """convᵀ(g, w), shaped as the input.

        Args:
            g: As the output.
            weight: The weight.
            like: The input, whose memory format tells the algorithm, or its shape.
        """
        x = like if isinstance(like, Tensor) else g.new_empty(1).expand(like)
        gradient: Tensor = self._backward(g, x, weight, 0)
        return gradient

    def weight_gradient(self, g: Tensor, x: Tensor, like: Tensor | torch.Size) -> Tensor:
        """corr(g, x), shaped as the weight; `like` is the weight, or its shape."""
        weight = like if isinstance(like, Tensor) else g.new_empty(1).expand(like)
        gradient: Tensor = self._backward(g, x, weight, 1)
        return gradient

    def _backward(self, g: Tensor, x: Tensor, weight: Tensor, which: int) -> Tensor:
        gradients: list[Tensor] = _aten.convolution_backward(
            g,
            x,
            weight,
            None,
            self.stride,
            self.padding,
            self.dilation,
            self.transposed,
            self.output_padding,
            self.groups,
            [which == 0, which == 1, False],
        )
        return gradients[which]
