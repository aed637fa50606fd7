"""The pool that outputs and workspaces come from: bounded, and emptied when asked."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn

import fastwgan
from fastwgan import _cpu
from tests.concurrency.at_once import at_once
from tests.memory.left_over import resident_bytes
from tests.processes import output_of

MIB = 1 << 20
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_what_waits_is_freed_and_counted() -> None:
    fastwgan.free_memory()
    taken, waiting = _cpu.pool_use()
    assert waiting == 0
    kept, gone = (_cpu.pooled_empty(MIB, 32) for _ in range(2))
    kept.fill_(3)
    del gone
    assert _cpu.pool_use() == (taken + 4 * MIB, 4 * MIB)
    assert fastwgan.free_memory() == 4 * MIB
    assert _cpu.pool_use() == (taken + 4 * MIB, 0)
    assert torch.equal(kept, torch.full((MIB,), 3.0))
    assert fastwgan.free_memory() == 0


@linux
@pytest.mark.parametrize(("blocks", "kib"), [(2, 48 << 10), (1500, 60)], ids=["large", "small"])
def test_the_system_gets_it_back(blocks: int, kib: int) -> None:
    """Small blocks lie in the C library's heap, between what is in use and below it."""
    fastwgan.free_memory()
    before = resident_bytes()
    tensors = [_cpu.pooled_empty(kib << 8, 32).fill_(1) for _ in range(blocks)]
    above = [torch.ones(4) for _ in range(100)]
    size = blocks * kib << 10
    assert resident_bytes() - before > 0.9 * size
    del tensors[:-1]
    assert resident_bytes() - before > 0.8 * size  # it waits
    assert fastwgan.free_memory() >= size * (blocks - 1) // blocks
    assert resident_bytes() - before < 0.1 * size + (kib << 10)
    del above


def test_freed_while_others_compute() -> None:
    critic = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    real, fake, alpha = torch.randn(32, 64), torch.randn(32, 64), torch.rand(32)

    def norms() -> list[float]:
        found = [fastwgan.critic_loss(critic, real, fake, alpha=alpha) for _ in range(30)]
        return [float(each.total.detach()) for each in found]

    def free() -> list[float]:
        for _ in range(300):
            fastwgan.free_memory()
        return []

    wanted = norms()
    for found in at_once([norms, free, norms, free]):
        assert found in (wanted, [])


# Batches of ever other sizes, whose workspaces are of no use to each other.
LIMITED = """
import os
import torch, fastwgan
from fastwgan import _cpu

os.environ["FASTWGAN_POOL_MIB"] = "abc"  # too late to count
critic = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 1))
most = 0
for batch in range(16, 512, 16):
    fastwgan.critic_loss(critic, *torch.randn(2, batch, 64)).total.backward()
    critic.zero_grad()
    taken, waiting = _cpu.pool_use()
    most = max(most, waiting)
    assert taken == 0, taken
print(most)
"""


@pytest.mark.parametrize("limit", [0, 2])
def test_what_waits_is_bounded(limit: int) -> None:
    most = int(output_of(LIMITED, FASTWGAN_POOL_MIB=str(limit)))
    assert most <= limit * MIB
    assert most >= limit * MIB // 2
