"""Whole critic steps on real CUDA tensors: never waiting, and captured in a graph."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import fastwgan
from tests.compare import assert_gradients_match

pytestmark = pytest.mark.gpu


def _mlp() -> nn.Module:
    layers: list[nn.Module] = [nn.Linear(24, 32), nn.LeakyReLU(0.2), nn.Linear(32, 32), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(32, 1))


def _dcgan() -> nn.Module:
    first = [nn.Conv2d(3, 8, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
    return nn.Sequential(*first, nn.Conv2d(8, 16, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(16, 1, 4))


CRITICS = {
    "mlp": (_mlp, (24,)),
    "dcgan": (_dcgan, (3, 16, 16)),
    "spectral norm": (lambda: fastwgan.spectral_norm(_dcgan()).eval(), (3, 16, 16)),
}


class _Step:
    """Loss, penalty, gradients and the optimizer's step, on samples in memory that stays."""

    def __init__(self, name: str) -> None:
        make, shape = CRITICS[name]
        self.critic = make().to("cuda")  # type: ignore[operator]
        self.real, self.fake = torch.randn(2, 8, *shape, device="cuda")
        self.alpha = torch.rand(8, device="cuda")
        self.optimizer = fastwgan.optim.RMSprop(self.critic.parameters(), lr=0.0, weight_clip=1.0)

    def __call__(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        given = self.critic, self.real, self.fake
        fastwgan.critic_loss(*given, alpha=self.alpha, engine="always").total.backward()
        self.optimizer.step()

    def gradients(self) -> list[Tensor | None]:
        return [parameter.grad for parameter in self.critic.parameters()]


def _warmed_up(step: Callable[[], None]) -> torch.cuda.Stream:
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    return stream


@pytest.mark.parametrize("name", CRITICS)
def test_never_waits(gpu_backend: str, name: str) -> None:
    step = _Step(name)
    step()
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        step()
    finally:
        torch.cuda.set_sync_debug_mode(before)


@pytest.mark.parametrize("name", CRITICS)
def test_captured_in_a_graph(gpu_backend: str, name: str) -> None:
    """What a replay computes of new samples in the old memory is what a call computes of them."""
    step = _Step(name)
    stream = _warmed_up(step)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        step()
    replayed = step.gradients()
    for samples in (step.real, step.fake):
        samples.copy_(torch.randn_like(samples))
    graph.replay()
    found = [None if each is None else each.clone() for each in replayed]
    step()
    assert_gradients_match(found, step.gradients(), op="penalty", order=1)
