"""The part of a finite data set that no run trains on, so that distances are measured on it."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from fastwgan.train.config import ConfigError
from fastwgan.train.data.dataset import Data

HELD_OUT_ROWS = 4096  # at most; an exact distance between more takes too long to be of use
_SHARE = 5  # one row of so many is held out
_SEED = 0  # not the run's: runs of different seeds are measured on the same rows


def hold_out(data: Data) -> Data:
    """Moves a fifth of each class, at most `HELD_OUT_ROWS` in all, from `values` to `held_out`.

    Which rows depends on the number of rows and their labels alone; rows keep their order. Classes
    of fewer than five rows are trained on whole.

    Raises:
        ConfigError: there are fewer than two rows.
    """
    rows = len(data.values)
    if rows < 2:
        raise ConfigError(
            "data",
            f"was {data.name}, which holds {rows} sample{'s' * (rows != 1)}; "
            "it must hold at least two.",
        )
    held_out = _chosen(data.labels if data.labels is not None else torch.zeros(rows).long())
    if not held_out.any():
        note = f"Nothing is held out of {rows} samples, so that no distance is measured."
        return dataclasses.replace(data, notes=(*data.notes, note))
    kept = ~held_out
    labels, other_labels = data.labels, None
    if labels is not None:
        labels, other_labels = labels[kept], labels[held_out]
    return dataclasses.replace(
        data,
        values=data.values[kept],
        held_out=data.values[held_out],
        labels=labels,
        held_out_labels=other_labels,
    )


def _chosen(labels: Tensor) -> Tensor:
    """Which rows are held out, bool [rows]."""
    generator = torch.Generator().manual_seed(_SEED)
    held_out = torch.zeros(len(labels), dtype=torch.bool)
    most = min(len(labels) // _SHARE, HELD_OUT_ROWS)
    for label in labels.unique():
        rows = (labels == label).nonzero().squeeze(1)
        order = torch.randperm(len(rows), generator=generator)
        held_out[rows[order[: len(rows) * most // len(labels)]]] = True
    return held_out
