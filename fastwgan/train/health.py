"""Finding the first NaN or Inf of a run, and saying what to try."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fastwgan.train import checkpoint, replay
from fastwgan.train.checkpoint import CheckpointError
from fastwgan.train.loop import Trainer


class TrainingDivergedError(RuntimeError):
    """A loss, a weight or an optimizer's moment is NaN or infinite.

    Attributes:
        step: At which it was seen, counted from 1 as in metrics.jsonl.
        finding: The tensor that went first; None where that isn't known.
    """

    def __init__(self, sentence: str, step: int, finding: replay.Finding | None = None) -> None:
        super().__init__(sentence)
        self.step = step
        self.finding = finding


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
        raise _diverged(trainer, f"{name} became NaN or infinite at step {step}", step)
    for name, value in means.items():
        if not math.isfinite(value):
            what = f"{name} is {value} at step {trainer.step}"
            raise _diverged(trainer, what, trainer.step)


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
            what = f"{name} holds NaN or Inf at step {trainer.step}"
            raise _diverged(trainer, what, trainer.step)


def traced(
    error: TrainingDivergedError,
    trainer: Trainer,
    path: Path,
    stop: Callable[[], bool] = lambda: False,
) -> TrainingDivergedError:
    """The error with the tensor that went first, and the checkpoint to go on from, in its sentence.

    Does the steps since the checkpoint again, for a minute at most; the trainer is left at the
    tensor found.

    Args:
        error: What stopped the run.
        trainer: The run's.
        path: Its last good checkpoint.
        stop: Ends the search when it says True.
    """
    try:
        state = checkpoint.load(path)
    except CheckpointError as unread:
        return TrainingDivergedError(f"{error}; {unread}", error.step)
    kept = checkpoint.last_good(path)
    if trainer.processes.size > 1:  # which may not reach this point together
        why = "which tensor went first is searched for in a run of one process only"
        return TrainingDivergedError(f"{error}; {kept}; {why}", error.step)
    try:
        found = replay.first_not_finite(trainer, state["trainer"], error.step, stop)
    except replay.ReplayEndedError:
        why = "which tensor went first isn't known, since the search for it was ended"
        return TrainingDivergedError(f"{error}; {kept}; {why}", error.step)
    if found is None:
        why = "steps done again from it stayed finite, so which tensor went first isn't known"
        return TrainingDivergedError(f"{error}; {kept}; {why}", error.step)
    what = f"{found.tensor} became {found.kind} first, {found.when} at step {found.step}"
    return TrainingDivergedError(f"{_sentence(trainer, what)}; {kept}", found.step, found)


def _diverged(trainer: Trainer, what: str, step: int) -> TrainingDivergedError:
    return TrainingDivergedError(_sentence(trainer, what), step)


def _sentence(trainer: Trainer, what: str) -> str:
    config = trainer.config
    return (
        f"training stopped, since {what}: try a smaller critic_lr (it was {config.critic_lr:g}) "
        f"or generator_lr (it was {config.generator_lr:g})"
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
