"""A critic's scores with one ordinary backward of their own, over activations kept until then."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from fastwgan.engine.casting import no_casting
from fastwgan.engine.oracle import memory_of
from fastwgan.engine.passes import Adjoints, Gradients, backward
from fastwgan.engine.plan import Plan, plan_of
from fastwgan.engine.ready import keeps_graph, refuse_second_derivative
from fastwgan.engine.tape import Block


def differentiable_scores(block: Block, points: Tensor | None) -> Tensor:
    """The scores of all rows, differentiable once.

    Args:
        block: The critic at the points, with its activations whole. Those that the backward reads
            are kept by the scores until it.
        points: What was given to the critic, where its gradient is asked for.
    """
    tape = block.tape
    plan = plan_of(tape, points_need_gradient=points is not None)
    tensors = [tape.outers[index] for index in plan.reached]
    if points is not None:
        tensors.append(points)
    if not tensors:
        return block.scores.clone()
    scores: Tensor = _Scores.apply(_Kept(block, plan), *tensors)
    return scores


class _Kept:
    """A block without its tensors, which autograd keeps and watches in its stead."""

    def __init__(self, block: Block, plan: Plan) -> None:
        self.block, self.plan = block, plan
        slots, outers = _read(plan)
        self.slots, self.outers = sorted(slots), sorted(outers)

    def take_tensors(self) -> list[Tensor | None]:
        """What the backward reads of activations; then the weights, to see whether they change."""
        block, outers = self.block, self.block.tape.outers
        values = [block.values[slot] for slot in self.slots]
        block.values = [None] * block.tape.slots
        # A constant that was copied is one that the critic itself writes to.
        weights = [
            outers[index].detach()
            for index in self.outers
            if outers[index].requires_grad
            or memory_of(outers[index]) == memory_of(block.constants[index])
        ]
        return [*values, *weights]

    def restored(self, tensors: tuple[Tensor | None, ...]) -> Block:
        """The block with what the backward reads of it."""
        kept = self.block
        block = Block(kept.tape, kept.rows)
        block.values, block.saved, block.constants = list(kept.values), kept.saved, kept.constants
        for slot, value in zip(self.slots, tensors, strict=False):
            block.values[slot] = value
        return block


def _read(plan: Plan) -> tuple[set[int], set[int]]:
    """The slots and the outer tensors that a backward reads."""
    slots: set[int] = set()
    outers: set[int] = set()
    for step in plan.steps:
        if not step.is_wanted:
            continue
        if step.rule.reads_outputs:
            slots.update(step.outputs)
        for position, reference in enumerate(step.inputs):
            if reference is None or position in step.rule.unread:
                continue
            if reference < 0:
                outers.add(~reference)
            elif step.rule.reads_inputs:
                slots.add(reference)
    return slots, outers


class _Scores(Function):
    """The last value of a block; its backward is the block's."""

    @staticmethod
    def forward(ctx: Any, kept: _Kept, *tensors: Tensor) -> Tensor:
        scores = kept.block.scores.clone()  # the caller's to write to
        ctx.save_for_backward(*kept.take_tensors())
        ctx.kept, ctx.strides = kept, scores.stride()
        ctx.like = [(t.shape, t.dtype, t.device) for t in tensors]
        return scores

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivative()
        kept: _Kept | None = ctx.kept
        if kept is None:
            raise RuntimeError(
                "backward was called a second time through the same scores; the first one must "
                "have had retain_graph=True."
            )
        block = kept.restored(ctx.saved_tensors)
        if not keeps_graph():
            ctx.kept = None
        tape, plan = block.tape, kept.plan
        gradients = Gradients(tape)
        adjoints: Adjoints = [None] * tape.slots
        # Rules write over nothing, but are written for tensors without expanded dimensions.
        seeds = torch.empty_strided(g.shape, ctx.strides, dtype=g.dtype, device=g.device).copy_(g)
        adjoints[tape.score] = seeds
        with no_casting(g.device.type):
            at_points = backward(block, plan, None, adjoints, gradients)
        found = [gradients[index] for index in plan.reached]
        if plan.points_are_needed:
            found.append(at_points)
        zeros = (
            torch.zeros(shape, dtype=dtype, device=device) for shape, dtype, device in ctx.like
        )
        return None, *(z if g is None else g for g, z in zip(found, zeros, strict=True))
