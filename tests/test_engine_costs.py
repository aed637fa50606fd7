"""What a critic step costs, counted in products: as many as the mathematics asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from fastwgan import critic_loss
from tests.penalty_recipe import plain_penalty

BATCH, WIDTH = 8, 16
PRODUCT = 2 * BATCH * WIDTH * WIDTH  # of one batch and a hidden layer's weight

Step = Callable[[nn.Module, Tensor, Tensor], None]


class Flops(TorchDispatchMode):
    """Those of matrix products. Torch's own counter hooks modules, which are not called here."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        count = flop_registry.get(func.overloadpacket)
        if count is not None:
            self.total += count(*args, **(kwargs or {}), out_val=result)
        return result


def _critic(layers: int, activation: Callable[[], nn.Module]) -> nn.Sequential:
    torch.manual_seed(0)
    hidden: list[nn.Module] = []
    for _ in range(layers):
        hidden += [nn.Linear(WIDTH, WIDTH), activation()]
    return nn.Sequential(nn.Linear(4, WIDTH), activation(), *hidden, nn.Linear(WIDTH, 1)).double()


def _products(step: Step, activation: Callable[[], nn.Module] = nn.ReLU) -> float:
    """Of a hidden layer: what one more of them adds."""
    flops = []
    for layers in (2, 3):
        critic = _critic(layers, activation)
        real, fake = torch.randn(2, BATCH, 4, dtype=torch.float64)
        with Flops() as counter:
            step(critic, real, fake)
        flops.append(counter.total)
    return (flops[1] - flops[0]) / PRODUCT


def _ours(penalty: Any) -> Step:
    def step(critic: nn.Module, real: Tensor, fake: Tensor) -> None:
        critic_loss(critic, real, fake, penalty=penalty, engine="always").total.backward()

    return step


def _plain(critic: nn.Module, real: Tensor, fake: Tensor) -> None:
    penalty = plain_penalty(critic, real, fake)[0]
    (critic(fake).mean() - critic(real).mean() + penalty).backward()


@pytest.mark.parametrize(
    ("penalty", "products"),
    [
        # Forward, gradients of inputs and of weights, each for real and fake.
        (None, 6),
        # These; and at points of its own: forward, transpose, tangent, gradient of weights.
        ("wgan-gp", 10),
        # At the loss's points: transpose, tangent, gradient of weights. No forward.
        ("r1", 9),
        ((("r1", 1.0), ("r2", 1.0)), 12),
    ],
    ids=str,
)
def test_products_of_a_hidden_layer(penalty: Any, products: int) -> None:
    assert _products(_ours(penalty)) == products


def test_autograd_takes_twelve() -> None:
    assert _products(_plain) == 12


def test_smooth_critics_take_two_more_for_second_order_terms() -> None:
    """The points' own backward: gradients of inputs and of weights."""
    assert _products(_ours("wgan-gp"), nn.Tanh) == 12
