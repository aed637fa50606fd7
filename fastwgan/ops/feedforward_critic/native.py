"""A feed-forward critic on the CPU."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import torch
from torch import Tensor

from fastwgan import _cpu
from fastwgan.ops._pointers import table
from fastwgan.ops.feedforward_critic.reference import Gradients, Layer, Pass

_FORWARD = {
    torch.float32: _cpu.feedforward_critic_forward_f32,
    torch.float64: _cpu.feedforward_critic_forward_f64,
}
_BACKWARD = {
    torch.float32: _cpu.feedforward_critic_backward_f32,
    torch.float64: _cpu.feedforward_critic_backward_f64,
}
_TANGENT = {
    torch.float32: _cpu.feedforward_critic_tangent_f32,
    torch.float64: _cpu.feedforward_critic_tangent_f64,
}


def score(samples: Tensor, layers: Sequence[Layer], loss_rows: int) -> Pass:
    """The contract of `reference.score`, for float32 and float64."""
    return _Pass(samples, layers, loss_rows)


class _Pass:
    """Holds what the kernel's three calls share until the last of them is done."""

    def __init__(self, samples: Tensor, layers: Sequence[Layer], loss_rows: int) -> None:
        self._samples, self._layers, self._loss_rows = samples, list(layers), loss_rows
        numbers, shape = _described(samples, layers)
        rows = table(numbers)
        slopes = array("d", [layer.slope for layer in layers])
        self._step = _cpu.FeedforwardStep(
            rows.address,
            slopes.buffer_info()[0],
            len(layers),
            samples.shape[0],
            loss_rows,
            torch.get_num_threads(),
        )
        bits, elements = samples.element_size() * 8, self._step.workspace()
        if elements < 0:
            raise ValueError("layers had sizes of which no memory can hold the outputs.")
        self._workspace: Tensor | None = _cpu.pooled_empty(elements, bits)
        self._step.set_workspace(self._workspace.data_ptr())
        self.scores = _channels_last(samples, shape)
        _FORWARD[samples.dtype](self._step, samples.data_ptr(), self.scores.data_ptr())

    def backward(
        self, seeds: Tensor, wanted: Sequence[tuple[bool, bool]], *, of_all: bool
    ) -> Tensor:
        self._seeds = seeds
        self._found: Gradients = [
            (_like(layer.weight, weight), _like(layer.bias, bias))
            for layer, (weight, bias) in zip(self._layers, wanted, strict=True)
        ]
        self._of_weights = table(_address(pair[0]) for pair in self._found)
        of_biases = table(_address(pair[1]) for pair in self._found)
        rows, *shape = self._samples.shape
        gradient = _channels_last(
            self._samples, (rows if of_all else rows - self._loss_rows, *shape)
        )
        _BACKWARD[seeds.dtype](
            self._step,
            self._samples.data_ptr(),
            seeds.data_ptr(),
            of_all,
            self._of_weights.address,
            of_biases.address,
            gradient.data_ptr(),
        )
        return gradient

    def tangent(self, start: Tensor) -> Gradients:
        _TANGENT[start.dtype](
            self._step, self._seeds.data_ptr(), start.data_ptr(), self._of_weights.address
        )
        self._workspace = None
        return self._found


def _described(samples: Tensor, layers: Sequence[Layer]) -> tuple[list[int], tuple[int, ...]]:
    """Thirteen numbers a layer, as fw_feedforward_layer lists them; and the scores' shape."""
    numbers: list[int] = []
    rows, channels, height, width = samples.shape
    for weight, bias, _, mask, stride, padding in layers:
        outputs, _, kernel_height, kernel_width = weight.shape
        numbers += [weight.data_ptr(), _address(bias), _address(mask), channels, height, width]
        numbers += [outputs, kernel_height, kernel_width, *stride, *padding]
        height = (height + 2 * padding[0] - kernel_height) // stride[0] + 1
        width = (width + 2 * padding[1] - kernel_width) // stride[1] + 1
        channels = outputs
    return numbers, (rows, channels, height, width)


def _channels_last(model: Tensor, shape: tuple[int, ...]) -> Tensor:
    rows, channels, height, width = shape
    return model.new_empty((rows, height, width, channels)).permute(0, 3, 1, 2)


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def _like(tensor: Tensor | None, wanted: bool) -> Tensor | None:
    if tensor is None or not wanted:
        return None
    found: Tensor = _cpu.pooled_like([tensor])[0]
    return found
