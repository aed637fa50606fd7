"""A critic's loss with its penalties, and every gradient of it, by the four passes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fastwgan import penalty_points
from fastwgan.engine.blocks import Place, Recorded, Rows, place_all
from fastwgan.engine.casting import no_casting
from fastwgan.engine.feedforward import feedforward_of
from fastwgan.engine.feedforward_step import feedforward_step, takes
from fastwgan.engine.jobs import Done, Job
from fastwgan.engine.joint import Joint, seeds_of, sweep
from fastwgan.engine.losses import Scored, scored
from fastwgan.engine.parts import Part, Parts, Sums, parts_of, split_rows
from fastwgan.engine.penalty import Term, penalise, value_at
from fastwgan.penalty_arguments import Arguments


def critic_step(
    job: Job, points: Sequence[Tensor | None], *, differentiate: bool
) -> Done | Recorded:
    """The whole step; or, where the engine cannot, the critic's recorded call on `real`.

    Args:
        job: What is asked for.
        points: Of each penalty, None for one at the loss's own samples.
        differentiate: Whether gradients are asked for.
    """
    own = takes(job, points) if differentiate else None
    plain = None if own is None else feedforward_of(job.critic, job.real)
    if plain is not None and own is not None:
        return feedforward_step(plain, job, own)
    rows = [Rows(job.real, job.real_args), Rows(job.fake, job.fake_args)]
    rows += [Rows(p, job.real_args) for p in points if p is not None]
    places = place_all(job.critic, rows)
    if isinstance(places, Recorded):
        return places
    with torch.no_grad():
        loss = scored(job.loss, places[0].scores, places[1].scores, differentiate=differentiate)
        with no_casting(job.real.device.type):
            return _passes(job, places, [each.samples for each in rows], loss, differentiate)


def _passes(
    job: Job,
    places: Sequence[Place],
    samples: Sequence[Tensor],
    loss: Scored,
    differentiate: bool,
) -> Done:
    own_rows = any(is_at_samples(arguments.kind) for arguments in job.penalties)
    parts = parts_of(places, samples, own_rows=own_rows, differentiate=differentiate)
    sums = Sums(parts)
    if parts.joint is not None:
        penalties = [_sweep(job, parts, parts.joint, loss, sums)]
    else:
        penalties = _apart(job, parts, loss, sums, differentiate)
    tensors, gradients = sums.results()
    values = [value for value, _ in penalties]
    penalty = sum(values[1:], values[0]) if values else torch.zeros_like(loss.value)
    norms = tuple(lengths for _, lengths in penalties)
    scores = places[0].scores, places[1].scores
    return Done(loss.value, penalty, norms, *scores, tensors, gradients)


def _sweep(job: Job, parts: Parts, at: Joint, loss: Scored, sums: Sums) -> tuple[Tensor, Tensor]:
    """All of the penalty, and the loss at the rows beside it; then the loss at other rows."""
    beside = parts.losses[-1]
    mine = loss.seeds[-len(beside.samples) :]
    sizes = [each.shape[0] for each in (*beside.samples, *parts.points[0].samples)]
    seeds = seeds_of(at.block.scores, split_rows([*mine, 1.0], sizes))
    term = _term(at.penalty_rows, job.penalties[0])
    swept = sweep(at, seeds, term, sums.of(at.block.tape))
    sums.add_samples(beside.samples, swept.at_samples)
    sums.add_samples(parts.points[0].samples, None)
    for part, seed in zip(parts.losses[:-1], loss.seeds, strict=False):
        part.seed([seed], [])
        _backward(part, parts, sums)
    return swept.penalty, swept.norms


def _apart(
    job: Job, parts: Parts, loss: Scored, sums: Sums, differentiate: bool
) -> list[tuple[Tensor, Tensor]]:
    """Each penalty by itself, then a backward for each set of rows."""
    points = iter(parts.points)
    found = []
    for arguments in job.penalties:
        at_samples = is_at_samples(arguments.kind)
        part = parts.losses[arguments.kind == "r2"] if at_samples else next(points)
        found.append(_penalty(part, arguments, parts, sums, differentiate))
    if differentiate:
        if len(parts.losses) == 1:
            both = parts.losses[0]
            both.seed(loss.seeds, [each.shape[0] for each in both.samples])
        else:
            for part, seed in zip(parts.losses, loss.seeds, strict=True):
                part.seed([seed], [])
        for part in (*parts.losses, *parts.points):
            _backward(part, parts, sums)
    return found


def _penalty(
    part: Part, arguments: Arguments, parts: Parts, sums: Sums, differentiate: bool
) -> tuple[Tensor, Tensor]:
    term = _term(part.rows, arguments)
    plan = parts.plans[id(part.block.tape)]
    if not differentiate:
        value = value_at(part.block, plan, term)
        return value.penalty, value.norms
    done = penalise(part.block, plan, term, sums.of(part.block.tape))
    part.add(done.second_order)
    return done.penalty, done.norms


def _term(rows: slice | None, arguments: Arguments) -> Term:
    return Term(rows, arguments.kind, arguments.weight, arguments.target, arguments.groups)


def _backward(part: Part, parts: Parts, sums: Sums) -> None:
    tape = part.block.tape
    found = part.run_backward(parts.plans[id(tape)], sums.of(tape))
    sums.add_samples(part.samples, found)


def is_at_samples(kind: str) -> bool:
    """Whether a kind of penalty is taken at the loss's own samples."""
    return kind in ("r1", "r2")


def points_of(penalties: Sequence[Arguments]) -> list[Tensor | None]:
    """Where each penalty is taken; None for the loss's own samples."""
    return [
        None if is_at_samples(arguments.kind) else penalty_points.points(arguments)
        for arguments in penalties
    ]
