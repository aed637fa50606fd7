"""What is measured of every operation, and where it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch

from tests.numerics import elementwise, feedforward, penalty, spectral
from tests.numerics.elementwise import Worst

WIDE = (torch.float32, torch.float64)
HALVES = (torch.bfloat16, torch.float16)
ALL = (*WIDE, *HALVES)


class Operation(NamedTuple):
    measure: Callable[[torch.dtype], Worst]  # under the backend in force
    dtypes: tuple[torch.dtype, ...]
    without: tuple[tuple[str, torch.dtype], ...] = ()  # starts of backends' names that lack a dtype

    def runs(self, backend: str, dtype: torch.dtype) -> bool:
        return not any(backend.startswith(name) and dtype is other for name, other in self.without)


OPERATIONS = {
    "spectral_norm": Operation(spectral.spectral_norm, ALL),
    "gradient_penalty": Operation(
        penalty.gradient_penalty, ALL, tuple(("cpu", dtype) for dtype in HALVES)
    ),
    "weight_clip": Operation(elementwise.weight_clip, ALL),
    "rmsprop": Operation(elementwise.rmsprop, ALL),
    "bias_activation": Operation(elementwise.bias_activation, WIDE),
    "feedforward_critic": Operation(
        feedforward.feedforward_critic,
        WIDE,
        tuple((name, dtype) for name in ("cuda", "triton") for dtype in WIDE),
    ),
}
# Every operation with each of its dtypes.
CASES = [(name, dtype) for name, one in OPERATIONS.items() for dtype in one.dtypes]
