"""The loop in docs/own-loop.md is short, and trains."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.documents import python_blocks, run

LOOP, *OTHERS = python_blocks("docs/own-loop.md")


@pytest.fixture(scope="module")
def trained() -> dict[str, Any]:
    torch.manual_seed(0)
    return run(LOOP, "docs/own-loop.md")


@pytest.mark.parametrize("block", OTHERS, ids=range(len(OTHERS)))
def test_the_other_blocks_run(block: str) -> None:
    run(block, "docs/own-loop.md")


def _energy(one: Tensor, other: Tensor) -> Tensor:
    """The energy distance of two sets of points [n, features]."""
    between, within = (
        torch.cdist(one, other).mean(),
        [torch.cdist(t, t).mean() for t in (one, other)],
    )
    return 2 * between - within[0] - within[1]


def test_the_loop_is_thirty_lines() -> None:
    lines = [line for line in LOOP.splitlines() if line.strip()]
    assert len(lines) <= 36
    assert max(len(line) for block in (LOOP, *OTHERS) for line in block.splitlines()) <= 100


def test_the_loop_has_the_kernels() -> None:
    for name in ("fastwgan.spectral_norm(", "fastwgan.critic_loss(", "get_ema_multi_avg_fn("):
        assert name in LOOP
    rest = "\n".join(OTHERS)
    for name in ("fastwgan.optim.RMSprop(", "weight_clip=", "fastwgan.clip_after_step("):
        assert name in rest


@torch.no_grad()
def test_samples_come_to_be_like_the_data(trained: dict[str, Any]) -> None:
    noise, data = torch.randn(1000, 8), trained["data"][:1000]
    fresh = nn.Sequential(nn.Linear(8, 128), nn.ReLU(), nn.Linear(128, 2))
    assert _energy(trained["average"](noise), data) < 0.01 * _energy(fresh(noise), data)


def test_the_end_shows_samples_beside_the_data(trained: dict[str, Any]) -> None:
    data, rows = trained["data"], trained["rows"]
    assert trained["name"] == "samples"
    assert LOOP.rstrip().splitlines()[-1].lstrip().startswith("print(")
    assert torch.allclose(rows.mean(0), data.mean(0), atol=0.5)
    assert torch.allclose(rows.T.cov(), data.T.cov(), rtol=0.5)


@torch.no_grad()
def test_the_critic_is_normalised_and_the_average_lags(trained: dict[str, Any]) -> None:
    for layer in trained["critic"]:
        if isinstance(layer, nn.Linear):
            norm = torch.linalg.matrix_norm(layer.weight, ord=2)
            assert float(norm) == pytest.approx(1.0, rel=0.1)
    pairs = zip(trained["average"].parameters(), trained["generator"].parameters(), strict=True)
    assert all(not torch.equal(average, own) for average, own in pairs)
