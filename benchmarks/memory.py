"""Peak memory of one call, counted exactly from what the allocators say."""

from __future__ import annotations

from collections.abc import Callable

from torch.profiler import ProfilerActivity, profile

import fastwgan._cpu as _cpu


def peak_bytes(work: Callable[[], object]) -> int:
    """Most bytes of tensors alive at once during `work`, over those alive before it.

    Torch's allocator reports each block. The blocks of fastwgan's own pool are counted besides:
    emptied before, it has by the end grown by the most that was taken from it at once. The two
    peaks are added, which can only overstate ours. Scratch memory that a library takes from the
    heap by itself is not seen, on either side.
    """
    _cpu.release_pool()
    taken_before, _ = _cpu.pool_use()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        work()
    taken, waiting = _cpu.pool_use()
    return _peak_of_torch(profiler) + taken + waiting - taken_before


def _peak_of_torch(profiler: profile) -> int:
    recorded = profiler.profiler
    if recorded is None or recorded.kineto_results is None:
        raise RuntimeError("torch.profiler recorded nothing: was torch built without Kineto?")
    events = [event for event in recorded.kineto_results.events() if event.name() == "[memory]"]
    alive = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        alive += event.nbytes()  # type: ignore[attr-defined]  # missing in the stub
        peak = max(peak, alive)
    return peak
