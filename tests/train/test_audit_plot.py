from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from matplotlib.image import imread
from torch import Tensor, nn

from fastwgan.train.lipschitz import audit
from tests.train.lipschitz_cases import normal

GREY, BLUE, RED = (0xB8, 0xC4, 0xCC), (0x2A, 0x6F, 0x97), (0xD1, 0x49, 0x5B)


def pictured(path: Path) -> Tensor:
    """The picture's pixels, 0 to 255."""
    picture = torch.from_numpy(imread(path))[..., :3]
    assert min(picture.shape[:2]) >= 400
    return (255 * picture).round()


def pixels_of(picture: Tensor, color: tuple[int, int, int]) -> int:
    return int((picture == torch.tensor(color)).all(-1).sum())


def steep_and_flat() -> nn.Sequential:
    critic = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1))
    with torch.no_grad():
        critic[0].weight.copy_(3 * torch.eye(8, 3))
        critic[2].weight.fill_(0.1)
    return critic


def test_the_bars_are_red_where_a_layer_stretches(tmp_path: Path) -> None:
    critic = steep_and_flat()
    colors = {}
    for name, scale in (("red", 1.0), ("blue", 0.3)):
        with torch.no_grad():
            critic[0].weight.mul_(scale)
        audit(critic, normal(50, 3).float()).draw(tmp_path / f"{name}.png")
        half = pictured(tmp_path / f"{name}.png")
        half = half[80 : half.shape[0] // 2]  # without the histograms
        colors[name] = pixels_of(half, RED), pixels_of(half, BLUE), pixels_of(half, GREY)
    assert colors["red"][0] > 2000 > 500 > colors["blue"][0]
    assert colors["blue"][1] > 2000
    assert min(colors["red"][2], colors["blue"][2]) > 2000


@pytest.mark.parametrize("case", ["broken", "no layers", "many layers"])
def test_odd_critics_are_drawn_too(tmp_path: Path, case: str) -> None:
    critic: nn.Module = steep_and_flat()
    if case == "broken":
        with torch.no_grad():
            critic[0].weight.fill_(math.nan)
    if case == "no layers":
        critic = nn.Flatten()
    if case == "many layers":
        critic = nn.Sequential(*(nn.Linear(3, 3) for _ in range(40)))
    audit(critic, normal(50, 3).float(), samples=20).draw(tmp_path / "audit.png")
    picture = pictured(tmp_path / "audit.png")
    assert (picture / 255).std() > 0.02
    assert picture.shape[0] < 1500
