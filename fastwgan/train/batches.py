"""Endless batches drawn from a data set in an order that can be gone on with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fastwgan.train.config import ConfigError


class Batches:
    """Endless batches of rows, each epoch in a fresh random order; a last short batch is left out.

    The order is drawn on the CPU by a generator of its own, so that it is the same on any device.

    Args:
        values: [samples, *shape] on the device that the batches shall be on.
        batch_size: Rows a batch.
        seed: Of the order.
        labels: int64 [samples] on the same device; None where the run is not conditional.
        own: Which of a batch's rows are wanted, as a function of all.

    Raises:
        ConfigError: there are fewer rows than a batch has.
    """

    def __init__(
        self,
        values: Tensor,
        batch_size: int,
        seed: int,
        labels: Tensor | None = None,
        own: Callable[[Tensor], Tensor] = lambda rows: rows,
    ) -> None:
        if batch_size > len(values):
            raise ConfigError(
                "batch_size",
                f"was {batch_size}; it must be at most {len(values)}, the training samples.",
            )
        self._values = values
        self._labels = labels
        self._own = own
        self._batch_size = batch_size
        self._generator = torch.Generator().manual_seed(seed)
        self._begin_epoch()

    def next(self) -> tuple[Tensor, Tensor | None]:
        """The next batch's own rows, [rows, *shape], and their labels [rows]."""
        if self._position + self._batch_size > len(self._order):
            self._begin_epoch()
        rows = self._own(self._order[self._position : self._position + self._batch_size])
        self._position += self._batch_size
        labels = None if self._labels is None else self._labels.index_select(0, rows)
        return self._values.index_select(0, rows), labels

    def _begin_epoch(self) -> None:
        self._epoch_state = self._generator.get_state()
        order = torch.randperm(len(self._values), generator=self._generator)
        self._order = order.to(self._values.device)
        self._position = 0

    def state_dict(self) -> dict[str, Any]:
        """The generator as it was when this epoch began, and how far the epoch has come."""
        return {"epoch": self._epoch_state, "position": self._position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where the `Batches` that gave `state` was."""
        self._generator.set_state(state["epoch"])
        self._begin_epoch()
        self._position = state["position"]
