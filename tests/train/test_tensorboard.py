from __future__ import annotations

import importlib
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fastwgan.train import Data, MissingExtraError, Run, fit, metrics, plots
from fastwgan.train.grids import SampleGrids
from fastwgan.train.tensorboard import TensorBoard
from tests.train.settings import small
from tests.train.watched import Measured, stop_at


@pytest.fixture(autouse=True)
def _undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "draw", lambda *arguments: None)


def _data() -> Data:
    return Data("images", torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(0)))


def _callbacks() -> list[Any]:
    return [Measured(), SampleGrids(), TensorBoard()]


def _events(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return events


def _assert_same_as_lines(folder: Path) -> None:
    """Fails unless TensorBoard shows each value of metrics.jsonl once, and none besides."""
    events, records = _events(folder), metrics.read(folder / "metrics.jsonl")
    names = {name for record in records for name in record} - {"step"}
    assert set(events.Tags()["scalars"]) == names
    for name in names:
        shown, lines = events.Scalars(name), [record for record in records if name in record]
        assert [event.step for event in shown] == [line["step"] for line in lines], name
        assert [event.value for event in shown] == pytest.approx([line[name] for line in lines])


def test_every_line_every_grid_and_the_settings_are_shown(tmp_path: Path) -> None:
    config = small(steps=5, sample_every=2, measure_every=3, critic_lr=0.00125)
    fit(config, _data(), out=tmp_path, callbacks=_callbacks())
    _assert_same_as_lines(tmp_path)
    events = _events(tmp_path)
    assert [event.step for event in events.Scalars("w1")] == [3]
    pictures = events.Images("samples")
    assert [picture.step for picture in pictures] == [0, 2, 4]
    assert {(picture.width, picture.height) for picture in pictures} == {(626, 626)}
    (text,) = events.Tensors("settings/text_summary")
    shown = text.tensor_proto.string_val[0].decode()
    assert "| critic_lr | `0.00125` | learning rate of the critic |" in shown


@pytest.mark.parametrize("stopped", [2, 3])
def test_a_run_gone_on_with_shows_nothing_twice(tmp_path: Path, stopped: int) -> None:
    config = small(steps=6, sample_every=2, log_every=1)
    fit(config, _data(), out=tmp_path, callbacks=_callbacks(), stop=stop_at(stopped))
    Run.reopen(tmp_path, _data()).go(callbacks=_callbacks())
    _assert_same_as_lines(tmp_path)
    assert [picture.step for picture in _events(tmp_path).Images("samples")] == [0, 2, 4, 6]


@pytest.mark.parametrize("kept", [0, 3])
def test_after_a_kill_steps_done_again_are_shown_once(tmp_path: Path, kept: int) -> None:
    """The events are ahead of the checkpoint that the run goes on from."""
    config = small(steps=6, sample_every=2, log_every=1)
    run = Run.begin(config, _data(), out=tmp_path)
    if kept:
        run.go(callbacks=_callbacks(), stop=stop_at(kept))
    else:
        run.go(stop=stop_at(0))
    old = (tmp_path / "checkpoint.pt").read_bytes()
    Run.reopen(tmp_path, _data()).go(callbacks=_callbacks())
    (tmp_path / "checkpoint.pt").write_bytes(old)
    Run.reopen(tmp_path, _data()).go(callbacks=_callbacks())
    _assert_same_as_lines(tmp_path)
    events = _events(tmp_path)
    assert [picture.step for picture in events.Images("samples")] == [0, 2, 4, 6]
    assert len(events.Tensors("settings/text_summary")) == 1


def test_without_the_package_one_sentence_comes_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = importlib.import_module

    def without(name: str, package: str | None = None) -> ModuleType:
        if name.partition(".")[0] == "tensorboard":
            raise ModuleNotFoundError(f"No module named {name!r}", name="tensorboard")
        return original(name, package)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(MissingExtraError, match=r"^--tensorboard needs tensorboard, which isn't"):
        fit(small(), _data(), out=tmp_path, callbacks=[TensorBoard()])
    assert os.listdir(tmp_path) == []
