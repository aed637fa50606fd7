"""Calls that several Python threads make at the same moment."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

Result = TypeVar("Result")
PATIENCE = 120.0  # seconds; a thread that is not done by then is stuck


def at_once(calls: Sequence[Callable[[], Result]]) -> list[Result]:
    """What each call returned, in its order; raises what the first of them raised."""
    barrier = threading.Barrier(len(calls))
    found: dict[int, Result] = {}
    failures: list[BaseException] = []

    def work(index: int, call: Callable[[], Result]) -> None:
        try:
            barrier.wait(PATIENCE)
            found[index] = call()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=pair, daemon=True) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    if failures:
        raise failures[0]
    stuck = sorted(set(range(len(calls))) - set(found))
    assert not stuck, f"calls {stuck} of {len(calls)} were not done after {PATIENCE:g} s"
    return [found[index] for index in range(len(calls))]
