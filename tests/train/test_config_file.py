from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tomli_w

from fastwgan import cli
from fastwgan.train import ConfigError, TrainConfig, fit, plots
from fastwgan.train.config import METHODS
from fastwgan.train.config_file import read_config
from tests.train.settings import assert_same_run, small


@pytest.fixture
def _undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "draw", lambda *arguments: None)


@pytest.mark.usefixtures("_undrawn")
@pytest.mark.parametrize("method", ["wgan", "sn+gp"])
def test_a_runs_own_file_gives_the_same_run(tmp_path: Path, method: str) -> None:
    first = fit(small(method, generator_lr=2.5e-7, seed=3), out=tmp_path / "first")
    values = read_config(first.folder.path)
    assert values == read_config(first.folder.config) == first.config.to_dict()
    fit(TrainConfig.from_dict(values), out=tmp_path / "again")
    assert_same_run(tmp_path / "again", tmp_path / "first")


@pytest.mark.parametrize("method", METHODS)
def test_settings_chosen_from_a_file_are_all_of_them(tmp_path: Path, method: str) -> None:
    config = small(method, ema_decay=0.5)
    path = tmp_path / "config.toml"
    path.write_text(tomli_w.dumps(config.to_dict()))
    assert TrainConfig.for_method(**read_config(path)) == config


@pytest.mark.usefixtures("_undrawn")
def test_the_command_reproduces_a_run_from_its_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, again, other = (tmp_path / name for name in ("first", "again", "other"))
    fit(small("sn+gp", seed=3), out=first)
    file = str(first / "config.toml")
    assert cli.main(["train", "--config", file, "--out", str(again)]) == 0
    assert_same_run(again, first)
    assert cli.main(["train", "--config", file, "--seed", "4", "--out", str(other)]) == 0
    assert read_config(other) == {**read_config(first), "seed": 4}
    (first / "config.toml").write_text("sead = 3")
    capsys.readouterr()
    assert cli.main(["train", "--config", file, "--out", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err == (
        f"fastwgan train: --config was {file}, whose sead is no setting of a run "
        "(did you mean seed?).\n"
    )
    assert not (tmp_path / "none").exists()


def _said(path: Path) -> tuple[str, str]:
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    assert "\n" not in str(caught.value)
    return caught.value.name, caught.value.problem


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "critic_lr = 1e-3\ncritic_sleps = 5",
            "whose critic_sleps is no setting of a run (did you mean critic_steps?).",
        ),
        ("Seed = 1", "whose Seed is no setting of a run (did you mean seed?)."),
        ("[train]\nseed = 1", "whose train is no setting of a run."),
        ("[seed]\na = 1", "whose seed is a dict; it must be a number, text or truth."),
        ("steps = [1]", "whose steps is a list; it must be a number, text or truth."),
        ("steps = 2026-01-01", "whose steps is a date; it must be a number, text or truth."),
    ],
)
def test_a_wrong_setting_is_one_sentence(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    assert _said(path) == ("config", f"was {path}, {problem}")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"seed = 1\nsteps 5", "which isn't TOML: "),
        (b"seed = 1\nsteps 5", "(at line 2, column 7)."),
        (b"seed = 1\nseed = 2", "which isn't TOML: Cannot overwrite a value"),
        (b"data = '\xff'", "which isn't text in UTF-8."),
    ],
)
def test_what_is_no_toml_is_one_sentence(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    said = _said(path)
    assert said[0] == "config"
    assert said[1].startswith(f"was {path}, ")
    assert problem in said[1]


@pytest.mark.parametrize("path", ["none.toml", "."])
def test_a_missing_file_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.chdir(tmp_path)
    name, problem = _said(Path(path))
    assert name == "config"
    assert problem == f"was {path}; there is no file {'config.toml' if path == '.' else path}."


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("steps = true", "steps was True; it must be a whole number"),
        ("steps = 5.0", "steps was 5.0; it must be a whole number"),
        ("critic_lr = nan", "critic_lr was nan; it must be a number above 0"),
        ("critic_lr = 'fast'", "critic_lr was 'fast'; it must be a number"),
        ("tensorboard = 1", "tensorboard was 1; it must be true or false"),
    ],
)
def test_a_value_that_cannot_be_is_one_sentence(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    chosen: dict[str, Any] = {"method": "wgan-gp", "data": "digits", **read_config(path)}
    with pytest.raises(ConfigError, match=problem):
        TrainConfig.for_method(**chosen)
