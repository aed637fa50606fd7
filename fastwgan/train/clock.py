"""The seconds of a run."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from fastwgan.train.metrics import Record


class Clock:
    """Seconds spent in steps, those of the run's earlier parts included, callbacks left out."""

    def __init__(self, seconds: float, step: int) -> None:
        self._offset = seconds - time.perf_counter()
        self._read = (seconds, step)

    def seconds(self) -> float:
        """Those spent so far."""
        return self._offset + time.perf_counter()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Entered round what doesn't count."""
        began = time.perf_counter()
        yield
        self._offset -= time.perf_counter() - began

    def read(self, step: int) -> Record:
        """The timings of a line of metrics; the speed is that since the last reading."""
        before, now = self._read, self.seconds()
        self._read = (now, step)
        speed = (step - before[1]) / max(now - before[0], 1e-9)
        return {"seconds": round(now, 3), "steps_per_second": float(f"{speed:.4g}")}
