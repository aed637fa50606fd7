from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fastwgan.train import fidelity
from fastwgan.train.fidelity import Likeness, frechet_distance, likeness

SAME = Likeness(precision=1.0, recall=1.0, density=1.0, coverage=1.0)


def normal(count: int, features: int, seed: int = 0) -> Tensor:
    stream = torch.Generator().manual_seed(seed)
    return torch.randn(count, features, generator=stream, dtype=torch.float64)


def whitened(rows: Tensor) -> Tensor:
    """The same rows with mean 0 and covariance 1, exactly."""
    centred = rows - rows.mean(dim=0)
    return (
        centred @ torch.linalg.inv(torch.linalg.cholesky(torch.atleast_2d(torch.cov(centred.T)))).T
    )


def shaped(mean: Tensor, covariance: Tensor, seed: int) -> Tensor:
    """A sample whose mean and covariance are these."""
    white = whitened(normal(200, len(mean), seed))
    return mean + white @ torch.linalg.cholesky(covariance).T


def test_gaussians_of_one_dimension_have_the_closed_form() -> None:
    real = shaped(torch.tensor([1.0]).double(), torch.tensor([[4.0]]).double(), 0)
    fake = shaped(torch.tensor([-2.0]).double(), torch.tensor([[9.0]]).double(), 1)
    assert frechet_distance(real, fake) == pytest.approx(3**2 + (2 - 3) ** 2)


def test_gaussians_of_commuting_covariances_have_the_closed_form() -> None:
    turn = torch.linalg.qr(normal(6, 6, 2)).Q
    variances = torch.tensor([0.1, 1, 2, 3, 5, 9]).double(), torch.tensor([4, 4, 1, 1, 2, 2.0])
    means = normal(6, 1, 3)[:, 0], normal(6, 1, 4)[:, 0]
    real, fake = (
        shaped(mean, turn @ torch.diag(each.double()) @ turn.T, seed)
        for seed, (mean, each) in enumerate(zip(means, variances, strict=True))
    )
    spread = (variances[0].sqrt() - variances[1].double().sqrt()).square().sum()
    expected = float((means[0] - means[1]).square().sum() + spread)
    assert frechet_distance(real, fake) == pytest.approx(expected, rel=1e-9)


def test_covariances_that_do_not_commute_equal_the_product_form() -> None:
    first, second = (rows.T @ rows for rows in (normal(9, 4, 5), normal(9, 4, 6)))
    zero = torch.zeros(4, dtype=torch.float64)
    # The eigenvalues of C1 C2 are real and positive; its root's trace is the sum of their roots.
    crossed = torch.linalg.eigvals(first @ second).real.sqrt().sum()
    expected = float(first.trace() + second.trace() - 2 * crossed)
    found = frechet_distance(shaped(zero, first, 0), shaped(zero, second, 1))
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("rows", [2, 5, 300])
def test_equal_sets_are_nothing_apart_also_where_covariances_are_singular(rows: int) -> None:
    real = normal(rows, 40)
    assert frechet_distance(real, real.flip(0)) == pytest.approx(0.0, abs=1e-6)
    assert frechet_distance(real, real + 1) == pytest.approx(40.0)
    assert frechet_distance(real * 0, real * 0) == 0.0


def test_it_is_symmetric_and_never_negative() -> None:
    real, fake = normal(30, 20), 3 * normal(25, 20, 1) @ torch.diag(torch.arange(20.0).double())
    assert frechet_distance(real, fake) == pytest.approx(frechet_distance(fake, real), rel=1e-9)
    assert all(frechet_distance(real, real * (1 + 1e-12 * k)) >= 0 for k in range(5))


def test_a_set_is_like_itself() -> None:
    real = normal(200, 5)
    found = likeness(real, real.clone())
    assert (found.precision, found.recall, found.coverage) == (1.0, 1.0, 1.0)
    # Each point lies in the balls of its own neighbours: as many as the balls hold, on average.
    assert found.density == pytest.approx(6 / 5)


def test_samples_of_one_distribution_are_alike() -> None:
    found = likeness(normal(1500, 2), normal(1500, 2, 1))
    assert min(found) > 0.9
    assert found.density == pytest.approx(1.0, abs=0.05)


def test_disjoint_sets_have_nothing_in_common() -> None:
    assert likeness(normal(100, 3), normal(80, 3, 1) + 100) == Likeness(0.0, 0.0, 0.0, 0.0)


def test_a_collapsed_generator_is_precise_and_recalls_nothing() -> None:
    real = normal(500, 2)
    fake = real[7] + 1e-4 * normal(300, 2, 1)
    found = likeness(real, fake)
    assert found.precision == 1.0
    assert found.recall < 0.01
    assert found.coverage < 0.05


def test_a_generator_of_half_the_data_recalls_half() -> None:
    real = torch.cat((normal(300, 2), normal(300, 2, 1) + 100))
    found = likeness(real, normal(600, 2, 2))
    assert found.precision > 0.95
    assert found.recall == pytest.approx(0.5, abs=0.03)
    assert found.coverage == pytest.approx(0.5, abs=0.03)


def test_a_noisy_generator_recalls_what_it_has_no_precision_for() -> None:
    found = likeness(normal(1000, 2), 5 * normal(1000, 2, 1))
    assert found.precision < 0.3
    assert found.recall > 0.9


def test_balls_are_those_of_the_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    real = torch.tensor([[0.0], [1.0], [2.0], [4.0], [8.0], [16.0]])
    fake = torch.tensor([[-3.5], [0.5], [23.0], [60.0]])
    # Third neighbours: real 4, 3, 2, 4, 7, 14; generated 63.5, 59.5, 37, 63.5.
    # Fifth: real 16, 15, 14, 12, 8, 16.
    found = likeness(real, fake)
    # -3.5 is 3.5 from 0; 0.5 is near all; 23 is 7 from 16; 60 is far from all.
    assert found.precision == 3 / 4
    assert found.recall == 1.0
    # -3.5: balls of 0, 1, 2, 4; 0.5: all of them; 23: that of 16; 60: none.
    inside = [4, 6, 1, 0]
    balls = [16, 15, 14, 12, 8, 16]
    counted = [
        sum(abs(f - r) <= ball for r, ball in zip(real[:, 0].tolist(), balls, strict=True))
        for f in fake[:, 0].tolist()
    ]
    assert found.density == pytest.approx(sum(counted) / 5 / 4)
    assert counted == inside
    assert found.coverage == 1.0
    monkeypatch.setattr(fidelity, "_ROWS", 2)
    assert likeness(real, fake) == found
