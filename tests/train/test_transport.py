from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from scipy.stats import wasserstein_distance
from torch import Tensor

from fastwgan.train import transport
from fastwgan.train.transport import estimate, exact, floor, plan, sinkhorn, sliced


def points(count: int, *shape: int, seed: int = 0) -> Tensor:
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))


def assigned(first: Tensor, second: Tensor) -> float:
    """The distance of samples of equal size: that of the best assignment."""
    costs = torch.cdist(first.double().flatten(1), second.double().flatten(1)).numpy()
    rows, columns = linear_sum_assignment(costs)
    return float(costs[rows, columns].mean())


def test_in_one_dimension_it_is_the_mean_difference_of_sorted_values() -> None:
    first, second = points(101, 1), 3 * points(101, 1, seed=1) + 1
    sorted_apart = (first.sort(dim=0).values - second.sort(dim=0).values).double().abs().mean()
    assert exact(first, second) == pytest.approx(float(sorted_apart), rel=1e-6)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 7), (20, 33), (64, 48)])
def test_samples_of_different_sizes(n: int, m: int) -> None:
    first, second = points(n, 1), points(m, 1, seed=1) - 0.5
    expected = wasserstein_distance(first[:, 0].numpy(), second[:, 0].numpy())
    assert exact(first, second) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("shape", [(2,), (64,), (3, 5, 4)])
def test_it_is_the_cost_of_the_best_assignment(shape: tuple[int, ...]) -> None:
    first, second = points(80, *shape), 0.5 * points(80, *shape, seed=1)
    assert exact(first, second) == pytest.approx(assigned(first, second), rel=1e-9)


def test_a_translated_copy_is_as_far_as_the_translation() -> None:
    first = points(50, 1, 4, 4)
    moved = first.double() + 0.25 * torch.ones(16, dtype=torch.float64).view(1, 4, 4)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(3))
    assert exact(first, moved[order]) == pytest.approx(0.25 * 4, rel=1e-7)


def test_duplicates_weigh_as_often_as_they_occur() -> None:
    first = torch.tensor([[0.0], [0.0], [0.0], [1.0]])
    second = torch.tensor([[0.0], [1.0]])
    assert exact(first, second) == pytest.approx(0.25)
    assert exact(second.repeat(3, 1), second) == 0.0
    assert exact(first[:3], second[:1]) == 0.0


def test_a_plan_moves_everything_and_costs_the_distance() -> None:
    first, second = points(30, 3), points(30, 3, seed=1)
    found = plan(first, second)
    assert sorted(found.pairs[0].tolist()) == list(range(30))
    assert sorted(found.pairs[1].tolist()) == list(range(30))
    lengths = (first[found.pairs[0]] - second[found.pairs[1]]).double().norm(dim=1)
    assert float(lengths.mean()) == pytest.approx(found.distance, rel=1e-6)


@pytest.mark.parametrize("shape", [(1,), (2,), (1, 8, 8)])
def test_sliced_is_at_most_exact(shape: tuple[int, ...]) -> None:
    first, second = points(120, *shape), points(90, *shape, seed=1) + 0.3
    assert 0 < sliced(first, second) <= exact(first, second) * (1 + 1e-9)


def test_sliced_is_the_mean_over_directions() -> None:
    first = points(200, 2)
    moved = first + torch.tensor([1.0, 0.0])
    # The mean of |cos| over the circle.
    assert sliced(first, moved, projections=2000) == pytest.approx(2 / np.pi, rel=0.03)
    assert sliced(first, moved, seed=1) == sliced(first, moved, seed=1)
    assert sliced(first, moved, seed=1) != sliced(first, moved, seed=2)
    assert sliced(first[:, :1], moved[:, :1]) == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize("shape", [(2,), (64,)])
def test_sinkhorn_is_near_exact_from_above(shape: tuple[int, ...]) -> None:
    first, second = points(100, *shape), points(80, *shape, seed=1) + 0.5
    right = exact(first, second)
    near, far = (sinkhorn(first, second, each) for each in (0.02, 0.2))
    assert right * (1 - 1e-5) <= near <= 1.1 * right
    assert near < far


def test_sinkhorn_of_a_single_point_twice_is_nothing() -> None:
    assert sinkhorn(torch.ones(4, 2), torch.ones(3, 2)) == 0.0


def test_an_estimate_is_exact_only_where_that_is_cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = points(30, 16), points(20, 16, seed=1)
    assert estimate(first, second) == (exact(first, second), "exact")
    monkeypatch.setattr(transport, "EXACT_PAIRS", 599)
    assert estimate(first, second) == (sinkhorn(first, second), "sinkhorn")
    plane = first[:, :2], second[:, :2]
    assert estimate(*plane) == (sliced(*plane), "sliced")
    monkeypatch.setattr(transport, "SINKHORN_PAIRS", 599)
    assert estimate(first, second) == (sliced(first, second), "sliced")


def test_the_floor_is_the_mean_distance_of_real_points() -> None:
    values, held_out = points(200, 3), points(40, 3, seed=1)
    stream = torch.Generator().manual_seed(5)
    drawn = [values[torch.randperm(200, generator=stream)[:40]] for _ in range(3)]
    mean = sum(exact(rows, held_out) for rows in drawn) / 3
    assert floor(values, held_out, 40, seed=5) == (pytest.approx(mean, rel=1e-12), "exact")
    assert floor(values, held_out, 200).distance < 0.9 * floor(values, held_out, 10).distance


def test_more_points_than_there_are_means_all() -> None:
    values, held_out = points(20, 3), points(40, 3, seed=1)
    assert floor(values, held_out, 40).distance == pytest.approx(exact(values, held_out))


@pytest.mark.parametrize("measure", [exact, sinkhorn, sliced])
def test_samples_that_cannot_be_compared_are_refused(measure: object) -> None:
    assert callable(measure)
    good = points(4, 2)
    with pytest.raises(ValueError, match=r"first was empty; it must have at least one point"):
        measure(good[:0], good)
    with pytest.raises(ValueError, match=r"second held NaN or Inf; every value must be finite"):
        measure(good, good / 0)
    with pytest.raises(ValueError, match=r"second has points of shape \[3\]; .* \[2\]"):
        measure(good, points(4, 3))


def test_the_global_random_streams_stay_where_they_are() -> None:
    states = torch.get_rng_state(), np.random.get_state()[1].tolist()
    values = points(50, 2)
    floor(values, values[:20], 10)
    sliced(values, values + 1)
    sinkhorn(values, values + 1)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.random.get_state()[1].tolist() == states[1]
