"""Tensors in guarded memory: any layout, misaligned, with canaries around and in every gap.

`place` lays values out inside a larger buffer and says afterwards whether anything else in it has
changed, which is how the tests see a kernel that writes past an end or into a gap.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

# Sizes around every vector width, with tails of each length.
SIZES = (0, 1, *range(7, 18), 31, 32, 33, 63, 64, 65, 97)
# The first layouts fill their memory; the last two leave gaps.
LAYOUTS = ("contiguous", "misaligned", "transposed", "channels-last", "gaps", "padded-rows")
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)

_MARGIN = 67
_BITS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


class Placed(NamedTuple):
    """A view, and the larger buffer it lies in."""

    view: Tensor
    buffer: Tensor
    outside: Tensor  # bool, of the buffer
    before: Tensor  # the buffer as it was

    def assert_untouched_outside(self) -> None:
        now, before = bits(self.buffer), bits(self.before)
        changed = (now != before) & self.outside
        assert not bool(changed.any()), f"written outside, at {changed.nonzero()[:4].tolist()}"

    def assert_untouched(self) -> None:
        assert bool((bits(self.buffer) == bits(self.before)).all()), "written"


def place(values: Tensor, layout: str, canary: float = 77.0) -> Placed:
    """`values` in the memory layout named, `canary` everywhere else in the buffer."""
    strides = _strides(values.shape, layout)
    extent = 1 + sum((size - 1) * s for size, s in zip(values.shape, strides, strict=True))
    offset = _MARGIN + (1 if layout == "misaligned" else 0)
    buffer = torch.full((offset + max(extent, 0) + _MARGIN,), canary, dtype=values.dtype)
    view = buffer.as_strided(values.shape, strides, offset)
    view.copy_(values)
    outside = torch.ones(buffer.shape, dtype=torch.bool)
    outside.as_strided(values.shape, strides, offset).fill_(False)
    return Placed(view, buffer, outside, buffer.clone())


def bits(tensor: Tensor) -> Tensor:
    """The elements' bits as integers."""
    return tensor.detach().contiguous().view(_BITS[tensor.element_size()])


def assert_same_bits(actual: Tensor, expected: Tensor, context: str = "") -> None:
    """Equal to the bit, signs of zeros included; one NaN is as good as another."""
    assert actual.dtype == expected.dtype, context
    assert actual.shape == expected.shape, context
    different = (bits(actual) != bits(expected)) & ~(actual.isnan() & expected.isnan())
    assert not bool(different.any()), (
        f"{context}: {int(different.sum())} of {different.numel()} differ, first "
        f"{actual[different][:1].tolist()} for {expected[different][:1].tolist()}"
    )


def special_values(dtype: torch.dtype) -> list[float]:
    """NaN, both infinities, both zeros, the largest, the smallest normal and subnormal numbers."""
    info = torch.finfo(dtype)
    subnormal = info.smallest_normal * info.eps
    positive = [float("inf"), 0.0, info.max, info.smallest_normal, subnormal]
    return [float("nan"), *positive, *(-x for x in positive)]


def _strides(shape: torch.Size, layout: str) -> list[int]:
    order = list(range(len(shape)))[::-1]  # from the innermost axis out
    if layout == "transposed":
        order.reverse()
    elif layout == "channels-last" and len(shape) > 2:
        order = [1, *(axis for axis in order if axis > 1), 0]
    strides = [0] * len(shape)
    step = 2 if layout == "gaps" else 1
    for position, axis in enumerate(order):
        strides[axis] = step
        step *= max(shape[axis], 1)
        if layout == "padded-rows" and position == 0:
            step += 3
    return strides
