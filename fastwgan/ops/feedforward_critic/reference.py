"""A feed-forward critic in plain torch: the definition of correct."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

Pair = tuple[int, int]
Gradients = list[tuple[Tensor | None, Tensor | None]]


class Layer(NamedTuple):
    """mask · act(conv(x, weight) + bias), act(z) = z where z > 0, else slope · z.

    A dense layer is a convolution of images of one pixel, or one whose kernel is its input's size.
    """

    weight: Tensor  # [outputs, channels, kernel height, kernel width]
    bias: Tensor | None  # [outputs]
    slope: float  # not negative; 1 for no activation, as the last layer's
    mask: Tensor | None = None  # [rows, outputs], not negative, for an output of one pixel
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)


class Pass(Protocol):
    """One run of the critic, on the loss's rows first and then on the penalty's."""

    scores: Tensor
    """[rows, outputs, height, width], channels-last."""

    def backward(
        self, seeds: Tensor, wanted: Sequence[tuple[bool, bool]], *, of_all: bool
    ) -> Tensor:
        """The gradient of ⟨seeds, scores⟩ by the samples of the penalty's rows, or of all.

        Args:
            seeds: As the scores.
            wanted: For each layer, whether `tangent` shall return its weight's and its bias's
                gradient.
            of_all: Whether at all rows.
        """
        ...

    def tangent(self, start: Tensor, after: Pass | None = None) -> Gradients:
        """The gradients of each layer's weight and bias, None where not wanted.

        They are those of ⟨seeds, scores⟩ over the loss's rows plus ⟨seeds, J start⟩ over the
        penalty's, J start the movement of the scores when the samples move by `start`.

        Args:
            start: [rows - loss_rows, channels, height, width], channels-last.
            after: Another run of the same layers, whose backward is done: the loss's rows are
                its, and what was wanted of it; this run has none.
        """
        ...

    def release(self) -> None:
        """Frees what its own tangent would need, when another run's comes after its backward."""
        ...


def score(samples: Tensor, layers: Sequence[Layer], loss_rows: int) -> Pass:
    """The run of the critic on [rows, channels, height, width]."""
    return _Pass(samples, layers, loss_rows)


class _Pass:
    def __init__(self, samples: Tensor, layers: Sequence[Layer], loss_rows: int) -> None:
        self._layers, self._loss_rows = layers, loss_rows
        self._inputs: list[Tensor] = []
        self._active: list[Tensor] = []  # by layer: whether above 0, as its outputs
        x = samples
        with torch.no_grad():
            for layer in layers:
                z = _product(layer, x, layer.bias)
                output = F.leaky_relu(z, layer.slope) if layer.slope else F.relu(z)
                if layer.mask is not None:
                    output = output * layer.mask.view(z.shape)
                self._inputs.append(x)
                self._active.append(output > 0)
                x = output
        self.scores = x

    def backward(
        self, seeds: Tensor, wanted: Sequence[tuple[bool, bool]], *, of_all: bool
    ) -> Tensor:
        self._cotangents: list[Tensor] = []
        d = seeds
        with torch.no_grad():
            for index in range(len(self._layers) - 1, -1, -1):
                d = self._differentiated(index, d, 0)
                self._cotangents.insert(0, d)
                d = _input_gradient(self._layers[index], d, self._inputs[index])
            self._of_losses = [self._loss_gradients(i, *pair) for i, pair in enumerate(wanted)]
        return d if of_all else d[self._loss_rows :]

    def tangent(self, start: Tensor, after: Pass | None = None) -> Gradients:
        losses = after if isinstance(after, _Pass) else self
        found: Gradients = []
        t = start
        with torch.no_grad():
            for index, layer in enumerate(self._layers):
                by_weight, by_bias = losses._of_losses[index]
                if by_weight is not None:
                    d = self._cotangents[index][self._loss_rows :]
                    by_weight = by_weight + _weight_gradient(layer, d, t)
                found.append((by_weight, by_bias))
                t = self._differentiated(index, _product(layer, t, None), self._loss_rows)
        return found

    def release(self) -> None:
        self._inputs, self._active, self._cotangents = [], [], []

    def _loss_gradients(
        self, index: int, weight: bool, bias: bool
    ) -> tuple[Tensor | None, Tensor | None]:
        layer, own = self._layers[index], slice(self._loss_rows)
        d, x = self._cotangents[index][own], self._inputs[index][own]
        has_bias = bias and layer.bias is not None
        return (
            _weight_gradient(layer, d, x) if weight else None,
            d.sum((0, 2, 3)) if has_bias else None,
        )

    def _differentiated(self, index: int, d: Tensor, first_row: int) -> Tensor:
        """mask · act' · d, of a layer's rows from the first on."""
        layer, active = self._layers[index], self._active[index][first_row:]
        # 0 where act' is, and not 0 · d, which is NaN where d is infinite.
        d = torch.where(active, d, layer.slope * d if layer.slope else torch.zeros_like(d))
        return d if layer.mask is None else d * layer.mask[first_row:].view(d.shape)


def _is_dense(layer: Layer, x: Tensor) -> bool:
    """Whether the kernel covers x [rows, channels, height, width], which leaves one pixel."""
    return layer.weight.shape[2:] == x.shape[2:] and layer.padding == (0, 0)


def _product(layer: Layer, x: Tensor, bias: Tensor | None) -> Tensor:
    if _is_dense(layer, x):
        return F.linear(x.flatten(1), layer.weight.flatten(1), bias)[:, :, None, None]
    return F.conv2d(x, layer.weight, bias, layer.stride, layer.padding)


def _input_gradient(layer: Layer, d: Tensor, x: Tensor) -> Tensor:
    if _is_dense(layer, x):
        return (d.flatten(1) @ layer.weight.flatten(1)).view(x.shape)
    patches = layer.weight.flatten(1).t() @ d.flatten(2)  # [rows, in kernel, positions]
    kernel = layer.weight.shape[2:]
    return F.fold(patches, x.shape[2:], kernel, padding=layer.padding, stride=layer.stride)


def _weight_gradient(layer: Layer, d: Tensor, x: Tensor) -> Tensor:
    if _is_dense(layer, x):
        return (d.flatten(1).t() @ x.flatten(1)).view(layer.weight.shape)
    # Not torch's own gradient, which reads past the end of some one-channel images.
    patches = F.unfold(x, layer.weight.shape[2:], padding=layer.padding, stride=layer.stride)
    total = torch.einsum("rop,rkp->ok", d.flatten(2), patches)
    return total.view(layer.weight.shape)
