"""The group form: all layers of a root, normalised by one call per call of the root."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations as torch_parametrizations
from torch.nn.utils import remove_spectral_norm as torch_remove_spectral_norm
from torch.nn.utils import spectral_norm as torch_spectral_norm

import fastwgan
from fastwgan import remove_spectral_norm, spectral_norm
from fastwgan._spectral_hook import SpectralNormHook
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_replays_torch_layer_by_layer(backend: str, dtype: torch.dtype) -> None:
    ours, theirs = pair("group", Critic().to(dtype))
    optimizers = [torch.optim.SGD(net.parameters(), lr=0.01) for net in (ours, theirs)]
    assert ours.state_dict()._metadata == theirs.state_dict()._metadata
    for step in range(6):
        for net in (ours, theirs):
            net.train(step not in (3, 4))
        assert_same_step(ours, theirs, *inputs(dtype))
        for optimizer in optimizers:
            optimizer.step()


def test_returns_the_root_and_leaves_what_torch_leaves() -> None:
    net = Critic()
    norm = net.norm.weight
    assert spectral_norm(net) is net
    assert net.norm.weight is norm
    for layer in weighted(net):
        (hook,) = layer._forward_pre_hooks.values()
        assert isinstance(hook, SpectralNormHook)
        assert "weight_orig" in layer._parameters
        assert {"weight_u", "weight_v"} == set(layer._buffers)


@pytest.mark.parametrize(
    "settings", [{"n_power_iterations": 2}, {"eps": 1e-3}, {"dim": 1}], ids=str
)
def test_arguments_reach_every_layer(backend: str, settings: dict[str, Any]) -> None:
    nets = []
    for normalise in (spectral_norm, torch_spectral_norm):
        torch.manual_seed(1)
        net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
        if normalise is spectral_norm:
            normalise(net, **settings)
        else:
            for layer in weighted(net):
                normalise(layer, **settings)
        nets.append(net)
    for _ in range(2):
        assert_same_step(*nets, torch.randn(2, 4))


def test_layers_added_later_form_a_second_group(backend: str, calls: list[int]) -> None:
    net = spectral_norm(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)))
    net.append(nn.Linear(4, 1))
    spectral_norm(net)
    for _ in range(2):
        net(torch.randn(2, 4))
        assert calls == [2, 1]
        calls.clear()
    remove_spectral_norm(net)
    calls.clear()
    net(torch.randn(2, 4))
    assert calls == []


def test_layers_normalised_already_are_left_alone(backend: str, calls: list[int]) -> None:
    net = nn.Sequential(*(nn.Linear(4, 4) for _ in range(5)))
    spectral_norm(net[0])
    torch_spectral_norm(net[1])
    fastwgan.parametrizations.spectral_norm(net[2])
    torch_parametrizations.spectral_norm(net[3])
    spectral_norm(net)
    assert [len(layer._forward_pre_hooks) for layer in net] == [1, 1, 0, 0, 1]
    net(torch.randn(2, 4))
    assert calls == [1, 1]
    with pytest.raises(RuntimeError, match="two spectral_norm hooks on the same parameter weight"):
        spectral_norm(net)
    with pytest.raises(RuntimeError, match="two spectral_norm hooks on the same parameter weight"):
        spectral_norm(net[4])


def _raising(make: Callable[[], nn.Module], error: type[Exception], said: str) -> nn.Module:
    net = nn.Sequential(nn.Linear(4, 4), make())
    with pytest.raises(error, match=said):
        spectral_norm(net)
    return net


def test_nothing_changes_where_a_layer_cannot_be_normalised() -> None:
    bad: list[tuple[Callable[[], nn.Module], type[Exception], str]] = [
        (lambda: nn.LazyLinear(3), ValueError, "uninitialized"),
        (
            lambda: torch_parametrizations.orthogonal(nn.Linear(4, 4)),
            ValueError,
            "layer '1' had a reparametrized weight",
        ),
        (
            lambda: torch_parametrizations.weight_norm(nn.Linear(4, 4)),
            ValueError,
            "layer '1' had a reparametrized weight",
        ),
    ]
    for make, error, said in bad:
        net = _raising(make, error, said)
        assert isinstance(net[0].weight, nn.Parameter)
        assert not net._forward_pre_hooks
        assert not net[0]._forward_pre_hooks


def test_a_root_that_owns_a_weight_is_a_layer(backend: str) -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(3, 4))
            self.inner = nn.Linear(4, 4)

    net = spectral_norm(Scaled())
    assert "weight_orig" in net._parameters
    assert isinstance(net.inner.weight, nn.Parameter)


def test_layers_of_different_kinds_in_one_root(backend: str, calls: list[int]) -> None:
    """Frozen in eval, float64 and half precision layers each get a call with their like."""

    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(8))
            self.layers[2].double()
            self.layers[5].double()
            self.layers[3].bfloat16()

        def forward(self, x: Tensor) -> list[Tensor]:
            return [layer(x.to(layer.bias.dtype)) for layer in self.layers]

    ours, theirs = pair("group", Mixed())
    for net in (ours, theirs):
        net.layers[0].eval()
        net.layers[6].eval()
    x = torch.randn(2, 4)
    for _ in range(2):
        before = states(ours)
        for mine, other in zip(ours(x), theirs(x), strict=True):
            if mine.dtype is not torch.bfloat16:
                assert_matches(mine, other.double(), op="spectral_norm", order=0)
        assert sorted(calls) == [1, 2, 2, 3]
        calls.clear()
        for index, layer in enumerate(ours.layers):
            frozen = torch.equal(layer.weight_u, before[f"layers.{index}.weight_u"])
            assert frozen == (index in (0, 6))


def test_conversion_after_a_call(backend: str) -> None:
    ours, theirs = pair("group", nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)))
    x = torch.randn(2, 4)
    for net in (ours, theirs):
        net(x)
        net.double()
    theirs.load_state_dict(ours.state_dict())
    for _ in range(2):
        assert_same_step(ours, theirs, x.double())
    assert ours[0].weight_u.dtype is torch.float64


def test_a_layer_that_is_replaced_or_gone(backend: str, calls: list[int]) -> None:
    net = spectral_norm(nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4))))
    x = torch.randn(2, 4)
    net(x)
    old = net[1]
    net[1] = nn.Sequential(nn.Linear(4, 4))
    before = old[0].weight_u.clone()
    net(x)
    assert torch.equal(old[0].weight_u, before)
    del net[1]
    net(x)
    net[0] = nn.Identity()
    net(x)
    assert calls == [2, 1, 1]


@pytest.mark.parametrize("remove", [torch_remove_spectral_norm, remove_spectral_norm])
def test_removing_one_layer(backend: str, calls: list[int], remove: Any) -> None:
    ours, theirs = pair("group")
    for net in (ours, theirs):
        net(*inputs())
    calls.clear()
    remove(ours.again)
    torch_remove_spectral_norm(theirs.again)
    for _ in range(2):
        assert_same_step(ours, theirs, *inputs())
    assert calls[1] == len(list(weighted(ours))) - 1
    spectral_norm(ours.again, n_power_iterations=3)
    torch_spectral_norm(theirs.again, n_power_iterations=3)
    calls.clear()
    ours(*inputs())
    assert calls == [len(list(weighted(ours))) - 1, 1]


def test_removing_all_layers(backend: str) -> None:
    ours, theirs = pair("group")
    for net in (ours, theirs):
        net(*inputs())
    assert remove_spectral_norm(ours) is ours
    for layer in weighted(theirs):
        torch_remove_spectral_norm(layer)
    assert_same_state(ours, theirs)
    for hooks in ("_forward_pre_hooks", "_forward_hooks", "_forward_hooks_always_called"):
        assert all(not getattr(module, hooks) for module in ours.modules())
    with pytest.raises(ValueError, match="spectral_norm of 'weight' not found"):
        remove_spectral_norm(ours)
    spectral_norm(ours)
    ours(*inputs())


def test_tied_layers_and_tied_parameters(backend: str, calls: list[int]) -> None:
    shared = nn.Linear(4, 4)
    net = nn.Sequential(shared, nn.Linear(4, 4), shared, nn.Linear(4, 4))
    net[3].weight = net[1].weight
    ours, theirs = pair("group", net)
    assert ours[0] is ours[2]
    assert ours[1].weight_orig is ours[3].weight_orig
    x = torch.randn(2, 4)
    ours(x).sum().backward()
    assert calls == [3]
    # torch's hook moves the shared layer twice; give it the same number of moves.
    theirs[2] = nn.Identity()
    ours, theirs = (copy.deepcopy(each) for each in (ours, theirs))
    ours[2] = nn.Identity()
    theirs.load_state_dict(ours.state_dict())
    assert_same_step(ours, theirs, x)
