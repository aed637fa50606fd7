"""A feed-forward critic: scores, and the gradients of its loss and gradient penalty together."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import torch
from torch import Tensor

from fastwgan import backends
from fastwgan.ops.feedforward_critic import native, reference
from fastwgan.ops.feedforward_critic.reference import Gradients, Layer, Pass

__all__ = ["BACKENDS", "Gradients", "Layer", "Pass", "runs_natively", "score"]

BACKENDS: dict[str, ModuleType] = {"cpu": native, "reference": reference}

_KERNELS = (torch.float32, torch.float64)


def score(samples: Tensor, layers: Sequence[Layer], loss_rows: int) -> Pass:
    """The critic's scores of all rows, and what its gradients are computed from.

    Each layer takes x to mask · act(conv(x, weight) + bias), act(z) = z where z > 0, else
    slope · z. A dense layer is a convolution of images of one pixel.

    Args:
        samples: [rows, channels, height, width], channels-last, float32 or float64, at least one
            row. The first `loss_rows` are the loss's, the others the penalty's.
        layers: At least one, of the samples' dtype and device: weight [outputs, channels, kernel
            height, kernel width] and bias [outputs] or None, contiguous; slope not negative, 1 for
            no activation; mask [rows, outputs] or None. Each takes what the one before returns.
        loss_rows: 0 to rows.

    Returns:
        A `Pass`: `scores` [rows, outputs, height, width], then `backward`, then `tangent`, once
        each, all under the same instruction set.

    Raises:
        TypeError, ValueError: arguments that do not fit, named.

    Not seen by autograd. NaN stays in its row. Cost, in products of the penalty's rows with a
    hidden layer's weights, where these are a third: three, three and four for the three calls, and
    two less for the first layer. The samples and weights must not change between the calls.

    Source: docs/engine.md, "One sweep".
    """
    _check(samples, layers, loss_rows)
    found: Pass = BACKENDS[_backend(samples)].score(samples, layers, loss_rows)
    return found


def runs_natively(samples: Tensor) -> bool:
    """Whether `score` takes such samples to a kernel."""
    return samples.is_cpu and samples.dtype in _KERNELS and backends.forced() in (None, "cpu")


def _backend(samples: Tensor) -> str:
    return "cpu" if runs_natively(samples) else "reference"


def _check(samples: Tensor, layers: Sequence[Layer], loss_rows: int) -> None:
    if samples.dim() != 4 or not samples.numel():
        raise ValueError(
            f"samples had shape {tuple(samples.shape)}; it must be [rows, channels, height, width]."
        )
    if not samples.is_contiguous(memory_format=torch.channels_last):
        raise ValueError(f"samples had strides {samples.stride()}; it must be channels-last.")
    rows, *shape = samples.shape
    if not 0 <= loss_rows <= rows:
        raise ValueError(f"loss_rows was {loss_rows}; it must be 0 to {rows}, the rows of samples.")
    if not layers:
        raise ValueError("layers was empty; it must have at least one layer.")
    for index, layer in enumerate(layers):
        shape = _check_layer(f"layers[{index}]", layer, shape, samples)


def _check_layer(name: str, layer: Layer, shape: list[int], samples: Tensor) -> list[int]:
    """The shape of the layer's outputs without rows."""
    weight, padding, stride = layer.weight, layer.padding, layer.stride
    if weight.dim() != 4 or weight.shape[1] != shape[0] or not weight.numel():
        raise ValueError(
            f"{name}.weight had shape {tuple(weight.shape)}; it must be [outputs, {shape[0]}, "
            f"kernel height, kernel width], none of them 0."
        )
    if min(stride) < 1 or min(padding) < 0 or not layer.slope >= 0:
        raise ValueError(
            f"{name} had stride {stride}, padding {padding} and slope {layer.slope}; strides must "
            f"be above 0, and the others not negative."
        )
    space = [
        (size + 2 * pad - kernel) // step + 1
        for size, kernel, step, pad in zip(
            shape[1:], weight.shape[2:], stride, padding, strict=True
        )
    ]
    if min(space) < 1:
        raise ValueError(f"{name}.weight had a kernel larger than its padded input, {shape[1:]}.")
    if layer.mask is not None and space != [1, 1]:
        raise ValueError(f"{name}.mask was given for an output of {space}; it must be one pixel.")
    _check_like(f"{name}.weight", weight, weight.shape, samples)
    _check_like(f"{name}.bias", layer.bias, weight.shape[:1], samples)
    _check_like(f"{name}.mask", layer.mask, (samples.shape[0], weight.shape[0]), samples)
    return [weight.shape[0], *space]


def _check_like(name: str, tensor: Tensor | None, shape: Sequence[int], samples: Tensor) -> None:
    if tensor is None:
        return
    if tensor.dtype is not samples.dtype or tensor.device != samples.device:
        raise TypeError(
            f"{name} was {tensor.dtype} on {tensor.device}; it must be {samples.dtype} on "
            f"{samples.device} as samples."
        )
    if tuple(tensor.shape) != tuple(shape) or not tensor.is_contiguous():
        raise ValueError(
            f"{name} had shape {tuple(tensor.shape)} and strides {tensor.stride()}; it must be "
            f"contiguous, {tuple(shape)}."
        )
