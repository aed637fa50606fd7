"""Autocast that begins or ends inside the critic: each operation keeps its own casts."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fastwgan import critic_loss
from tests.compare import assert_gradients_match, assert_matches
from tests.critic_loss_recipe import plain_step

ALPHA = torch.linspace(0.1, 0.9, 8)


class Casting(nn.Module):
    """Layers that run under autocast, and others that don't, wherever the critic is called."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.one, self.two, self.three = nn.Linear(6, 16), nn.Linear(16, 16), nn.Linear(16, 1)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", self.dtype):
            x = self.one(x).tanh()
        with torch.autocast("cpu", enabled=False):
            x = nn.functional.leaky_relu(self.two(x.float()), 0.2)
        with torch.autocast("cpu", self.dtype):
            return self.three(x)  # type: ignore[no-any-return]


def _samples() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    real, fake = torch.randn(2, 8, 6, generator=generator)
    return real, fake


@pytest.mark.parametrize("around", [False, True])
@pytest.mark.parametrize("penalty", ["wgan-gp", "r1"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_casts_are_those_of_the_critics_own_run(
    dtype: torch.dtype, penalty: str, around: bool
) -> None:
    torch.manual_seed(1)
    critic, pair = Casting(dtype), _samples()
    options: dict[str, Any] = {"penalty": penalty}
    if penalty == "wgan-gp":
        options["alpha"] = ALPHA
    with torch.autocast("cpu", torch.bfloat16, enabled=around):
        done = critic_loss(critic, *pair, engine="always", **options)
    assert done.real_scores.dtype is dtype
    done.total.backward()
    twin = copy.deepcopy(critic)
    leaves = list(twin.parameters())
    plain = plain_step(twin, leaves, *pair, **options)
    # Both are made of half precision, so that both are off by as much.
    assert_matches(done.penalty.to(dtype), plain.penalty, op="penalty_half", order=0)
    halves = [None if p.grad is None else p.grad.to(dtype) for p in critic.parameters()]
    assert_gradients_match(halves, plain.gradients, op="penalty_half", order=1)


def test_the_islands_are_single_precision() -> None:
    torch.manual_seed(1)
    critic, (real, fake) = Casting(torch.bfloat16), _samples()
    seen: list[torch.dtype] = []
    function = nn.functional.leaky_relu

    def watching(x: Tensor, slope: float) -> Tensor:
        seen.append(x.dtype)
        return function(x, slope)

    with torch.autocast("cpu", torch.bfloat16):
        done = critic_loss(critic, real, fake, alpha=ALPHA, engine="always")
        nn.functional.leaky_relu = watching  # type: ignore[assignment]
        try:
            plain = critic(fake)
        finally:
            nn.functional.leaky_relu = function
    assert seen == [torch.float32]
    assert torch.equal(done.fake_scores, plain)  # by replay, which must not have cast the island
