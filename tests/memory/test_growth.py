"""No operation leaves anything behind, however often it is called."""

from __future__ import annotations

import ctypes
import sys
import tracemalloc
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

import fastwgan
from fastwgan import parametrizations
from tests.concurrency import operations
from tests.concurrency.operations import Given, given, little, smooth
from tests.memory.left_over import Growth, cyclic_tensors, growth_by

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and glibc's heap")

Call = Callable[[], object]
MOST_A_CALL = 8  # bytes, and no more than an eighth of an object: less than any leak has
SLACK = 1 << 16  # bytes of what grows a few times only: tables, the collector's own lists
RESIDENT_SLACK = 8 << 20  # what an allocator may take and keep without any leak


def _assert_nothing_grows(growth: Growth, count: int) -> None:
    assert growth.objects <= count / 8 + 500
    assert growth.heap <= MOST_A_CALL * count + SLACK
    assert growth.pool == 0
    assert growth.resident <= MOST_A_CALL * count + RESIDENT_SLACK
    assert growth.traced <= MOST_A_CALL * count + SLACK


def _of(run: Callable[[Given], object], make: Callable[[], nn.Module] = little) -> Call:
    one = given(make, 0, batch=4)
    return lambda: run(one)


def _module(normalise: Callable[[nn.Module], nn.Module]) -> Call:
    critic = normalise(little() if normalise is fastwgan.spectral_norm else nn.Linear(40, 30))
    samples = torch.randn(4, 40)

    def call() -> None:
        critic.zero_grad()
        critic(samples).sum().backward()

    return call


def _clip() -> Call:
    critic = little()
    return lambda: fastwgan.clip_weights_(critic, 0.02)


def _rmsprop() -> Call:
    critic = little()
    optimizer = fastwgan.optim.RMSprop(critic.parameters(), momentum=0.5, weight_clip=0.05)
    for parameter in critic.parameters():
        parameter.grad = torch.randn_like(parameter)
    return optimizer.step


OPERATIONS: dict[str, Callable[[], Call]] = {
    "clip_weights_": _clip,
    "RMSprop": _rmsprop,
    "spectral norm": lambda: _of(operations.normalised),
    "spectral norm, hook": lambda: _module(lambda layer: fastwgan.spectral_norm(layer)),
    "spectral norm, group": lambda: _module(fastwgan.spectral_norm),
    "spectral norm, parametrization": lambda: _module(parametrizations.spectral_norm),
    "gradient_penalty": lambda: _of(operations.penalty),
    "gradient_penalty, generic": lambda: _of(lambda one: operations.penalty(one, engine="never")),
    "critic_loss": lambda: _of(operations.critic_loss),
    "critic_loss, recorded": lambda: _of(operations.critic_loss, smooth),
    "critic_loss, generic": lambda: _of(lambda one: operations.critic_loss(one, "never")),
}
CHEAP = ("clip_weights_", "RMSprop")


@pytest.mark.parametrize("name", OPERATIONS)
def test_nothing_grows(name: str) -> None:
    count = 10_000 if name in CHEAP else 500
    _assert_nothing_grows(growth_by(OPERATIONS[name](), count), count)


@pytest.fixture
def _traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.nightly
@pytest.mark.usefixtures("_traced")
@pytest.mark.parametrize("name", OPERATIONS)
def test_nothing_grows_in_ten_thousand_calls(name: str) -> None:
    growth = growth_by(OPERATIONS[name](), 10_000)
    assert tracemalloc.get_traced_memory()[0] > 0
    _assert_nothing_grows(growth, 10_000)


@pytest.mark.parametrize("name", OPERATIONS)
def test_no_tensor_is_left_to_the_collector(name: str) -> None:
    call = OPERATIONS[name]()
    call()
    assert not cyclic_tensors(lambda: (call(), call()))


# torch makes a class for each parametrized module, and a class is in a cycle with itself.
@pytest.mark.parametrize("name", [n for n in OPERATIONS if "parametrization" not in n])
def test_a_critic_that_was_used_goes_at_once(name: str) -> None:
    """With its whole state, while the caches of the library live on."""

    def use() -> None:
        OPERATIONS[name]()()

    use()
    assert not cyclic_tensors(use)


LEAKS: dict[str, Callable[[list[object]], Call]] = {
    "an object": lambda kept: lambda: kept.append(object()),
    "a tensor": lambda kept: lambda: kept.append(torch.empty(1)),
    "a tensor of the pool": lambda kept: lambda: kept.append(fastwgan._cpu.pooled_empty(1, 32)),
    "a reference": lambda kept: lambda: ctypes.pythonapi.Py_IncRef(ctypes.py_object(Tensor([0.0]))),
}


@pytest.mark.parametrize("name", LEAKS)
def test_a_leak_is_seen(name: str) -> None:
    call = LEAKS[name]([])
    with pytest.raises(AssertionError):
        _assert_nothing_grows(growth_by(call, 2000), 2000)
