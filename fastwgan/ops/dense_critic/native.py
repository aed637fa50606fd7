"""A fully connected critic on the CPU."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import torch
from torch import Tensor

from fastwgan import _cpu
from fastwgan.ops._pointers import Table, table
from fastwgan.ops.dense_critic.reference import Layer, Pass

_FORWARD = {
    torch.float32: _cpu.dense_critic_forward_f32,
    torch.float64: _cpu.dense_critic_forward_f64,
}
_TRANSPOSE = {
    torch.float32: _cpu.dense_critic_transpose_f32,
    torch.float64: _cpu.dense_critic_transpose_f64,
}
_GRADIENTS = {
    torch.float32: _cpu.dense_critic_gradients_f32,
    torch.float64: _cpu.dense_critic_gradients_f64,
}


def score(samples: Tensor, layers: Sequence[Layer]) -> Pass:
    """The contract of `reference.score`, for float32 and float64."""
    return _Pass(samples, layers)


class _Pass:
    """Holds what the kernel's three calls share until the last of them is done."""

    def __init__(self, samples: Tensor, layers: Sequence[Layer]) -> None:
        self._samples, self._layers = samples, list(layers)
        self._rows, self._inputs = samples.shape
        self._threads = torch.get_num_threads()
        self._table = _layer_table(layers)
        self._slopes = array("d", [layer.slope for layer in layers])
        self._where = (self._table.address, self._slopes.buffer_info()[0], len(layers))
        size = _cpu.dense_critic_workspace(*self._where, self._rows, self._threads)
        self._workspace = _cpu.pooled_empty(size, samples.element_size() * 8)
        self.scores = samples.new_empty(self._rows, layers[-1].weight.shape[0])
        _FORWARD[samples.dtype](
            *self._where,
            samples.data_ptr(),
            self._rows,
            self._workspace.data_ptr(),
            self.scores.data_ptr(),
            self._threads,
        )

    def transpose(self, seeds: Tensor, first_row: int) -> Tensor:
        gradient = self._samples.new_empty(self._rows - first_row, self._inputs)
        _TRANSPOSE[seeds.dtype](
            *self._where,
            seeds.data_ptr(),
            self._rows,
            first_row,
            self._workspace.data_ptr(),
            gradient.data_ptr(),
            self._threads,
        )
        self._seeds = seeds
        return gradient

    def gradients(
        self, start: Tensor, loss_rows: int, wanted: Sequence[tuple[bool, bool]]
    ) -> list[tuple[Tensor | None, Tensor | None]]:
        found = [
            (_like(layer.weight, weight), _like(layer.bias, bias))
            for layer, (weight, bias) in zip(self._layers, wanted, strict=True)
        ]
        of_weights = table(_address(pair[0]) for pair in found)
        of_biases = table(_address(pair[1]) for pair in found)
        _GRADIENTS[start.dtype](
            *self._where,
            self._samples.data_ptr(),
            self._seeds.data_ptr(),
            start.data_ptr(),
            self._rows,
            loss_rows,
            self._workspace.data_ptr(),
            of_weights.address,
            of_biases.address,
            self._threads,
        )
        del self._workspace
        return found


def _layer_table(layers: Sequence[Layer]) -> Table:
    """Addresses and sizes, five numbers a layer: weight, bias, mask, inputs, outputs."""
    numbers: list[int] = []
    for weight, bias, _, mask in layers:
        outputs, inputs = weight.shape
        numbers += [weight.data_ptr(), _address(bias), _address(mask), inputs, outputs]
    return table(numbers)


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def _like(tensor: Tensor | None, wanted: bool) -> Tensor | None:
    if tensor is None or not wanted:
        return None
    found: Tensor = _cpu.pooled_like([tensor])[0]
    return found
