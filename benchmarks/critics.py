"""The critics whose layers the cases run on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

Layer = nn.Linear | nn.Conv2d


def sngan32() -> list[Layer]:
    """Convolutions of the SNGAN-32 critic and its last layer (Miyato et al. 2018, table 3)."""
    return [
        nn.Conv2d(3, 64, 3, 1, 1),
        nn.Conv2d(64, 64, 4, 2, 1),
        nn.Conv2d(64, 128, 3, 1, 1),
        nn.Conv2d(128, 128, 4, 2, 1),
        nn.Conv2d(128, 256, 3, 1, 1),
        nn.Conv2d(256, 256, 4, 2, 1),
        nn.Conv2d(256, 512, 3, 1, 1),
        nn.Linear(8192, 1),
    ]


def resnet_sngan32() -> list[Layer]:
    """ResNet critic of SNGAN-32: ten convolutions to 128 channels, two of them 1×1 shortcuts."""
    first_block = [nn.Conv2d(3, 128, 3, 1, 1), nn.Conv2d(128, 128, 3, 1, 1), nn.Conv2d(3, 128, 1)]
    second_block = [nn.Conv2d(128, 128, 3, 1, 1) for _ in range(2)] + [nn.Conv2d(128, 128, 1)]
    last_blocks = [nn.Conv2d(128, 128, 3, 1, 1) for _ in range(4)]
    return [*first_block, *second_block, *last_blocks, nn.Linear(128, 1)]


def dense4096() -> list[Layer]:
    """One large square layer, whose weight fits in no cache."""
    return [nn.Linear(4096, 4096)]


def mlp512() -> list[Layer]:
    """The critic of the toy distributions, small enough for calls to cost more than arithmetic."""
    return [nn.Linear(2, 512), nn.Linear(512, 512), nn.Linear(512, 512), nn.Linear(512, 1)]


def mlp(widths: Sequence[int], activation: Callable[[], nn.Module]) -> nn.Sequential:
    """Fully connected critic: `widths` from the input to the score."""
    modules: list[nn.Module] = []
    for wide, narrow in pairwise(widths):
        modules += [nn.Linear(wide, narrow), activation()]
    return nn.Sequential(*modules[:-1])


def dcgan(image_size: int, width: int = 64) -> nn.Sequential:
    """DCGAN critic without BatchNorm, as WGAN-GP asks, with the usual in-place activations."""
    modules: list[nn.Module] = []
    channels, size = 3, image_size
    while size > 4:
        modules += [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
        channels, width, size = width, 2 * width, size // 2
    return nn.Sequential(*modules, nn.Conv2d(channels, 1, 4, 1, 0))


def packed() -> nn.Sequential:
    """The critic of packed tabular GANs (CTGAN): ten rows of 156 columns are one sample."""
    modules: list[nn.Module] = []
    for wide, narrow in ((1560, 256), (256, 256)):
        modules += [nn.Linear(wide, narrow), nn.LeakyReLU(0.2), nn.Dropout(0.5)]
    return nn.Sequential(*modules, nn.Linear(256, 1))


def digits() -> nn.Sequential:
    """DCGAN critic for 8×8 pixels."""
    return nn.Sequential(
        nn.Conv2d(1, 64, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True), nn.Conv2d(64, 1, 4)
    )


class Block(nn.Module):
    """Residual block of WGAN-GP's critic, its shortcut averaged before or after its layer."""

    def __init__(self, channels: int, width: int, *, halves: bool, first: bool = False) -> None:
        super().__init__()
        self.one = nn.Conv2d(channels, width, 3, padding=1)
        self.two = nn.Conv2d(width, width, 3, padding=1)
        self.shortcut = nn.Conv2d(channels, width, 1) if halves else nn.Identity()
        self.halves, self.first = halves, first

    def forward(self, x: Tensor) -> Tensor:
        branch = self.two(F.relu(self.one(x if self.first else F.relu(x))))
        if not self.halves:
            return branch + x  # type: ignore[no-any-return]
        branch = F.avg_pool2d(branch, 2)
        if self.first:
            return branch + self.shortcut(F.avg_pool2d(x, 2))  # type: ignore[no-any-return]
        return branch + F.avg_pool2d(self.shortcut(x), 2)


class ResNet(nn.Module):
    """WGAN-GP's critic for 32×32 pixels, 128 channels (Gulrajani et al. 2017, appendix F)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            Block(3, width, halves=True, first=True),
            Block(width, width, halves=True),
            Block(width, width, halves=False),
            Block(width, width, halves=False),
        )
        self.last = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.last(F.relu(self.blocks(x)).mean((2, 3)))
        return scores


def resnet_gp() -> nn.Module:
    """The residual critic of WGAN-GP."""
    return ResNet(128)
