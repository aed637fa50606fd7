"""What cotangents in float16 are multiplied by, so that they neither underflow nor overflow.

A GradScaler's factor arrives with `backward()`, when all gradients are computed already, and its
backing off changes nothing that was computed before. Hence the loss's seeds and the penalty's
start, which have the factor 1/B of a mean, are multiplied by a power of two here, a smaller one
where penalties are steep, and gradients are divided by it in float32 when they are handed over
(`ready.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from fastwgan.engine.tape import Block

Scale = float | Tensor
"""A power of two; [] where it was found without waiting for the device."""

LARGEST = 2.0**8
STEEPEST = 2.0**15


def first_scale(blocks: Iterable[Block], batch: int) -> float:
    """The batch or a little more, at most `LARGEST`, where activations are float16; else 1."""
    if not any(_has_halves(block) for block in blocks):
        return 1.0
    return min(2.0 ** max(1, (batch - 1).bit_length()), LARGEST)


def _has_halves(block: Block) -> bool:
    return any(value is not None and value.dtype is torch.float16 for value in block.values)


class Sloped(Protocol):
    """A penalty's value."""

    @property
    def slope(self) -> Tensor:
        """The largest [] of ⟨d value / d g, g⟩ over single norms."""


def within_range(scale: float, penalties: Sequence[Sloped]) -> Scale:
    """The scale, smaller where the slopes of penalties times it would pass `STEEPEST`.

    In a piecewise-linear critic ⟨cotangent, tangent⟩ is a sample's slope in every layer, and the
    gradients of weights are means of such products.

    Args:
        scale: Of `first_scale`.
        penalties: All that is differentiated at once.
    """
    if scale == 1 or not penalties:
        return scale
    slope = sum((each.slope for each in penalties[1:]), penalties[0].slope)
    return scale * torch.exp2(-(slope * (scale / STEEPEST)).clamp(min=1).log2().ceil())


def is_scaled(scale: Scale) -> bool:
    """False for what is known to be 1."""
    return isinstance(scale, Tensor) or scale != 1
