"""Fully connected critics: the passes as three calls of one operation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.nn import functional as F

from fastwgan.engine.direct import Call, calls_of
from fastwgan.ops import dense_critic
from fastwgan.ops.dense_critic import Layer, Pass

_EXACT = (Tensor, Parameter)


class Description(NamedTuple):
    """A layer without its mask: a product, LeakyReLU, dropout with a share p of zeros."""

    weight: Tensor  # [outputs, inputs]
    bias: Tensor | None  # [outputs]
    slope: float
    p: float


class Dense(NamedTuple):
    """A critic that is fully connected layers with LeakyReLU, ReLU or nothing between them."""

    layers: list[Description]

    def score(self, rows: Tensor) -> Pass:
        """Its run on [rows, *sample], with masks drawn as dropout draws them."""
        flat = rows.flatten(1)
        return dense_critic.score(flat, [_with_mask(layer, flat) for layer in self.layers])

    def parameters(self) -> list[Tensor]:
        """Those that require grad, as `gradients` lists theirs."""
        given = [tensor for layer in self.layers for tensor in layer[:2]]
        return [tensor for tensor in given if tensor is not None and tensor.requires_grad]

    def gradients(self, run: Pass, start: Tensor, loss_rows: int) -> list[Tensor | None]:
        """Of `parameters`, by the last of the run's calls; start [rows - loss_rows, inputs]."""
        wanted = [
            (layer.weight.requires_grad, layer.bias is not None and layer.bias.requires_grad)
            for layer in self.layers
        ]
        found = run.gradients(start, loss_rows, wanted)
        return [gradient for pair in found for gradient in pair if gradient is not None]


def dense_of(critic: Callable[..., Tensor], samples: Tensor) -> Dense | None:
    """The critic as dense layers, where it is that and a kernel runs it on such samples."""
    if not dense_critic.runs_natively(samples) or torch.is_autocast_enabled("cpu"):
        return None
    if type(samples) not in _EXACT or samples.dim() < 2 or not samples.numel():
        return None
    calls = calls_of(critic)
    if not calls:
        return None
    if samples.dim() > 2:
        if calls[0] != (torch.flatten, (1, -1)):
            return None
        calls = calls[1:]
    layers = _layers(calls)
    inputs = samples.numel() // samples.shape[0]
    return Dense(layers) if layers and _fit(layers, inputs, samples.dtype) else None


def _layers(calls: list[Call]) -> list[Description] | None:
    layers: list[Description] = []
    at = 0
    while at < len(calls):
        function, args = calls[at]
        if function is not F.linear:
            return None
        at += 1
        slope = _slope(calls[at]) if at < len(calls) else None
        at += slope is not None
        p = _dropped(calls[at]) if at < len(calls) else None
        at += p is not None
        weight, bias = args
        layers.append(Description(weight, bias, 1.0 if slope is None else slope, p or 0.0))
    return layers


def _slope(call: Call) -> float | None:
    function, args = call
    if function is F.relu:
        return 0.0
    return float(args[0]) if function is F.leaky_relu and args[0] >= 0 else None


def _dropped(call: Call) -> float | None:
    function, args = call
    return float(args[0]) if function is F.dropout and args[1] and 0 <= args[0] < 1 else None


def _fit(layers: Sequence[Description], inputs: int, dtype: torch.dtype) -> bool:
    """Whether a kernel can read every tensor, and each stands for itself alone."""
    seen: set[int] = set()
    for weight, bias, _, _ in layers:
        if weight.shape[1] != inputs or not weight.shape[0]:
            return False
        inputs = weight.shape[0]
        for tensor in (weight, bias):
            if tensor is None:
                continue
            if id(tensor) in seen or not _is_plain(tensor, dtype):
                return False
            seen.add(id(tensor))
    return True


def _is_plain(tensor: Tensor, dtype: torch.dtype) -> bool:
    return (
        type(tensor) in _EXACT
        and tensor.dtype is dtype
        and tensor.is_cpu
        and tensor.is_contiguous()
    )


def _with_mask(layer: Description, rows: Tensor) -> Layer:
    mask = None
    if layer.p > 0:
        mask = F.dropout(rows.new_ones(rows.shape[0], layer.weight.shape[0]), layer.p, True)
    return Layer(layer.weight.detach(), layer.bias, layer.slope, mask)
