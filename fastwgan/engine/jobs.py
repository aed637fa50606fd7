"""What a critic step is asked for, and what it answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor

from fastwgan.engine.losses import Loss
from fastwgan.engine.scaling import Scale
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


class Done(NamedTuple):
    """A critic step's numbers, and its gradients."""

    loss: Tensor  # []
    penalty: Tensor  # []
    norms: tuple[Tensor, ...]  # one [rows / groups] a penalty
    real_scores: Tensor
    fake_scores: Tensor
    tensors: list[Tensor]
    gradients: list[Tensor | None]  # times the scale
    scale: Scale
