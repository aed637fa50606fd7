from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fastwgan.train import ConfigError, Data, DataSpec
from fastwgan.train import load as load_seeded
from fastwgan.train.config import DATASETS
from fastwgan.train.data import TOY_SAMPLES, bundled, toy
from fastwgan.train.data.splitting import HELD_OUT_ROWS, hold_out
from tests.documents import python_blocks, run
from tests.train.settings import load


@pytest.mark.parametrize(
    ("name", "kept", "held_out", "shape"),
    [("digits", 1443, 354, (1, 8, 8)), ("mnist", 4000, 1000, (1, 28, 28))],
)
def test_images_fill_minus_one_to_one(
    name: str, kept: int, held_out: int, shape: tuple[int, ...]
) -> None:
    data = load(name)
    assert data.held_out is not None
    assert data.values.shape == (kept, *shape)
    assert data.held_out.shape == (held_out, *shape)
    assert data.values.dtype == data.held_out.dtype == torch.float32
    assert (data.values.min(), data.values.max()) == (-1, 1)
    assert data.is_image


@pytest.mark.parametrize("name", ["digits", "mnist"])
def test_images_are_labelled(name: str) -> None:
    data = load(name)
    assert data.labels is not None
    assert data.held_out_labels is not None
    assert data.classes == tuple("0123456789")
    assert data.labels.dtype == torch.int64
    # Every class has its share held out, and each image lies nearest to the mean of its own.
    kept, held_out = data.labels.bincount(), data.held_out_labels.bincount()
    assert (held_out.float() / (kept + held_out) - 0.2).abs().max() < 0.01
    means = torch.stack([data.values[data.labels == label].mean(0) for label in range(10)])
    distance = torch.cdist(data.values.flatten(1), means.flatten(1))
    assert (distance.argmin(1) == data.labels).float().mean() > 0.75


@pytest.mark.parametrize("name", ["8gaussians", "25gaussians", "swissroll"])
def test_points_are_the_seeds(name: str) -> None:
    data = load_seeded(name, seed=3)
    assert data.values.shape == (TOY_SAMPLES, 2)
    assert data.values.dtype == torch.float32
    assert not data.is_image
    assert torch.equal(data.values, load_seeded(name, seed=3).values)
    assert not torch.equal(data.values, load_seeded(name, seed=4).values)


@pytest.mark.parametrize("name", ["8gaussians", "25gaussians", "swissroll"])
def test_points_do_not_depend_on_the_default_type(name: str) -> None:
    expected = load_seeded(name, seed=3).values
    torch.set_default_dtype(torch.float64)
    try:
        values = load_seeded(name, seed=3).values
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(values, expected)
    assert values.dtype == torch.float32


@pytest.mark.parametrize("seed", [0, 2**31 - 1])
def test_points_held_out_are_of_another_seed(seed: int) -> None:
    data = load_seeded("8gaussians", seed)
    assert data.held_out is not None
    assert data.held_out.shape == (HELD_OUT_ROWS, 2)
    trained_on = set(map(tuple, data.values.tolist()))
    assert trained_on.isdisjoint(map(tuple, data.held_out.tolist()))
    if seed == 0:
        assert torch.equal(data.held_out, load("8gaussians").held_out)


def _modes(points: Tensor, centers: Tensor, deviation: float) -> Tensor:
    """How many points belong to each centre, all of them within six deviations of one."""
    distance, nearest = torch.cdist(points, centers).min(dim=1)
    assert distance.max() < 6 * deviation
    assert distance.square().mean().sqrt() == pytest.approx(math.sqrt(2) * deviation, rel=0.02)
    return torch.bincount(nearest, minlength=len(centers))


def test_eight_gaussians_stand_on_a_circle() -> None:
    angles = torch.arange(8) * (math.pi / 4)
    centers = math.sqrt(2) * torch.stack((angles.cos(), angles.sin()), dim=1)
    counts = _modes(load("8gaussians").values, centers, 0.02 / math.sqrt(2))
    assert counts.min() > 0.95 * TOY_SAMPLES / 8


def test_twenty_five_gaussians_stand_on_a_grid() -> None:
    ticks = torch.arange(-2.0, 3.0) * 2 / 2.828
    centers = torch.cartesian_prod(ticks, ticks)
    counts = _modes(load("25gaussians").values, centers, 0.05 / 2.828)
    assert counts.min() > 0.9 * TOY_SAMPLES / 25


def test_the_swiss_roll_winds_outwards() -> None:
    points = load("swissroll").values * 7.5
    radius = points.norm(dim=1)
    assert 1.5 * math.pi - 1.5 < radius.min() < radius.max() < 4.5 * math.pi + 1.5
    # On the roll (t cos t, t sin t) the angle is the radius, modulo a turn, to within the noise.
    off = torch.atan2(points[:, 1], points[:, 0]) - radius
    across = radius * torch.atan2(off.sin(), off.cos()) / (1 + radius.square()).sqrt()
    assert across.square().mean().sqrt() == pytest.approx(0.25, rel=0.05)


def test_the_names_are_those_of_the_configuration() -> None:
    assert (*bundled.NAMES, *toy.NAMES) == DATASETS


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "cifar",
            r"^data was 'cifar': there is no such file or folder; it must be one of digits, .*, or "
            r"the path of a folder .*\.$",
        ),
        (
            "swisroll",
            r"^data was 'swisroll': .* \(did you mean swissroll\?\); it must be .*\.$",
        ),
        (
            "no/such/rows.csv",
            r"^data was 'no/such/rows.csv': there is no such .*; it must be .* or \.parquet\.$",
        ),
        ("", r"^data was ''; it must be one of .*\.$"),
    ],
)
def test_an_unknown_data_set_is_one_sentence(name: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence) as caught:
        load_seeded(name)
    assert caught.value.name == "data"


def test_a_file_of_another_kind_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "rows.xlsx").write_text("a,b\n1,2\n")
    with pytest.raises(
        ConfigError, match=r"rows\.xlsx', a file of a kind that isn't read; it must"
    ):
        load_seeded(str(tmp_path / "rows.xlsx"))


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        (
            {"image_size": 8},
            r"^image_size was 8, but data '8gaussians' is no folder of images: lea",
        ),
        ({"label_column": "y"}, r"^label_column was 'y', but data '8gaussians' is no table: leave"),
    ],
)
def test_a_setting_that_would_be_ignored_is_refused(setting: Any, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        load_seeded("8gaussians", **setting)


def _data(rows: int, labels: list[int] | None = None) -> Data:
    values = torch.arange(rows, dtype=torch.float32).unsqueeze(1)
    return Data("rows", values, labels=None if labels is None else torch.tensor(labels))


@pytest.mark.parametrize(("rows", "held_out"), [(5, 1), (99, 19), (30_000, HELD_OUT_ROWS)])
def test_a_fifth_is_held_out_in_the_order_of_the_data(rows: int, held_out: int) -> None:
    split = hold_out(_data(rows))
    assert split.held_out is not None
    assert len(split.held_out) == held_out
    for part in (split.values, split.held_out):
        assert torch.equal(part, part.sort(0).values)
    both = torch.cat((split.values, split.held_out)).sort(0).values
    assert torch.equal(both, _data(rows).values)
    again = hold_out(_data(rows)).held_out
    assert again is not None
    assert torch.equal(again, split.held_out)


def test_labels_stay_with_their_rows() -> None:
    labels = [row % 3 for row in range(60)]
    split = hold_out(_data(60, labels))
    assert split.labels is not None
    assert split.held_out is not None
    assert split.held_out_labels is not None
    assert torch.equal(split.values[:, 0] % 3, split.labels.float())
    assert torch.equal(split.held_out[:, 0] % 3, split.held_out_labels.float())
    assert split.held_out_labels.bincount().tolist() == [4, 4, 4]


def test_a_rare_class_is_trained_on_whole() -> None:
    split = hold_out(_data(44, [0] * 40 + [1] * 4))
    assert split.labels is not None
    assert split.labels.bincount().tolist() == [33, 4]


def test_few_rows_are_all_trained_on_with_a_note() -> None:
    split = hold_out(_data(4))
    assert split.held_out is None
    assert len(split.values) == 4
    assert split.notes == ("Nothing is held out of 4 samples, so that no distance is measured.",)


@pytest.mark.parametrize("rows", [0, 1])
def test_fewer_than_two_rows_are_one_sentence(rows: int) -> None:
    with pytest.raises(ConfigError, match=rf"holds {rows} samples?; it must hold at least two\.$"):
        hold_out(_data(rows))


def test_the_fingerprint_is_of_all_that_is_trained_on() -> None:
    data = hold_out(_data(10, [0, 1] * 5))
    assert data.labels is not None
    others = [
        dataclasses.replace(data, values=data.values + 1),
        dataclasses.replace(data, values=data.values.reshape(2, -1)),
        dataclasses.replace(data, labels=1 - data.labels),
        dataclasses.replace(data, classes=("no", "yes")),
    ]
    found = {each.fingerprint() for each in (data, *others)}
    assert len(found) == len(others) + 1
    assert dataclasses.replace(data, name="other", held_out=None).fingerprint() in found
    assert len(data.fingerprint()) == 64


def test_a_checkpoint_keeps_what_sampling_needs(tmp_path: Path) -> None:
    spec = load("digits").spec()
    torch.save(spec.to_dict(), tmp_path / "spec.pt")
    assert DataSpec.from_dict(torch.load(tmp_path / "spec.pt", weights_only=True)) == spec
    assert (spec.shape, spec.is_image) == ((1, 8, 8), True)


def test_the_document_does_as_it_says() -> None:
    (block,) = python_blocks("docs/data.md")
    assert run(block, "docs/data.md")["data"].shape == (4,)
