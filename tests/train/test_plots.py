from __future__ import annotations

from pathlib import Path

import pytest
import torch
from matplotlib.image import imread

from fastwgan.train import fit, plots
from tests.train.settings import load, small


@pytest.mark.parametrize(
    ("method", "data"),
    [("wgan-gp", "digits"), ("sn-gan", "mnist"), ("wgan", "swissroll"), ("wgan-gp", "25gaussians")],
)
def test_both_pictures_show_something(tmp_path: Path, method: str, data: str) -> None:
    fit(small(method, data, steps=4), load(data), out=tmp_path)
    for name in ("samples.png", "curves.png"):
        picture = imread(tmp_path / name)
        height, width = picture.shape[:2]
        assert min(height, width) >= 500
        assert picture.std() > 0.02, name


def test_a_run_without_a_line_of_metrics_is_drawn(tmp_path: Path) -> None:
    fit(small(), load("digits"), out=tmp_path, stop=lambda: True)
    assert imread(tmp_path / "curves.png").size


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 8), (1, 28, 28), (3, 16, 32)])
def test_a_tile_is_its_image_enlarged(shape: tuple[int, ...]) -> None:
    images = torch.rand(100, *shape) * 2 - 1
    images[:] = images.mean(dim=(2, 3), keepdim=True)  # plain, so that every pixel is known
    picture = plots.tile(images)
    rows, columns = picture.shape[0] // 10, picture.shape[1] // 10
    for row, column in ((0, 0), (3, 7), (9, 9)):
        pixel = picture[row * rows + rows // 2, column * columns + columns // 2]
        expected = (images[10 * row + column, :, 0, 0].expand(3) + 1) / 2
        torch.testing.assert_close(pixel, expected)
    assert 0 <= picture.min() <= picture.max() <= 1
