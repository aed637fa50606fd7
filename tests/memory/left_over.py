"""What calls leave behind: tensors in cycles, blocks of Python's and C's heaps, resident memory."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from fastwgan import _cpu


def cyclic_tensors(step: Callable[[], object]) -> list[Tensor]:
    """Tensors that `step` leaves to the garbage collector."""
    gc.collect()
    was_enabled, flags = gc.isenabled(), gc.get_debug()
    gc.disable()
    try:
        step()
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        return [found for found in gc.garbage if isinstance(found, Tensor)]
    finally:
        gc.set_debug(flags)
        gc.garbage.clear()
        if was_enabled:
            gc.enable()


class _HeapUse(ctypes.Structure):
    """glibc's struct mallinfo2."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


def heap_bytes() -> int | None:
    """In use in the C library's heap, tensors' own objects included; None where nothing tells."""
    if sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallinfo2"):
        return None
    ask = ctypes.CDLL(None).mallinfo2
    ask.restype = _HeapUse
    use = ask()
    return int(use.uordblks + use.hblkhd)


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class Growth(NamedTuple):
    """By some number of calls."""

    objects: int  # blocks of Python's own heap
    heap: int  # bytes
    pool: int  # bytes of the pool that are taken
    resident: int  # bytes
    traced: int  # bytes that tracemalloc saw; 0 when it does not run


def _now() -> Growth:
    gc.collect()
    traced = tracemalloc.get_traced_memory()[0]
    taken, waiting = _cpu.pool_use()
    heap = heap_bytes()
    own = 0 if heap is None else heap - taken - waiting
    return Growth(sys.getallocatedblocks(), own, taken, resident_bytes(), traced)


def growth_by(call: Callable[[], object], count: int, warm_up: int = 500) -> Growth:
    """How much more there is after `count` calls, when `warm_up` have gone before them."""
    for _ in range(warm_up):
        call()
    before = _now()
    for _ in range(count):
        call()
    return Growth(*(b - a for a, b in zip(before, _now(), strict=True)))
