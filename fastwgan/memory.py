"""Memory that the CPU kernels keep for coming calls."""

from __future__ import annotations

from fastwgan import _cpu

__all__ = ["free_memory"]


def free_memory() -> int:
    """Hands the memory that waits for coming calls back to the system.

    The CPU kernels' outputs and workspaces come from a pool of this process that keeps what is
    given back, up to FASTWGAN_POOL_MIB mebibytes (512 unless it is set when fastwgan is imported),
    so that the next step of the same sizes finds it. Between phases of different sizes, or before
    something else that needs the memory, that is worth freeing. Tensors in use are not touched, and
    the next step is slower by a page fault for each 4 KiB. Any thread may call this at any time.

    Returns:
        How many bytes waited.
    """
    return _cpu.release_pool()
