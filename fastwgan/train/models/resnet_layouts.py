"""How many channels and halvings the ResNets have at each size of image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastwgan.train.config import TrainConfig
from fastwgan.train.models.families import halvings

_LARGEST_SMALL = 32  # pixels a side up to which the papers' CIFAR-10 tables are followed
_BOTTOM = 4  # pixels a side at which the critics of larger images stop halving


@dataclass(frozen=True)
class Layout:
    """Sizes of one generator and its critic.

    Attributes:
        generator: Channels at the bottom, and after each block, which doubles the sides.
        first_sides: Height and width at the bottom.
        critic: Of each block, its channels and whether it halves the sides.
        last_sides: Height and width after the critic's last block.
        stem: Channels of a convolution before the critic's blocks; None for none.
        pooling: Of the critic's last pixels: "sum", "mean", or None where all are scored.
        normalises_critic: Whether the critic has layer normalisation.
    """

    generator: tuple[int, ...]
    first_sides: tuple[int, int]
    critic: tuple[tuple[int, bool], ...]
    last_sides: tuple[int, int]
    stem: int | None
    pooling: str | None
    normalises_critic: bool


def layout_of(config: TrainConfig, shape: Sequence[int]) -> Layout:
    """The layout for images of `shape`, [channels, height, width].

    With spectral norm: tables 4 (up to 32 pixels), 5 and 6 of Miyato et al. 2018's appendix.
    Without: the networks of Gulrajani et al. 2017 for CIFAR-10 (up to 32 pixels) and, in its
    published code, for 64 pixels; the latter's layer normalisation is left out under clipping,
    whose bound would hold its scales, 1 by design, at 0.01.
    """
    small = max(shape[1:]) <= _LARGEST_SMALL
    return (_small if small else _large)(config, shape[1:])


def _small(config: TrainConfig, sides: Sequence[int]) -> Layout:
    """One number of channels; the critic's first two blocks halve, two more do not."""
    is_spectral, width = "sn" in config.parts, config.width
    up, down = halvings(sides), min(2, _critic_halvings(sides))
    return Layout(
        generator=((2 if is_spectral else 1) * width,) * (up + 1),
        first_sides=_halved(sides, up),
        critic=((width, True),) * down + ((width, False),) * 2,
        last_sides=_halved(sides, down),
        stem=None,
        pooling="sum" if is_spectral else "mean",
        normalises_critic=False,
    )


def _large(config: TrainConfig, sides: Sequence[int]) -> Layout:
    """Channels double with every halving."""
    is_spectral, width = "sn" in config.parts, config.width
    up, down = halvings(sides), _critic_halvings(sides)
    most = 16 if is_spectral else 8
    channels = [width * min(1 << level, most) for level in range(max(up, down) + 1)]
    halving = channels[:down] if is_spectral else channels[1 : down + 1]
    return Layout(
        generator=(channels[up], *channels[:up][::-1]),
        first_sides=_halved(sides, up),
        critic=(*((n, True) for n in halving), *[(channels[down], False)] * is_spectral),
        last_sides=_halved(sides, down),
        stem=None if is_spectral else width,
        pooling="sum" if is_spectral else None,
        normalises_critic=not is_spectral and "clip" not in config.parts,
    )


def _halved(sides: Sequence[int], times: int) -> tuple[int, int]:
    return sides[0] >> times, sides[1] >> times


def _critic_halvings(sides: Sequence[int]) -> int:
    """Halvings while a side is larger than the bottom and both are even: 48 to 3, 64 to 4."""
    times = 0
    while min(sides) >> times > _BOTTOM and not any(side % (2 << times) for side in sides):
        times += 1
    return times
