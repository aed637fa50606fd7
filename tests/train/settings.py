"""Runs small enough for a test, and what two of them must share."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fastwgan import train
from fastwgan.train import Data, TrainConfig, checkpoint, metrics

SMALL = {
    "steps": 6,
    "threads": 1,
    "batch_size": 8,
    "critic_steps": 2,
    "latent_size": 4,
    "width": 8,
    "log_every": 2,
    "checkpoint_every": 3,
    "measure_every": 0,
    "sample_every": 0,
}


def small(method: str = "wgan-gp", data: str = "digits", **chosen: Any) -> TrainConfig:
    """A run of a second, with every setting as it is by default but for the sizes."""
    return TrainConfig.for_method(method, data, **{**SMALL, **chosen})


@functools.cache
def load(name: str) -> Data:
    """A data set by its name, read once: that of the larger images takes seconds."""
    return train.load(name)


def leaves(state: object, name: str = "") -> Iterator[tuple[str, object]]:
    """Every tensor and number of nested dicts and lists, by its path."""
    if isinstance(state, Mapping):
        for key, part in state.items():
            yield from leaves(part, f"{name}.{key}")
    elif isinstance(state, list | tuple):
        for key, part in enumerate(state):
            yield from leaves(part, f"{name}.{key}")
    else:
        yield name, state


def assert_same_state(actual: object, expected: object) -> None:
    """Fails unless both hold the same names with the same bits."""
    found, wanted = dict(leaves(actual)), dict(leaves(expected))
    assert found.keys() == wanted.keys()
    assert any(isinstance(value, Tensor) and value.numel() > 1 for value in wanted.values())
    for name, value in wanted.items():
        if isinstance(value, Tensor):
            assert isinstance(found[name], Tensor), name
            assert torch.equal(found[name], value), name
            assert found[name].dtype == value.dtype, name
        else:
            assert found[name] == value, name


def assert_same_run(actual: Path, expected: Path) -> None:
    """Fails unless two run folders hold the same run, bit for bit, but for its timings."""
    ours, theirs = (checkpoint.load(path / "checkpoint.pt") for path in (actual, expected))
    assert ours["config"] == theirs["config"]
    assert_same_state(ours["trainer"], theirs["trainer"])
    assert untimed(actual) == untimed(expected)
    names = _names(expected)
    assert _names(actual) == names
    for name in {"samples.png", "curves.png", "config.toml"}.intersection(names):
        assert (actual / name).read_bytes() == (expected / name).read_bytes(), name


def _names(folder: Path) -> list[str]:
    """Its files but for the report's, which only whole runs with their callbacks have."""
    return sorted({path.name for path in folder.iterdir()} - {"report.html", "machine.json"})


def untimed(folder: Path) -> list[dict[str, float]]:
    """The lines of metrics.jsonl without what differs between equal runs."""
    records = metrics.read(folder / "metrics.jsonl")
    assert records
    for record in records:
        assert record.keys() > metrics.TIMINGS
    return [
        {name: value for name, value in record.items() if name not in metrics.TIMINGS}
        for record in records
    ]
