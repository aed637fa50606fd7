"""Which critics run as feed-forward ones, and that these compute what autograd does."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import fastwgan
from fastwgan import backends
from fastwgan.engine import critic_step, feedforward_step
from fastwgan.engine.feedforward_reader import feedforward_of
from fastwgan.engine.masks import drawn_mask
from tests.critic_loss_recipe import LOSSES, assert_step_is_the_plain_one
from tests.penalty_recipe import assert_as_the_recipe

KINDS = ("wgan-gp", "wgan-lp", "dragan")


def _critic(*between: nn.Module, bias: bool = True, last: int = 1) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(6, 9, bias=bias),
        *(between or (nn.LeakyReLU(0.2),)),
        nn.Linear(9, last, bias=bias),
    ).double()


def _samples(*shape: int) -> list[Tensor]:
    torch.manual_seed(1)
    return [torch.randn(shape or (5, 6), dtype=torch.float64) for _ in range(2)]


def _drawn(kind: str, real: Tensor, groups: int = 1) -> Tensor:
    return torch.rand(real.shape if kind == "dragan" else len(real) // groups, dtype=torch.float64)


def _images(*last: nn.Module, **options: Any) -> nn.Sequential:
    torch.manual_seed(0)
    first = nn.Conv2d(3, 5, (3, 2), (2, 1), (1, 0), **options)
    return nn.Sequential(first, nn.LeakyReLU(0.2, inplace=True), *last).double()


TAKEN: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "leaky relu": (_critic, (5, 6)),
    "relu in place": (lambda: _critic(nn.ReLU(inplace=True)), (5, 6)),
    "nothing between": (lambda: _critic(nn.Identity()), (5, 6)),
    "one layer": (lambda: nn.Linear(6, 1).double(), (5, 6)),
    "dropout": (lambda: _critic(nn.ReLU(), nn.Dropout(0.5)), (5, 6)),
    "dropout alone": (lambda: _critic(nn.Dropout(0.5)), (5, 6)),
    "dropout in eval": (lambda: _critic(nn.ReLU(), nn.Dropout(0.5).eval()), (5, 6)),
    "dropout of none": (lambda: _critic(nn.ReLU(), nn.Dropout(0.0)), (5, 6)),
    "no bias": (lambda: _critic(bias=False), (5, 6)),
    "many scores": (lambda: _critic(last=4), (5, 6)),
    "flattened images": (lambda: nn.Sequential(nn.Flatten(), _critic()), (5, 1, 2, 3)),
    "convolutions": (lambda: _images(nn.Conv2d(5, 1, 3)), (5, 3, 6, 5)),
    "scores of patches": (lambda: _images(nn.Conv2d(5, 2, 3, 1, 2)), (5, 3, 6, 5)),
    "convolution and dense": (
        lambda: _images(nn.Conv2d(5, 7, 2), nn.ReLU(), nn.Flatten(), nn.Linear(42, 1)),
        (5, 3, 6, 5),
    ),
    "nested": (lambda: nn.Sequential(nn.Sequential(_critic()), nn.Identity()), (5, 6)),
}


class Own(nn.Linear):
    pass


def _tied() -> nn.Module:
    critic = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 1))
    critic[2].weight = critic[0].weight
    return critic.double()


def _hooked() -> nn.Module:
    critic = _critic()
    critic[0].register_forward_hook(lambda module, given, output: 2 * output)
    return critic


def _transposed() -> nn.Module:
    critic = _critic()
    critic[0].weight = nn.Parameter(torch.randn(6, 9, dtype=torch.float64).t())
    return critic


def _of_another_class() -> nn.Module:
    critic = _critic()
    critic[0] = Own(6, 9).double()
    return critic


REFUSED: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "tanh": (lambda: _critic(nn.Tanh()), (5, 6)),
    "tied weights": (_tied, (5, 6)),
    "a layer twice": (lambda: nn.Sequential(*[nn.Linear(6, 6).double()] * 2), (5, 6)),
    "hook": (_hooked, (5, 6)),
    "transposed weight": (_transposed, (5, 6)),
    "slope below zero": (lambda: _critic(nn.LeakyReLU(-0.1)), (5, 6)),
    "slope that is no number": (lambda: _critic(nn.LeakyReLU(float("nan"))), (5, 6)),
    "groups": (lambda: nn.Sequential(nn.Conv2d(4, 4, 3, groups=2)).double(), (5, 4, 6, 5)),
    "dilation": (lambda: _images(dilation=2), (5, 3, 6, 5)),
    "padding by name": (lambda: nn.Conv2d(3, 1, 3, padding="same").double(), (5, 3, 6, 5)),
    "padding by copies": (lambda: _images(padding_mode="circular"), (5, 3, 6, 5)),
    "dropout of images": (lambda: _images(nn.Dropout(0.5), nn.Conv2d(5, 1, 3)), (5, 3, 6, 5)),
    "two activations": (lambda: _critic(nn.ReLU(), nn.ReLU()), (5, 6)),
    "dropout of all": (lambda: _critic(nn.Dropout(1.0)), (5, 6)),
    "dropout first": (lambda: nn.Sequential(nn.Dropout(0.5), _critic()), (5, 6)),
    "subclass": (_of_another_class, (5, 6)),
    "three dimensions": (_critic, (5, 2, 6)),
    "flatten of some": (lambda: nn.Sequential(nn.Flatten(2), _critic()), (5, 6, 2, 3)),
    "activation at the end": (lambda: nn.Sequential(_critic(), nn.LeakyReLU(0.3)), (5, 6)),
    "dropout at the end": (lambda: nn.Sequential(_critic(last=3), nn.Dropout(0.3)), (5, 6)),
    "no layer": (nn.Identity, (5, 6)),
    "no rows": (_critic, (0, 6)),
    "other inputs": (_critic, (5, 7)),
}


@pytest.mark.parametrize("name", TAKEN)
def test_taken(name: str) -> None:
    make, shape = TAKEN[name]
    critic, pair = make(), _samples(*shape)
    assert feedforward_of(critic, pair[0]) is not None
    if "dropout" in name and "eval" not in name and "none" not in name:
        return
    flowing = [t.requires_grad_() for t in _samples(*shape)]
    for given in (pair, flowing):
        alpha = _drawn("wgan-gp", given[0])
        assert_step_is_the_plain_one(critic, *given, alpha=alpha, engine="always")
        assert_as_the_recipe(critic, *given, alpha=alpha, engine="always")


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    make, shape = REFUSED[name]
    assert feedforward_of(make(), torch.zeros(shape, dtype=torch.float64)) is None


def test_refused_for_what_is_around() -> None:
    critic, (real, _) = _critic(), _samples()
    assert feedforward_of(critic, real.float()) is None
    assert feedforward_of(critic, torch.ones(5, 6).bfloat16()) is None
    assert feedforward_of(lambda x: critic(x), real) is None
    assert feedforward_of(critic, real.to("meta")) is None
    assert feedforward_of(critic, real.as_subclass(type("Own", (Tensor,), {}))) is None
    with backends.use_backend("reference"):
        assert feedforward_of(critic, real) is None
    with torch.autocast("cpu", torch.bfloat16):
        assert feedforward_of(critic, real) is None
    assert feedforward_of(critic, real) is not None


def _with_data(layer: int, data: Tensor) -> Callable[[nn.Sequential], None]:
    def change(critic: nn.Sequential) -> None:
        critic[layer].weight.data = data

    return change


CHANGES: dict[str, Callable[[nn.Sequential], Any]] = {
    "nothing": lambda c: None,
    "values": lambda c: c[0].weight.data.mul_(2),
    "another memory": _with_data(0, torch.ones(9, 6, dtype=torch.float64)),
    "another parameter": lambda c: setattr(c[0], "weight", nn.Parameter(-c[0].weight.detach())),
    "no bias": lambda c: setattr(c[0], "bias", None),
    "frozen": lambda c: c[0].weight.requires_grad_(False),
    "another slope": lambda c: setattr(c[1], "negative_slope", 0.7),
    "another module": lambda c: c.__setitem__(1, nn.ReLU()),
    "a layer more": lambda c: c.append(nn.Linear(1, 1).double()),
    "a layer less": lambda c: c.__delitem__(1),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_changes_between_steps(name: str) -> None:
    """A critic is read again where it is not what it was."""
    critic, pair = _critic(), _samples()
    alpha = _drawn("", pair[0])
    before = feedforward_of(critic, pair[0])
    assert_step_is_the_plain_one(critic, *pair, alpha=alpha)
    CHANGES[name](critic)
    now = feedforward_of(critic, pair[0])
    assert now is not None
    assert (now is before) == (name in ("nothing", "values", "frozen"))
    assert_step_is_the_plain_one(critic, *pair, alpha=alpha)


def test_a_weight_turned_in_its_own_memory() -> None:
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Linear(6, 6), nn.LeakyReLU(0.2), nn.Linear(6, 1)).double()
    pair = _samples()
    assert feedforward_of(critic, pair[0]) is not None
    weight = critic[0].weight
    weight.data = weight.data.t()  # the address and the shape of before
    assert feedforward_of(critic, pair[0]) is None
    assert_step_is_the_plain_one(critic, *pair, alpha=_drawn("", pair[0]))


def test_a_critic_in_another_mode_or_dtype_is_read_again() -> None:
    critic, pair = _critic(nn.LeakyReLU(0.2), nn.Dropout(0.5)), _samples()
    assert feedforward_of(critic, pair[0]) is not None
    critic.eval()
    assert_step_is_the_plain_one(critic, *pair, alpha=_drawn("", pair[0]))
    critic.float()
    assert feedforward_of(critic, pair[0]) is None
    assert feedforward_of(critic, pair[0].float()) is not None
    assert feedforward_of(critic, torch.zeros(5, 7)) is None


def test_what_was_read_goes_with_the_critic() -> None:
    critic = _critic()
    assert feedforward_of(critic, _samples()[0]) is not None
    weight = weakref.ref(critic[0].weight)
    del critic
    gc.collect()
    assert weight() is None


@pytest.fixture
def native_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """No other way is there."""

    def never(*args: Any, **options: Any) -> Any:
        raise AssertionError("another way was taken")

    monkeypatch.setattr(critic_step, "place_all", never)
    monkeypatch.setattr("fastwgan.penalty_ways._directly", never)


@pytest.mark.usefixtures("native_only")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loss", LOSSES)
def test_every_kind_and_loss(loss: str, kind: str) -> None:
    for rows in (1, 4, 7, 300):
        if kind == "dragan" and rows == 1:
            continue  # the spread of one number is none
        pair = _samples(rows, 6)
        options: dict[str, Any] = {"alpha": _drawn(kind, pair[0]), "weight": 3.0, "target": 0.4}
        assert_step_is_the_plain_one(_critic(), *pair, penalty=kind, loss=loss, **options)
        assert_as_the_recipe(_critic(), *pair, kind=kind, **options)


@pytest.mark.usefixtures("native_only")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("groups", [2, 5])
def test_groups(groups: int, kind: str) -> None:
    pair = _samples(10, 6)
    options: dict[str, Any] = {"alpha": _drawn(kind, pair[0], groups), "groups": groups}
    assert_step_is_the_plain_one(_critic(), *pair, penalty=kind, **options)
    assert_as_the_recipe(_critic(), *pair, kind=kind, **options)


@pytest.mark.usefixtures("native_only")
def test_a_loss_of_ones_own() -> None:
    def squares(real: Tensor, fake: Tensor) -> Tensor:
        return (real - 1).square().mean() + fake.square().mean() + (real * fake).sum()

    pair = _samples()
    assert_step_is_the_plain_one(_critic(), *pair, loss=squares, alpha=_drawn("", pair[0]))


@pytest.mark.usefixtures("native_only")
@pytest.mark.parametrize("frozen", ["0.weight", "0.bias", "2.weight", "2.bias", "weights", "all"])
def test_frozen_parameters(frozen: str) -> None:
    critic = _critic()
    for name, parameter in critic.named_parameters():
        held = frozen == "all" or name == frozen or (frozen == "weights" and "weight" in name)
        parameter.requires_grad_(not held)
    pair = [t.requires_grad_() for t in _samples()]
    alpha = _drawn("", pair[0])
    assert_step_is_the_plain_one(critic, *pair, alpha=alpha)
    assert_as_the_recipe(critic, *pair, alpha=alpha)


@pytest.mark.usefixtures("native_only")
@pytest.mark.parametrize("flows", [(True, False), (False, True), (True, True)], ids=str)
def test_gradients_of_the_samples(flows: tuple[bool, bool]) -> None:
    pair = [t.requires_grad_(f) for t, f in zip(_samples(), flows, strict=True)]
    assert_step_is_the_plain_one(_critic(), *pair, alpha=_drawn("", pair[0]))


@pytest.mark.usefixtures("native_only")
@pytest.mark.parametrize("kind", [*KINDS, "r1", "r2"])
def test_samples_of_any_layout(kind: str) -> None:
    pair = [t.t().contiguous().t() for t in _samples()]
    assert not pair[0].is_contiguous()
    more = {"alpha": _drawn(kind, pair[0])} if kind in KINDS else {}
    assert_as_the_recipe(_critic(), *pair, kind=kind, **more)


def test_a_penalty_draws_what_the_other_way_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    critic = _critic(nn.ReLU(), nn.Dropout(0.5))
    steps, states = [], []
    for taken in (True, False):
        if not taken:
            monkeypatch.setattr(fastwgan.penalty_ways, "feedforward_of", lambda *_: None)
        torch.manual_seed(8)
        critic.zero_grad()
        penalty = fastwgan.gradient_penalty(critic, *_samples(8, 6), engine="always")
        penalty.backward()
        gradients = [p.grad.clone() for p in critic.parameters() if p.grad is not None]
        steps.append([penalty.detach(), *gradients])
        states.append(torch.get_rng_state())
    assert torch.equal(*states)
    for one, other in zip(*steps, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9, 1 - 2.0**-40])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_masks_of_a_step(dtype: torch.dtype, p: float) -> None:
    torch.manual_seed(3)
    masks = [drawn_mask(301, 333, p, dtype) for _ in range(2)]
    assert not torch.equal(*masks) or p > 0.99
    torch.manual_seed(3)
    assert torch.equal(drawn_mask(301, 333, p, dtype), masks[0])
    for mask in masks:
        size, kept = mask.numel(), int((mask != 0).sum())
        assert abs(kept - size * (1 - p)) <= 5 * (size * p * (1 - p)) ** 0.5 + 1
        assert torch.equal(mask[mask != 0], torch.full((kept,), 1 / (1 - p), dtype=dtype))
        # Neighbours, which share a draw, are independent.
        both = int((mask.flatten()[:-1].bool() & mask.flatten()[1:].bool()).sum())
        spread = 5 * (size * p * (1 - p)) ** 0.5
        assert abs(both - size * (1 - p) ** 2) <= 2 * spread + 2


@pytest.mark.usefixtures("native_only")
def test_a_step_with_masks_is_that_of_the_masked_critic(monkeypatch: pytest.MonkeyPatch) -> None:
    masks = [torch.rand(24, 9).gt(0.5).double() * 2]

    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.rows = _critic(nn.ReLU()), 0

        def forward(self, x: Tensor) -> Tensor:
            mask = masks[0][self.rows : self.rows + len(x)]
            self.rows += len(x)
            hidden = torch.relu(self.body[0](x)) * mask
            found: Tensor = self.body[2](hidden)
            return found

    monkeypatch.setattr("fastwgan.engine.feedforward.drawn_mask", lambda *_: masks[0])
    dropped, plain = _critic(nn.ReLU(), nn.Dropout(0.5)), Masked()
    real, fake = _samples(8, 6)
    alpha = _drawn("", real)
    fastwgan.critic_loss(dropped, real, fake, alpha=alpha).total.backward()
    points = (alpha[:, None] * real + (1 - alpha[:, None]) * fake).requires_grad_()
    loss = -plain(real).mean() + plain(fake).mean()
    (g,) = torch.autograd.grad(plain(points).sum(), points, create_graph=True)
    (loss + 10 * (g.norm(dim=1) - 1).square().mean()).backward()
    for one, other in zip(dropped.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-10, atol=1e-12)


@pytest.mark.usefixtures("native_only")
def test_two_penalties_before_one_backward_and_again() -> None:
    critic, found = _critic(), []
    for separate in (True, False):
        critic.zero_grad()
        parts = [
            fastwgan.gradient_penalty(
                critic, *_samples(n, 6), alpha=torch.linspace(0, 1, n, dtype=torch.float64)
            )
            for n in (5, 8)
        ]
        if separate:
            for part in parts:
                part.backward(retain_graph=True)
                part.backward()
        else:
            (2 * sum(parts)).backward()  # type: ignore[union-attr]
        found.append([None if p.grad is None else p.grad.clone() for p in critic.parameters()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)


def test_what_it_leaves_to_the_other_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    """Penalties at the loss's own points, none, two, and values alone."""
    for taken in (
        "fastwgan.ops.feedforward_critic.Plan.wasserstein_step",
        "fastwgan.engine.critic_step.feedforward_step",
    ):
        monkeypatch.setattr(taken, lambda *_, **__: pytest.fail("taken"))
    pair = _samples()
    for penalty in ("r1", "r2", None, (("r1", 1.0), ("r2", 2.0))):
        assert_step_is_the_plain_one(_critic(), *pair, penalty=penalty, engine="always")
    with torch.no_grad():
        fastwgan.critic_loss(_critic(), *pair)


def test_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    for module, name in (
        (import_module("fastwgan.critic_loss"), "step_at_once"),
        (critic_step, "feedforward_step"),
        (fastwgan.penalty_ways, "feedforward_penalty"),
    ):
        own = getattr(feedforward_step, name)
        monkeypatch.setattr(module, name, lambda *a, own=own: calls.append(own) or own(*a))
    fastwgan.critic_loss(_critic(), *_samples()).total.backward()
    fastwgan.gradient_penalty(_critic(), *_samples()).backward()
    fastwgan.critic_loss(_critic(nn.Dropout(0.5)), *_samples()).total.backward()
    assert calls == [
        feedforward_step.step_at_once,
        feedforward_step.feedforward_penalty,
        feedforward_step.step_at_once,  # which leaves masks to the other
        feedforward_step.feedforward_step,
    ]
