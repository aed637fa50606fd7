from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from fastwgan.train import ConfigError
from fastwgan.train import load as load_seeded
from fastwgan.train.data import TOY_SAMPLES
from tests.train.settings import load


@pytest.mark.parametrize(
    ("name", "shape"), [("digits", (1797, 1, 8, 8)), ("mnist", (5000, 1, 28, 28))]
)
def test_images_fill_minus_one_to_one(name: str, shape: tuple[int, ...]) -> None:
    data = load(name)
    assert data.values.shape == shape
    assert data.values.dtype == torch.float32
    assert (data.values.min(), data.values.max()) == (-1, 1)
    assert data.is_image


@pytest.mark.parametrize("name", ["8gaussians", "25gaussians", "swissroll"])
def test_points_are_the_seeds(name: str) -> None:
    data = load_seeded(name, seed=3)
    assert data.values.shape == (TOY_SAMPLES, 2)
    assert data.values.dtype == torch.float32
    assert not data.is_image
    assert torch.equal(data.values, load_seeded(name, seed=3).values)
    assert not torch.equal(data.values, load_seeded(name, seed=4).values)


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


def test_an_unknown_data_set_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match=r"^data was 'cifar'; it must be one of digits, .*\.$"):
        load_seeded("cifar")
