"""`critic_loss(..., backward=True)` leaves in `.grad` what a backward of its total would."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import fastwgan
from fastwgan.engine import accumulating
from tests.guarded import assert_same_bits
from tests.penalty_critics import CRITICS, RANDOM, make

NAMES = [name for name in CRITICS if not any(w in name for w in (*RANDOM, "all frozen"))]


def _samples(shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    torch.manual_seed(11)
    real, fake = torch.randn(2, 5, *shape, dtype=dtype)
    return real, fake


def _mlp() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 9), nn.LeakyReLU(0.2), nn.Linear(9, 1)).double()


@pytest.fixture
def accumulated(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether gradients were added without autograd, call by call."""
    found: list[bool] = []
    own = accumulating.accumulate

    def watched(*given: Any) -> bool:
        found.append(own(*given))
        return found[-1]

    monkeypatch.setattr(import_module("fastwgan.critic_loss"), "accumulate", watched)
    return found


def _both_ways(
    made: Callable[[], nn.Module], samples: tuple[Tensor, Tensor], **options: Any
) -> list[list[Tensor | None]]:
    """Numbers, and gradients of parameters and samples, without and with `backward`."""
    found = []
    for at_once in (False, True):
        critic = made()
        pair = [s.detach().clone().requires_grad_(s.requires_grad) for s in samples]
        torch.manual_seed(3)
        done = fastwgan.critic_loss(critic, *pair, backward=at_once, **options)
        if not at_once:
            done.total.backward()
        else:
            assert not done.total.requires_grad
        leaves = [*critic.parameters(), *pair]
        found.append([done.total.detach(), *done[1:], *(leaf.grad for leaf in leaves)])
    return found


def _assert_equal(plain: list[Tensor | None], at_once: list[Tensor | None]) -> None:
    for one, other in zip(plain, at_once, strict=True):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            assert one.stride() == other.stride()
            assert_same_bits(other, one)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("flows", [False, True], ids=["", "samples require grad"])
def test_every_critic(name: str, flows: bool) -> None:
    _, shape = make(name)
    samples = _samples(shape)
    samples[0].requires_grad_(flows)
    _assert_equal(*_both_ways(lambda: make(name)[0], samples))


@pytest.mark.parametrize("penalty", ["wgan-gp", "dragan", "r1", (("r1", 1.0), ("r2", 2.0)), None])
@pytest.mark.parametrize("loss", ["wasserstein", "hinge", "relativistic"])
@pytest.mark.parametrize("engine", ["auto", "never"])
def test_every_penalty_and_loss(penalty: Any, loss: str, engine: str) -> None:
    options = {"penalty": penalty, "loss": loss, "engine": engine}
    _assert_equal(*_both_ways(_mlp, _samples((6,)), **options))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_other_dtypes(dtype: torch.dtype) -> None:
    _assert_equal(*_both_ways(lambda: _mlp().to(dtype), _samples((6,), dtype)))


def test_it_adds_to_what_is_there_in_place(accumulated: list[bool]) -> None:
    critic, samples = _mlp(), _samples((6,))
    alpha = torch.rand(5, dtype=torch.float64)
    fastwgan.critic_loss(critic, *samples, alpha=alpha, backward=True)
    first = [p.grad.clone() for p in critic.parameters() if p.grad is not None]
    kept = [p.grad for p in critic.parameters()]
    fastwgan.critic_loss(critic, *samples, alpha=alpha, backward=True)
    for before, gradient, p in zip(first, kept, critic.parameters(), strict=True):
        assert p.grad is gradient
        assert torch.equal(gradient, 2 * before)
        assert gradient._version == 1
    assert accumulated == [True, True]


def test_gradients_are_nobody_elses() -> None:
    critic, samples = _mlp(), _samples((6,))
    fastwgan.critic_loss(critic, *samples, backward=True)
    kept = [p.grad for p in critic.parameters() if p.grad is not None]
    copies = [gradient.clone() for gradient in kept]
    critic.zero_grad()
    fastwgan.critic_loss(critic, *reversed(samples), backward=True)
    assert all(map(torch.equal, kept, copies))


def test_frozen_parameters_have_no_gradient(accumulated: list[bool]) -> None:
    critic, samples = _mlp(), _samples((6,))
    for p in list(critic.parameters())[:2]:
        p.requires_grad_(False)
    fastwgan.critic_loss(critic, *samples, backward=True)
    assert [p.grad is None for p in critic.parameters()] == [True, True, False, False]
    assert accumulated == [True]


@pytest.mark.parametrize("hook", ["register_hook", "register_post_accumulate_grad_hook"])
def test_hooks_of_parameters_are_called(hook: str, accumulated: list[bool]) -> None:
    critic, samples, calls = _mlp(), _samples((6,)), []
    weight = next(critic.parameters())
    getattr(weight, hook)(lambda given: calls.append(tuple(given.shape)))
    fastwgan.critic_loss(critic, *samples, backward=True)
    assert calls == [tuple(weight.shape)]
    assert accumulated == [False]


def test_a_gradient_on_its_way_to_a_leaf(accumulated: list[bool]) -> None:
    def made() -> nn.Module:
        critic = _mlp()
        parametrizations.weight_norm(critic[0])
        return critic

    _assert_equal(*_both_ways(made, _samples((6,))))
    source = torch.ones(5, 6, dtype=torch.float64, requires_grad=True)
    fastwgan.critic_loss(_mlp(), 2 * source, _samples((6,))[1], backward=True)
    assert source.grad is not None
    assert source.grad.any()
    assert not any(accumulated[-1:])


def test_nothing_to_train_is_torchs_error() -> None:
    critic = _mlp().requires_grad_(False)
    with pytest.raises(RuntimeError, match="does not require grad"):
        fastwgan.critic_loss(critic, *_samples((6,)), backward=True)


def test_where_no_backward_can_be() -> None:
    critic, samples = _mlp(), _samples((6,))
    match = r"^backward was True under torch\.no_grad or torch\.inference_mode; it must be False"
    for off in (torch.no_grad(), torch.inference_mode()):
        with off, pytest.raises(RuntimeError, match=match):
            fastwgan.critic_loss(critic, *samples, backward=True)
    with torch.no_grad():
        assert fastwgan.critic_loss(critic, *samples, backward=False).total.isfinite()
    with pytest.raises(TypeError, match=r"^backward was of type int; it must be a bool\.$"):
        fastwgan.critic_loss(critic, *samples, backward=1)  # type: ignore[arg-type]
    assert all(p.grad is None for p in critic.parameters())


def test_under_a_compiler_it_breaks_the_graph_or_says_why() -> None:
    critic, samples = _mlp(), _samples((6,))
    alpha = torch.rand(5, dtype=torch.float64)

    def step(real: Tensor, fake: Tensor) -> Tensor:
        done = fastwgan.critic_loss(critic, 1 * real, fake, alpha=alpha, backward=True)
        return 2 * done.total

    with pytest.raises(torch._dynamo.exc.Unsupported, match=r"backward was True inside torch\.com"):
        torch.compile(step, fullgraph=True, backend="eager")(*samples)
    torch._dynamo.reset()
    compiled = torch.compile(step, backend="eager")(*samples)
    found = [p.grad for p in critic.parameters() if p.grad is not None]
    critic.zero_grad()
    assert torch.equal(compiled, step(*samples))
    assert all(map(torch.equal, found, [p.grad for p in critic.parameters()]))
    assert len(found) == 4
