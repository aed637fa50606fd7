"""The whole Wasserstein step in one call does what the calls of the kernel one by one do."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import fastwgan
from fastwgan import backends
from fastwgan.engine import feedforward_step
from fastwgan.engine.jobs import Done
from tests.critic_loss_recipe import assert_step_is_the_plain_one

Way = Callable[..., Done | None]
MODULE = import_module("fastwgan.critic_loss")  # whose name in the package is the function's


def _critic(sample: tuple[int, ...] = (5,), last: int = 1) -> nn.Sequential:
    torch.manual_seed(0)
    size = int(torch.Size(sample).numel())
    return nn.Sequential(
        nn.Flatten(), nn.Linear(size, 70), nn.LeakyReLU(0.2), nn.Linear(70, last, bias=False)
    )


def _samples(rows: int, sample: tuple[int, ...], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    real, fake = torch.randn(2, rows, *sample, dtype=dtype)
    return real, fake


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each step since was done at once."""
    own: Way = feedforward_step.step_at_once
    found: list[bool] = []

    def watched(*given: Any) -> Done | None:
        done = own(*given)
        found.append(done is not None)
        return done

    monkeypatch.setattr(MODULE, "step_at_once", watched)
    return found


def _step(critic: nn.Module, pair: tuple[Tensor, Tensor], **options: Any) -> list[Tensor]:
    critic.zero_grad()
    done = fastwgan.critic_loss(critic, *pair, **options)
    done.total.backward()
    gradients = [p.grad for p in critic.parameters() if p.grad is not None]
    assert done.gradient_norm is not None
    rest = [done.penalty, done.gradient_norm, done.real_scores, done.fake_scores]
    return [done.wasserstein, *rest, *gradients]


@pytest.mark.parametrize("isa", backends.instruction_sets())
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("rows", [1, 6, 260])
@pytest.mark.parametrize("threads", [1, 2])
def test_bit_for_bit(
    monkeypatch: pytest.MonkeyPatch,
    ways: list[bool],
    isa: str,
    dtype: torch.dtype,
    rows: int,
    threads: int,
) -> None:
    critic, pair = _critic((2, 3, 1), last=2).to(dtype), _samples(rows, (2, 3, 1), dtype)
    alpha = torch.rand(rows, dtype=dtype)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with backends.use_instruction_set(isa):
            at_once = _step(critic, pair, alpha=alpha, weight=3.0, target=0.7)
            monkeypatch.setattr(MODULE, "step_at_once", lambda *_: None)
            one_by_one = _step(critic, pair, alpha=alpha, weight=3.0, target=0.7)
    finally:
        torch.set_num_threads(before)
    assert ways == [True]
    means = {0: "wasserstein", 2: "gradient norm"}  # one sums them in double
    for index, (one, other) in enumerate(zip(at_once, one_by_one, strict=True)):
        if index in means:
            torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)
        else:
            assert torch.equal(one, other)


@pytest.mark.parametrize("kind", ["wgan-gp", "wgan-lp", "dragan"])
@pytest.mark.parametrize("groups", [1, 3])
def test_kinds_and_groups(ways: list[bool], kind: str, groups: int) -> None:
    critic, (real, fake) = _critic().double(), _samples(6, (5,), torch.float64)
    alpha = torch.rand(real.shape if kind == "dragan" else 6 // groups, dtype=torch.float64)
    assert_step_is_the_plain_one(critic, real, fake, penalty=kind, alpha=alpha, groups=groups)
    assert ways == [True]


def test_nan_stays_in_its_row(ways: list[bool]) -> None:
    critic, (real, fake) = _critic(), _samples(4, (5,), torch.float32)
    real[1, 2] = float("nan")
    done = fastwgan.critic_loss(critic, real, fake)
    assert ways == [True]
    assert torch.equal(
        done.real_scores.isnan().flatten(), torch.tensor([False, True, False, False])
    )
    assert not done.fake_scores.isnan().any()
    assert done.wasserstein.isnan()


LEFT: dict[str, Callable[[Tensor], Tensor]] = {
    "transposed": lambda rows: rows.t().contiguous().t(),
    "with gaps": lambda rows: torch.cat((rows, rows), dim=1)[:, : rows.shape[1]],
    "negated": lambda rows: torch._neg_view(-rows),
    "a flow": lambda rows: rows.clone().requires_grad_(),
}


@pytest.mark.parametrize("name", LEFT)
def test_what_it_leaves_to_the_other_calls(ways: list[bool], name: str) -> None:
    critic, (real, fake) = _critic().double(), _samples(6, (5,), torch.float64)
    alpha, given = torch.rand(6, dtype=torch.float64), LEFT[name](real)
    found = _step(critic, (given, fake), alpha=alpha)
    expected = _step(critic, (given.detach().resolve_neg().contiguous(), fake), alpha=alpha)
    assert ways == [False, True]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_gradients_are_nobody_elses() -> None:
    """Two steps before one backward, and samples that change afterwards."""
    critic, (real, fake) = _critic(), _samples(6, (5,), torch.float32)
    alpha = torch.rand(6)
    expected = _step(critic, (real, fake), alpha=alpha)[5:]
    critic.zero_grad()
    first = fastwgan.critic_loss(critic, real, fake, alpha=alpha)
    second = fastwgan.critic_loss(critic, fake, real, alpha=alpha)
    real.zero_()
    first.total.backward()
    found = [p.grad for p in critic.parameters()]
    for one, other in zip(found, expected, strict=True):
        assert one is not None
        assert torch.equal(one, other)
    assert second.total.isfinite()


ALPHAS: dict[str, Callable[[Tensor], Tensor]] = {
    "one for all": lambda alpha: alpha[:1].expand(len(alpha)),
    "with gaps": lambda alpha: torch.stack((alpha, alpha), dim=1)[:, 0],
    "negated": lambda alpha: torch._neg_view(-alpha),
    "of another dtype": lambda alpha: alpha.float(),
    "a column": lambda alpha: alpha[:, None],
}


@pytest.mark.parametrize("name", ALPHAS)
@pytest.mark.parametrize("rows", [6, 260])
def test_alpha_of_any_form(ways: list[bool], name: str, rows: int) -> None:
    critic, pair = _critic().double(), _samples(rows, (5,), torch.float64)
    given = ALPHAS[name](torch.rand(rows, dtype=torch.float64))
    expected = _step(critic, pair, alpha=given.resolve_neg().double().clone().contiguous())
    found = _step(critic, pair, alpha=given)
    assert ways[0]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
