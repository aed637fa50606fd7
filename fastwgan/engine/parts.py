"""Sets of rows on their way through the passes, and the sums of their gradients."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from fastwgan.engine.blocks import Place
from fastwgan.engine.joint import Joint, seeds_of
from fastwgan.engine.losses import Seed
from fastwgan.engine.passes import Adjoints, Gradients, backward
from fastwgan.engine.plan import Plan, plan_of
from fastwgan.engine.tape import Block, Tape


class Part:
    """Rows of a block that go through a backward together.

    Attributes:
        rows: Which of the block's; None for all.
        samples: What was given to the critic as these rows, in order.
        adjoints: By slot, what the backward starts from.
    """

    def __init__(self, block: Block, rows: slice | None, samples: Sequence[Tensor]) -> None:
        self.block, self.rows, self.samples = block, rows, samples
        self.adjoints: Adjoints = [None] * block.tape.slots

    def add(self, adjoints: Adjoints) -> None:
        """Adds second-order terms to what the backward starts from."""
        for slot, term in enumerate(adjoints):
            self._add_at(slot, term)

    def seed(self, seeds: Sequence[Seed], sizes: Sequence[int]) -> None:
        """Adds the loss's derivatives by the scores, one a sample set, of so many rows."""
        if any(seed is not None for seed in seeds):
            scores = self.block.scores if self.rows is None else self.block.scores[self.rows]
            self._add_at(self.block.tape.score, seeds_of(scores, split_rows(seeds, sizes)))

    def _add_at(self, slot: int, term: Tensor | None) -> None:
        if term is not None:
            before = self.adjoints[slot]
            self.adjoints[slot] = term if before is None else before + term

    def run_backward(self, plan: Plan, gradients: Gradients) -> Tensor | None:
        """The gradient at the samples; None when not needed, or zero."""
        if all(adjoint is None for adjoint in self.adjoints):
            return None
        return backward(self.block, plan, self.rows, self.adjoints, gradients)


def split_rows(seeds: Sequence[Seed], sizes: Sequence[int]) -> list[tuple[slice, Seed]]:
    """Each seed with its rows. A single one has all, for scores that have no rows."""
    if len(seeds) == 1:
        return [(slice(None), seeds[0])]
    starts = itertools.accumulate(sizes, initial=0)
    return [
        (slice(start, start + size), seed)
        for start, size, seed in zip(starts, sizes, seeds, strict=False)
    ]


class Parts(NamedTuple):
    """A step's rows, as they go through the passes.

    Attributes:
        losses: Parts with the loss's rows: one for real and one for fake, or one for both.
        points: One for each penalty at points of its own.
        plans: By tape's id.
        joint: The last of the losses and the only points, where one sweep takes both.
    """

    losses: tuple[Part, ...]
    points: tuple[Part, ...]
    plans: dict[int, Plan]
    joint: Joint | None


def parts_of(
    places: Sequence[Place], samples: Sequence[Tensor], *, own_rows: bool, sweeps: bool
) -> Parts:
    """The parts of a step.

    Args:
        places: Of real, of fake, of each penalty's points.
        samples: Likewise.
        own_rows: Whether some penalty is taken at the loss's own samples.
        sweeps: Whether one sweep may take loss and penalty.
    """
    (real, real_rows), (fake, fake_rows) = places[0], places[1]
    points = tuple(
        Part(place.block, place.rows, [each])
        for place, each in zip(places[2:], samples[2:], strict=True)
    )
    if real is fake and not own_rows:
        assert real_rows is not None
        assert fake_rows is not None
        both = slice(real_rows.start, fake_rows.stop)
        losses: tuple[Part, ...] = (Part(real, both, samples[:2]),)
    else:
        losses = (Part(real, real_rows, samples[:1]), Part(fake, fake_rows, samples[1:2]))
    plans = _plans([*losses, *points])
    joint = None
    if sweeps and len(points) == 1:
        joint = _joint(losses[-1], points[0], plans)
    return Parts(losses, points, plans, joint)


def _joint(loss: Part, penalty: Part, plans: dict[int, Plan]) -> Joint | None:
    block = loss.block
    plan = plans[id(block.tape)]
    if penalty.block is not block or not plan.is_piecewise_linear:
        return None
    assert loss.rows is not None
    assert penalty.rows is not None
    if _meets_input_again(plan, block.tape):
        plan = plan_of(block.tape, points_need_gradient=True)
    return Joint(block, plan, loss.rows, penalty.rows)


def _meets_input_again(plan: Plan, tape: Tape) -> bool:
    """Whether some node reads the critic's input beside an activation, as a skip from it does.

    Its cotangent is then asked for at the loss's rows too, for what lies behind that activation.
    """
    points = tape.arguments[0]
    return any(
        points in step.inputs and any(r is not None and r >= 0 and r != points for r in step.inputs)
        for step in plan.steps
    )


def _plans(parts: Sequence[Part]) -> dict[int, Plan]:
    """One a tape, for the gradients that any of its rows is asked for."""
    flows: dict[int, bool] = {}
    tapes: dict[int, Tape] = {}
    for part in parts:
        tape = part.block.tape
        tapes[id(tape)] = tape
        needs = any(samples.requires_grad for samples in part.samples)
        flows[id(tape)] = flows.get(id(tape), False) or needs
    return {key: plan_of(tape, points_need_gradient=flows[key]) for key, tape in tapes.items()}


class Sums:
    """The gradients of everything that requires one, over all tapes."""

    def __init__(self, parts: Parts) -> None:
        self._tapes: dict[int, tuple[Tape, Gradients]] = {}
        self._samples: dict[int, tuple[Tensor, Tensor | None]] = {}
        self._plans = parts.plans
        for part in (*parts.losses, *parts.points):
            tape = part.block.tape
            if id(tape) not in self._tapes:
                self._tapes[id(tape)] = (tape, Gradients(tape))

    def of(self, tape: Tape) -> Gradients:
        """The sums of one tape."""
        return self._tapes[id(tape)][1]

    def add_samples(self, samples: Sequence[Tensor], gradient: Tensor | None) -> None:
        """Adds to the gradients of samples, whose rows follow each other in `gradient`."""
        start = 0
        for each in samples:
            stop = start + each.shape[0]
            if each.requires_grad:
                # Of its own memory: it is handed to autograd.
                rows = None if gradient is None else gradient[start:stop].clone()
                self._add(each, rows)
            start = stop

    def _add(self, samples: Tensor, gradient: Tensor | None) -> None:
        before = self._samples.get(id(samples), (samples, None))[1]
        if before is not None and gradient is not None:
            gradient = before.add_(gradient)
        self._samples[id(samples)] = (samples, before if gradient is None else gradient)

    def results(self) -> tuple[list[Tensor], list[Tensor | None]]:
        """The tensors that the scores depend on, and their gradients; None is zero."""
        found = dict(self._samples)
        for tape, gradients in self._tapes.values():
            for index in self._plans[id(tape)].reached:
                tensor, gradient = tape.outers[index], gradients[index]
                before = found.get(id(tensor), (tensor, None))[1]
                if before is not None and gradient is not None:
                    gradient = before.add_(gradient)
                found[id(tensor)] = (tensor, before if gradient is None else gradient)
        return [tensor for tensor, _ in found.values()], [g for _, g in found.values()]
