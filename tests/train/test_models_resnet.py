from __future__ import annotations

import pytest
from torch import nn

from fastwgan.train.models import build_critic
from fastwgan.train.models.resnet_layouts import layout_of
from tests.train.settings import small


@pytest.mark.parametrize(
    ("method", "side", "width", "generator", "critic"),
    [
        # Miyato et al. 2018, tables 4, 5 and 6.
        ("sn-gan", 32, 128, [4, 256, 256, 256, 256], [(128, 1), (128, 1), (128, 0), (128, 0)]),
        (
            "sn-gan",
            48,
            64,
            [6, 512, 256, 128, 64],
            [(64, 1), (128, 1), (256, 1), (512, 1), (1024, 0)],
        ),
        (
            "sn-gan",
            128,
            64,
            [4, 1024, 1024, 512, 256, 128, 64],
            [(64, 1), (128, 1), (256, 1), (512, 1), (1024, 1), (1024, 0)],
        ),
        # Gulrajani et al. 2017, gan_cifar_resnet.py and gan_64x64.py of its code.
        ("wgan-gp", 32, 128, [4, 128, 128, 128, 128], [(128, 1), (128, 1), (128, 0), (128, 0)]),
        ("wgan-gp", 64, 64, [4, 512, 512, 256, 128, 64], [(128, 1), (256, 1), (512, 1), (512, 1)]),
    ],
)
def test_resnets_have_the_sizes_of_the_papers(
    method: str, side: int, width: int, generator: list[int], critic: list[tuple[int, int]]
) -> None:
    layout = layout_of(small(method, width=width), (3, side, side))
    assert [layout.first_sides[0], *layout.generator] == generator
    assert list(layout.critic) == critic
    is_spectral, is_large = method == "sn-gan", side > 32
    assert layout.pooling == ("sum" if is_spectral else None if is_large else "mean")
    assert layout.stem == (width if is_large and not is_spectral else None)
    assert layout.normalises_critic == (is_large and not is_spectral)


def test_a_clipped_resnet_has_no_layer_norm_to_clip() -> None:
    shape = (1, 64, 64)
    for method, normalises in (("wgan", False), ("wgan-gp", True)):
        critic = build_critic(small(method, model="resnet", width=1), shape)
        assert any(isinstance(layer, nn.GroupNorm) for layer in critic.modules()) == normalises
