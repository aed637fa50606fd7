"""What may be done round a run's steps, without a change to its numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastwgan.train.metrics import Record

if TYPE_CHECKING:
    from fastwgan.train.run import Run


class Callback:
    """Called by a run as it goes on; every method does nothing unless a subclass says what.

    A callback must leave the trainer's weights, buffers and random streams as they are: a run gives
    the same bits with and without it.
    """

    def begin(self, run: Run) -> None:
        """Called once before the first step of this part of the run; may refuse by raising."""

    def after_step(self, run: Run) -> None:
        """Called after every generator step."""

    def measure(self, run: Run) -> Record:
        """Called before a line of metrics.jsonl is written; returns what to add to it."""
        return {}

    def logged(self, run: Run, record: Record) -> None:
        """Called with every line of metrics.jsonl."""

    def saved(self, run: Run) -> None:
        """Called after every checkpoint."""

    def end(self, run: Run) -> None:
        """Called after the last step and checkpoint, also where the run was stopped before."""
