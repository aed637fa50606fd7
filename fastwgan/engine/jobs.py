"""What a critic step is asked for, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from fastwgan.engine.losses import Loss, wasserstein
from fastwgan.engine.scaling import Scale
from fastwgan.ops.gradient_penalty import wide_dtype
from fastwgan.penalty_arguments import Arguments


class Job(NamedTuple):
    """What a critic step is asked for, checked."""

    critic: Callable[..., Tensor]
    real: Tensor
    fake: Tensor
    real_args: tuple[Any, ...]
    fake_args: tuple[Any, ...]
    loss: Loss
    penalties: tuple[Arguments, ...]


class Numbers(NamedTuple):
    """A critic step's numbers, each []."""

    total: Tensor
    wasserstein: Tensor  # E f(real) - E f(fake)
    penalty: Tensor
    gradient_norm: Tensor | None  # mean of the first penalty's


def numbers_of(
    job: Job, loss: Tensor, penalty: Tensor, norms: Sequence[Tensor], scores: Sequence[Tensor]
) -> Numbers:
    """The numbers of a loss [], penalties [], each penalty's norms, and scores of real and fake."""
    # At least float32, so that a GradScaler's factor can arrive.
    total = (loss + penalty).to(wide_dtype(job.real.dtype))
    estimate = -(loss if job.loss is wasserstein else wasserstein(*scores))
    return Numbers(total, estimate, penalty, norms[0].mean() if norms else None)


class Done(NamedTuple):
    """A critic step's numbers, and its gradients."""

    numbers: Numbers
    real_scores: Tensor
    fake_scores: Tensor
    tensors: list[Tensor]
    gradients: list[Tensor | None]  # times the scale
    scale: Scale
