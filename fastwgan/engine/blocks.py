"""Runs a critic on several sets of rows: recorded once, replayed or recorded again for the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fastwgan.engine.generic import Run, rooted, run
from fastwgan.engine.record import Recorder
from fastwgan.engine.replay import is_row_wise, replay
from fastwgan.engine.tape import Block


class Rows(NamedTuple):
    """One set of rows: samples [rows, ...] and the critic's further arguments for them."""

    samples: Tensor
    others: tuple[Any, ...]


class Place(NamedTuple):
    """Where a set of rows is: all of a block (None), or a part."""

    block: Block
    rows: slice | None


class Recorded(NamedTuple):
    """A critic's call, its tape's block or the reason why there is none."""

    at: Run
    block: Block
    refusal: str | None
    is_replayable: bool


def record(critic: Callable[..., Tensor], rows: Rows) -> Recorded:
    """One call of the critic, on a copy of the samples, which it may write to."""
    root = rooted(rows.samples.clone())
    tensors = [t for t in rows.others if isinstance(t, Tensor)]
    recorder = Recorder([root, *tensors])
    at = run(critic, root, recorder, rows.others)
    recorder.finish(at.scores, at.edge.node)
    return Recorded(at, recorder.block, recorder.refusal, recorder.is_replayable)


def place_rest(
    critic: Callable[..., Tensor], first: Recorded, rest: Sequence[Rows]
) -> list[Place] | str:
    """Where the other sets of rows are, in the order given; or why the engine cannot take them.

    Nothing is replayed whose way through the critic's Python could differ.
    """
    if not first.is_replayable:
        return _recorded_each(critic, rest)
    tape = first.block.tape
    arguments = [_arguments(rows) for rows in rest]
    if not is_row_wise(tape) or not rest:
        return [Place(replay(tape, tensors), None) for tensors in arguments]
    joined = [torch.cat(column) for column in zip(*arguments, strict=True)]
    block = replay(tape, joined)
    count = tape.rows
    return [Place(block, slice(i * count, (i + 1) * count)) for i in range(len(rest))]


def _recorded_each(critic: Callable[..., Tensor], rest: Sequence[Rows]) -> list[Place] | str:
    places = []
    for rows in rest:
        recorded = record(critic, rows)
        if recorded.refusal is not None:
            return recorded.refusal
        places.append(Place(recorded.block, None))
    return places


def _arguments(rows: Rows) -> list[Tensor]:
    return [rows.samples.detach(), *(t.detach() for t in rows.others if isinstance(t, Tensor))]
