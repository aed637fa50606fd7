from __future__ import annotations

from pathlib import Path

import pandas
import pytest
import torch
from PIL import Image
from torch import Tensor

from fastwgan.train import Data, Run, RunFolder, checkpoint, fit, plots
from fastwgan.train.data.tables import from_frame
from fastwgan.train.grids import SampleGrids, frames
from tests.train.settings import assert_same_state, small
from tests.train.watched import stop_at


@pytest.fixture(autouse=True)
def _undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out what `Run` draws at its end."""
    monkeypatch.setattr(plots, "draw", lambda *arguments: None)


def _images(classes: tuple[str, ...] = ()) -> Data:
    values = _uniform(40, 1, 8, 8)
    labels = torch.arange(40) % len(classes) if classes else None
    return Data("images", values, labels=labels, classes=classes)


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for _, path in frames(RunFolder(folder))}


def test_grids_are_drawn_before_the_first_step_every_few_and_at_the_end(tmp_path: Path) -> None:
    fit(small(steps=5, sample_every=2), _images(), out=tmp_path, callbacks=[SampleGrids()])
    found = _contents(tmp_path)
    assert list(found) == [f"step-{step:06}.png" for step in (0, 2, 4, 5)]
    assert len(set(found.values())) == 4  # the generator learns
    for _, path in frames(RunFolder(tmp_path)):
        with Image.open(path) as picture:
            assert picture.size == (626, 626)  # ten by ten tiles of 56 pixels, and the gaps


def test_the_same_latents_are_drawn_whatever_was_drawn_between(tmp_path: Path) -> None:
    run = Run.begin(small(steps=5, sample_every=5), _images(), out=tmp_path)
    SampleGrids().begin(run)
    (first,) = _contents(tmp_path).values()
    torch.randn(5)
    SampleGrids().begin(run)
    assert list(_contents(tmp_path).values()) == [first]


def test_grids_change_no_number_of_the_run(tmp_path: Path) -> None:
    for name, every in (("with", 1), ("without", 0)):
        config = small(steps=3, sample_every=every)
        fit(config, _images(), out=tmp_path / name, callbacks=[SampleGrids()])
    one, other = (
        checkpoint.load(tmp_path / name / "checkpoint.pt") for name in ("with", "without")
    )
    assert_same_state(one["trainer"], other["trainer"])
    assert not (tmp_path / "without" / "samples").exists()


@pytest.mark.parametrize("stopped", [0, 2, 3, 5])
def test_a_stopped_run_leaves_the_grids_of_one_that_never_stopped(
    tmp_path: Path, stopped: int
) -> None:
    config, data = small(steps=5, sample_every=2), _images()
    fit(config, data, out=tmp_path / "whole", callbacks=[SampleGrids()])
    fit(config, data, out=tmp_path / "parts", callbacks=[SampleGrids()], stop=stop_at(stopped))
    assert frames(RunFolder(tmp_path / "parts"))[-1][0] == stopped
    Run.reopen(tmp_path / "parts", data).go(callbacks=[SampleGrids()])
    assert _contents(tmp_path / "parts") == _contents(tmp_path / "whole")


def test_after_a_kill_grids_ahead_of_the_checkpoint_are_drawn_anew(tmp_path: Path) -> None:
    config, data = small(steps=4, sample_every=2), _images()
    fit(config, data, out=tmp_path, callbacks=[SampleGrids()])
    whole = _contents(tmp_path)
    for path in ("step-000004.png", "step-000006.png"):
        (tmp_path / "samples" / path).write_bytes(b"torn")
    (tmp_path / "samples" / "my own.txt").write_text("kept")
    run = Run.begin(config, data, out=tmp_path / "again")
    run.folder = RunFolder(tmp_path)
    run.go(callbacks=[SampleGrids()])
    assert _contents(tmp_path) == whole
    assert (tmp_path / "samples" / "my own.txt").exists()


def _uniform(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


def _table() -> Data:
    rows = range(60)
    frame = pandas.DataFrame({"x": [float(r) for r in rows], "kind": [f"k{r % 3}" for r in rows]})
    return from_frame(frame)


@pytest.mark.parametrize(
    "data",
    [
        Data("plane", _uniform(64, 2)),
        Data("vectors", _uniform(64, 3)),
        _table(),
        Data("wide", _uniform(32, 3, 16, 8)),
    ],
    ids=lambda data: data.name,
)
def test_frames_of_any_data_lie_on_each_other(tmp_path: Path, data: Data) -> None:
    config = small(steps=2, sample_every=1, generator_lr=0.05)
    fit(config, data, out=tmp_path, callbacks=[SampleGrids()])
    sizes = set()
    for _, path in frames(RunFolder(tmp_path)):
        with Image.open(path) as picture:
            sizes.add(picture.size)
    assert len(sizes) == 1
    assert len(set(_contents(tmp_path).values())) == 3


def test_a_conditional_run_is_drawn_class_by_class(tmp_path: Path) -> None:
    data = _images(classes=("a", "b"))
    config = small(steps=1, sample_every=1, conditional=True)
    fit(config, data, out=tmp_path, callbacks=[SampleGrids()])
    assert len(_contents(tmp_path)) == 2
