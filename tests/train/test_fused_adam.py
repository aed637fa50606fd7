"""The trainer's Adam is torch's, to the bit, whichever way a step takes."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import fastwgan
from fastwgan.train import fused_adam
from fastwgan.train.fused_adam import FusedAdam
from tests.guarded import assert_same_bits

RATE, BETAS = 1e-2, (0.5, 0.9)


def _parameters(dtype: torch.dtype = torch.float32) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(5, 7), (2, 3, 4, 4), (1,), (), (0, 3), (17,)]
    return [nn.Parameter(torch.randn(shape, generator=generator, dtype=dtype)) for shape in shapes]


def _set_gradients(parameters: list[nn.Parameter], step: int, scale: float = 1.0) -> None:
    generator = torch.Generator().manual_seed(step)
    for p in parameters:
        p.grad = scale * torch.randn(p.shape, generator=generator, dtype=p.dtype)


def _assert_equal(ours: list[nn.Parameter], theirs: list[nn.Parameter]) -> None:
    for mine, other in zip(ours, theirs, strict=True):
        assert_same_bits(mine.detach(), other.detach())


@pytest.fixture
def torch_ways(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of parameters of each step that went torch's way."""
    seen: list[int] = []
    whole = fused_adam.torch_adam

    def counted(parameters: list[Tensor], *arguments: Any, **options: Any) -> None:
        seen.append(len(parameters))
        whole(parameters, *arguments, **options)

    monkeypatch.setattr(fused_adam, "torch_adam", counted)
    return seen


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_equals_torch_and_goes_its_way_but_once(dtype: torch.dtype, torch_ways: list[int]) -> None:
    ours, theirs = _parameters(dtype), _parameters(dtype)
    mine = FusedAdam(ours, RATE, BETAS)
    torchs = torch.optim.Adam(theirs, RATE, BETAS, fused=True)
    for step in range(5):
        _set_gradients(ours, step)
        _set_gradients(theirs, step)
        mine.step()
        torchs.step()
        _assert_equal(ours, theirs)
    assert torch_ways == [len(ours)]
    ours_state, their_state = mine.state_dict(), torchs.state_dict()
    assert ours_state["param_groups"] == their_state["param_groups"]
    for index, state in their_state["state"].items():
        assert state.keys() == ours_state["state"][index].keys()
        for name, value in state.items():
            assert_same_bits(ours_state["state"][index][name], value)


@pytest.mark.parametrize(
    "options",
    [
        {"amsgrad": True},
        {"weight_decay": 0.1, "maximize": True, "eps": 1e-3},
        {"decoupled_weight_decay": True, "weight_decay": 0.1},
        {"fused": False, "foreach": True},
    ],
    ids=lambda options: next(iter(options)),
)
def test_goes_on_from_a_state_of_torch_with_any_options(options: dict[str, Any]) -> None:
    ours, theirs = _parameters(), _parameters()
    torchs = torch.optim.Adam(theirs, RATE, BETAS, **{"fused": True, **options})
    _set_gradients(theirs, 0)
    torchs.step()
    for p, q in zip(ours, theirs, strict=True):
        p.data.copy_(q.data)
    mine = FusedAdam(ours, 1.0, BETAS)
    mine.load_state_dict(copy.deepcopy(torchs.state_dict()))
    for step in range(1, 4):
        _set_gradients(ours, step)
        _set_gradients(theirs, step)
        mine.step()
        torchs.step()
        _assert_equal(ours, theirs)


def test_parameters_without_gradients_of_other_dtypes_and_new_ones(torch_ways: list[int]) -> None:
    def stepped(make: Callable[..., torch.optim.Optimizer]) -> list[nn.Parameter]:
        parameters = [*_parameters(), *_parameters(torch.float64)]
        optimizer = make(parameters)
        for step in range(6):
            _set_gradients(parameters, step)
            parameters[step].grad = None
            if step == 4:
                parameters[-1].grad = None
            optimizer.step()
        return parameters

    ours = stepped(lambda parameters: FusedAdam(parameters, RATE, BETAS))
    theirs = stepped(lambda p: torch.optim.Adam(p, RATE, BETAS, fused=True))
    _assert_equal(ours, theirs)
    assert len(torch_ways) == 6  # two dtypes in one group: torch sorts them


def test_nothing_to_step_is_no_step() -> None:
    optimizer = FusedAdam(_parameters(), RATE, BETAS)
    optimizer.step()
    assert not optimizer.state_dict()["state"]


def test_groups_with_rates_of_their_own() -> None:
    ours, theirs = _parameters(), _parameters()

    def groups(parameters: list[nn.Parameter]) -> list[dict[str, Any]]:
        return [{"params": parameters[:2]}, {"params": parameters[2:], "lr": 0.5}]

    mine = FusedAdam(groups(ours), RATE, BETAS)
    torchs = torch.optim.Adam(groups(theirs), RATE, BETAS, fused=True)
    for step in range(3):
        for parameters, optimizer in ((ours, mine), (theirs, torchs)):
            _set_gradients(parameters, step)
            optimizer.param_groups[0]["lr"] = RATE / (step + 1)
            optimizer.step()
    _assert_equal(ours, theirs)


def test_a_scaler_finds_its_way_in() -> None:
    ours, theirs = _parameters(), _parameters()
    optimizers = FusedAdam(ours, RATE, BETAS), torch.optim.Adam(theirs, RATE, BETAS, fused=True)
    for step in range(3):
        for parameters, optimizer in zip((ours, theirs), optimizers, strict=True):
            _set_gradients(parameters, step, scale=64.0)
            optimizer.grad_scale = torch.tensor(64.0)  # type: ignore[attr-defined]
            optimizer.found_inf = torch.tensor(float(step == 1))  # type: ignore[attr-defined]
            optimizer.step()
            del optimizer.grad_scale, optimizer.found_inf  # type: ignore[attr-defined]
    _assert_equal(ours, theirs)


def test_hooks_run_once_and_a_closure_has_gradients() -> None:
    parameters, calls = _parameters(), []
    torch.optim.Adam(_parameters(), RATE)  # whose making wraps torch's own step
    optimizer = FusedAdam(parameters, RATE, BETAS)
    optimizer.register_step_pre_hook(lambda *_: calls.append("before"))
    optimizer.register_step_post_hook(lambda *_: calls.append("after"))

    def closure() -> float:
        loss = sum(p.square().sum() for p in parameters)
        assert isinstance(loss, Tensor)
        loss.backward()
        return loss.item()

    assert optimizer.step(closure) > 0
    assert optimizer.step(closure) > 0
    assert calls == ["before", "after"] * 2


def test_clipping_after_the_step() -> None:
    parameters = _parameters()
    optimizer = FusedAdam(parameters, 10.0, BETAS)
    fastwgan.clip_after_step(optimizer, 0.01)
    for step in range(2):
        _set_gradients(parameters, step)
        optimizer.step()
        assert all(p.numel() == 0 or p.abs().max() <= 0.01 for p in parameters)


def test_copies_and_pickles_go_on_alone() -> None:
    parameters = _parameters()
    optimizer = FusedAdam(parameters, RATE, BETAS)
    _set_gradients(parameters, 0)
    optimizer.step()
    for again in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        others = again.param_groups[0]["params"]
        _set_gradients(others, 1)
        again.step()
        assert not torch.equal(others[0], parameters[0])
        assert optimizer.state[parameters[0]]["step"] == 1


def test_the_sparse_gradient_is_refused_by_torch() -> None:
    embedding = nn.Embedding(4, 3, sparse=True)
    optimizer = FusedAdam(embedding.parameters(), RATE, BETAS)
    embedding.weight.grad = torch.zeros(4, 3)
    optimizer.step()
    embedding.weight.grad = None
    embedding(torch.tensor([1])).sum().backward()
    with pytest.raises(RuntimeError, match="sparse"):
        optimizer.step()
