"""Feed-forward critics: the passes as the calls of one operation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from fastwgan.engine.masks import drawn_mask
from fastwgan.ops.feedforward_critic import (
    Layer,
    NativePass,
    NormPenalty,
    Pass,
    Plan,
    WassersteinStep,
)

Shape = tuple[int, ...]
_LARGE_BATCH = 256  # from it on, reading weights twice does not show


class Described(NamedTuple):
    """A layer before it runs: `form` is the operation's, its mask not drawn yet."""

    form: Layer
    weight: Tensor
    bias: Tensor | None
    p: float  # the share of outputs that dropout sets to zero


class Feedforward:
    """A critic of dense layers and convolutions with LeakyReLU, ReLU or nothing between them.

    The last has neither activation nor dropout. Weights are where they were when it was made.

    Args:
        layers: At least one.
        image: The shape of a sample as the first layer takes it, [channels, height, width].
        score_shape: Of a row's scores, as the critic returns them.
    """

    def __init__(self, layers: Sequence[Described], image: Shape, score_shape: Shape) -> None:
        self.layers = layers
        self.image = image
        self.score_shape = score_shape
        self._plan = Plan([layer.form for layer in layers], image)
        self._is_dense = all(layer.weight.dim() == 2 for layer in layers)
        self._is_masked = any(layer.p > 0 for layer in layers)

    def joins(self, batch: int) -> bool:
        """Whether one run of loss's and penalty's rows is faster than one of each.

        It reads each dense weight once where two read it twice, and keeps more activations.
        """
        return self._is_dense and batch < _LARGE_BATCH

    def wasserstein_step(
        self,
        real: Tensor,
        fake: Tensor,
        points: Tensor,
        penalty: NormPenalty,
        *,
        are_alpha: bool,
    ) -> WassersteinStep | None:
        """The Wasserstein loss and a penalty at points, in one call; None for what that can't.

        Points can be alphas, as `Plan.wasserstein_step` takes them.
        """
        if not self._is_dense or self._is_masked:
            return None
        wanted = [
            tensor if tensor is not None and tensor.requires_grad else None
            for each in self.layers
            for tensor in (each.weight, each.bias)
        ]
        together = self.joins(real.shape[0])
        return self._plan.wasserstein_step(
            real, fake, points, wanted, penalty, are_alpha=are_alpha, together=together
        )

    def score(
        self, rows: Tensor, loss_rows: int, *, masks_as_torch: bool, after: NativePass | None = None
    ) -> NativePass:
        """Its run on [rows, *sample].

        Args:
            rows: The loss's, then the penalty's.
            loss_rows: How many are the loss's.
            masks_as_torch: Whether dropout draws what `F.dropout` would, or by a faster way.
            after: A run of the loss's rows, whose backward is done and whose memory this takes.
        """
        images = rows.reshape(rows.shape[0], *self.image)
        images = images.contiguous(memory_format=torch.channels_last)
        masks = [_mask(layer, rows, masks_as_torch) for layer in self.layers]
        return self._plan.score(images, masks, loss_rows, after)

    def scores(self, run: Pass) -> Tensor:
        """The run's scores in the critic's own shape and memory order."""
        return run.scores.reshape(run.scores.shape[0], *self.score_shape)

    def backward(
        self, run: Pass, seeds: Tensor, *, of_all: bool, of_weights: bool = True
    ) -> Tensor:
        """The gradient at the penalty's rows or all, [rows, channels, height, width].

        `of_weights` is whether the run's own gradients of parameters are asked for.
        """
        like = seeds.reshape(run.scores.shape).contiguous(memory_format=torch.channels_last)
        wanted = [
            (
                of_weights and each.weight.requires_grad,
                of_weights and each.bias is not None and each.bias.requires_grad,
            )
            for each in self.layers
        ]
        return run.backward(like, wanted, of_all=of_all)

    def parameters(self) -> list[Tensor]:
        """Those that require grad, as `gradients` lists theirs."""
        given = [tensor for each in self.layers for tensor in (each.weight, each.bias)]
        return [tensor for tensor in given if tensor is not None and tensor.requires_grad]

    def gradients(self, run: Pass, start: Tensor, after: Pass | None) -> list[Tensor | None]:
        """Of `parameters`, by the last of the run's calls; start as the gradient at the points."""
        found: list[Tensor | None] = []
        for (weight, bias), each in zip(run.tangent(start, after), self.layers, strict=True):
            if weight is not None:
                found.append(weight.view(each.weight.shape))
            if bias is not None:
                found.append(bias)
        return found


def _mask(layer: Described, rows: Tensor, as_torch: bool) -> Tensor | None:
    if layer.p == 0:
        return None
    shape = rows.shape[0], layer.weight.shape[0]
    if as_torch:
        return F.dropout(rows.new_ones(shape), layer.p, True)
    return drawn_mask(*shape, layer.p, rows.dtype)
