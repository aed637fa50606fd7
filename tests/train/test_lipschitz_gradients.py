from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from fastwgan.train import lipschitz_gradients
from fastwgan.train.lipschitz_gradients import Gradients, Points, gradients_of, slopes_at
from tests.train.lipschitz_cases import norm, normal


def found(critic: object, **points: Tensor) -> Gradients:
    kinds = {kind: Points(samples, None) for kind, samples in points.items()}
    return gradients_of(critic, kinds, torch.Generator().manual_seed(0))  # type: ignore[arg-type]


def parabola(x: Tensor) -> Tensor:
    """Its gradient is x."""
    return (x**2).sum(1, keepdim=True) / 2


def test_quantiles_and_histograms_are_those_of_the_gradient_norms() -> None:
    real, fake = normal(500, 3), 2 * normal(200, 3, seed=1)
    gradients = found(parabola, real=real, fake=fake)
    for kind, points in (("real", real), ("fake", fake)):
        norms = points.norm(dim=1)
        at = gradients.at[kind]
        assert (at.points, at.not_finite) == (len(points), 0)
        assert at.mean == pytest.approx(float(norms.mean()))
        assert list(at.quantiles) == ["1", "5", "25", "50", "75", "95", "99", "max"]
        expected = [float(norms.quantile(q / 100)) for q in (1, 5, 25, 50, 75, 95, 99, 100)]
        assert list(at.quantiles.values()) == pytest.approx(expected)
        edges = gradients.edges
        inside = [
            int(((norms >= low) & (norms < high)).sum()) for low, high in itertools.pairwise(edges)
        ]
        assert list(at.counts) == inside
        assert sum(at.counts) == len(points)
    assert gradients.edges[0] == 0
    assert gradients.edges[-1] == pytest.approx(float(fake.norm(dim=1).max()))
    assert gradients.percentile(50) == gradients.at["fake"].quantiles["50"]


def test_a_linear_critic_is_as_steep_everywhere() -> None:
    critic = nn.Linear(4, 1).double()
    gradients = found(critic, real=normal(600, 4))
    slope = norm(critic.weight)
    assert gradients.at["real"].quantiles["1"] == pytest.approx(slope)
    assert gradients.largest == pytest.approx(slope)
    assert gradients.climbed == pytest.approx(slope)
    assert 0.8 * slope < gradients.slope <= slope * (1 + 1e-12)


def test_slopes_are_of_different_points() -> None:
    """Between −1 and 1 this rises by 6, though its gradient is 0 at both."""
    points = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    gradients = found(lambda x: 3 * x.sign() + 0 * x, real=points)
    assert gradients.at["real"].quantiles["max"] == 0
    assert gradients.slope == 3
    assert 0 < gradients.pairs < 20_000
    assert gradients.largest == 3


def test_nearly_equal_points_divide_no_rounding_errors() -> None:
    points = normal(50, 2).float()
    twins = torch.cat([points, points + 1e-4])
    gradients = found(lambda x: x.sum(1, keepdim=True) + 1e4, real=twins)
    assert gradients.slope <= math.sqrt(2) * 1.05


def test_points_without_another_have_no_slope() -> None:
    gradients = found(parabola, real=normal(1, 3))
    assert (gradients.slope, gradients.pairs) == (0, 0)
    both = normal(1, 3).expand(2, 3)
    assert found(parabola, real=both).slope == 0


class Labelled(nn.Module):
    """As steep as its label, with a step of 100 from one label to the next."""

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return x.sum(1, keepdim=True) * labels[:, None] + 100 * labels[:, None]


def test_only_points_of_one_label_are_compared() -> None:
    labels = torch.arange(60) % 3
    points = {"real": Points(normal(60, 2), labels)}
    gradients = gradients_of(Labelled(), points, torch.Generator().manual_seed(0))
    assert gradients.at["real"].quantiles["max"] == pytest.approx(2 * math.sqrt(2))
    assert 2 < gradients.slope <= 2 * math.sqrt(2) * (1 + 1e-9)
    assert gradients.climbed == pytest.approx(2 * math.sqrt(2))


def test_the_search_finds_steeper_points_within_the_box() -> None:
    """Steepest at (1, 1), a corner that no point is near."""
    samples = torch.cat(
        [
            0.5 * torch.rand(200, 2, generator=torch.Generator().manual_seed(0)),
            torch.tensor([[1.0, 0.0], [0.0, 1.0]]),
        ]
    ).double()
    gradients = found(parabola, real=samples)
    assert gradients.at["real"].quantiles["max"] == pytest.approx(1)
    assert 1.3 < gradients.climbed <= math.sqrt(2) + 1e-9
    assert gradients.largest == gradients.climbed


def test_the_search_follows_the_gradient_where_there_are_many_directions() -> None:
    samples = 0.5 * torch.rand(100, 30, generator=torch.Generator().manual_seed(0)).double()
    samples[:30] += torch.eye(30, dtype=torch.float64)
    corner = float(samples.amax(0).norm())
    assert float(samples.norm(dim=1).max()) < 0.4 * corner
    assert found(parabola, real=samples).climbed > 0.9 * corner


def test_the_search_follows_the_change_of_the_gradient() -> None:
    """Along the gradient itself, which is nearly all in the first place, nothing gets steeper."""

    def critic(x: Tensor) -> Tensor:
        return 2000 * x[:, :1] + (x[:, 1:] ** 2).sum(1, keepdim=True)

    samples = torch.rand(100, 30, generator=torch.Generator().manual_seed(0)).double()
    samples[:, 1:] = 0.3 * samples[:, 1:]
    samples[1:30, 1:] += 2 * torch.eye(29, dtype=torch.float64)
    gradients = found(critic, real=samples)
    corner = 2 * float(samples[:, 1:].amax(0).norm())
    for found_norm, least, most in (
        (gradients.at["real"].quantiles["max"], 0.1, 0.5),
        (gradients.climbed, 0.9, 1.0),
    ):
        assert least * corner < math.sqrt(found_norm**2 - 2000**2) < most * corner


def test_the_search_comes_as_near_as_it_likes() -> None:
    """To a peak much narrower than its first step."""
    samples = torch.tensor([[0.0], [0.503], [1.0]], dtype=torch.float64)
    width = 0.01
    gradients = found(lambda x: width * torch.erf((x - 0.5) / width), real=samples)
    peak = 2 / math.sqrt(math.pi)
    assert gradients.at["real"].quantiles["max"] < 0.93 * peak
    assert 0.999 * peak < gradients.climbed <= peak


def test_the_search_goes_over_the_folds_of_relus() -> None:
    def critic(x: Tensor) -> Tensor:
        return x.sum(1, keepdim=True) + torch.relu(x[:, :1] - 2) * 3

    points = normal(200, 2).clamp(-1.5, 1.5)
    points[0, 0] = 3.0
    points[0, 1] = -5.0
    only = torch.cat([points[1:], torch.tensor([[1.9, 1.0]], dtype=torch.float64)])
    assert found(critic, real=only).climbed == pytest.approx(math.sqrt(2))
    wide = torch.cat([only, torch.tensor([[2.2, 0.0]], dtype=torch.float64)])
    assert found(critic, real=wide).climbed == pytest.approx(math.hypot(4, 1))


def test_gradients_that_are_not_finite_are_counted_and_left_out() -> None:
    points = normal(20, 3)
    points[4] = 0
    gradients = found(lambda x: torch.sqrt((x**2).sum(1, keepdim=True)), real=points)
    at = gradients.at["real"]
    assert (at.points, at.not_finite, sum(at.counts)) == (20, 1, 19)
    assert at.quantiles["max"] == pytest.approx(1)
    nothing = found(lambda x: x * math.nan, real=points)
    assert nothing.at["real"].not_finite == 20
    assert (nothing.largest, nothing.at["real"].mean) == (0, 0)


def test_parts_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    points = Points(normal(70, 3), torch.arange(70) % 4)
    whole = slopes_at(Labelled(), points)
    seen: list[int] = []

    def critic(x: Tensor, labels: Tensor) -> Tensor:
        seen.append(len(x))
        return Labelled()(x, labels)

    monkeypatch.setattr(lipschitz_gradients, "_ELEMENTS", 96)
    apart = slopes_at(critic, points)
    assert seen == [32, 32, 6]
    for expected, actual in zip(whole, apart, strict=True):
        torch.testing.assert_close(actual, expected)


def test_scores_of_patches_are_summed() -> None:
    points = Points(normal(5, 4), None)
    slopes = slopes_at(lambda x: x.view(-1, 2, 2), points)
    torch.testing.assert_close(slopes.scores, points.samples.sum(1))
    torch.testing.assert_close(slopes.norms, torch.full((5,), 2.0, dtype=torch.float64))


def test_a_critic_may_write_to_its_input() -> None:
    samples = normal(6, 3)
    before = samples.clone()
    slopes = slopes_at(lambda x: x.mul_(2).sum(1), Points(samples, None))
    assert torch.equal(samples, before)
    assert slopes.norms.tolist() == pytest.approx([2 * math.sqrt(3)] * 6)


def test_the_search_goes_against_the_gradient_where_that_is_steeper() -> None:
    samples = normal(200, 3).clamp(-1, 1)
    samples[:3] = 0.2 * torch.eye(3, dtype=torch.float64)
    gradients = found(lambda x: -parabola(x), real=samples[samples.norm(dim=1) < 1.2])
    assert gradients.at["real"].quantiles["max"] < 1.2
    assert gradients.climbed > 1.6
