from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fastwgan.optim import RMSprop
from tests.guarded import assert_same_bits
from tests.small_critic import assert_same_parameters, backward, critic_of, train


def test_learning_rate_as_tensor(backend: str) -> None:
    by_number, by_tensor = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    for p, lr in ((by_number, 0.125), (by_tensor, torch.tensor(0.125))):
        p.grad = torch.tensor([1.0, -2.0, 3.0])
        RMSprop([p], lr=lr).step()
    assert_same_bits(by_tensor, by_number)


def test_learning_rate_schedulers(backend: str) -> None:
    results = []
    for optimizer in (RMSprop, torch.optim.RMSprop):
        critic = critic_of()
        instance = optimizer(critic.parameters(), lr=1e-2)
        scheduler = torch.optim.lr_scheduler.ExponentialLR(instance, 0.5)
        for step in range(4):
            instance.zero_grad()
            backward(critic, step)
            instance.step()
            scheduler.step()
        results.append(critic)
        assert scheduler.get_last_lr() == [1e-2 / 16]
    assert_same_parameters(*results)


def test_closure(backend: str) -> None:
    p = nn.Parameter(torch.ones(3))
    optimizer = RMSprop([p], lr=0.1)

    def closure() -> Tensor:
        assert torch.is_grad_enabled()
        optimizer.zero_grad()
        loss = p.square().sum()
        loss.backward()
        return loss

    with torch.no_grad():
        loss = optimizer.step(closure)
    assert loss.item() == 3.0
    assert bool((p < 1).all())


def test_step_hooks_and_profiling_name(backend: str) -> None:
    p = nn.Parameter(torch.ones(3))
    p.grad = torch.ones(3)
    optimizer = RMSprop([p])
    order: list[tuple[str, float]] = []
    optimizer.register_step_pre_hook(lambda *_: order.append(("before", p[0].item())))
    optimizer.register_step_post_hook(lambda *_: order.append(("after", p[0].item())))
    with torch.profiler.profile() as profile:
        optimizer.step()
    assert [name for name, _ in order] == ["before", "after"]
    assert order[0][1] == 1.0 > order[1][1]
    assert any("RMSprop.step" in event.key for event in profile.key_averages())


def test_groups_with_their_own_clip(backend: str) -> None:
    a, b, c, d = (nn.Parameter(torch.full((3,), 5.0)) for _ in range(4))
    groups = [{"params": [a], "weight_clip": 0.1}, {"params": [b], "weight_clip": None}]
    optimizer = RMSprop([*groups, {"params": [c]}], lr=0.01, weight_clip=0.3)
    optimizer.add_param_group({"params": d, "weight_clip": 2})
    for p in (a, b, c, d):
        p.grad = torch.ones(3)
    optimizer.step()
    clipped = [p[0].item() for p in (a, b, c, d)]
    assert clipped == [pytest.approx(0.1), pytest.approx(4.9), pytest.approx(0.3), 2.0]
    assert [g["weight_clip"] for g in optimizer.param_groups] == [0.1, None, 0.3, 2.0]


def test_named_parameters(backend: str) -> None:
    critic = critic_of()
    optimizer = RMSprop(critic.named_parameters(), weight_clip=0.1)
    train(critic, optimizer, 1)
    assert optimizer.param_groups[0]["param_names"][0] == "0.weight"


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_copies_go_on_alike(backend: str, duplicate: Callable[[Any], Any]) -> None:
    critic = critic_of()
    optimizer = RMSprop(critic.parameters(), lr=1e-2, momentum=0.9, weight_clip=0.1)
    train(critic, optimizer, 2)
    # Together, so that the copied optimizer's parameters are the copied critic's.
    twin, twin_optimizer = duplicate((critic, optimizer))
    train(critic, optimizer, 2)
    train(twin, twin_optimizer, 2)
    for p, q in zip(twin.parameters(), critic.parameters(), strict=True):
        assert_same_bits(p, q)
    twin_optimizer.add_param_group({"params": nn.Parameter(torch.ones(1))})
    assert twin_optimizer.param_groups[-1]["weight_clip"] == 0.1


def test_grad_scaler(backend: str) -> None:
    plain, scaled = critic_of(), critic_of()
    train(plain, RMSprop(plain.parameters(), weight_clip=0.1), 1)
    optimizer = RMSprop(scaled.parameters(), weight_clip=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    x = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    scaler.scale(scaled(x.float()).square().mean()).backward()
    scaler.step(optimizer)
    scaler.update()
    assert_same_parameters(scaled, plain)


def test_grad_scaler_skips_a_step_with_inf(backend: str) -> None:
    p = nn.Parameter(torch.ones(3))
    optimizer = RMSprop([p], weight_clip=0.1)
    scaler = torch.amp.GradScaler("cpu")
    scaler.scale((p * math.inf).sum()).backward()
    scaler.step(optimizer)
    assert p.tolist() == [1.0] * 3


def test_step_counts_and_versions(backend: str) -> None:
    p = nn.Parameter(torch.ones(3))
    optimizer = RMSprop([p], momentum=0.5, centered=True)
    p.grad = torch.ones(3)
    optimizer.step()
    state = optimizer.state[p]
    before = {name: value._version for name, value in state.items()}
    version = p._version
    optimizer.step()
    assert state["step"].item() == 2.0
    assert p._version > version
    assert all(state[name]._version > before[name] for name in before)


def test_a_stale_backward_raises(backend: str) -> None:
    layer = nn.Linear(4, 4)
    optimizer = RMSprop(layer.parameters(), weight_clip=0.1)
    x = torch.ones(2, 4, requires_grad=True)
    layer(x).sum().backward()
    loss = layer(x).sum()
    optimizer.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


# Raised by what dynamo itself imports to trace any torch optimizer.
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")
def test_compiles_in_one_graph(backend: str) -> None:
    compiled, eager = critic_of(), critic_of()
    for critic, wrap in ((compiled, True), (eager, False)):
        optimizer = RMSprop(critic.parameters(), lr=1e-2, weight_clip=0.1)
        step = optimizer.step
        if wrap:
            step = torch.compile(step, fullgraph=True, backend="aot_eager")
        for index in range(2):
            optimizer.zero_grad()
            backward(critic, index)
            step()
    assert_same_parameters(compiled, eager)


def test_lazily_negated_gradient(backend: str) -> None:
    """The gradient that torch leaves for a single imaginary part carries a lazy minus sign."""
    p = nn.Parameter(torch.ones(1))
    torch.complex(torch.ones(1), p).conj().imag.sum().backward()
    assert p.grad is not None
    p.grad = torch.tensor([2 + 3j]).conj().imag
    assert p.grad.is_neg()
    RMSprop([p], lr=0.1).step()
    assert p.item() > 1.0
