"""A feed-forward critic: scores, and the gradients of its loss and gradient penalty together."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import torch
from torch import Tensor

from fastwgan import backends
from fastwgan.ops.feedforward_critic import native, reference
from fastwgan.ops.feedforward_critic._checks import check_images, check_samples
from fastwgan.ops.feedforward_critic.native import NativePass, NormPenalty, Plan, WassersteinStep
from fastwgan.ops.feedforward_critic.reference import Gradients, Layer, Pass

__all__ = [
    "BACKENDS",
    "Gradients",
    "Layer",
    "NativePass",
    "NormPenalty",
    "Pass",
    "Plan",
    "WassersteinStep",
    "runs_natively",
    "score",
]

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
            no activation; mask [rows, outputs], not negative, or None. Each takes what the one
            before returns; the last has slope 1 and no mask.
        loss_rows: 0 to rows.

    Returns:
        A `Pass`: `scores` [rows, outputs, height, width], then `backward`, then `tangent`, once
        each, all under the same instruction set. A run of the loss's rows can leave its tangent to
        that of a run of the penalty's, which needs less memory than one run of both.

    Raises:
        TypeError, ValueError: arguments that do not fit, named; also of the other two calls.
        RuntimeError: a forced backend cannot run here; of the other two, they are out of order, or
            under another instruction set.

    Not seen by autograd. NaN stays in its row. Cost, in products of the penalty's rows with a
    hidden layer's weights, where these are a third: three, five and two for the three calls, and
    two less for the first layer. The samples and weights must not change between the calls.

    Source: docs/engine.md, "One sweep".
    """
    check_samples(samples, layers, loss_rows)
    found: Pass = BACKENDS[_backend(samples)].score(samples, layers, loss_rows)
    return _Checked(found, samples, layers, loss_rows)


def runs_natively(samples: Tensor) -> bool:
    """Whether `score` takes such samples to a kernel.

    Args:
        samples: Any shape, dtype and device; only the last two count. Not differentiated.

    Returns:
        True for float32 and float64 on the CPU, where no other backend is forced.
    """
    return samples.is_cpu and samples.dtype in _KERNELS and backends.forced() in (None, "cpu")


class _Checked:
    """A pass whose calls are checked: their arguments, order and instruction set."""

    def __init__(self, run: Pass, samples: Tensor, layers: Sequence[Layer], loss_rows: int) -> None:
        self.scores = run.scores
        self._run, self._samples = run, samples
        self._layers = [layer.weight.data_ptr() for layer in layers]
        self._loss_rows = loss_rows
        self._done = "score"
        self._instruction_set = backends.instruction_set()

    def backward(
        self, seeds: Tensor, wanted: Sequence[tuple[bool, bool]], *, of_all: bool
    ) -> Tensor:
        self._follows("backward", "score")
        check_images("seeds", seeds, self.scores.shape, self._samples)
        if len(wanted) != len(self._layers):
            raise ValueError(
                f"wanted had {len(wanted)} pairs; it must have one a layer, {len(self._layers)}."
            )
        self._done = "backward"
        return self._run.backward(seeds, wanted, of_all=of_all)

    def tangent(self, start: Tensor, after: Pass | None = None) -> Gradients:
        self._follows("tangent", "backward")
        rows, *shape = self._samples.shape
        check_images("start", start, (rows - self._loss_rows, *shape), self._samples)
        losses = None if after is None else self._checked_losses(after)
        self._done = "tangent"
        return self._run.tangent(start, losses)

    def release(self) -> None:
        self._follows("release", "backward")
        self._done = "release"
        self._run.release()

    def _checked_losses(self, after: Pass) -> Pass:
        """The run of the loss's rows that this one's tangent completes."""
        if not isinstance(after, _Checked) or after._done not in ("backward", "release"):
            raise RuntimeError("after was not a run whose last call was backward; it must be.")
        if self._loss_rows or after._loss_rows < after.scores.shape[0]:
            raise ValueError(
                f"after had {after.scores.shape[0] - after._loss_rows} rows of the penalty, and "
                f"this run {self._loss_rows} of the loss; neither must have any."
            )
        if after._layers != self._layers or type(after._run) is not type(self._run):
            raise ValueError("after was of other layers or of another backend; it must be as this.")
        after._done = "tangent"
        return after._run

    def _follows(self, call: str, before: str) -> None:
        if self._done != before:
            raise RuntimeError(f"{call} was called after {self._done}; it must follow {before}.")
        now = backends.instruction_set()
        if now != self._instruction_set:
            raise RuntimeError(
                f"{call} was called under instruction set {now!r}; it must be "
                f"{self._instruction_set!r}, as score was."
            )


def _backend(samples: Tensor) -> str:
    chosen = backends.select("feedforward_critic", (samples,))
    if chosen in BACKENDS:
        return chosen
    if backends.forced() is not None:
        raise RuntimeError(
            f"backend {chosen!r} cannot run feedforward_critic; it must be one of {list(BACKENDS)}."
        )
    return "reference"
