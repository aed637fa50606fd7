"""The step in one call of the kernel: when it is taken, and what it must notice between steps."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

import fastwgan.optim
from fastwgan.optim import RMSprop
from tests.compare import assert_matches
from tests.guarded import assert_same_bits

OPTIONS: dict[str, Any] = {"lr": 1e-2, "momentum": 0.9, "centered": True, "weight_decay": 0.1}


def _parameters(dtype: torch.dtype = torch.float32) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(5, 7), (2, 3, 4, 4), (1,), (), (0, 3), (17,)]
    return [nn.Parameter(torch.randn(shape, generator=generator, dtype=dtype)) for shape in shapes]


def _set_gradients(parameters: list[nn.Parameter], step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    for p in parameters:
        p.grad = torch.randn(p.shape, generator=generator, dtype=p.dtype)


@pytest.fixture
def general_steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of parameters of each step that went the general way."""
    seen: list[int] = []
    general = fastwgan.optim.rmsprop_

    def counted(parameters: list[Tensor], *arguments: Any, **numbers: Any) -> None:
        seen.append(len(parameters))
        general(parameters, *arguments, **numbers)

    monkeypatch.setattr(fastwgan.optim, "rmsprop_", counted)
    return seen


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_only_the_first_step_goes_the_general_way(
    dtype: torch.dtype, general_steps: list[int]
) -> None:
    parameters = _parameters(dtype)
    optimizer = RMSprop(parameters, **OPTIONS)
    for step in range(3):
        _set_gradients(parameters, step)
        optimizer.step()
    assert general_steps == [len(parameters)]


def _halve(p: nn.Parameter, optimizer: RMSprop) -> None:
    p.data = p.data / 2


def _swap(p: nn.Parameter, optimizer: RMSprop) -> None:
    p.data = p.data.t().contiguous().t()


def _drop_gradient(p: nn.Parameter, optimizer: RMSprop) -> None:
    p.grad = None


def _forget(p: nn.Parameter, optimizer: RMSprop) -> None:
    optimizer.state[p] = {}


def _replace_state(p: nn.Parameter, optimizer: RMSprop) -> None:
    optimizer.state[p]["square_avg"] = torch.ones_like(p)


def _reload(p: nn.Parameter, optimizer: RMSprop) -> None:
    optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))


def _wide_gradient(p: nn.Parameter, optimizer: RMSprop) -> None:
    assert p.grad is not None
    p.grad = p.grad.t().contiguous().t()


def _count_in_double(p: nn.Parameter, optimizer: RMSprop) -> None:
    optimizer.state[p]["step"] = optimizer.state[p]["step"].double()


def _other_options(p: nn.Parameter, optimizer: RMSprop) -> None:
    optimizer.param_groups[0].update(lr=0.5, alpha=0.5, maximize=True)


CHANGES: list[Callable[[nn.Parameter, RMSprop], None]] = [
    _halve,
    _swap,
    _drop_gradient,
    _forget,
    _replace_state,
    _reload,
    _wide_gradient,
    _count_in_double,
    _other_options,
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_between_steps_is_noticed(backend: str, change: Any) -> None:
    results = []
    for optimizer_type in (RMSprop, torch.optim.RMSprop):
        parameters = _parameters(torch.float64)
        optimizer = optimizer_type(parameters, **OPTIONS)
        for step in range(4):
            _set_gradients(parameters, step)
            if step == 2:
                change(parameters[0], optimizer)
            optimizer.step()
        results.append([*parameters, *_state(optimizer)])
    for ours, theirs in zip(*results, strict=True):
        if ours.numel():
            assert_matches(ours, theirs, op="rmsprop_steps", order=0, context=change.__name__)


def _state(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [value for own in optimizer.state.values() for value in own.values()]


def test_parameters_share_no_count(backend: str) -> None:
    a, b = (nn.Parameter(torch.ones(3)) for _ in range(2))
    optimizer = RMSprop([a, b])
    for with_gradient in ([a], [a, b], [a]):
        optimizer.zero_grad()
        for p in with_gradient:
            p.grad = torch.ones(3)
        optimizer.step()
    assert [optimizer.state[p]["step"].item() for p in (a, b)] == [3.0, 1.0]


def test_a_state_that_does_not_fit_writes_nothing() -> None:
    good, bad = (nn.Parameter(torch.ones(4)) for _ in range(2))
    optimizer = RMSprop([good, bad])
    for p in (good, bad):
        p.grad = torch.ones(4)
    optimizer.step()
    optimizer.state[bad]["square_avg"] = torch.ones(3)
    before = [t.clone() for t in (good.detach(), bad.detach(), *_state(optimizer))]
    with pytest.raises(ValueError, match=r"square_averages\[1\] had shape \(3,\)"):
        optimizer.step()
    for now, then in zip((good, bad, *_state(optimizer)), before, strict=True):
        assert_same_bits(now, then)


def test_hooks_for_every_optimizer_run() -> None:
    p = nn.Parameter(torch.ones(3))
    optimizer = RMSprop([p])
    seen: list[str] = []
    handles = [
        register_optimizer_step_pre_hook(lambda *_: seen.append("before")),
        register_optimizer_step_post_hook(lambda *_: seen.append("after")),
    ]
    optimizer.step()
    for handle in handles:
        handle.remove()
    optimizer.step()
    assert seen == ["before", "after"]
