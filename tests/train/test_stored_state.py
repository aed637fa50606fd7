"""Checkpoints that are whole, but hold what no run can have written."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from fastwgan.train import CheckpointError, ConfigError, Run, checkpoint, fit, plots, restore
from tests.train.settings import load, small

NONSENSE = (None, "x", -1, 2.5, True, [], {}, torch.zeros(3, 3), torch.zeros(2, dtype=torch.int64))
Path_ = tuple[Any, ...]


@pytest.fixture(autouse=True)
def _undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "draw", lambda *arguments: None)


@pytest.fixture(scope="module", params=["wgan", "sn+gp"])
def state(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What a run holds between two lines of its metrics."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "draw", lambda *arguments: None)
        fit(small(request.param, steps=5, log_every=4), load("digits"), out=folder)
    state = checkpoint.load(folder / "checkpoint-previous.pt")
    assert len(state["trainer"]["meter"]["rows"]) == 3
    return state


def _places(state: object, place: Path_ = ()) -> Iterator[Path_]:
    if isinstance(state, dict):
        parts: list[tuple[Any, Any]] = list(state.items())
    else:
        parts = list(enumerate(state)) if isinstance(state, list | tuple) else []
    for key, part in parts:
        yield (*place, key)
        yield from _places(part, (*place, key))


def _changed(state: Any, place: Path_, value: object) -> Any:
    """A copy with another value at a place, or without one where `value` is KeyError."""
    changed = copy.deepcopy(state)
    part = changed
    for key in place[:-1]:
        part = part[key]
    if value is KeyError:
        del part[place[-1]]
    else:
        part[place[-1]] = value
    return changed


def _sentence(folder: Path) -> str:
    """What `reopen` and `restore` say; nothing where the run then goes on to its end."""
    try:
        restore(folder)
        assert Run.reopen(folder, load("digits")).go().finished
    except (CheckpointError, ConfigError) as error:
        return str(error)
    return ""


@pytest.mark.parametrize("share", [0.01, pytest.param(1.0, marks=pytest.mark.nightly)])
def test_no_nonsense_gives_more_than_a_sentence(tmp_path: Path, state: Any, share: float) -> None:
    chance = random.Random(0)
    places = [place for place in _places(state) if isinstance(_at(state, place[:-1]), dict | list)]
    said = []
    for place in places:
        for value in (*NONSENSE, KeyError):
            if place == ("step",) or chance.random() > share:
                continue
            checkpoint.save(tmp_path / "checkpoint.pt", _changed(state, place, value))
            said.append(_sentence(tmp_path))
    assert not any("\n" in sentence for sentence in said)
    assert sum(map(bool, said)) > 0.8 * len(said)


def _at(state: Any, place: Path_) -> Any:
    for key in place:
        state = state[key]
    return state


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("critic_optimizer", "state", 0), KeyError, r"critic_optimizer\.state\.0 is missing"),
        (("step",), "3", r"step is a str; it must be a int"),
        (("step",), 2, r"step is 2; it must be 3"),
        (("generator", "0.weight"), torch.zeros(3, 3), r"generator\.0\.weight is a tensor float32"),
        (("batches", "position"), -1, r"batches\.position is below 0"),
        (("meter", "rows", 1), torch.zeros(3, 3), r"meter\.rows\.1 is a tensor float32 \[3, 3\]"),
        (("extra",), 1, r"extra is unknown"),
    ],
)
def test_what_does_not_fit_is_named(
    tmp_path: Path, state: Any, place: Path_, value: object, said: str
) -> None:
    changed = _changed(state, ("trainer", *place), value)
    checkpoint.save(tmp_path / "checkpoint.pt", changed)
    with pytest.raises(CheckpointError, match=rf"^[^\n]* doesn't fit its own run: {said}"):
        Run.reopen(tmp_path, load("digits"))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("table", torch.zeros(3, 3), r"data\.table is a tensor float32 \[3, 3\]; it must be "),
        ("table", {"columns": [2]}, "'int' object is not subscriptable"),
        ("shape", [], r"data\.shape is empty"),
        ("shape", [8, -1], r"data\.shape isn't made of whole numbers of at least 1"),
        ("name", 3, r"data\.name isn't text"),
        ("fingerprint", KeyError, "it lacks 'fingerprint'"),
    ],
)
def test_data_that_cannot_be_is_one_sentence(
    tmp_path: Path, state: Any, name: str, value: object, said: str
) -> None:
    checkpoint.save(tmp_path / "checkpoint.pt", _changed(state, ("data", name), value))
    for read in (restore, Run.reopen):
        with pytest.raises(CheckpointError, match=rf"^[^\n]* doesn't fit its own run: {said}"):
            read(tmp_path)


def test_what_fits_goes_on(tmp_path: Path, state: Any) -> None:
    checkpoint.save(tmp_path / "checkpoint.pt", state)
    assert _sentence(tmp_path) == ""
