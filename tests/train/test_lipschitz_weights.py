from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from fastwgan.train.lipschitz_gradients import Points
from fastwgan.train.lipschitz_modules import modules_of
from fastwgan.train.lipschitz_watch import watch
from fastwgan.train.lipschitz_weights import Units, units_of, weights_of
from tests.train.lipschitz_cases import normal


def clipped(bound: float = 0.5) -> dict[str, Tensor]:
    return {
        "a": normal(40, 25).float().clamp(-bound, bound),
        "bias": normal(40, seed=1).float().clamp(-bound, bound),
    }


def test_the_share_at_the_clip_bound() -> None:
    parameters = clipped()
    for given in (None, 0.5):
        weights = weights_of(parameters, given)
        values = torch.cat([p.flatten() for p in parameters.values()])
        at = float((values.abs() == 0.5).double().mean())
        assert 0.5 < at < 0.7
        assert (weights.clip, weights.count, weights.largest) == (0.5, 1040, 0.5)
        assert weights.at_clip == pytest.approx(at, rel=1e-12)
        assert weights.beyond_clip == 0


@pytest.mark.parametrize("bound", [0.01, 0.1])  # which float32 rounds down, and up
def test_a_bound_that_float32_rounds_is_met(bound: float) -> None:
    weights = weights_of(clipped(bound), bound)
    assert weights.at_clip is not None
    assert weights.at_clip > 0.9
    assert weights.beyond_clip == 0


def test_weights_beyond_the_bound_are_counted_apart() -> None:
    parameters = clipped()
    parameters["a"][0, :13] = 0.75
    weights = weights_of(parameters, 0.5)
    assert weights.beyond_clip == pytest.approx(13 / 1040)
    values = torch.cat([p.flatten() for p in parameters.values()])
    assert weights.at_clip == pytest.approx(float((values.abs() == 0.5).double().mean()))


@pytest.mark.parametrize(
    "parameters",
    [
        {"a": normal(40, 25)},
        {"gain": torch.ones(64), "a": 0.1 * normal(8, 8).clamp(-1, 1)},
        {"a": torch.ones(8, 8)},
        {"a": 0.1 * torch.ones(8, 8) * torch.tensor([1.0, -1.0] * 4)},
        {"a": normal(8, 8).abs().clamp(max=0.1)},
        {"a": torch.tensor([[1.0, -1.0, 0.3], [0.1, 0.2, 0.3]])},
        {},
    ],
)
def test_weights_that_nothing_clipped_have_no_bound(parameters: dict[str, Tensor]) -> None:
    weights = weights_of(parameters)
    assert (weights.clip, weights.at_clip, weights.beyond_clip) == (None, None, None)


def test_the_histogram_holds_every_weight() -> None:
    parameters = {"a": normal(40, 25), "b": normal(7, seed=1)}
    weights = weights_of(parameters)
    values = torch.cat([p.flatten() for p in parameters.values()])
    largest = float(values.abs().max())
    assert weights.largest == largest
    assert sum(weights.counts) == 1007
    assert weights.edges[0] == -largest
    assert weights.edges[-1] == pytest.approx(largest)
    middle = len(weights.counts) // 2
    assert sum(weights.counts[middle:]) == int((values >= 0).sum())


def test_what_is_not_finite_is_counted_and_named() -> None:
    parameters = {"a": normal(4, 5), "b": normal(3), "c": normal(2)}
    parameters["b"][1] = math.nan
    parameters["c"][0] = -math.inf
    weights = weights_of(parameters)
    assert (weights.not_finite, weights.broken) == (2, ("b", "c"))
    assert (weights.count, sum(weights.counts)) == (25, 23)
    assert math.isfinite(weights.largest)
    every = weights_of({"a": torch.full((2, 2), math.nan)}, 0.1)
    assert (every.not_finite, every.largest, every.at_clip) == (4, 0, None)


def units(critic: Callable[..., Tensor], *several: Tensor) -> tuple[Units, ...]:
    modules = modules_of(critic)
    watched = watch(critic, modules, several[0][:2])
    return units_of(critic, [Points(samples, None) for samples in several], watched)


def test_units_that_never_and_units_that_always_fire() -> None:
    layer = nn.Linear(1, 4).double()
    layer.weight.data = torch.tensor([[1.0], [1.0], [1.0], [0.0]], dtype=torch.float64)
    layer.bias.data = torch.tensor([0.0, 9.0, -9.0, 0.0], dtype=torch.float64)
    rectifiers: list[nn.Module] = [nn.ReLU(), nn.ReLU(inplace=True), nn.LeakyReLU(), nn.PReLU()]
    for rectifier in [*rectifiers, nn.ELU()]:
        critic = nn.Sequential(layer, rectifier, nn.Linear(4, 1)).double()
        kind = type(rectifier).__name__
        assert units(critic, normal(50, 1).clamp(-8, 8)) == (Units("1", kind, 4, 2, 1),)
    critic = nn.Sequential(layer, nn.ReLU(), nn.Linear(4, 1)).double()
    assert units(critic, normal(5, 1).abs()) == (Units("1", "ReLU", 4, 2, 2),)
    assert units(critic, normal(5, 1).abs(), -normal(300, 1).abs()) == (
        Units("1", "ReLU", 4, 2, 1),
    )


def test_a_channel_is_one_unit_wherever_it_fires() -> None:
    layer = nn.Conv1d(1, 2, 1).double()
    layer.weight.data = torch.tensor([[[1.0]], [[-1.0]]], dtype=torch.float64)
    layer.bias.data.zero_()
    critic = nn.Sequential(layer, nn.ReLU(), nn.Flatten(), nn.Linear(6, 1)).double()
    image = torch.tensor([[[-1.0, -2.0, 3.0]], [[-1.0, -2.0, -3.0]]], dtype=torch.float64)
    assert units(critic, image) == (Units("1", "ReLU", 2, 0, 0),)
    assert units(critic, -image.abs()) == (Units("1", "ReLU", 2, 1, 1),)


def test_every_call_begins_with_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastwgan.train.lipschitz_gradients._ROWS", 2)
    head = nn.Linear(12, 1).double()
    images = normal(6, 2, 6).abs()
    images[:, 1] *= -1
    found = units(lambda x: head(functional.relu(x).flatten(1)), images)
    assert found == (Units("", "relu", 2, 1, 1),)


def test_one_number_a_row_is_one_unit() -> None:
    found = units(lambda x: functional.relu(x[:, 0]), normal(30, 2).abs(), -normal(9, 2).abs())
    assert found == (Units("", "relu", 1, 0, 0),)
    assert units(lambda x: functional.relu(x[:, 0]), -normal(9, 2).abs())[0].dead == 1


def test_features_of_tokens_are_the_units_behind_a_linear_layer() -> None:
    layer, head = nn.Linear(2, 5).double(), nn.Linear(5, 1).double()
    with torch.no_grad():
        layer.bias.copy_(torch.tensor([-99.0, -99, 99, 0, 0]))

    def critic(x: Tensor) -> Tensor:
        return head(functional.relu(layer(x)).sum(1))

    assert units(critic, normal(30, 3, 2)) == (Units("", "relu", 5, 2, 1),)


def test_a_critic_that_goes_another_way_has_no_counts() -> None:
    def critic(x: Tensor) -> Tensor:
        return (functional.relu(x) if len(x) < 5 else x).sum(1)

    assert units(critic, normal(3, 2), normal(9, 2)) != ()
    sizes = nn.ModuleList([nn.Linear(2, 3), nn.Linear(2, 4)]).double()
    assert (
        units(lambda x: functional.relu(sizes[len(x) > 5](x)).sum(1), normal(3, 2), normal(9, 2))
        == ()
    )
