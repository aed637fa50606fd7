"""Whole critic steps of docs/gpu.md: our launches and torch's operations, ours beside eager's."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

import fastwgan
from benchmarks.bench_critic_step import plain_loss
from benchmarks.critics import dcgan, mlp
from benchmarks.gpu_jobs import Operations
from fastwgan import _gpu, backends
from tests.cuda_emulator.module import counters, load

BATCH = 2  # the counts are those of any other


class Step(NamedTuple):
    """A critic, and the samples of its step."""

    name: str
    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    layout: torch.memory_format = torch.contiguous_format

    def samples(self) -> tuple[Tensor, Tensor]:
        """Real and fake."""
        real, fake = torch.randn(2, BATCH, *self.shape)
        layout = self.layout
        return real.contiguous(memory_format=layout), fake.contiguous(memory_format=layout)


class Counted(NamedTuple):
    """Kernels of ours, torch operations dispatched beside them, and those of the eager step."""

    name: str
    launches: int
    operations: int
    eager: int


STEPS = (
    Step("DCGAN-64", lambda: dcgan(64), (3, 64, 64)),
    Step("DCGAN-64, channels-last", lambda: dcgan(64), (3, 64, 64), torch.channels_last),
    Step(
        "MLP 784-1024-1024-1024-1",
        lambda: mlp((784, 1024, 1024, 1024, 1), lambda: nn.LeakyReLU(0.2)),
        (784,),
    ),
)


def count(step: Step) -> Counted:
    """Of the second of two steps, both from parameters without gradients."""
    critic, (real, fake), alpha = step.make(), step.samples(), torch.rand(BATCH)

    def own() -> None:
        critic.zero_grad()
        fastwgan.critic_loss(critic, real, fake, alpha=alpha, engine="always").total.backward()

    with _gpu.emulated(load()), backends.use_backend("cuda"):
        own()
        before, waits = counters().launches(), counters().synchronisations()
        own()
        launches = counters().launches() - before
        if counters().synchronisations() != waits:
            raise RuntimeError(f"{step.name} waited for the device")
        with Operations() as operations:
            own()
    critic.zero_grad()
    with Operations() as eager:
        plain_loss(critic, real, fake, alpha).backward()
    return Counted(step.name, launches, operations.count, eager.count)
