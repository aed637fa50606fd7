"""A fully connected critic in plain torch: the definition of correct."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F


class Layer(NamedTuple):
    """mask · act(x weightᵀ + bias), act(z) = z where z > 0, else slope · z."""

    weight: Tensor  # [outputs, inputs]
    bias: Tensor | None  # [outputs]
    slope: float  # 1 for no activation
    mask: Tensor | None  # [rows, outputs]


class Pass(Protocol):
    """One run of the critic, on the loss's rows first and then on the penalty's."""

    scores: Tensor  # [rows, outputs]

    def transpose(self, seeds: Tensor, first_row: int) -> Tensor:
        """The gradient [rows - first_row, inputs] of ⟨seeds, scores⟩ at the rows from first_row.

        Args:
            seeds: [rows, outputs], contiguous, of the samples' dtype.
            first_row: 0 to rows.
        """
        ...

    def gradients(
        self, start: Tensor, loss_rows: int, wanted: Sequence[tuple[bool, bool]]
    ) -> list[tuple[Tensor | None, Tensor | None]]:
        """Of each layer's weight and bias, None where not wanted; after `transpose`, once.

        They are those of ⟨seeds, scores⟩ over the loss's rows plus ⟨seeds, J start⟩ over the
        others, J start the movement of the scores when the samples move by `start`.

        Args:
            start: [rows - loss_rows, inputs], contiguous, of the samples' dtype.
            loss_rows: How many rows are the loss's, 0 to rows.
            wanted: For each layer, whether the weight's and the bias's are.
        """
        ...


def score(samples: Tensor, layers: Sequence[Layer]) -> Pass:
    """The run of the critic on [rows, inputs]."""
    return _Pass(samples, layers)


class _Pass:
    def __init__(self, samples: Tensor, layers: Sequence[Layer]) -> None:
        self._layers = layers
        self._inputs = [samples]
        self._factors: list[Tensor] = []  # by layer, d output / d product
        self._cotangents: list[Tensor] = []
        with torch.no_grad():
            for layer in layers:
                product = F.linear(self._inputs[-1], layer.weight, layer.bias)
                factor = torch.where(product > 0, 1.0, layer.slope).to(samples.dtype)
                output = F.leaky_relu(product, layer.slope) if layer.slope else F.relu(product)
                if layer.mask is not None:
                    output, factor = output * layer.mask, factor * layer.mask
                self._factors.append(factor)
                self._inputs.append(output)
        self.scores = self._inputs.pop()

    def transpose(self, seeds: Tensor, first_row: int) -> Tensor:
        with torch.no_grad():
            cotangent = seeds * self._factors[-1]
            self._cotangents = [cotangent]
            for index in range(len(self._layers) - 1, 0, -1):
                cotangent = (cotangent @ self._layers[index].weight) * self._factors[index - 1]
                self._cotangents.insert(0, cotangent)
            return cotangent[first_row:] @ self._layers[0].weight

    def gradients(
        self, start: Tensor, loss_rows: int, wanted: Sequence[tuple[bool, bool]]
    ) -> list[tuple[Tensor | None, Tensor | None]]:
        found: list[tuple[Tensor | None, Tensor | None]] = []
        tangent = start
        with torch.no_grad():
            for index, (layer, (weight, bias)) in enumerate(zip(self._layers, wanted, strict=True)):
                d, x = self._cotangents[index], self._inputs[index]
                moving = torch.cat((x[:loss_rows], tangent))
                found.append((d.t() @ moving if weight else None, _sum(d, loss_rows, bias)))
                tangent = (tangent @ layer.weight.t()) * self._factors[index][loss_rows:]
        return found


def _sum(d: Tensor, rows: int, wanted: bool) -> Tensor | None:
    return d[:rows].sum(0) if wanted else None
