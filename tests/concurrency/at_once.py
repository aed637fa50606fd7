"""Calls that several Python threads make at the same moment."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

Result = TypeVar("Result")
PATIENCE = 120.0  # seconds; a thread that is not done by then is stuck


def at_once(calls: Sequence[Callable[[], Result]]) -> list[Result]:
    """What each call returned, in its order; raises what the first of them raised."""
    return [result for (result,) in rounds_at_once(calls, 1)]


def rounds_at_once(calls: Sequence[Callable[[], Result]], rounds: int) -> list[list[Result]]:
    """What each call returned in every round; all threads wait for each other before each."""
    barrier = threading.Barrier(len(calls))
    found: dict[int, list[Result]] = {index: [] for index in range(len(calls))}
    failures: list[BaseException] = []

    def work(index: int, call: Callable[[], Result]) -> None:
        try:
            for _ in range(rounds):
                barrier.wait(PATIENCE)
                found[index].append(call())
        except threading.BrokenBarrierError:  # another call has failed, or is stuck
            pass
        except BaseException as error:
            failures.append(error)
            barrier.abort()

    threads = [threading.Thread(target=work, args=pair, daemon=True) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    if failures:
        raise failures[0]
    stuck = [index for index, turns in found.items() if len(turns) < rounds]
    assert not stuck, f"calls {stuck} of {len(calls)} were not done after {PATIENCE:g} s"
    return list(found.values())
