"""`critic_loss` on every make of critic, held against the plain step in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import fastwgan
from tests.critic_loss_recipe import LOSSES, assert_step_is_the_plain_one
from tests.penalty_critics import CRITICS, RANDOM, Function, make, mlp

PENALTIES: list[Any] = [
    "wgan-gp",
    "wgan-lp",
    "r1",
    "r2",
    "dragan",
    (("r1", 3.0), ("r2", 4.0)),
    (("wgan-gp", 10.0), ("r1", 0.5)),
    None,
]
# The vectors of spectral norm move by one call in `critic_loss` and by three in the plain step;
# masks are drawn in another order.
SAME = [name for name in CRITICS if not any(w in name for w in (*RANDOM, "spectral norm"))]
SAME += ["spectral norm in eval"]


def _samples(shape: tuple[int, ...], batch: int = 5, dtype: Any = torch.float64) -> list[Tensor]:
    torch.manual_seed(11)
    return [torch.randn(batch, *shape, dtype=torch.float64).to(dtype) for _ in range(2)]


@pytest.mark.parametrize("name", SAME)
def test_critic_in_double(name: str) -> None:
    critic, shape = make(name)
    alpha = torch.rand(5, dtype=torch.float64)
    assert_step_is_the_plain_one(critic, *_samples(shape), alpha=alpha)


@pytest.mark.parametrize("name", SAME)
def test_critic_in_double_with_gradients_of_the_samples(name: str) -> None:
    critic, shape = make(name)
    real, fake = (t.requires_grad_() for t in _samples(shape, 3))
    assert_step_is_the_plain_one(critic, real, fake, alpha=torch.rand(3, dtype=torch.float64))


@pytest.mark.parametrize("name", [name for name in SAME if not name.startswith("own grad")])
def test_critic_in_single(name: str) -> None:
    critic, shape = make(name, torch.float32)
    assert_step_is_the_plain_one(critic, *_samples(shape, dtype=torch.float32), alpha=torch.rand(5))


@pytest.mark.parametrize("penalty", PENALTIES, ids=str)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", ["mlp of leaky relu", "dcgan", "mlp of silu", "attention"])
def test_every_penalty_and_loss(name: str, loss: str, penalty: Any) -> None:
    critic, shape = make(name)
    drawn = shape if penalty == "dragan" else ()
    alpha = torch.rand(4, *drawn, dtype=torch.float64)
    options = {} if penalty in ("r1", "r2", (("r1", 3.0), ("r2", 4.0)), None) else {"alpha": alpha}
    for flows in (False, True):
        real, fake = (t.requires_grad_(flows) for t in _samples(shape, 4))
        assert_step_is_the_plain_one(critic, real, fake, penalty=penalty, loss=loss, **options)


def test_a_loss_of_ones_own() -> None:
    critic, shape = make("mlp of tanh")
    assert_step_is_the_plain_one(
        critic,
        *_samples(shape),
        loss=lambda real, fake: (real - fake).square().mean() + real.sin().sum(),
        alpha=torch.rand(5, dtype=torch.float64),
    )


@pytest.mark.parametrize("engine", ["auto", "never"])
def test_further_arguments(engine: str) -> None:
    class Conditional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.embedding = mlp(nn.ReLU), nn.Embedding(4, 6)

        def forward(self, x: Tensor, labels: Tensor, scale: float) -> Tensor:
            return self.body(x) + scale * (self.embedding(labels) * x).sum(1, keepdim=True)  # type: ignore[no-any-return]

    critic = Conditional().double()
    labels = torch.tensor([0, 1, 2, 3, 0]), torch.tensor([3, 3, 1, 0, 2])
    for penalty in ("wgan-gp", "r1", "r2"):
        alpha = {"alpha": torch.rand(5, dtype=torch.float64)} if penalty == "wgan-gp" else {}
        assert_step_is_the_plain_one(
            critic,
            *_samples((6,)),
            penalty=penalty,
            engine=engine,
            real_args=(labels[0], 0.5),
            fake_args=(labels[1], 0.5),
            **alpha,
        )


def test_python_that_reads_numbers_runs_for_each_set_of_rows() -> None:
    calls = []

    def gated(critic: Any, x: Tensor) -> Tensor:
        calls.append(len(x))
        gate = 1.0 if float(x.detach().mean()) > 0 else -2.0
        return critic.body(x) * gate  # type: ignore[no-any-return]

    critic = Function(gated, body=mlp(nn.Tanh)).double()
    real, fake = _samples((6,))
    alpha = torch.rand(5, dtype=torch.float64)
    assert_step_is_the_plain_one(critic, real.abs(), -fake.abs(), alpha=alpha)
    assert calls == [5] * 6


def test_the_critic_runs_once() -> None:
    calls = []
    body = mlp(nn.ReLU).double()

    def critic(x: Tensor) -> Tensor:
        calls.append(x.shape)
        return body(x)  # type: ignore[no-any-return]

    fastwgan.critic_loss(critic, *_samples((6,)), engine="always").total.backward()
    assert calls == [(5, 6)]


@pytest.mark.parametrize("engine", ["auto", "never"])
@pytest.mark.parametrize("loss", ["wasserstein", "hinge"])
def test_a_frozen_critic_has_values_all_the_same(engine: str, loss: str) -> None:
    critic = mlp(nn.LeakyReLU).double().requires_grad_(False)
    alpha = torch.rand(5, dtype=torch.float64)
    step = assert_step_is_the_plain_one(
        critic, *_samples((6,)), loss=loss, alpha=alpha, engine=engine
    )
    assert step.gradients == []
