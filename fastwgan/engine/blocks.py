"""Runs a critic on several sets of rows: recorded once, replayed or recorded again for the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fastwgan.engine.casting import no_casting
from fastwgan.engine.direct import NotDirect, calls_of, run_direct
from fastwgan.engine.generic import Run, rooted, run
from fastwgan.engine.record import Recorder
from fastwgan.engine.replay import is_row_wise, replay
from fastwgan.engine.tape import Block, Tape


class Rows(NamedTuple):
    """One set of rows: samples [rows, ...] and the critic's further arguments for them."""

    samples: Tensor
    others: tuple[Any, ...]


class Place(NamedTuple):
    """Where a set of rows is: all of a block (None), or a part."""

    block: Block
    rows: slice | None

    @property
    def scores(self) -> Tensor:
        """These rows' scores."""
        scores = self.block.scores
        return scores if self.rows is None else scores[self.rows]


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


def place_all(critic: Callable[..., Tensor], rows: Sequence[Rows]) -> list[Place] | Recorded:
    """Where each set of rows is; or, where the engine cannot tell, the call on the first.

    Nothing is replayed whose way through the critic's Python could differ.
    """
    calls = None if any(each.others for each in rows) else calls_of(critic)
    if calls:
        try:
            block = run_direct(calls, torch.cat([each.samples.detach() for each in rows]))
        except NotDirect:
            pass
        else:
            return _split(block, [each.samples.shape[0] for each in rows])
    first = record(critic, rows[0])
    if first.refusal is not None:
        return first
    with torch.no_grad():
        if first.is_replayable:
            block = first.block
            block.free_unread()
            del first  # and autograd's graph, before more activations come
            return [Place(block, None), *_replayed(block.tape, rows[1:])]
        places = _recorded_each(critic, rows[1:])
    if isinstance(places, str):
        return first._replace(refusal=places)
    first.block.free_unread()
    return [Place(first.block, None), *places]


def _split(block: Block, sizes: Sequence[int]) -> list[Place]:
    places, start = [], 0
    for size in sizes:
        places.append(Place(block, slice(start, start + size)))
        start += size
    return places


def _replayed(tape: Tape, rest: Sequence[Rows]) -> list[Place]:
    arguments = [_arguments(rows) for rows in rest]
    with no_casting(rest[0].samples.device.type):
        if not is_row_wise(tape):
            return [Place(replay(tape, tensors), None) for tensors in arguments]
        joined = [torch.cat(column) for column in zip(*arguments, strict=True)]
        return _split(replay(tape, joined), [tape.rows] * len(rest))


def _recorded_each(critic: Callable[..., Tensor], rest: Sequence[Rows]) -> list[Place] | str:
    places = []
    for rows in rest:
        recorded = record(critic, rows)
        if recorded.refusal is not None:
            return recorded.refusal
        recorded.block.free_unread()
        places.append(Place(recorded.block, None))
    return places


def _arguments(rows: Rows) -> list[Tensor]:
    return [rows.samples.detach(), *(t.detach() for t in rows.others if isinstance(t, Tensor))]
