from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fastwgan.train import ConfigError, Data, Trainer, fit
from fastwgan.train.quality import WriteQuality, evaluate
from tests.train.settings import load, small


class Drawer:
    """A generator that draws these, again and again, a little off."""

    def __init__(self, values: Tensor, off: float = 0.0) -> None:
        self._values, self._off = values, off

    def draw(self, count: int, seed: int = 0) -> tuple[Tensor, Tensor | None]:
        stream = torch.Generator().manual_seed(seed)
        rows = torch.randint(len(self._values), (count,), generator=stream)
        return self._values[rows] + self._off, None


def split(name: str, rows: int = 400) -> Data:
    whole = load(name)
    parts = (slice(rows), slice(rows, 2 * rows))
    labels = [None if whole.labels is None else whole.labels[part] for part in parts]
    return dataclasses.replace(
        whole,
        values=whole.values[parts[0]],
        held_out=whole.values[parts[1]],
        labels=labels[0],
        held_out_labels=labels[1],
    )


def test_a_perfect_generator_scores_the_floor() -> None:
    data = split("25gaussians")
    found = evaluate(Drawer(load("25gaussians").values[800:20_000]), data)
    assert found["held_out"] == found["w1"]["points"] == 400
    assert found["w1"]["ratio"] == pytest.approx(1.0, abs=0.4)
    assert found["w1"]["ratio"] == found["w1"]["value"] / found["w1"]["floor"]
    assert found["sliced"]["value"] <= found["w1"]["value"]
    assert found["modes"]["covered"] == found["modes"]["modes"] == 25
    assert found["modes"]["share"] > 0.999
    space = found["spaces"]["values"]
    assert space["fid"] < 0.1
    assert min(space[name] for name in ("precision", "recall", "coverage")) > 0.85


def test_a_bad_generator_is_told_apart_from_a_good_one() -> None:
    data = split("8gaussians")
    good, bad = (evaluate(Drawer(data.values, off), data) for off in (0.0, 0.3))
    assert bad["w1"]["ratio"] > 2 * good["w1"]["ratio"]
    assert bad["sliced"]["ratio"] > 2 * good["sliced"]["ratio"]
    assert (bad["modes"]["covered"], bad["modes"]["share"]) == (0, 0.0)
    ours, theirs = (each["spaces"]["values"] for each in (good, bad))
    assert theirs["fid"] == pytest.approx(ours["fid"] + 2 * 0.3**2, abs=0.1)
    assert theirs["precision"] < 0.1 < ours["precision"]


def test_labelled_images_are_compared_by_a_classifier() -> None:
    data = split("digits", 300)
    labels = (data.values.mean(dim=(1, 2, 3)) > data.values.mean()).long()
    data = dataclasses.replace(
        data, labels=labels, held_out_labels=None, classes=("dark", "bright")
    )
    found = evaluate(Drawer(data.values), data)
    assert list(found["spaces"]) == ["classifier"]
    space = found["spaces"]["classifier"]
    assert space["name"] == "classifier of 2 classes"
    assert "accuracy" not in space  # nothing is known of the held-out labels
    assert space["fid"] < 3 * space["fid_floor"]
    assert "modes" not in found


def test_the_same_state_gives_the_same_numbers() -> None:
    config, data = small(), split("digits", 60)
    trainer = Trainer(config, data)
    trainer.train_step()
    before = torch.get_rng_state()
    assert evaluate(trainer, data) == evaluate(trainer, data)
    assert evaluate(trainer, data, seed=1) != evaluate(trainer, data)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_run_ends_with_its_quality(tmp_path: Path) -> None:
    data = split("digits", 60)
    fit(small(steps=2), data, out=tmp_path, callbacks=[WriteQuality()])
    found = json.loads((tmp_path / "quality.json").read_text(encoding="utf-8"))
    assert found["step"] == 2
    assert found["w1"]["value"] > found["w1"]["floor"] > 0


def test_without_held_out_data_nothing_is_written(tmp_path: Path) -> None:
    data = dataclasses.replace(split("digits", 60), held_out=None)
    fit(small(steps=2), data, out=tmp_path, callbacks=[WriteQuality()])
    assert not (tmp_path / "quality.json").exists()
    with pytest.raises(ConfigError, match=r"data was digits, which holds nothing out"):
        evaluate(Drawer(data.values), data)


def test_too_few_held_out_samples_leave_the_spaces_out() -> None:
    data = split("digits", 9)
    found = evaluate(Drawer(data.values), data)
    assert "spaces" not in found
    assert found["w1"]["points"] == 9


def test_equal_points_have_no_ratio() -> None:
    data = Data("points", torch.ones(20, 2), torch.ones(20, 2))
    found = evaluate(Drawer(data.values, off=1.0), data)
    assert found["w1"] == {"points": 20, "value": pytest.approx(2**0.5), "floor": 0.0}
    json.dumps(found, allow_nan=False)
