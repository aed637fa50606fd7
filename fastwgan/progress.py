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


class Progress(AbstractContextManager["Progress"], Protocol):
    """Entered round a run, and called with each line of its metrics."""

    def __call__(self, record: Record) -> None:
        """Shows one line of metrics."""


def progress(step: int, steps: int) -> Progress:
    """What suits standard output: a bar on a terminal, else a line now and then.

    Args:
        step: Generator steps done.
        steps: Generator steps in all.
    """
    console = require("rich.console", "the progress bar").Console()
    return _Bar(console, step, steps) if console.is_terminal else _Lines(steps)


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
    with rich.Progress(transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)


def _seconds(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


class _Second:
    """What is shown beside the estimate: the last distance measured, before that the penalty."""

    def __init__(self) -> None:
        self._distance = ""

    def text(self, record: Record) -> str:
        for name, short in _DISTANCES.items():
            if name in record:
                self._distance = f"{short} {record[name]:.3f}"
        penalty = f"penalty {record['penalty']:.3f}" if "penalty" in record else ""
        return self._distance or penalty


class _Bar(Progress):
    def __init__(self, console: Any, step: int, steps: int) -> None:
        rich = require("rich.progress", "the progress bar")
        texts = ("step", "speed", "wasserstein", "second", "left")
        columns = [rich.TextColumn("{task.fields[" + name + "]}") for name in texts]
        self._bar = rich.Progress(
            rich.BarColumn(bar_width=None), *columns, console=console, expand=True
        )
        self._steps, self._second = steps, _Second()
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
        step = int(record["step"])
        left = (self._steps - step) / record["steps_per_second"]
        self._bar.update(
            self._task,
            completed=step,
            step=f"{step:,}/{self._steps:,}",
            speed=f"{record['steps_per_second']:.1f} steps/s",
            wasserstein=f"Wasserstein {record['wasserstein']:.3f}",
            second=self._second.text(record),
            left=f"{_seconds(left)} left",
        )


class _Lines(Progress):
    def __init__(self, steps: int) -> None:
        self._steps, self._second = steps, _Second()
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
        parts = [
            f"step {int(record['step'])} of {self._steps}",
            f"{record['steps_per_second']:.1f} steps/s",
            f"Wasserstein estimate {record['wasserstein']:.3f}",
            second,
        ]
        print(", ".join(filter(None, parts)), flush=True)
