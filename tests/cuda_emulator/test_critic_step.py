"""Whole critic steps on the CUDA backend: right numbers, counted launches, and nothing that waits.

A step that neither waits for the device nor reads a value back can be captured in a CUDA graph. The
emulator counts waits of our own calls, torch's profiler the operations that read a tensor's values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import partial
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

import fastwgan
from fastwgan import _gpu, backends
from tests.compare import assert_gradients_match, assert_matches
from tests.cuda_emulator.module import counters, load, why_not_built
from tests.engine.rule_cases import CASES
from tests.engine.test_rules_in_critics import make as critic_around
from tests.readings import readings
from tests.test_whole_critics import step_of
from tests.whole_critics import WHOLE, build, samples

pytestmark = pytest.mark.skipif(why_not_built() is not None, reason=str(why_not_built()))

POINTS = 1 + 2  # interpolation; norm, penalty and cotangent
LAYER = 2 + 1  # LeakyReLU's derivative with the bias's gradient in one pass, without in the other
GROUP = 4 + 2  # spectral norm forward and backward

Penalty = Callable[[nn.Module, Tensor, Tensor, Tensor | None], Tensor]


def mlp() -> nn.Module:
    layers: list[nn.Module] = [nn.Linear(24, 32), nn.LeakyReLU(0.2), nn.Linear(32, 32), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(32, 1))


def dcgan() -> nn.Module:
    first = [nn.Conv2d(3, 8, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
    second = [nn.Conv2d(8, 16, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
    return nn.Sequential(*first, *second, nn.Conv2d(16, 1, 4))


class Case(NamedTuple):
    """A critic, and how many launches its loss and its penalty take with their backwards."""

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    loss: int
    penalty: int
    dtype: torch.dtype = torch.float32
    channels_last: bool = False


# A layer's activation is one launch more where it follows a product, and the sum of a bias's
# gradient is none of a penalty's. Images in torch's usual layout, whose channels are not innermost,
# take torch's own operations for both.
DENSE = {"loss": POINTS + 2 * (1 + LAYER), "penalty": POINTS + 2 * LAYER}
CRITICS = {
    "mlp": Case(mlp, (24,), **DENSE),
    "mlp, bfloat16": Case(mlp, (24,), **DENSE, dtype=torch.bfloat16),
    "dcgan": Case(dcgan, (3, 16, 16), POINTS, POINTS),
    "dcgan, channels-last": Case(
        dcgan, (3, 16, 16), POINTS + 2 * LAYER, POINTS + 2 * 2, channels_last=True
    ),
    "spectral norm": Case(
        lambda: fastwgan.spectral_norm(dcgan()), (3, 16, 16), POINTS + GROUP, POINTS + GROUP
    ),
}


def penalty_of(critic: nn.Module, real: Tensor, fake: Tensor, alpha: Tensor | None) -> Tensor:
    return fastwgan.gradient_penalty(critic, real, fake, alpha=alpha, engine="always")


def loss_of(critic: nn.Module, real: Tensor, fake: Tensor, alpha: Tensor | None) -> Tensor:
    return fastwgan.critic_loss(critic, real, fake, alpha=alpha, engine="always").total


VALUES: dict[str, Penalty] = {"loss": loss_of, "penalty": penalty_of}


@pytest.fixture(autouse=True)
def _emulated() -> Iterator[None]:
    with _gpu.emulated(load()), backends.use_backend("cuda"):
        yield


def _inputs(case: Case) -> tuple[nn.Module, Tensor, Tensor]:
    critic = case.make().to(case.dtype)
    layout = torch.channels_last if case.channels_last else torch.contiguous_format
    real, fake = torch.randn(2, 4, *case.shape).to(case.dtype)
    return critic, real.contiguous(memory_format=layout), fake.contiguous(memory_format=layout)


def _gradients(critic: nn.Module) -> list[Tensor | None]:
    return [parameter.grad for parameter in critic.parameters()]


def assert_never_waits(call: Callable[[], object]) -> None:
    """Neither our calls nor torch's operations wait for the device or read a value of it."""
    waits = counters().synchronisations()
    found = readings(call)
    assert counters().synchronisations() == waits
    assert not found, dict(found)


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("name", CRITICS)
def test_gradients_are_those_of_autograd(name: str, value: str) -> None:
    case = CRITICS[name]
    critic, real, fake = _inputs(case)
    wide, alpha = deepcopy(critic).double(), torch.rand(4)
    found = VALUES[value](critic, real, fake, alpha)
    found.backward()
    with backends.use_backend("reference"):
        given = real.double(), fake.double()
        wide(given[0])  # moves the vectors of spectral norm once, as the step does
        wide.eval()
        options = {"alpha": alpha.double(), "engine": "never"}
        if value == "loss":
            expected = fastwgan.critic_loss(wide, *given, **options).total  # type: ignore[arg-type]
        else:
            expected = fastwgan.gradient_penalty(wide, *given, **options)  # type: ignore[call-overload]
        expected.backward()
    half = case.dtype is torch.bfloat16
    op = "penalty_half" if half else "penalty"
    assert_matches(found.to(case.dtype), expected, op=op, order=0)
    assert_gradients_match(_gradients(critic), _gradients(wide), op=op, order=1)


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("name", CRITICS)
def test_launches_of_a_step(name: str, value: str) -> None:
    """Of one whose tables are known already, and none of them waited for."""
    case = CRITICS[name]
    critic, *given = _inputs(case)
    step = lambda: VALUES[value](critic, *given, None).backward()  # noqa: E731
    step()
    launches, waits = counters().launches(), counters().synchronisations()
    step()
    assert counters().launches() - launches == getattr(case, value)
    assert counters().synchronisations() == waits


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("name", CRITICS)
def test_a_step_never_waits(name: str, value: str) -> None:
    critic, *given = _inputs(CRITICS[name])
    step = lambda: VALUES[value](critic, *given, None).backward()  # noqa: E731
    assert_never_waits(step)  # the first, which plans and uploads
    assert_never_waits(step)


@pytest.mark.parametrize("name", CRITICS)
def test_the_optimizer_after_it(name: str) -> None:
    """One launch, no waiting; torch's counts of steps stay in CPU memory and are written there."""
    critic, *given = _inputs(CRITICS[name])
    optimizer = fastwgan.optim.RMSprop(critic.parameters(), lr=1e-3, weight_clip=0.1)
    loss_of(critic, *given, None).backward()
    wide = deepcopy(critic).double()
    for parameter, gradient in zip(wide.parameters(), _gradients(critic), strict=True):
        parameter.grad = None if gradient is None else gradient.double()
    with backends.use_backend("reference"):
        fastwgan.optim.RMSprop(wide.parameters(), lr=1e-3, weight_clip=0.1).step()
    launches, waits = counters().launches(), counters().synchronisations()
    optimizer.step()
    assert counters().launches() - launches == 1
    for own, other in zip(critic.parameters(), wide.parameters(), strict=True):
        assert_matches(own.detach(), other.detach(), op="rmsprop", order=0)
    assert readings(optimizer.step) == {"aten::lift_fresh": 1}
    assert counters().synchronisations() == waits


@pytest.mark.parametrize("name", WHOLE)
def test_critics_of_projects_never_wait(name: str) -> None:
    critic, (real, fake) = build(name), samples(name)
    options = step_of(name, len(real))
    loss = partial(fastwgan.critic_loss, critic, real, fake, engine="always", **options)
    assert_never_waits(lambda: loss().total.backward())


# What the critic itself does there: numbers of Python made a tensor; torch's own std and var of all
# elements read a mean, in CPU memory alone.
OF_THE_CRITIC = ("batch norm in eval", "batch norm in eval, bare", "std of all")


def test_no_rule_reads_a_value() -> None:
    steps = {name: _step_around(name) for name in CASES if name not in OF_THE_CRITIC}
    found = readings(lambda: [step() for step in steps.values()])
    assert not found, {name: readings(step) for name, step in steps.items()}


def _step_around(name: str) -> Callable[[], None]:
    critic = critic_around(name)
    real, fake = torch.randn(2, 4, 5, dtype=torch.float64)
    loss = partial(fastwgan.critic_loss, critic, real, fake, engine="always")
    return lambda: loss().total.backward()


class Reading(nn.Module):
    """Python asks for a number, whose wait is the critic's own."""

    def forward(self, x: Tensor) -> Tensor:
        return x.square().sum(1) * (1.0 if x.mean() > 0 else 2.0)


def test_a_reading_is_caught() -> None:
    real, fake = torch.randn(2, 4, 6)
    with pytest.raises(AssertionError, match="_local_scalar_dense"):
        assert_never_waits(lambda: fastwgan.critic_loss(Reading(), real, fake))


@pytest.mark.parametrize(
    "read",
    [
        lambda x: x[x > 0],
        lambda x: bool(x.sum()),
        lambda x: x.sum().item(),
        lambda x: x.sum().tolist(),
        lambda x: x.cpu(),
        lambda x: x.numpy(),
        lambda x: torch.equal(x, x),
        lambda x: x * torch.tensor([1.0, 2.0]),
    ],
)
def test_every_kind_of_reading_is_caught(read: Callable[[Tensor], object]) -> None:
    with pytest.raises(AssertionError, match=r"aten::|Tensor\."):
        assert_never_waits(lambda: read(torch.ones(2)))
