"""Critics and loops as projects write them: what is returned, how it is called, what is beside."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastwgan import critic_loss
from tests.compare import assert_gradients_match
from tests.critic_loss_recipe import assert_step_is_the_plain_one, plain_step

ALPHA = torch.linspace(0.1, 0.9, 6, dtype=torch.float64)


class Features(nn.Module):
    """Layers registered in another order than they run, with one that runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Conv2d(8, 1, 3)
        self.again = nn.Conv2d(8, 8, 3, padding=1)
        self.first = nn.Conv2d(3, 8, 4, 2, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        h = F.leaky_relu(self.first(x), 0.2)
        branch = self.again(F.relu(h, inplace=True))  # the shortcut is activated too
        h = F.leaky_relu(self.again(branch + h), 0.2)
        scores = self.last(h)
        return scores, {"patches": scores, "one": scores.mean((1, 2, 3)), "features": h}


SCORES: dict[str, tuple[Callable[[Any], Tensor], tuple[int, ...]]] = {
    "first of a tuple, (B, 1, H, W)": (lambda out: out[0], (6, 1, 2, 2)),
    "entry of a dict, (B,)": (lambda out: out[1]["one"], (6,)),
    "(B, 1)": (lambda out: out[1]["one"][:, None], (6, 1)),
    "(B, 1, 1, 1)": (lambda out: out[0].mean((2, 3), keepdim=True), (6, 1, 1, 1)),
}


class Selected(nn.Module):
    def __init__(self, select: Callable[[Any], Tensor]) -> None:
        super().__init__()
        self.features, self.select = Features(), select

    def forward(self, x: Tensor) -> Tensor:
        return self.select(self.features(x))


def _images(batch: int = 6) -> tuple[Tensor, Tensor]:
    real, fake = torch.randn(2, batch, 3, 8, 8, dtype=torch.float64)
    return real, fake


@pytest.mark.parametrize("loss", ["wasserstein", "hinge"])
@pytest.mark.parametrize("name", SCORES)
def test_scores_of_any_shape_out_of_anything(name: str, loss: str) -> None:
    torch.manual_seed(2)
    select, shape = SCORES[name]
    critic, pair = Selected(select).double(), _images()
    done = critic_loss(critic, *pair, engine="always")
    assert done.real_scores.shape == done.fake_scores.shape == shape
    options: dict[str, Any] = {"loss": loss, "alpha": ALPHA, "engine": "always"}
    assert_step_is_the_plain_one(critic, *pair, **options)
    assert_step_is_the_plain_one(critic, *(t.requires_grad_() for t in pair), **options)


def _plain(critic: Any, parameters: list[Tensor], *pair: Tensor) -> list[Tensor | None]:
    return plain_step(critic, parameters, *pair, alpha=ALPHA).gradients


def test_a_loss_of_features_with_a_backward_of_its_own() -> None:
    torch.manual_seed(2)
    net, (real, fake) = Features().double(), _images()
    scores: Callable[[Tensor], Tensor] = lambda x: net(x)[0]  # noqa: E731

    def beside() -> Tensor:
        distance = net(real)[1]["features"].mean(0) - net(fake)[1]["features"].mean(0)
        return distance.square().mean()

    parameters = list(net.parameters())
    own = torch.autograd.grad(beside(), parameters, allow_unused=True)
    expected = [
        p if o is None or p is None else o + p
        for o, p in zip(own, _plain(scores, parameters, real, fake), strict=True)
    ]
    beside().backward()
    critic_loss(scores, real, fake, alpha=ALPHA, engine="always").total.backward()
    assert_gradients_match([p.grad for p in parameters], expected, op="penalty", order=1)
    net.zero_grad()
    total = critic_loss(scores, real, fake, alpha=ALPHA, engine="always").total
    (beside() + total).backward()
    assert_gradients_match([p.grad for p in parameters], expected, op="penalty", order=1)


def test_two_critics_in_one_backward() -> None:
    torch.manual_seed(2)
    select = SCORES["entry of a dict, (B,)"][0]
    critics = [Selected(select).double(), Selected(select).double()]
    (real, fake), (small_real, small_fake) = _images(), _images()
    pairs = [(real, fake), (small_real, small_fake)]
    expected: list[Tensor | None] = []
    for critic, pair in zip(critics, pairs, strict=True):
        twin = copy.deepcopy(critic)
        expected += _plain(twin, list(twin.parameters()), *pair)
    totals = [
        critic_loss(critic, *pair, alpha=ALPHA, engine="always").total
        for critic, pair in zip(critics, pairs, strict=True)
    ]
    (totals[0] + totals[1]).backward()
    actual = [p.grad for critic in critics for p in critic.parameters()]
    assert_gradients_match(actual, expected, op="penalty", order=1)
