"""Autocast as it was where the critic made a call, not where a pass makes it again."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch


class Casting(NamedTuple):
    """Autocast's state for one type of device; `dtype` is None where it is off."""

    device: str
    dtype: torch.dtype | None

    def restored(self) -> AbstractContextManager[object]:
        """Inside, autocast is as it was when this was taken."""
        if casting(self.device) == self:
            return nullcontext()
        if self.dtype is None:
            return torch.autocast(self.device, enabled=False)
        # Weights are leaves of a local graph's own: a cache would keep casts that nobody asks for.
        return torch.autocast(self.device, self.dtype, cache_enabled=False)


def casting(device: str) -> Casting:
    """The state now."""
    enabled = torch.is_autocast_enabled(device)
    return Casting(device, torch.get_autocast_dtype(device) if enabled else None)


def no_casting(device: str) -> AbstractContextManager[object]:
    """Inside, rules find the operations that they are written for; local ones restore theirs."""
    return Casting(device, None).restored()
