"""What the engine refuses, why, and that it would be wrong without each of its checks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from fastwgan import critic_loss, gradient_penalty
from fastwgan.engine import record
from tests.critic_loss_recipe import assert_step_is_the_plain_one
from tests.oracle_critics import REFUSALS, Net
from tests.penalty_recipe import assert_as_the_recipe

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")


def _samples() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    real, fake = torch.randn(2, 5, 6, generator=generator, dtype=torch.float64).unbind(0)
    return real, fake


ALPHA = torch.linspace(0.1, 0.9, 5, dtype=torch.float64)


@pytest.mark.parametrize("name", REFUSALS)
def test_always_raises_with_the_reason(name: str) -> None:
    refusal = REFUSALS[name]
    net = Net(refusal.run).double()
    for function in (critic_loss, gradient_penalty):
        with pytest.raises(RuntimeError, match=f'engine was "always".* has .*{refusal.reason}'):
            function(net, *_samples(), engine="always")


@pytest.mark.parametrize("name", REFUSALS)
def test_auto_gives_the_numbers_of_the_recipe(name: str) -> None:
    net = Net(REFUSALS[name].run).double()
    assert_as_the_recipe(net, *_samples(), alpha=ALPHA)
    if not REFUSALS[name].is_random:
        assert_step_is_the_plain_one(net, *_samples(), alpha=ALPHA)


@pytest.mark.parametrize("name", [name for name, each in REFUSALS.items() if each.off])
def test_without_the_check_the_numbers_are_wrong(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    off = REFUSALS[name].off
    assert off is not None
    off(monkeypatch)
    net = Net(REFUSALS[name].run).double()
    with pytest.raises((AssertionError, RuntimeError, ValueError)):  # noqa: PT012 - either is enough
        assert_as_the_recipe(net, *_samples(), alpha=ALPHA)
        assert_step_is_the_plain_one(net, *_samples(), alpha=ALPHA)


def test_a_weight_that_is_written_after_it_was_used() -> None:
    def run(net: Any, x: Tensor) -> Tensor:
        scale = net.first.bias * 1
        h = (net.first(x) * scale).tanh()
        scale.mul_(3)
        return net.last(h)  # type: ignore[no-any-return]

    net = Net(run).double()
    with pytest.raises(RuntimeError, match="a weight that is written after it was used"):
        critic_loss(net, *_samples(), engine="always")
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        critic_loss(net, *_samples()).total.backward()


def _counted(net: Any, x: Tensor) -> Tensor:
    h = net.first(x)
    return net.last(h.tanh() * (h > 0).nonzero().shape[0])  # type: ignore[no-any-return]


def _selected(net: Any, x: Tensor) -> Tensor:
    h = net.first(x)
    return net.last(h.tanh() * len(h[h > 0]))  # type: ignore[no-any-return]


def _sliced(net: Any, x: Tensor) -> Tensor:
    h = net.first(x)
    return h[:, : (h[0] > 0).sum().clamp(1, 7)].tanh().sum(1)  # type: ignore[no-any-return]


def _read(net: Any, x: Tensor) -> Tensor:
    h = net.first(x)
    return net.last(h.tanh() if h.mean() > 0.05 else h.sin())  # type: ignore[no-any-return]


@pytest.mark.parametrize("run", [_counted, _selected, _sliced, _read])
def test_python_that_depends_on_values_runs_for_each_set_of_rows(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = Net(run).double()
    assert_step_is_the_plain_one(net, *_samples(), alpha=ALPHA, engine="always")
    if run not in (_read, _sliced):
        monkeypatch.setattr(record, "may_be_sized_by_values", lambda *_: False)
        with pytest.raises(AssertionError):
            assert_step_is_the_plain_one(net, *_samples(), alpha=ALPHA)


def test_a_slice_that_a_tensor_ends_with_one_sample() -> None:
    pair = [t[:1] for t in _samples()]
    assert_step_is_the_plain_one(Net(_sliced).double(), *pair, alpha=ALPHA[:1])


def test_random_constants_are_drawn_for_each_set_of_rows() -> None:
    def run(net: Any, x: Tensor) -> Tensor:
        return net.last((net.first(x) * torch.rand(len(x), 8)).tanh())  # type: ignore[no-any-return]

    assert_step_is_the_plain_one(Net(run).double(), *_samples(), alpha=ALPHA, engine="always")


def test_constants_made_in_inference_mode() -> None:
    with torch.inference_mode():
        scale = torch.linspace(1, 2, 8, dtype=torch.float64)

    def run(net: Any, x: Tensor) -> Tensor:
        return net.last(net.first(x).tanh() * scale.clone())  # type: ignore[no-any-return]

    assert_step_is_the_plain_one(Net(run).double(), *_samples(), alpha=ALPHA)
