from __future__ import annotations

import inspect
import itertools
from typing import Any

import pytest
import torch
from torch import nn

from fastwgan.optim import RMSprop
from tests.compare import assert_matches
from tests.guarded import assert_same_bits
from tests.small_critic import assert_same_parameters, backward, critic_of, train

OPTIONS: list[dict[str, Any]] = [
    {"weight_decay": decay, "momentum": momentum, "centered": centered, "maximize": maximize}
    for decay, momentum, centered, maximize in itertools.product(
        (0.0, 0.1), (0.0, 0.9), (False, True), (False, True)
    )
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_every_option_over_several_steps(backend: str, dtype: torch.dtype) -> None:
    for options in OPTIONS:
        ours, theirs = critic_of(dtype), critic_of(dtype)
        common = {"lr": 1e-3, "alpha": 0.9, "eps": 1e-6, **options}
        mine = RMSprop(ours.parameters(), **common)
        torchs = torch.optim.RMSprop(theirs.parameters(), **common)
        train(ours, mine)
        train(theirs, torchs)
        assert_same_parameters(ours, theirs, str(options))
        _assert_same_state(mine, torchs)


def _assert_same_state(mine: RMSprop, torchs: torch.optim.RMSprop) -> None:
    ours, theirs = mine.state_dict()["state"], torchs.state_dict()["state"]
    assert ours.keys() == theirs.keys()
    for index, state in ours.items():
        assert state.keys() == theirs[index].keys()
        for name, value in state.items():
            expected = theirs[index][name]
            assert value.stride() == expected.stride()
            assert value.dtype == expected.dtype
            assert_matches(value, expected, op="rmsprop_steps", order=0, context=name)


def test_clipping_equals_torch_and_a_clamp(backend: str) -> None:
    ours, theirs = critic_of(), critic_of()
    mine = RMSprop(ours.parameters(), lr=1e-2, weight_clip=0.05)
    torchs = torch.optim.RMSprop(theirs.parameters(), lr=1e-2)
    for step in range(5):
        for critic, optimizer in ((ours, mine), (theirs, torchs)):
            optimizer.zero_grad()
            backward(critic, step)
            optimizer.step()
        with torch.no_grad():
            for p in theirs.parameters():
                p.clamp_(-0.05, 0.05)
    assert_same_parameters(ours, theirs)
    assert max(float(p.detach().abs().max()) for p in ours.parameters()) == pytest.approx(0.05)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision(backend: str, dtype: torch.dtype) -> None:
    values, gradient = torch.randn(97, dtype=torch.float64), torch.randn(97).double()
    half, wide = (nn.Parameter(values.to(d)) for d in (dtype, torch.float64))
    wide.data.copy_(half.data)
    half.grad = gradient.to(dtype)
    wide.grad = half.grad.double()
    options = {"lr": 1e-2, "momentum": 0.5, "weight_decay": 0.1}
    RMSprop([half], **options).step()
    torch.optim.RMSprop([wide], **options).step()
    assert_matches(half, wide, op="rmsprop", order=0)


def test_complex_parameters(backend: str) -> None:
    values = torch.randn(5, dtype=torch.complex64)
    results = []
    for optimizer in (RMSprop, torch.optim.RMSprop):
        p = nn.Parameter(values.clone())
        real = nn.Parameter(torch.ones(3))
        instance = optimizer([p, real], lr=0.1, momentum=0.5, centered=True)
        for _ in range(3):
            p.grad, real.grad = values.conj().resolve_conj() * 2, torch.ones(3)
            instance.step()
        results.append(torch.cat([torch.view_as_real(p.detach()).flatten(), real.detach()]))
    assert_matches(results[0], results[1], op="rmsprop_steps", order=0)


def test_differentiable_step(backend: str) -> None:
    results = []
    for optimizer in (RMSprop, torch.optim.RMSprop):
        start = torch.linspace(-1, 1, 5, dtype=torch.float64, requires_grad=True)
        p = start.clone()
        instance = optimizer([p], lr=0.1, differentiable=True)
        for _ in range(2):  # the kernel takes steps from the second on, which finds its state
            p.grad = p.clone() ** 3 + 1
            instance.step()
        (gradient,) = torch.autograd.grad(p.square().sum(), start)
        results.append(gradient)
    assert_same_bits(results[0], results[1])


def test_sparse_gradient_raises_as_torch_does(backend: str) -> None:
    said = []
    for optimizer in (RMSprop, torch.optim.RMSprop):
        embedding = nn.Embedding(4, 3, sparse=True)
        embedding(torch.tensor([1])).sum().backward()
        instance = optimizer(embedding.parameters())
        with pytest.raises(RuntimeError, match="sparse gradients") as error:
            instance.step()
        said.append(str(error.value))
    assert said[0] == said[1]


def test_parameters_without_gradient_are_left_alone(backend: str) -> None:
    with_gradient, without = nn.Parameter(torch.ones(3)), nn.Parameter(torch.full((3,), 9.0))
    optimizer = RMSprop([with_gradient, without], weight_clip=0.5, weight_decay=0.1)
    with_gradient.grad = torch.ones(3)
    optimizer.step()
    # torch steps only what has a gradient; so does the clipping.
    assert without.tolist() == [9.0] * 3
    assert without not in optimizer.state
    assert with_gradient.tolist() == [0.5] * 3


def test_gradients_of_other_strides(backend: str) -> None:
    results = []
    for optimizer in (RMSprop, torch.optim.RMSprop):
        torch.manual_seed(3)
        matrix, image = nn.Parameter(torch.randn(5, 7)), nn.Parameter(torch.randn(2, 3, 5, 5))
        matrix.grad = torch.randn(7, 5).t()
        image.grad = torch.randn(2, 3, 5, 5).to(memory_format=torch.channels_last)
        optimizer([matrix, image], momentum=0.9).step()
        results.append((matrix, image))
    for p, q in zip(*results, strict=True):
        assert_matches(p, q, op="rmsprop", order=0)


@pytest.mark.parametrize("argument", ["lr", "eps", "momentum", "weight_decay", "alpha"])
def test_bad_options_raise_as_torch_does(argument: str) -> None:
    said = []
    for optimizer in (RMSprop, torch.optim.RMSprop):
        with pytest.raises(ValueError, match="Invalid") as error:
            optimizer([nn.Parameter(torch.ones(1))], **{argument: -1.0})
        said.append(str(error.value))
    assert said[0] == said[1]


def test_signature_is_torchs_plus_weight_clip() -> None:
    ours = inspect.signature(RMSprop).parameters
    theirs = inspect.signature(torch.optim.RMSprop).parameters
    assert list(ours) == [*theirs, "weight_clip"]
    assert all(ours[name].default == p.default for name, p in theirs.items())
