"""Whether what a checkpoint holds of a trainer is what such a trainer holds.

torch's `load_state_dict` checks the weights of modules, but takes any moments of an optimizer.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from fastwgan.train.loop import Trainer

_OPTIMIZERS = ("critic_optimizer", "generator_optimizer")


def check(trainer: Trainer, state: Any, step: int) -> None:
    """Refuses a state that `trainer` could not have given after so many steps.

    Args:
        trainer: Of the run's configuration, just built.
        state: What is to be loaded into it.
        step: Generator steps done, as the checkpoint says.

    Raises:
        ValueError: with the name of the first part that is missing, unknown, of another type or of
            another shape.
    """
    expected = trainer.state_dict()
    for name in _OPTIMIZERS:
        expected[name]["state"] = _moments(getattr(trainer, name)) if step else {}
    _compare("", state, expected)
    if state["step"] != step:
        raise ValueError(f"step is {state['step']!r}; it must be {step}")
    if state["batches"]["position"] < 0:
        raise ValueError("batches.position is below 0")
    _check_meter(state["meter"])


def _moments(optimizer: Optimizer) -> dict[int, Any]:
    """The state that an optimizer has after a step, found by taking one with a copy of it."""
    trial = copy.deepcopy(optimizer)
    for group in trial.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    trial.step()
    moments: dict[int, Any] = trial.state_dict()["state"]
    return moments


def _compare(name: str, found: Any, expected: Any) -> None:
    if type(found) is not type(expected) and not (
        isinstance(found, dict) and isinstance(expected, dict)
    ):
        raise ValueError(f"{name} is {_described(found)}; it must be {_described(expected)}")
    if isinstance(expected, Tensor):
        if (found.dtype, found.shape) != (expected.dtype, expected.shape):
            raise ValueError(f"{name} is {_described(found)}; it must be {_described(expected)}")
    elif isinstance(expected, dict):
        for key in expected.keys() ^ found.keys():
            problem = "is missing" if key in expected else "is unknown"
            raise ValueError(f"{name}.{key} {problem}".lstrip("."))
        for key, part in expected.items():
            _compare(f"{name}.{key}".lstrip("."), found[key], part)
    elif isinstance(expected, list | tuple) and expected:  # a list of no length yet may grow
        if len(found) != len(expected):
            raise ValueError(f"{name} has {len(found)} parts; it must have {len(expected)}")
        for key, part in enumerate(expected):
            _compare(f"{name}.{key}", found[key], part)


def _check_meter(state: dict[str, Any]) -> None:
    names, rows = state["names"], state["rows"]
    for number, row in enumerate(rows):
        if not isinstance(row, Tensor) or row.shape != (len(names),):
            raise ValueError(f"meter.rows.{number} is {_described(row)}; it must be a row of them")


def _described(value: object) -> str:
    if isinstance(value, Tensor):
        kind = str(value.dtype).removeprefix("torch.")
        return f"a tensor {kind} {list(value.shape)}"
    return f"a {type(value).__name__}"
