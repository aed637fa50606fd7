"""Which calls of a group's root, its layers, copies and replicas call the operation."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fastwgan import remove_spectral_norm, spectral_norm
from tests.compare import assert_matches
from tests.spectral.nets import (
    Critic,
    assert_same_state,
    assert_same_step,
    inputs,
    pair,
    states,
    weighted,
)


def test_one_call_however_often_a_layer_is_used(backend: str, calls: list[int]) -> None:
    net, once = spectral_norm(Critic(uses=3)), None
    once = copy.deepcopy(net)
    once.uses = 1
    count = len(list(weighted(net)))
    for step in range(3):
        net.train(step != 1)
        once.train(step != 1)
        images, labels = inputs()
        net(images, labels)
        once(images, labels)
        assert calls == [count, count]
        assert_same_state(net, once)
        calls.clear()


def test_a_layer_by_itself_is_normalised_by_itself(backend: str, calls: list[int]) -> None:
    ours, theirs = pair("group")
    x = torch.randn(2, 80)
    for _ in range(2):
        assert_matches(ours.again(x), theirs.again(x).double(), op="spectral_norm", order=0)
        assert_same_state(ours, theirs)
    assert calls == [1, 1]
    assert_same_step(ours, theirs, *inputs())
    assert_matches(ours.again(x), theirs.again(x).double(), op="spectral_norm", order=0)
    assert_same_state(ours, theirs)


def test_submodules_called_outside_the_root(backend: str, calls: list[int]) -> None:
    ours, theirs = pair("group")
    images, _ = inputs()
    assert_matches(ours.body(images), theirs.body(images).double(), op="spectral_norm", order=0)
    assert_same_state(ours, theirs)
    assert calls == [1, 1, 1]


class _Failing(nn.Module):
    """Raises what it is told to after its first layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.error: BaseException | None = None

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        if self.error is not None:
            raise self.error
        return self.second(x)


@pytest.mark.parametrize("error", [ValueError(), KeyboardInterrupt(), SystemExit()], ids=repr)
def test_a_call_that_ends_by_an_exception(
    backend: str, calls: list[int], error: BaseException
) -> None:
    net = spectral_norm(_Failing())
    x = torch.randn(2, 4)
    for _ in range(2):
        net.error = error
        with pytest.raises(type(error)):
            net(x)
        net.error = None
        before = states(net)
        net(x)
        assert not torch.equal(net.first.weight_u, before["first.weight_u"])
        net.first(x)
        assert calls == [2, 2, 1]
        calls.clear()


def test_an_exception_before_the_hook_runs(backend: str, calls: list[int]) -> None:
    net = _Failing()

    def refuse(module: nn.Module, inputs: Any) -> None:
        raise ValueError("refused")

    handle = net.register_forward_pre_hook(refuse)
    spectral_norm(net)
    x = torch.randn(2, 4)
    with pytest.raises(ValueError, match="refused"):
        net(x)
    assert calls == []
    handle.remove()
    net(x)
    net.first(x)
    assert calls == [2, 1]


class _Recursive(nn.Module):
    """Calls itself once, between two uses of its layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor, depth: int = 0) -> Tensor:
        x = self.layer(x)
        if depth < 2:
            x = self(x, depth + 1)
        return self.layer(x)


def test_a_root_that_calls_itself(backend: str, calls: list[int]) -> None:
    net = spectral_norm(_Recursive())
    for _ in range(2):
        net(torch.randn(2, 4))
        net.layer(torch.randn(2, 4))
        assert calls == [1, 1]
        calls.clear()


def test_a_group_inside_another_root(backend: str, calls: list[int]) -> None:
    inner = spectral_norm(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)))
    outer = spectral_norm(nn.Sequential(nn.Linear(4, 4), inner, nn.Linear(4, 1)))
    x = torch.randn(2, 4)
    outer(x)
    assert calls == [2, 2]
    calls.clear()
    inner(x)
    assert calls == [2]
    remove_spectral_norm(outer)
    calls.clear()
    outer(x)
    assert calls == [2]


class _Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.score = nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.score(self.attention(x, x, x)[0])


def test_layers_whose_forward_is_never_called_are_normalised(backend: str) -> None:
    """nn.MultiheadAttention reads the weight of its out_proj without calling it."""
    net = spectral_norm(_Attention())
    net(torch.randn(2, 3, 8)).square().sum().backward()
    projection = net.attention.out_proj
    assert projection.weight.grad_fn is not None
    assert projection.weight_orig.grad is not None


def _replicate(module: nn.Module, replicas: dict[nn.Module, nn.Module]) -> nn.Module:
    """What torch.nn.parallel.replicate does to a module for a further device."""
    if module not in replicas:
        replica = replicas[module] = module._replicate_for_data_parallel()
        for key, parameter in module._parameters.items():
            if parameter is None:
                replica._parameters[key] = None
            else:
                setattr(replica, key, parameter.clone())
        for key, buffer in module._buffers.items():
            replica._buffers[key] = buffer
        for key, child in module._modules.items():
            replica._modules[key] = None if child is None else _replicate(child, replicas)
    return replicas[module]


def test_replicas_of_data_parallel(backend: str, calls: list[int]) -> None:
    net = spectral_norm(Critic())
    net(*inputs())
    alone = copy.deepcopy(net)
    before = net.again.weight
    calls.clear()
    batch = inputs()
    replica = _replicate(net, {})
    output = replica(*batch)
    assert_matches(output, alone(*batch).double(), op="spectral_norm", order=0)
    count = len(list(weighted(net)))
    assert calls == [count, count]
    assert net.again.weight is before
    assert_same_state(net, alone)  # the first replica shares u and v with the module
    net(*batch)
    net.again(torch.randn(2, 80))
    assert calls == [count, count, count, 1]


@pytest.mark.parametrize("when", ["fresh", "after a backward"])
def test_copies_and_pickles(backend: str, calls: list[int], when: str) -> None:
    net = spectral_norm(Critic())
    if when != "fresh":
        net(*inputs()).sum().backward()
    batch = inputs()
    copies = [copy.deepcopy(net), pickle.loads(pickle.dumps(net))]
    expected = net(*batch)
    for other in copies:
        calls.clear()
        assert torch.equal(other(*batch), expected)
        assert calls == [len(list(weighted(net)))]
        calls.clear()
        other.again(torch.randn(2, 80))
        assert calls == [1]
        remove_spectral_norm(other)
    net(*batch)


def test_a_layer_copied_out_of_its_group(backend: str, calls: list[int]) -> None:
    net = spectral_norm(Critic())
    net(*inputs())
    layer = copy.deepcopy(net.again)
    calls.clear()
    layer(torch.randn(2, 80))
    assert calls == [1]
    assert not torch.equal(layer.weight_u, net.again.weight_u)
