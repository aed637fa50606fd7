"""Gradients of critics in float16, where cotangents of the size 1/batch would underflow."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fastwgan import critic_loss, gradient_penalty
from fastwgan.engine import critic_step, penalty, scaling
from fastwgan.engine.scaling import LARGEST
from tests.compare import relative_error
from tests.critic_loss_recipe import plain_step

BATCH = 512
ALPHA = torch.linspace(0.05, 0.95, BATCH)
# Three layers, forward and back, each rounded to 11 bits; sums of many rows average that.
BOUND = 8 * torch.finfo(torch.float16).eps

Call = Callable[..., Tensor]


def _critic(width: int = 24) -> nn.Sequential:
    """Its cotangents shrink by 1/100 a layer, as those of a critic at its start may."""
    torch.manual_seed(1)
    critic = nn.Sequential(
        nn.Linear(6, width),
        nn.Tanh(),
        nn.Linear(width, width),
        nn.LeakyReLU(0.2),
        nn.Linear(width, 1),
    )
    with torch.no_grad():
        critic[2].weight.mul_(0.05)  # type: ignore[operator]
        critic[4].weight.mul_(0.05)  # type: ignore[operator]
    return critic


def _samples(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    real, fake = torch.randn(2, BATCH, 6, generator=generator)
    return real + 0.5, fake


def _loss(loss: str, penalty: Any) -> Call:
    def call(critic: nn.Module, *samples: Tensor) -> Tensor:
        return critic_loss(
            critic, *samples, loss=loss, penalty=penalty, weight=1e-2, alpha=_alpha(penalty)
        ).total

    return call


def _alpha(penalty: Any) -> Tensor | None:
    return None if penalty in (None, "r1") else ALPHA


def _penalty_alone(critic: nn.Module, *samples: Tensor) -> Tensor:
    return gradient_penalty(critic, *samples, weight=1e-2, alpha=ALPHA)


CALLS: dict[str, Call] = {
    "wasserstein": _loss("wasserstein", None),
    "hinge": _loss("hinge", None),
    "logistic": _loss("logistic", None),
    "with a penalty": _loss("wasserstein", "wgan-gp"),
    "with r1": _loss("logistic", "r1"),
    "penalty alone": _penalty_alone,
}


def _gradients(call: Call, critic: nn.Module, factor: float = 1.0) -> list[Tensor]:
    critic.zero_grad()
    with torch.autocast("cpu", torch.float16):
        total = call(critic, *_samples())
    assert total.dtype is torch.float32
    (total * factor).backward()
    return [p.grad / factor for p in critic.parameters() if p.grad is not None]


def _worst(call: Call, critic: nn.Module, factor: float = 1.0) -> float:
    """The largest error of a weight's gradient, each relative to its own norm."""
    actual = _gradients(call, critic, factor)
    twin = copy.deepcopy(critic)
    twin.zero_grad()
    call(twin, *_samples()).backward()
    expected = [p.grad for p in twin.parameters() if p.grad is not None]
    pairs = zip(actual, expected, strict=True)
    return max(relative_error(a, e) for a, e in pairs if e.dim() == 2)


@pytest.fixture
def unscaled(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (critic_step, penalty):
        monkeypatch.setattr(module, "first_scale", lambda blocks, batch: 1.0)


@pytest.mark.parametrize("factor", [1.0, 2.0**16])
@pytest.mark.parametrize("name", CALLS)
def test_gradients_are_the_single_precision_ones(name: str, factor: float) -> None:
    assert _worst(CALLS[name], _critic(), factor) < BOUND


@pytest.mark.usefixtures("unscaled")
@pytest.mark.parametrize("name", CALLS)
def test_without_the_scale_they_are_lost(name: str) -> None:
    assert _worst(CALLS[name], _critic(), 2.0**16) > 4 * BOUND


def test_float16_weights_are_rounded_once() -> None:
    halves, samples = _critic().half(), [t.half() for t in _samples()]
    factor = 2.0**16  # beyond float16 itself
    done = critic_loss(halves, *samples, penalty=None, engine="always")
    (done.total * factor).backward()
    single = copy.deepcopy(halves).float()
    expected = plain_step(
        single, list(single.parameters()), *map(Tensor.float, samples), penalty=None
    )
    for p, want in zip(halves.parameters(), expected.gradients, strict=True):
        assert p.grad is not None
        assert want is not None
        assert p.grad.dtype is torch.float16
        if p.dim() == 2:
            assert relative_error(p.grad, want * factor) < BOUND


def _train(critic: nn.Module, steps: int, scaler: torch.amp.GradScaler | None) -> list[float]:
    optimizer = torch.optim.SGD(critic.parameters(), lr=0.05)
    totals = []
    for step in range(steps):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.float16, enabled=scaler is not None):
            done = critic_loss(critic, *_samples(step), alpha=ALPHA, weight=1e-2)
        totals.append(float(done.total.detach()))
        if scaler is None:
            done.total.backward()
            optimizer.step()
        else:
            scaler.scale(done.total).backward()
            scaler.step(optimizer)
            scaler.update()
    return totals


def _moved(critic: nn.Module) -> Tensor:
    """What training has added to the first layer, which cotangents come to last."""
    first = critic[0].weight.detach()  # type: ignore[index,union-attr,operator]
    return first - _critic()[0].weight.detach()  # type: ignore[operator]


@pytest.mark.parametrize("scaled", [True, False])
def test_a_loop_with_grad_scaler(scaled: bool, request: pytest.FixtureRequest) -> None:
    if not scaled:
        request.getfixturevalue("unscaled")
    halves, single = _critic(), _critic()
    scaler = torch.amp.GradScaler("cpu")
    found, expected = _train(halves, 6, scaler), _train(single, 6, None)
    assert found == pytest.approx(expected, rel=0.01)
    assert scaler.get_scale() == 2.0**16
    error = relative_error(_moved(halves), _moved(single))
    assert error < BOUND if scaled else error > 2 * BOUND


def _steep(factor: float) -> nn.Sequential:
    """A critic whose gradients have norms of about `factor`²/4."""
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Linear(6, 24), nn.LeakyReLU(0.2), nn.Linear(24, 1))
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.mul_(factor)
    return critic


@pytest.mark.parametrize("factor", [1, 3, 10, 30])
@pytest.mark.parametrize("penalty", ["wgan-gp", (("r1", 1.0), ("r2", 1.0))], ids=str)
def test_steep_penalties_overflow_no_sooner_than_their_gradients(factor: int, penalty: Any) -> None:
    def call(critic: nn.Module, *samples: Tensor) -> Tensor:
        alpha = ALPHA if penalty == "wgan-gp" else None
        return critic_loss(critic, *samples, penalty=penalty, alpha=alpha).total

    gradients = _gradients(call, _steep(factor))
    assert max(float(g.abs().max()) for g in gradients) > factor**3 / 5
    assert _worst(call, _steep(factor)) < BOUND


def test_overflow_inside_comes_to_the_grad_scaler() -> None:
    critic = _steep(3)
    before = [p.detach().clone() for p in critic.parameters()]
    scaler = torch.amp.GradScaler("cpu")
    optimizer = torch.optim.SGD(critic.parameters(), lr=0.5)
    with torch.autocast("cpu", torch.float16):
        done = critic_loss(
            critic, *_samples(), loss=lambda real, fake: 1e4 * (fake - real).mean(), alpha=ALPHA
        )
    assert done.total.isfinite()
    scaler.scale(done.total).backward()
    assert not all(bool(p.grad.isfinite().all()) for p in critic.parameters())  # type: ignore[union-attr]
    scaler.step(optimizer)
    scaler.update()
    assert all(torch.equal(p, w) for p, w in zip(critic.parameters(), before, strict=True))
    assert scaler.get_scale() == 2.0**15


class Values:
    """Activations of these dtypes."""

    def __init__(self, *dtypes: torch.dtype) -> None:
        self.values = [None, *(torch.zeros(1, dtype=dtype) for dtype in dtypes)]


@pytest.mark.parametrize("batch", [1, 2, 3, 64, 100, 256, 1000, 2**16])
def test_the_scale_is_a_power_of_two_near_the_batch(batch: int) -> None:
    """So a seed is of the size 1, where a GradScaler's first factor would make it 2^16 / batch."""
    blocks: Any = [Values(torch.float32), Values(torch.float32, torch.float16)]
    scale = scaling.first_scale(blocks, batch)
    assert scale.is_integer()
    assert int(scale).bit_count() == 1
    assert min(batch, LARGEST) <= scale <= max(2, 2 * batch - 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_wider_ranges_need_none(dtype: torch.dtype) -> None:
    blocks: Any = [Values(dtype)]
    assert scaling.first_scale(blocks, 512) == 1.0
