"""An audit on a real GPU gives what it gives on the CPU."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

import fastwgan
from fastwgan.train.lipschitz import audit

pytestmark = pytest.mark.gpu


class Conditional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.labels = nn.Conv2d(1, 4, 3, padding=1), nn.Embedding(3, 64)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        features = torch.relu(self.conv(x)).flatten(1)
        return (self.labels(labels) * features).sum(1, keepdim=True)


@pytest.mark.parametrize("data_is_there", [False, True])
def test_an_audit_on_a_gpu(data_is_there: bool) -> None:
    torch.manual_seed(0)
    critic = fastwgan.spectral_norm(Conditional().double())
    samples, labels = torch.randn(60, 1, 4, 4), torch.arange(60) % 3
    expected = audit(copy.deepcopy(critic), samples, labels=labels, samples=40)
    if data_is_there:
        samples = samples.cuda()
    state = torch.cuda.get_rng_state()
    found = audit(critic.cuda(), samples, labels=labels, samples=40)
    assert torch.equal(torch.cuda.get_rng_state(), state)
    assert found.bound.value == pytest.approx(expected.bound.value, rel=1e-6)
    assert [layer.norm for layer in found.layers] == pytest.approx(
        [layer.norm for layer in expected.layers], rel=1e-6
    )
    assert found.gradients.largest == pytest.approx(expected.gradients.largest, rel=1e-4)
    assert found.gradients.slope == pytest.approx(expected.gradients.slope, rel=1e-4)
    assert found.units == expected.units
    assert found.status == expected.status
