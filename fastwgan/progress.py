"""What a terminal shows while a run goes on: a live bar, or plain lines where there is none."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Any, Protocol

from fastwgan.train.extras import require
from fastwgan.train.metrics import Record

_SECONDS_BETWEEN_LINES = 10.0
_DISTANCES = {"w1": "W1", "w1_sinkhorn": "W1 about", "w1_sliced": "sliced W1"}
_NARROW = 110  # columns of a terminal that has no room for whole words beside the bar
_LEAST_SECONDS = 5.0  # to say of a run's threads that they wait
_LARGE_SHARE = 0.3  # of those


class Progress(AbstractContextManager["Progress"], Protocol):
    """Entered round a run, and called with each line of its metrics."""

    def __call__(self, record: Record) -> None:
        """Shows one line of metrics."""


def progress(step: int, steps: int, threads: int = 1) -> Progress:
    """What suits standard output: a bar on a terminal, else a line now and then.

    Args:
        step: Generator steps done.
        steps: Generator steps in all.
        threads: That the run computes with.
    """
    console = require("rich.console", "the progress bar").Console()
    busy = _Busy(threads)
    return _Bar(console, step, steps, busy) if console.is_terminal else _Lines(steps, busy)


@contextmanager
def counting(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar of things done, on a terminal alone.

    Args:
        what: The things' name.
        total: How many there will be.

    Yields:
        What to call with the number done so far.
    """
    rich = require("rich.progress", "the progress bar")
    console = require("rich.console", "the progress bar").Console()
    if not console.is_terminal:
        yield lambda done: None
        return
    with rich.Progress(transient=True, console=console) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)


def _seconds(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02} min"
    if minutes >= 10:
        return f"{minutes} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def _speed(record: Record) -> str:
    speed = record["steps_per_second"]
    if speed >= 1:
        return f"{speed:.1f} steps/s"
    return f"{1 / speed:.1f} s a step" if speed > 0.1 else f"{1 / speed:.0f} s a step"


class _Second:
    """What is shown beside the estimate: the last distance measured, before that the penalty.

    Args:
        floor: How to say what real samples in the place of the generated ones score.
    """

    def __init__(self, floor: str = "real samples: ") -> None:
        self._floor = floor
        self._distance = ""

    def text(self, record: Record) -> str:
        for name, short in _DISTANCES.items():
            if name in record:
                self._distance = f"{short} {record[name]:.3f}"
                if f"{name}_floor" in record:
                    self._distance += f" ({self._floor}{record[f'{name}_floor']:.3f})"
        penalty = f"penalty {record['penalty']:.3f}" if "penalty" in record else ""
        return self._distance or penalty


class _Busy:
    """Says once of a run of several threads that they wait for each other or for other programs."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._before = _waited(), time.monotonic()

    def hint(self) -> str:
        """A sentence, or "": of the last few seconds, or of all since it was asked before."""
        before, now = self._before, (_waited(), time.monotonic())
        seconds = now[1] - before[1]
        if self._threads == 1 or seconds < _LEAST_SECONDS:
            return ""
        self._before = now
        share = (now[0] - before[0]) / seconds
        if share < _LARGE_SHARE:
            return ""
        fewer = "--threads 1" if self._threads == 2 else "fewer --threads"
        self._threads = 1  # nothing more to say
        return f"this run waits {share:.0%} of its time for a free processor: {fewer} may be faster"


def _waited() -> float:
    """The seconds in which the main thread was ready to run and did not; 0 but on Linux."""
    try:
        with open("/proc/self/schedstat", encoding="ascii") as file:
            return int(file.read().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


class _Bar(Progress):
    def __init__(self, console: Any, step: int, steps: int, busy: _Busy) -> None:
        rich = require("rich.progress", "the progress bar")
        texts = ("step", "speed", "wasserstein", "second", "left")
        columns = [rich.TextColumn("{task.fields[" + name + "]}") for name in texts]
        self._bar = rich.Progress(
            rich.BarColumn(bar_width=None), *columns, console=console, expand=True
        )
        self._steps, self._busy = steps, busy
        self._second = _Second("real ") if console.width < _NARROW else _Second()
        fields = dict.fromkeys(texts, "") | {"step": f"{step:,}/{steps:,}"}
        self._task = self._bar.add_task("training", total=steps, completed=step, **fields)

    def __enter__(self) -> _Bar:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def __call__(self, record: Record) -> None:
        hint = self._busy.hint()
        if hint:
            self._bar.console.print(hint, highlight=False, soft_wrap=True)
        step = int(record["step"])
        left = (self._steps - step) / record["steps_per_second"]
        self._bar.update(
            self._task,
            completed=step,
            step=f"{step:,}/{self._steps:,}",
            speed=_speed(record),
            wasserstein=f"Wasserstein {record['wasserstein']:.3f}",
            second=self._second.text(record),
            left=f"{_seconds(left)} left",
        )


class _Lines(Progress):
    def __init__(self, steps: int, busy: _Busy) -> None:
        self._steps, self._second, self._busy = steps, _Second(), busy
        self._next = 0.0

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None

    def __call__(self, record: Record) -> None:
        second = self._second.text(record)
        if time.monotonic() < self._next and record["step"] < self._steps:
            return
        self._next = time.monotonic() + _SECONDS_BETWEEN_LINES
        hint = self._busy.hint()
        if hint:
            print(hint, flush=True)
        left = self._steps - record["step"]
        parts = [
            f"step {int(record['step'])} of {self._steps}",
            _speed(record),
            f"about {_seconds(left / record['steps_per_second'])} left" if left else "",
            f"Wasserstein estimate {record['wasserstein']:.3f}",
            second,
        ]
        print(", ".join(filter(None, parts)), flush=True)
