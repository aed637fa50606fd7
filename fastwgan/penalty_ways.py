"""The two ways to a penalty and the critic's scores at its points: the engine's, and autograd's."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import Tensor

from fastwgan.engine.direct import NotDirect, calls_of, run_direct
from fastwgan.engine.feedforward_reader import feedforward_of
from fastwgan.engine.feedforward_step import feedforward_penalty
from fastwgan.engine.generic import Run, WithZeros, input_gradient, rooted, run
from fastwgan.engine.penalty import Term, by_itself
from fastwgan.engine.reached import nodes_behind
from fastwgan.engine.record import Recorder
from fastwgan.engine.scores import differentiable_scores
from fastwgan.engine.tape import Block
from fastwgan.engine.twins import Twins
from fastwgan.ops.gradient_penalty import norm_penalty
from fastwgan.penalty_arguments import Arguments


class Found(NamedTuple):
    """A penalty, and the critic's scores at its points where they were asked for."""

    penalty: Tensor  # []
    scores: Tensor | None


class ByAutograd(NamedTuple):
    """What autograd found."""

    penalty: Tensor  # []
    norms: Tensor  # [rows / groups]
    scores: Tensor


def by_engine(
    critic: Callable[[Tensor], Tensor],
    arguments: Arguments,
    points: Tensor,
    *,
    must: bool,
    with_scores: bool,
) -> Found:
    """The engine's passes over a recording of the critic, or what autograd recorded with it.

    Raises:
        RuntimeError: the engine must be taken and cannot.
    """
    term = Term(None, arguments.kind, arguments.weight, arguments.target, arguments.groups)
    plain = None if with_scores else feedforward_of(critic, points)
    if plain is not None:
        return Found(feedforward_penalty(plain, points, term), None)
    flows = points.requires_grad  # before it is the root of a recording, and always does
    block = _directly(critic, points)
    if block is None:
        root = rooted(points)
        recorder = Recorder([root])
        at = run(critic, root, recorder)
        recorder.finish(at.scores, at.edge.node)
        if recorder.refusal is not None:
            if must:
                raise RuntimeError(f'engine was "always", and the critic has {recorder.refusal}.')
            found = _differentiated(at, arguments, points, recording=True)
            return Found(found.penalty, found.scores if with_scores else None)
        block = recorder.block
        del at, root
    needed = points if flows else None
    penalty = by_itself(block, term, needed)
    return Found(penalty, differentiable_scores(block, needed) if with_scores else None)


def _directly(critic: Callable[[Tensor], Tensor], points: Tensor) -> Block | None:
    """The critic's tensors at the points, where it need not be called to have them."""
    calls = calls_of(critic)
    if not calls:
        return None
    try:
        return run_direct(calls, points.detach())
    except NotDirect:
        return None


def by_autograd(
    critic: Callable[[Tensor], Tensor], arguments: Arguments, points: Tensor
) -> ByAutograd:
    """Autograd's double backward, over twins."""
    recording = torch.is_grad_enabled()
    at = run(critic, rooted(points), Twins() if recording else nullcontext())
    return _differentiated(at, arguments, points, recording)


def _differentiated(at: Run, arguments: Arguments, points: Tensor, recording: bool) -> ByAutograd:
    flows = points.grad_fn is not None and type(points.grad_fn).__name__ != "RootBackward"
    found = input_gradient(at, differentiable=recording, flows=flows)
    rows = found.gradient.reshape(arguments.rows, -1)
    penalty, norms = norm_penalty(rows, arguments.kind, arguments.target, arguments.weight)
    if not recording:
        return ByAutograd(penalty.detach(), norms, at.scores.detach())
    behind = nodes_behind(penalty.grad_fn, stop=found.points, surely=True)
    without = [
        node.variable
        for node in found.behind_scores
        if hasattr(node, "variable") and node not in behind
    ]
    if flows and found.points not in behind:
        without.append(points)
    if without:
        penalty = WithZeros.apply(penalty, *without)
    return ByAutograd(penalty, norms, at.scores)
