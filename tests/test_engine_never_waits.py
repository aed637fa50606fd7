"""The engine reads no value of a tensor: on a GPU each such reading waits for the device.

Counted on the CPU, where the same lines run. One reading is the CPU's own: whether the cotangent
of the loss is 1 (`fastwgan/engine/ready.py`), which is asked of tensors in CPU memory alone.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import fastwgan
from fastwgan.engine import ready
from tests.readings import readings


def _images() -> tuple[nn.Module, Tensor, Tensor]:
    layers = [nn.Conv2d(3, 8, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(8, 16, 4, 2, 1)]
    layers += [nn.GroupNorm(1, 16), nn.SiLU(), nn.Flatten(), nn.Linear(256, 1)]
    return nn.Sequential(*layers), *torch.randn(2, 4, 3, 16, 16)


def _vectors() -> tuple[nn.Module, Tensor, Tensor]:
    layers = [nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1)]
    return nn.Sequential(*layers), *torch.randn(2, 4, 8)


def _penalty(critic: nn.Module, real: Tensor, fake: Tensor) -> None:
    fastwgan.gradient_penalty(critic, real, fake, engine="always").backward()


def _loss(critic: nn.Module, real: Tensor, fake: Tensor) -> None:
    fastwgan.critic_loss(critic, real, fake, engine="always").total.backward()


@pytest.mark.parametrize("step", [_penalty, _loss])
@pytest.mark.parametrize("make", [_images, _vectors])
def test_nothing_is_read_but_the_cotangent(
    make: Callable[[], tuple[nn.Module, Tensor, Tensor]],
    step: Callable[..., None],
) -> None:
    critic, real, fake = make()
    for _ in range(2):  # the second call has its plan already
        found = readings(lambda: step(critic, real, fake))
        assert found == {"aten::item": 1, "aten::_local_scalar_dense": 1}


def test_a_reading_would_be_seen() -> None:
    assert readings(lambda: bool(torch.ones(1) > 0)) != {}
    assert readings(lambda: torch.ones(1).nonzero()) != {}


def test_the_cotangent_is_read_in_cpu_memory_alone() -> None:
    """A tensor on another device is never asked: the meta device has no value to give."""
    leaf = torch.ones(3, device="meta", requires_grad=True)
    value = ready.ready(torch.ones((), device="meta"), [leaf], [torch.ones(3, device="meta")])
    value.backward()
    assert leaf.grad is not None
