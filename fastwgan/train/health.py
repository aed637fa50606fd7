"""Finding the first NaN or Inf of a run, and saying what to try."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from fastwgan.train.loop import Trainer


class TrainingDivergedError(RuntimeError):
    """A loss, a weight or an optimizer's moment is NaN or infinite."""


def check_measured(trainer: Trainer, means: Mapping[str, float]) -> None:
    """Stops a run whose numbers since the last reading aren't all finite.

    Args:
        trainer: Its meter still holds the steps that `means` is over.
        means: What was read of them.

    Raises:
        TrainingDivergedError: with the step and the value that went first.
    """
    found = trainer.meter.first_not_finite()
    if found is not None:
        row, name = found
        step = trainer.step - len(trainer.meter) + 1 + row
        raise TrainingDivergedError(_sentence(trainer, f"{name} became NaN or infinite", step))
    for name, value in means.items():
        if not math.isfinite(value):
            raise TrainingDivergedError(_sentence(trainer, f"{name} is {value}", trainer.step))


def check_state(trainer: Trainer, state: Mapping[str, Any]) -> None:
    """Stops a run before a checkpoint that could not be gone on from.

    Args:
        trainer: Whose `state_dict` `state` is.
        state: Every floating tensor in it must be finite.

    Raises:
        TrainingDivergedError: with the name of the first tensor that isn't.
    """
    check_measured(trainer, {})
    for name, tensor in _tensors(state, ""):
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise TrainingDivergedError(
                _sentence(trainer, f"{name} holds NaN or Inf", trainer.step)
            )


def _sentence(trainer: Trainer, what: str, step: int) -> str:
    config = trainer.config
    return (
        f"training stopped, since {what} at step {step}: try a smaller critic_lr (it was "
        f"{config.critic_lr:g}) or generator_lr (it was {config.generator_lr:g})"
    )


def _tensors(state: object, name: str) -> list[tuple[str, Tensor]]:
    if isinstance(state, Tensor):
        return [(name, state)]
    if isinstance(state, Mapping):
        parts = list(state.items())
    elif isinstance(state, list | tuple):
        parts = list(enumerate(state))
    else:
        return []
    return [found for key, part in parts for found in _tensors(part, f"{name}.{key}".lstrip("."))]
