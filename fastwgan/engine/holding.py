"""A module that for a while holds other tensors in place of its parameters and buffers."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

LOCK = threading.RLock()
"""Held by who changes what a module holds, and by who forks: a child finds every module whole."""
os.register_at_fork(before=LOCK.acquire, after_in_parent=LOCK.release, after_in_child=LOCK.release)

Slot = tuple[dict[str, Tensor | None], str]
"""Where a module holds a tensor."""


def _slots(critic: nn.Module, names: str) -> list[list[Slot]]:
    """Every place of each parameter or buffer, in the order of `parameters()` or `buffers()`."""
    found: dict[int, list[Slot]] = {}
    for module in critic.modules():
        held = getattr(module, names)
        for name, tensor in held.items():
            if tensor is not None:
                found.setdefault(id(tensor), []).append((held, name))
    return list(found.values())


@contextmanager
def holding(
    critic: nn.Module, parameters: Sequence[Tensor], buffers: list[Tensor]
) -> Iterator[None]:
    """The critic with these tensors in place of its own; `buffers` holds them as they end."""
    places = _slots(critic, "_parameters") + _slots(critic, "_buffers")
    before = [slots[0][0][slots[0][1]] for slots in places]
    for slots, tensor in zip(places, [*parameters, *buffers], strict=True):
        for held, name in slots:
            held[name] = tensor
    try:
        yield
    finally:
        for index, slots in enumerate(places[len(parameters) :]):
            held, name = slots[0]
            buffers[index] = held[name]  # type: ignore[assignment]
        for slots, own in zip(places, before, strict=True):
            for held, name in slots:
                held[name] = own


@contextmanager
def untouched(critic: nn.Module, example: Tensor) -> Iterator[None]:
    """A run of shapes alone leaves nothing behind in the critic's attributes."""
    before = [(module, dict(module.__dict__)) for module in critic.modules()]
    mode = example.fake_mode if isinstance(example, FakeTensor) else None
    allowed = None if mode is None else mode.allow_non_fake_inputs
    if mode is not None:
        mode.allow_non_fake_inputs = True  # constants that the critic holds besides its buffers
    try:
        with LOCK:
            yield
    finally:
        if mode is not None:
            mode.allow_non_fake_inputs = bool(allowed)
        for module, attributes in before:
            module.__dict__.clear()
            module.__dict__.update(attributes)
