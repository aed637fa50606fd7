"""A critic small enough to train in a test, and what the optimizer tests do with it."""

from __future__ import annotations

import torch
from torch import nn

from tests.compare import assert_matches


def critic_of(dtype: torch.dtype = torch.float32) -> nn.Module:
    """Parameters contiguous, channels-last, transposed and of one element."""
    torch.manual_seed(1)
    critic = nn.Sequential(
        nn.Conv2d(2, 5, 3), nn.GroupNorm(1, 5), nn.ReLU(), nn.Flatten(), nn.Linear(20, 7), nn.ReLU()
    )
    critic.append(nn.Linear(7, 1))
    critic = critic.to(dtype).to(memory_format=torch.channels_last)
    weight = critic[4].weight
    weight.data = weight.data.t().contiguous().t()
    return critic


def backward(critic: nn.Module, step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(3, 2, 4, 4, generator=generator, dtype=torch.float64)
    first = next(p for p in critic.parameters())
    critic(x.to(first.dtype)).square().mean().backward()


def train(critic: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 5) -> None:
    for step in range(steps):
        optimizer.zero_grad()
        backward(critic, step)
        optimizer.step()


def assert_same_parameters(actual: nn.Module, expected: nn.Module, context: str = "") -> None:
    for (name, p), q in zip(actual.named_parameters(), expected.parameters(), strict=True):
        assert_matches(p, q, op="rmsprop_steps", order=0, context=f"{context} {name}")
