"""Tensors over bytes at any address, as `torch.frombuffer` makes them, give what others give."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

import fastwgan

DTYPES = (torch.float32, torch.float64)


def _unaligned(tensor: Tensor) -> Tensor:
    size = tensor.element_size()
    memory = bytearray(tensor.numel() * size + 1)
    found = torch.frombuffer(memory, dtype=tensor.dtype, offset=1, count=tensor.numel())
    if found.data_ptr() % size == 0:  # of memory that begins at an odd address
        memory = bytearray(tensor.numel() * size + 2)
        found = torch.frombuffer(memory, dtype=tensor.dtype, offset=2, count=tensor.numel())
    found = found.view(tensor.shape)
    assert found.data_ptr() % size != 0
    return found.copy_(tensor.detach())


def _moved(critic: nn.Module) -> nn.Module:
    """A copy with every parameter and buffer at such an address."""
    moved = copy.deepcopy(critic)
    for tensor in (*moved.parameters(), *moved.buffers()):
        tensor.data = _unaligned(tensor)
    return moved


def _critic(dtype: torch.dtype) -> nn.Module:
    return nn.Sequential(nn.Linear(6, 9), nn.LeakyReLU(0.2), nn.Linear(9, 1)).to(dtype)


def _assert_same(critic: nn.Module, expected: nn.Module) -> None:
    for (name, value), other in zip(
        critic.state_dict().items(), expected.state_dict().values(), strict=True
    ):
        assert torch.equal(value, other), name
    for mine, theirs in zip(critic.parameters(), expected.parameters(), strict=True):
        assert mine.grad is not None
        torch.testing.assert_close(mine.grad, theirs.grad)


@pytest.mark.parametrize("engine", ["auto", "never"])
@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_critic_step(dtype: torch.dtype, normalised: bool, engine: str) -> None:
    expected = _critic(dtype)
    if normalised:
        fastwgan.spectral_norm(expected)
    critic = _moved(expected)
    real, fake = torch.randn(2, 4, 6, dtype=dtype)
    for each, samples in (
        (expected, (real, fake)),
        (critic, (_unaligned(real), _unaligned(fake))),
    ):
        torch.manual_seed(1)
        fastwgan.critic_loss(each, *samples, engine=engine).total.backward()
        fastwgan.gradient_penalty(each, *samples, kind="r1", engine=engine).backward()
    _assert_same(critic, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_steps_and_clips(dtype: torch.dtype) -> None:
    expected = _critic(dtype)
    critic = _moved(expected)
    for each in (expected, critic):
        optimizer = fastwgan.optim.RMSprop(each.parameters(), weight_clip=0.2, momentum=0.5)
        for parameter in each.parameters():
            parameter.grad = torch.full_like(parameter, 0.3)
        for _ in range(2):
            optimizer.step()
        fastwgan.clip_weights_(each, 0.1)
    _assert_same(critic, expected)
