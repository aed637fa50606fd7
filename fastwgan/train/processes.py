"""What a run asks of the processes that train it together, and how one process alone answers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from fastwgan.train.config import TrainConfig

T = TypeVar("T")
WRITER = 0


class ProcessesError(RuntimeError):
    """Processes that can't train one run together."""


class ProcessLostError(ProcessesError):
    """Another process ended before the run did, or no longer answers."""


class Processes:
    """A run's processes, as one of them sees them; of this class, the only one.

    It answers everything itself and moves no tensor. `fastwgan.train.joining.join` gives what suits
    the environment. Every process must make the same calls in the same order, but for `device` and
    `own`, which ask no other.

    Attributes:
        rank: Which process this is, from 0.
        size: How many there are.
        local_size: How many are on this machine.
    """

    rank = 0
    size = 1
    local_size = 1

    @property
    def is_writer(self) -> bool:
        """Whether this is the one process that writes the run's files and shows its progress."""
        return self.rank == WRITER

    def check(self, config: TrainConfig, fingerprint: str) -> None:
        """Refuses what these processes can't train together.

        Args:
            config: The run's settings, the same on every process but for `threads`.
            fingerprint: Of the data, the same on every process.

        Raises:
            ConfigError: a setting that doesn't fit this many processes.
            ProcessesError: settings or data that aren't the same.
        """

    def device(self, name: str) -> torch.device:
        """Where this process trains, by the name that all processes were given.

        Raises:
            ConfigError: this machine lacks a device for each of its processes.
        """
        return torch.device(name)

    def own(self, rows: Tensor, parts: int = 1) -> Tensor:
        """This process's rows of a whole batch, [batch / size, ...]: of each part its share.

        Args:
            rows: [batch, ...], the same on every process.
            parts: How many equal parts the batch is computed in, each over all processes.
        """
        return rows

    def average(self, tensors: Sequence[Tensor], then: Callable[[], object]) -> None:
        """Replaces each tensor by its mean over the processes, then calls `then`.

        That is done when `settle` returns; until then, tensors and what `then` changes may be as
        they were, and what else is computed hides the time on the way.
        """
        then()

    def settle(self) -> None:
        """Finishes the last `average`."""

    def gather(self, tensor: Tensor) -> Tensor:
        """Every process's tensor, [size, *shape], in the order of their ranks."""
        return tensor.unsqueeze(0)

    def total(self, tensor: Tensor) -> Tensor:
        """The sum of every process's tensor."""
        return tensor

    def greatest(self, number: int) -> int:
        """The greatest of every process's number; returns when all have asked."""
        return number

    def spread(self, tensors: Sequence[Tensor]) -> None:
        """Overwrites the tensors by the writer's."""

    def from_writer(self, make: Callable[[], T]) -> T:
        """What `make`, called by the writer alone, returned there."""
        return make()

    @contextlib.contextmanager
    def in_turn(self) -> Iterator[None]:
        """Entered by one process of each machine before its others, for files that are cached."""
        yield

    @contextlib.contextmanager
    def one_voice(self) -> Iterator[None]:
        """Inside, only the writer's standard output is shown."""
        yield

    def __deepcopy__(self, memo: dict[int, Any]) -> Processes:
        return self  # a copied network belongs to the same processes


ALONE = Processes()
