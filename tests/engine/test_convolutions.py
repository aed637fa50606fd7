"""Convolutions of every dimension, plain and transposed, by their rules in whole critics."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import fastwgan
from tests.critic_loss_recipe import assert_step_is_the_plain_one
from tests.penalty_recipe import assert_as_the_recipe

PLAIN: dict[str, dict[str, Any]] = {
    "as it is": {},
    "strided, padded": {"stride": 2, "padding": 1},
    "dilated": {"dilation": 2, "padding": 2},
    "grouped": {"groups": 2, "padding": 1},
    "depthwise": {"groups": 4, "padding": 1, "bias": False},
    "same": {"padding": "same"},
    "reflected": {"padding": 1, "padding_mode": "reflect"},
    "circular": {"padding": 1, "padding_mode": "circular"},
    "replicated": {"padding": 1, "padding_mode": "replicate"},
}
TRANSPOSED: dict[str, dict[str, Any]] = {
    "as it is": {},
    "doubling": {"stride": 2, "padding": 1, "output_padding": 1},
    "dilated": {"dilation": 2},
    "grouped": {"groups": 2, "padding": 1, "bias": False},
}
CASES = [(dims, False, name) for dims in (1, 2, 3) for name in PLAIN]
CASES += [(dims, True, name) for dims in (1, 2, 3) for name in TRANSPOSED]


class Critic(nn.Module):
    """The layer between two smooth ones, so that all of its rules take part."""

    def __init__(self, dims: int, transposed: bool, name: str) -> None:
        super().__init__()
        kind = getattr(nn, f"Conv{'Transpose' if transposed else ''}{dims}d")
        options = (TRANSPOSED if transposed else PLAIN)[name]
        self.first = getattr(nn, f"Conv{dims}d")(2, 4, 1)
        self.layer = kind(4, 4, 3, **options)
        self.last = getattr(nn, f"Conv{dims}d")(4, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.layer(torch.tanh(self.first(x))))
        return self.last(h).flatten(1).sum(1)  # type: ignore[no-any-return]


def _given(dims: int, transposed: bool, name: str) -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(1)
    critic = Critic(dims, transposed, name).double()
    real, fake = torch.randn(2, 3, 2, *(6, 5, 5)[:dims], dtype=torch.float64)
    return critic, real, fake


@pytest.mark.parametrize(("dims", "transposed", "name"), CASES)
def test_by_hand_and_right(dims: int, transposed: bool, name: str) -> None:
    critic, real, fake = _given(dims, transposed, name)
    report = fastwgan.explain(critic, real)
    assert [layer.by_hand for layer in report.layers].count(False) == 0, str(report)
    assert_as_the_recipe(critic, real, fake, engine="always")
    alpha = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)
    for each in (real, fake):
        each.requires_grad_()
    assert_step_is_the_plain_one(critic, real, fake, engine="always", alpha=alpha)
