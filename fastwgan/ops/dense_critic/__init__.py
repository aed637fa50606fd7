"""A fully connected critic: scores, and the gradients of its loss and gradient penalty together."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import torch
from torch import Tensor

from fastwgan import backends
from fastwgan.ops.dense_critic import native, reference
from fastwgan.ops.dense_critic.reference import Layer, Pass

__all__ = ["BACKENDS", "Layer", "Pass", "runs_natively", "score"]

BACKENDS: dict[str, ModuleType] = {"cpu": native, "reference": reference}

_KERNELS = (torch.float32, torch.float64)


def score(samples: Tensor, layers: Sequence[Layer]) -> Pass:
    """The critic's scores of all rows, and what its gradients are computed from.

    Layer l takes x to mask · act(x weightᵀ + bias), act(z) = z where z > 0, else slope · z.

    Args:
        samples: [rows, inputs], contiguous float32 or float64 in CPU memory, at least one row.
        layers: At least one, of the samples' dtype: weight [outputs, inputs] and bias [outputs]
            or None, contiguous; slope not negative, 1 for no activation; mask [rows, outputs] or
            None. The inputs of each are the outputs of the one before.

    Returns:
        A `Pass`: `scores` [rows, outputs], then `transpose`, then `gradients`, once each.

    Raises:
        TypeError, ValueError: tensors that do not fit, named.

    Not seen by autograd. NaN stays in its row. Cost: one product a layer; the three calls together
    ten a hidden layer, eight the first, in units of a third of the rows when a third is the
    penalty's.
    """
    _check(samples, layers)
    found: Pass = BACKENDS[_backend(samples)].score(samples, layers)
    return found


def runs_natively(samples: Tensor) -> bool:
    """Whether `score` takes these samples to a kernel."""
    return samples.is_cpu and samples.dtype in _KERNELS and backends.forced() in (None, "cpu")


def _backend(samples: Tensor) -> str:
    return "cpu" if runs_natively(samples) else "reference"


def _check(samples: Tensor, layers: Sequence[Layer]) -> None:
    if samples.dim() != 2 or samples.shape[0] == 0 or not samples.is_contiguous():
        raise ValueError(
            f"samples had shape {tuple(samples.shape)} and strides {samples.stride()}; it must be "
            f"a contiguous matrix of at least one row."
        )
    if not layers:
        raise ValueError("layers was empty; it must have at least one layer.")
    rows, inputs = samples.shape
    for index, layer in enumerate(layers):
        if layer.weight.dim() != 2 or layer.weight.shape[1] != inputs or not inputs:
            raise ValueError(
                f"layers[{index}].weight had shape {tuple(layer.weight.shape)}; it must be "
                f"[outputs, {inputs}], none of them 0."
            )
        inputs = layer.weight.shape[0]
        _check_like(f"layers[{index}].weight", layer.weight, layer.weight.shape, samples)
        _check_like(f"layers[{index}].bias", layer.bias, (inputs,), samples)
        _check_like(f"layers[{index}].mask", layer.mask, (rows, inputs), samples)
        if not layer.slope >= 0:
            raise ValueError(f"layers[{index}].slope was {layer.slope}; it must not be negative.")
    if not inputs:
        raise ValueError(f"layers[{len(layers) - 1}].weight had no rows; it must have some.")


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
