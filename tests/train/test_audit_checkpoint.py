from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from matplotlib.image import imread

from fastwgan import cli
from fastwgan.cli.arguments import with_options
from fastwgan.train import CheckpointError, Data, fit, restore
from fastwgan.train.lipschitz import audit, run_audit
from tests.train.settings import load, small


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of each method, of a second."""
    folder = tmp_path_factory.mktemp("runs")
    for method in ("wgan", "sn+gp"):
        fit(small(method, steps=2), load("digits"), out=folder / method)
    return {method: folder / method for method in ("wgan", "sn+gp")}


@pytest.mark.parametrize("method", ["wgan", "sn+gp"])
def test_a_checkpoint_is_audited(runs: dict[str, Path], method: str) -> None:
    found = run_audit(runs[method], samples=40)
    assert min(imread(runs[method] / "audit.png").shape[:2]) >= 400
    text = (runs[method] / "audit.json").read_text("utf-8")
    assert json.loads(text) == found.to_dict()
    assert found.method == method
    assert found.notes == ()
    assert {at.points for at in found.gradients.at.values()} == {40}
    assert (found.weights.clip is not None) == (method == "wgan")
    assert found.layers
    assert all(layer.normalised == ("sn" in method) for layer in found.layers)


def test_the_files_go_where_asked(runs: dict[str, Path], tmp_path: Path) -> None:
    alone = tmp_path / "moved"
    alone.mkdir()
    shutil.copy(runs["sn+gp"] / "checkpoint.pt", alone)
    run_audit(alone / "checkpoint.pt", out=tmp_path / "new" / "place", samples=20)
    assert sorted(p.name for p in (tmp_path / "new" / "place").iterdir()) == [
        "audit.json",
        "audit.png",
    ]
    assert [path.name for path in alone.iterdir()] == ["checkpoint.pt"]


def test_the_generators_samples_are_the_fake_ones(runs: dict[str, Path], tmp_path: Path) -> None:
    found = run_audit(runs["sn+gp"], out=tmp_path, samples=30, seed=5)
    restored = restore(runs["sn+gp"])
    fake, _ = restored.draw(30, 5)
    data, config = load("digits"), restored.config
    expected = audit(restored.critic, data, fake=fake, samples=30, seed=5, config=config)
    assert found == expected


def test_a_checkpoint_whose_data_has_changed_says_so(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = Data("digits", load("digits").values * 0.5)
    monkeypatch.setattr("fastwgan.train.lipschitz.load", lambda *given, **named: changed)
    found = run_audit(runs["wgan"], out=tmp_path, samples=20)
    assert "digits holds other data now" in found.notes[0]


def test_without_a_checkpoint_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"^there is no run folder .*none\.$"):
        run_audit(tmp_path / "none", out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_packed_rows_are_audited_as_the_critic_takes_them(tmp_path: Path) -> None:
    fit(small(data="swissroll", pack=4), out=tmp_path, callbacks=())
    found = run_audit(tmp_path, samples=16)
    assert found.layers[0].input == (8,)


def test_the_command_names_files_and_options(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["audit", str(runs["wgan"]), "--samples", "20", "--out", str(tmp_path)]
    assert cli.main(arguments) == 0
    output = capsys.readouterr().out
    end = f"the same is in {tmp_path / 'audit.png'} and {tmp_path / 'audit.json'}"
    assert output.splitlines()[-1] == end
    assert (tmp_path / "audit.png").exists()
    assert cli.main(["audit", str(runs["wgan"]), "--samples", "20"]) == 0
    assert str(runs["wgan"] / "audit.json") in capsys.readouterr().out
    said = "Raise penalty_weight (it was 10), or critic_steps; not my_critic_steps, weight_clips."
    assert with_options(said) == (
        "Raise --penalty-weight (it was 10), or --critic-steps; not my_critic_steps, weight_clips."
    )
