"""What the arguments of a feed-forward critic's passes must be."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fastwgan.ops.feedforward_critic.reference import Layer


def check_samples(samples: Tensor, layers: Sequence[Layer], loss_rows: int) -> None:
    """Raises unless the layers fit the samples, and each other."""
    if samples.dim() != 4 or not samples.numel():
        raise ValueError(
            f"samples had shape {tuple(samples.shape)}; it must be [rows, channels, height, "
            f"width], none of them 0."
        )
    check_images("samples", samples, samples.shape, samples)
    rows, *shape = samples.shape
    if not 0 <= loss_rows <= rows:
        raise ValueError(f"loss_rows was {loss_rows}; it must be 0 to {rows}, the rows of samples.")
    if not layers:
        raise ValueError("layers was empty; it must have at least one layer.")
    for index, layer in enumerate(layers):
        shape = _check_layer(f"layers[{index}]", layer, shape, samples)
    last = layers[-1]
    if last.slope != 1 or last.mask is not None:
        raise ValueError(
            f"the last layer had slope {last.slope} and {'no' if last.mask is None else 'a'} mask; "
            f"its slope must be 1, its mask None."
        )


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
    _check_contiguous(f"{name}.weight", weight, weight.shape, samples)
    _check_contiguous(f"{name}.bias", layer.bias, weight.shape[:1], samples)
    _check_contiguous(f"{name}.mask", layer.mask, (samples.shape[0], weight.shape[0]), samples)
    return [weight.shape[0], *space]


def check_images(name: str, images: Tensor, shape: Sequence[int], samples: Tensor) -> None:
    """Raises unless images are channels-last, of this shape, as samples else."""
    _check_kind(name, images, samples)
    if tuple(images.shape) != tuple(shape):
        raise ValueError(f"{name} had shape {tuple(images.shape)}; it must be {tuple(shape)}.")
    if images.numel() and not images.is_contiguous(memory_format=torch.channels_last):
        raise ValueError(f"{name} had strides {images.stride()}; it must be channels-last.")


def _check_contiguous(
    name: str, tensor: Tensor | None, shape: Sequence[int], samples: Tensor
) -> None:
    if tensor is None:
        return
    _check_kind(name, tensor, samples)
    if tuple(tensor.shape) != tuple(shape) or not tensor.is_contiguous():
        raise ValueError(
            f"{name} had shape {tuple(tensor.shape)} and strides {tensor.stride()}; it must be "
            f"contiguous, {tuple(shape)}."
        )


def _check_kind(name: str, tensor: Tensor, samples: Tensor) -> None:
    if tensor.dtype is not samples.dtype or tensor.device != samples.device:
        raise TypeError(
            f"{name} was {tensor.dtype} on {tensor.device}; it must be {samples.dtype} on "
            f"{samples.device} as samples."
        )
