"""What reads a tensor's values into Python: on a GPU each such reading waits for the device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

# Operations whose result, or whose result's size, is a value; and a tensor made of Python numbers,
# which reaches a device by a copy from pageable memory.
READING = {
    "aten::item",
    "aten::_local_scalar_dense",
    "aten::nonzero",
    "aten::is_nonzero",
    "aten::equal",
    "aten::masked_select",
    "aten::unique",
    "aten::_unique",
    "aten::_unique2",
    "aten::unique_dim",
    "aten::unique_consecutive",
    "aten::bincount",
    "aten::lift_fresh",
}


# Methods that in CPU memory read without an operation. The state of torch's generator for the CPU,
# which the engine compares, is bytes on the host whatever the device.
_METHODS = ("tolist", "numpy", "cpu")


def readings(call: Callable[[], object]) -> Counter[str]:
    """The operations of `READING` in a call, those inside of other operations too; and methods."""
    found: Counter[str] = Counter()
    with ExitStack() as stack:
        for name in _METHODS:
            stack.enter_context(patch.object(Tensor, name, _noted(name, found)))
        profiler = stack.enter_context(profile(activities=[ProfilerActivity.CPU]))
        call()
    found.update(event.name for event in profiler.events() if event.name in READING)
    return found


def _noted(name: str, found: Counter[str]) -> Callable[..., Any]:
    method = getattr(Tensor, name)

    def read(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
        if tensor.dtype is not torch.uint8:
            found[f"Tensor.{name}"] += 1
        return method(tensor, *args, **kwargs)

    return read
