"""A feed-forward critic on the CPU."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from fastwgan import _cpu
from fastwgan.ops._pointers import is_aligned, table
from fastwgan.ops.feedforward_critic.reference import Gradients, Layer, Pass
from fastwgan.ops.gradient_penalty.native import KINDS

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

_NUMBERS, _MASK = 13, 2  # of a layer, and which of them is its mask's address


def score(samples: Tensor, layers: Sequence[Layer], loss_rows: int) -> NativePass:
    """The contract of `reference.score`, for float32 and float64."""
    return Plan(layers, samples.shape[1:]).score(samples, [l.mask for l in layers], loss_rows)


class Plan:
    """Layers in the form the kernel reads them, for any number of runs.

    Args:
        layers: As `score` takes them; their masks are not read.
        image: The shape of a sample, [channels, height, width].

    The weights' and biases' addresses are those of now.
    """

    def __init__(self, layers: Sequence[Layer], image: Sequence[int]) -> None:
        numbers, self._score_shape = _described(layers, image)
        self.layers = list(layers)
        self._numbers = array("q", numbers)
        self._slopes = array("d", [layer.slope for layer in layers])

    def score(
        self,
        samples: Tensor,
        masks: Sequence[Tensor | None],
        loss_rows: int,
        after: NativePass | None = None,
    ) -> NativePass:
        """The contract of `reference.score`, with a mask or None for each layer.

        `after` is a run of the loss's rows that this one's tangent will complete: its memory is
        taken over.
        """
        samples = samples if is_aligned(samples) else samples.clone()
        numbers = self._numbers[:]
        for index, mask in enumerate(masks):
            if mask is not None:
                numbers[_NUMBERS * index + _MASK] = mask.data_ptr()
        step = _cpu.FeedforwardStep(
            numbers.buffer_info()[0],
            self._slopes.buffer_info()[0],
            len(self.layers),
            samples.shape[0],
            loss_rows,
            torch.get_num_threads(),
        )
        run = NativePass(step, self.layers, samples, masks, loss_rows)
        run.start(self._score_shape, None if after is None else after.handed_over())
        return run

    def wasserstein_step(
        self,
        real: Tensor,
        fake: Tensor,
        points: Tensor,
        wanted: Sequence[Tensor | None],
        penalty: NormPenalty,
        *,
        are_alpha: bool,
        together: bool,
    ) -> WassersteinStep | None:
        """All of a critic step in one call, for critics of rows without masks.

        Args:
            real: [batch, *sample], row-major, a sample as the first layer's row.
            fake: As real.
            points: Where the penalty is taken, as real; or the alphas [batch / groups] of the
                points between real and fake.
            wanted: Each layer's weight and bias in turn, None for one whose gradient is not asked
                for.
            penalty: Of the gradient's norms.
            are_alpha: Whether points are alphas.
            together: Whether loss's and penalty's rows go in one run, or in one of each.

        Returns:
            None, with nothing done, where a tensor is not a plain one in rows.
        """
        critic = _cpu.FeedforwardStep(
            self._numbers.buffer_info()[0],
            self._slopes.buffer_info()[0],
            len(self.layers),
            1,
            0,
            torch.get_num_threads(),
        )
        kind, target, weight, groups = penalty
        found = _cpu.plain_wasserstein_step(
            critic,
            real,
            fake,
            points,
            are_alpha,
            list(wanted),
            KINDS[kind],
            target,
            weight,
            groups,
            together,
        )
        return None if found is None else WassersteinStep(*found)


class NormPenalty(NamedTuple):
    """A penalty, as `fastwgan.ops.gradient_penalty` takes it, of norms of so many samples each."""

    kind: str
    target: float
    weight: float
    groups: int


class WassersteinStep(NamedTuple):
    """What a critic step found."""

    total: Tensor
    """E f(fake) - E f(real) and the penalty []."""
    wasserstein: Tensor
    """E f(real) - E f(fake) []."""
    penalty: Tensor
    """[]."""
    gradient_norm: Tensor
    """The mean of the norms []."""
    real_scores: Tensor
    """[batch, outputs]."""
    fake_scores: Tensor
    """[batch, outputs]."""
    gradients: list[Tensor]
    """Of what was wanted, in its order."""


class NativePass:
    """Holds what the kernel's three calls share until the last of them is done."""

    scores: Tensor

    def __init__(
        self,
        step: _cpu.FeedforwardStep,
        layers: Sequence[Layer],
        samples: Tensor,
        masks: Sequence[Tensor | None],
        loss_rows: int,
    ) -> None:
        self._step, self._layers, self._samples = step, layers, samples
        self._masks: Sequence[Tensor | None] = masks  # which the kernel reads by address
        self._loss_rows = loss_rows
        self._workspace: Tensor | None = None

    def start(self, score_shape: Sequence[int], memory: Tensor | None) -> None:
        """The first of the calls, in this memory if it is enough."""
        samples, elements = self._samples, self._step.workspace()
        if elements < 0:
            raise ValueError("layers had sizes of which no memory can hold the outputs.")
        if memory is None or memory.dtype is not samples.dtype or memory.numel() < elements:
            memory = _cpu.pooled_empty(elements, samples.element_size() * 8)
        self._workspace = memory
        self._step.set_workspace(memory.data_ptr())
        self.scores = _channels_last(samples, (samples.shape[0], *score_shape))
        _FORWARD[samples.dtype](self._step, samples.data_ptr(), self.scores.data_ptr())

    def backward(
        self, seeds: Tensor, wanted: Sequence[tuple[bool, bool]], *, of_all: bool
    ) -> Tensor:
        """The contract of `Pass.backward`."""
        self._seeds = seeds
        self._take_gradients(_empty_gradients(self._layers, wanted))
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

    def tangent(self, start: Tensor, after: Pass | None = None) -> Gradients:
        """The contract of `Pass.tangent`."""
        if isinstance(after, NativePass):
            self._take_gradients(after._found)
        _TANGENT[start.dtype](
            self._step,
            self._seeds.data_ptr(),
            start.data_ptr(),
            self._loss_rows > 0 or after is not None,
            self._of_weights.address,
        )
        self._workspace = None
        return self._found

    def release(self) -> None:
        """The contract of `Pass.release`."""
        self.handed_over()

    def handed_over(self) -> Tensor | None:
        """The workspace, of which this run needs no more, nor of what else it read."""
        memory, self._workspace, self._masks = self._workspace, None, ()
        del self._samples
        return memory

    def _take_gradients(self, found: Gradients) -> None:
        self._found = found
        self._of_weights = table(_address(pair[0]) for pair in found)


def _described(
    layers: Sequence[Layer], image: Sequence[int]
) -> tuple[list[int], tuple[int, int, int]]:
    """The numbers of each layer, as fw_feedforward_layer lists them; and the shape of scores."""
    numbers: list[int] = []
    channels, height, width = image
    for weight, bias, _, _, stride, padding in layers:
        outputs, _, kernel_height, kernel_width = weight.shape
        numbers += [weight.data_ptr(), _address(bias), 0, channels, height, width]
        numbers += [outputs, kernel_height, kernel_width, *stride, *padding]
        height = (height + 2 * padding[0] - kernel_height) // stride[0] + 1
        width = (width + 2 * padding[1] - kernel_width) // stride[1] + 1
        channels = outputs
    return numbers, (channels, height, width)


def _empty_gradients(layers: Sequence[Layer], wanted: Sequence[tuple[bool, bool]]) -> Gradients:
    """Memory for each wanted gradient, None for others."""
    models = [
        tensor if is_wanted else None
        for layer, pair in zip(layers, wanted, strict=True)
        for tensor, is_wanted in zip((layer.weight, layer.bias), pair, strict=True)
    ]
    made = iter(_cpu.pooled_like([model for model in models if model is not None]))
    found = [None if model is None else next(made) for model in models]
    return list(zip(found[::2], found[1::2], strict=True))


def _channels_last(model: Tensor, shape: tuple[int, ...]) -> Tensor:
    rows, channels, height, width = shape
    return model.new_empty((rows, height, width, channels)).permute(0, 3, 1, 2)


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()
