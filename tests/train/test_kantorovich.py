from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

import fastwgan
from fastwgan.train.kantorovich import Kantorovich, Sample, kantorovich
from fastwgan.train.transport import plan
from tests.train.settings import assert_same_state


def points(count: int, *shape: int, seed: int = 0) -> Tensor:
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))


def linear(*weights: float) -> nn.Linear:
    layer = nn.Linear(len(weights), 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([weights]))
    return layer


@pytest.mark.parametrize("slope", [0.1, 1.0, 7.0])
def test_the_best_critic_of_a_translation_attains_the_distance(slope: float) -> None:
    real = points(300, 2)
    fake = real - torch.tensor([0.6, 0.8])
    found = kantorovich(linear(0.6 * slope, 0.8 * slope), Sample(real), Sample(fake))
    assert found.estimate == pytest.approx(slope, rel=1e-5)
    assert found.slope == pytest.approx(slope, rel=1e-6)
    assert found.normalised == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_no_critic_passes_the_exact_distance(seed: int) -> None:
    torch.manual_seed(seed)
    critic = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 1))
    real, fake = points(200, 2), 1.5 * points(150, 2, seed=1) + 1
    along = plan(real, fake)
    optimizer = torch.optim.Adam(critic.parameters(), 1e-2)
    for _ in range(50):
        loss = critic(fake).mean() - critic(real).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = kantorovich(critic, Sample(real), Sample(fake), along=along)
    assert found.estimate > 2 * along.distance
    assert 0.1 * along.distance < found.normalised <= along.distance


def test_a_flat_critic_knows_nothing() -> None:
    real, fake = Sample(points(10, 2)), Sample(points(10, 2, seed=1))
    assert kantorovich(linear(0.0, 0.0), real, fake) == Kantorovich(0.0, 0.0)
    assert kantorovich(linear(0.0, 0.0), real, fake).normalised == 0.0


class Labelled(nn.Module):
    """Scores x by a slope of its label's own, and must be given the right one."""

    def __init__(self) -> None:
        super().__init__()
        self.slopes = nn.Parameter(torch.tensor([1.0, -3.0]))

    def forward(self, rows: Tensor, labels: Tensor) -> Tensor:
        return self.slopes[labels].unsqueeze(1) * rows


def test_labels_go_with_their_points() -> None:
    real = Sample(torch.tensor([[1.0], [2.0]]), torch.tensor([0, 1]))
    fake = Sample(torch.tensor([[0.0], [0.0], [1.0]]), torch.tensor([0, 0, 1]))
    found = kantorovich(Labelled(), real, fake)
    assert found.estimate == pytest.approx((1 - 6) / 2 - (0 + 0 - 3) / 3)
    assert found.slope == pytest.approx(3.0)


def test_packs_are_judged_together_and_bound_the_distance_of_one() -> None:
    real, fake = points(200, 2), points(200, 2, seed=1) + 1
    critic = linear(*[-1.0, -1.0] * 4)
    found = kantorovich(critic, Sample(real[:199]), Sample(fake), pack=4)
    means = [(-rows[: len(rows) // 4 * 4].sum(dim=1)).mean() * 4 for rows in (real[:199], fake)]
    assert found.estimate == pytest.approx(float(means[0] - means[1]), rel=1e-4)
    assert found.slope == pytest.approx(8**0.5, rel=1e-6)
    assert found.normalised == pytest.approx(found.estimate / 8**0.5 / 4)
    assert 0 < found.normalised <= plan(real, fake).distance


def test_all_points_of_a_pack_lie_at_the_same_place_of_their_segments() -> None:
    critic, judged = linear(1.0, 1.0, 1.0, 1.0), []
    critic.register_forward_hook(lambda _, given, __: judged.append(given[0].detach()))
    kantorovich(critic, Sample(torch.zeros(40, 1)), Sample(torch.ones(40, 1)), pack=4)
    places = judged[-1]  # from 0, where real is, to 1
    assert places.shape == (10, 4)
    assert torch.equal(places, places[:, :1].expand(10, 4))
    assert len(places.unique()) == 10


def test_a_critic_of_patches_is_taken_by_its_mean_score() -> None:
    critic = nn.Conv2d(1, 1, 1)
    with torch.no_grad():
        critic.weight.fill_(2.0)
    real, fake = points(9, 1, 4, 4), points(9, 1, 4, 4, seed=1)
    found = kantorovich(critic, Sample(real), Sample(fake))
    assert found.estimate == pytest.approx(2 * float(real.mean() - fake.mean()), rel=1e-4)
    assert found.slope == pytest.approx(2 / 4, rel=1e-6)


def test_looking_at_a_critic_changes_nothing() -> None:
    critic = nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.5), nn.BatchNorm1d(8), nn.Linear(8, 1))
    fastwgan.spectral_norm(critic)
    critic.train()
    critic[2].eval()
    critic(points(5, 2)).sum().backward()
    before = copy.deepcopy(critic.state_dict())
    gradients = [p.grad.clone() for p in critic.parameters() if p.grad is not None]
    stream = torch.get_rng_state()
    real, fake = Sample(points(70, 2)), Sample(points(70, 2, seed=1))
    first, second = (kantorovich(critic, real, fake) for _ in range(2))
    assert first == second
    assert_same_state(critic.state_dict(), before)
    assert_same_state([p.grad for p in critic.parameters() if p.grad is not None], gradients)
    assert torch.equal(torch.get_rng_state(), stream)
    assert [module.training for module in critic] == [True, True, False, True]
