"""Contestants with made-up speeds and results, and the clock they run on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarks.race import Contestant


class FakeClock:
    """Stands still unless somebody works."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Fake(Contestant):
    """Takes `seconds[step]` a run, and an hour to prepare, and notes both in `log`."""

    def __init__(
        self,
        name: str,
        clock: FakeClock,
        seconds: Sequence[float],
        log: list[tuple[str, str, int]] | None = None,
    ) -> None:
        self.name = name
        self.clock = clock
        self.seconds = seconds
        self.log: list[tuple[str, str, int]] = [] if log is None else log
        self.step = -1

    def prepare(self, step: int) -> None:
        self.step = step
        self.clock.now += 3600.0
        self.log.append(("prepare", self.name, step))

    def run(self) -> None:
        self.clock.now += self.seconds[self.step % len(self.seconds)]
        self.log.append(("run", self.name, self.step))

    def results(self) -> list[Tensor]:
        return [torch.ones(3)]


class Answer(Contestant):
    """Has run, and answers what it is told to."""

    def __init__(self, *tensors: Tensor, name: str = "answer") -> None:
        self.name = name
        self.tensors = list(tensors)

    def prepare(self, step: int) -> None: ...

    def run(self) -> None: ...

    def results(self) -> list[Tensor]:
        return self.tensors
