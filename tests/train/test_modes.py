from __future__ import annotations

import math

import pytest
import torch

from fastwgan.train import modes
from fastwgan.train.modes import Mixture, Modes
from tests.train.settings import load

# Of a round Gaussian in the plane, exp(-r²/2) lies beyond r standard deviations.
REAL_SHARE = 1 - math.exp(-(modes.WITHIN**2) / 2)


@pytest.mark.parametrize(("data", "count"), [("8gaussians", 8), ("25gaussians", 25)])
def test_real_points_cover_every_mode(data: str, count: int) -> None:
    mixture = modes.mixture(data)
    assert mixture is not None
    found = modes.count(load(data).values, mixture)
    assert (found.covered, found.modes) == (count, count)
    assert found.share == pytest.approx(REAL_SHARE, abs=2e-4)
    narrower = mixture._replace(deviation=mixture.deviation / 4)
    assert modes.count(load(data).values, narrower).share == pytest.approx(
        1 - math.exp(-1 / 2), abs=0.01
    )


@pytest.mark.parametrize("data", ["swissroll", "digits", "mnist", "rows.csv"])
def test_other_data_has_no_modes(data: str) -> None:
    assert modes.mixture(data) is None


def test_a_mode_with_a_stray_sample_is_not_covered() -> None:
    mixture = Mixture(torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]]), 0.5)
    at = mixture.centers
    samples = torch.cat((at[:1].repeat(89, 1), at[1:2].repeat(2, 1), at[2:].repeat(9, 1)))
    assert modes.count(samples, mixture) == Modes(covered=2, modes=3, share=1.0)


def test_only_samples_within_four_deviations_count() -> None:
    mixture = Mixture(torch.tensor([[0.0, 0.0]]), 0.5)
    samples = torch.tensor([[1.99, 0.0], [0.0, -2.0], [2.01, 0.0], [1.5, 1.5]])
    assert modes.count(samples, mixture) == Modes(covered=1, modes=1, share=0.5)
    assert modes.count(samples + 5, mixture) == Modes(covered=0, modes=1, share=0.0)
