"""Whether what a checkpoint holds of data and trainer is what a run writes of them.

torch's `load_state_dict` checks the weights of modules, but takes any moments of an optimizer.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from fastwgan.train.checkpoint import CheckpointError
from fastwgan.train.data import DataSpec
from fastwgan.train.loop import Trainer

_OPTIMIZERS = ("critic_optimizer", "generator_optimizer")


def fitting(trainer: Trainer, state: Any, step: int) -> dict[str, Any]:
    """A stored state as `trainer` may load it.

    Args:
        trainer: Of the run's configuration, just built.
        state: Of the trainer that was stored.
        step: Generator steps done, as the checkpoint says.

    Returns:
        The state with the trainer's own options of its optimizers: those of the stored ones are
        the same, but another release of torch may have named more of them.

    Raises:
        ValueError: with the name of the first part that is missing, unknown, of another type or of
            another shape than it has after so many steps.
    """
    expected = trainer.state_dict()
    fitted = dict(_of_kind("trainer", state, {}))
    for name in _OPTIMIZERS:
        own = expected[name]
        own["state"] = _moments(getattr(trainer, name)) if step else {}
        stored = _of_kind(name, fitted.get(name), own)
        _check_options(f"{name}.param_groups", stored.get("param_groups"), own["param_groups"])
        fitted[name] = {**stored, "param_groups": own["param_groups"]}
    _compare("", fitted, expected)
    if fitted["step"] != step:
        raise ValueError(f"step is {fitted['step']}; it must be {step}")
    if fitted["batches"]["position"] < 0:
        raise ValueError("batches.position is below 0")
    _check_meter(fitted["meter"])
    return fitted


def spec_of(path: Path, state: dict[str, Any]) -> DataSpec:
    """What a checkpoint says of the data.

    Args:
        path: The checkpoint, for the error.
        state: What it holds.

    Raises:
        CheckpointError: a part is missing, or no data has it.
    """
    try:
        _check_plain("data", state["data"])
        spec = DataSpec.from_dict(state["data"])
        _check_spec(spec, state["label_counts"])
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise misfit(path, error) from None
    return spec


def misfit(path: Path, error: Exception) -> CheckpointError:
    """The error of a checkpoint whose parts don't fit each other, for the reason in `error`."""
    missing = "it lacks " if isinstance(error, KeyError) else ""
    reason = str(error).partition("\n")[0].removesuffix(":")
    return CheckpointError(f"checkpoint {path} doesn't fit its own run: {missing}{reason}.")


def _check_plain(name: str, value: Any) -> None:
    """Refuses anything but numbers, texts, lists and dicts."""
    if isinstance(value, dict | list):
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        for key, part in parts:
            _check_plain(f"{name}.{key}", part)
    elif value is not None and type(value) not in (str, int, float, bool):
        raise ValueError(f"{name} is {_described(value)}; it must be a number, text, list or dict")


def _check_spec(spec: DataSpec, label_counts: list[Any]) -> None:
    for name, texts in (("name", [spec.name, spec.fingerprint]), ("classes", spec.classes)):
        if not all(isinstance(text, str) for text in texts):
            raise ValueError(f"data.{name} isn't text")
    for name, counts, least in (("data.shape", spec.shape, 1), ("label_counts", label_counts, 0)):
        if not all(type(count) is int and count >= least for count in counts):
            raise ValueError(f"{name} isn't made of whole numbers of at least {least}")
    if not spec.shape:
        raise ValueError("data.shape is empty")
    if label_counts and len(label_counts) != len(spec.classes):
        raise ValueError(
            f"label_counts has {len(label_counts)} parts for {len(spec.classes)} classes"
        )


def _moments(optimizer: Optimizer) -> dict[int, Any]:
    """The state that an optimizer has after a step, found by taking one with a copy of it."""
    trial = copy.deepcopy(optimizer)
    for group in trial.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    trial.step()
    moments: dict[int, Any] = trial.state_dict()["state"]
    return moments


def _of_kind(name: str, found: Any, expected: Any) -> Any:
    kind = dict if isinstance(expected, dict) else type(expected)  # ordered or not
    if not (isinstance(found, dict) if kind is dict else type(found) is kind):
        raise ValueError(f"{name} is {_described(found)}; it must be {_described(expected)}")
    return found


def _compare(name: str, found: Any, expected: Any) -> None:
    _of_kind(name, found, expected)
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


def _check_options(name: str, found: Any, expected: list[dict[str, Any]]) -> None:
    """Compares the options of an optimizer's groups, but for the rate, which every step sets."""
    if len(_of_kind(name, found, expected)) != len(expected):
        raise ValueError(f"{name} has {len(found)} parts; it must have {len(expected)}")
    for group, own in zip(found, expected, strict=True):
        for key in (_of_kind(name, group, own).keys() & own.keys()) - {"lr"}:
            if type(group[key]) is not type(own[key]) or group[key] != own[key]:
                raise ValueError(f"{name} has another {key} than the run's settings give")


def _check_meter(state: dict[str, Any]) -> None:
    names, rows = state["names"], state["rows"]
    if not all(isinstance(name, str) for name in names):
        raise ValueError("meter.names isn't made of texts")
    for number, row in enumerate(rows):
        if not isinstance(row, Tensor) or row.shape != (len(names),):
            raise ValueError(f"meter.rows.{number} is {_described(row)}; it must be a row of them")


def _described(value: object) -> str:
    if isinstance(value, Tensor):
        kind = str(value.dtype).removeprefix("torch.")
        return f"a tensor {kind} {list(value.shape)}"
    return f"a {type(value).__name__}"
