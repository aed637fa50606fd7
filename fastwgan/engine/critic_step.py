"""A critic's loss with its penalties, and every gradient of it, by the four passes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fastwgan import penalty_points
from fastwgan.engine.blocks import Place, Recorded, Rows, place_all
from fastwgan.engine.casting import no_casting
from fastwgan.engine.feedforward_reader import feedforward_of
from fastwgan.engine.feedforward_step import feedforward_step, takes
from fastwgan.engine.jobs import Done, Job, numbers_of
from fastwgan.engine.joint import Joint, seeds_of, sweep
from fastwgan.engine.losses import Scored, Seed, scored
from fastwgan.engine.parts import Part, Parts, Sums, parts_of, split_rows
from fastwgan.engine.penalty import Term, Value, penalise, value_at
from fastwgan.engine.plan import Plan
from fastwgan.engine.scaling import Scale, first_scale, within_range
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
        scale = first_scale([place.block for place in places], job.real.shape[0])
        scores = places[0].scores, places[1].scores
        loss = scored(job.loss, *scores, differentiate=differentiate, scale=scale)
        with no_casting(job.real.device.type):
            return _passes(job, places, [each.samples for each in rows], loss, differentiate)


def _passes(
    job: Job,
    places: Sequence[Place],
    samples: Sequence[Tensor],
    loss: Scored,
    differentiate: bool,
) -> Done:
    scores = places[0].scores, places[1].scores  # before a sweep frees what it has read
    own_rows = any(is_at_samples(arguments.kind) for arguments in job.penalties)
    sweeps = differentiate and not own_rows and loss.scale == 1
    parts = parts_of(places, samples, own_rows=own_rows, sweeps=sweeps)
    sums = Sums(parts)
    scale: Scale = 1.0
    if parts.joint is not None:
        penalties = [_sweep(job, parts, parts.joint, loss, sums)]
    else:
        penalties, scale = _apart(job, parts, loss, sums, differentiate)
    tensors, gradients = sums.results()
    values = [value for value, _ in penalties]
    penalty = sum(values[1:], values[0]) if values else torch.zeros_like(loss.value)
    norms = [lengths for _, lengths in penalties]
    numbers = numbers_of(job, loss.value, penalty, norms, scores)
    return Done(numbers, *scores, tensors, gradients, scale)


def _sweep(job: Job, parts: Parts, at: Joint, loss: Scored, sums: Sums) -> tuple[Tensor, Tensor]:
    """The loss at other rows, whose activations go; then the penalty and the loss beside it."""
    for part, seed in zip(parts.losses[:-1], loss.seeds, strict=False):
        part.seed([seed], [])
        _backward(part, parts, sums)
        if part.block is not at.block:
            part.block.free()
    beside = parts.losses[-1]
    mine = loss.seeds[-len(beside.samples) :]
    sizes = [each.shape[0] for each in (*beside.samples, *parts.points[0].samples)]
    seeds = seeds_of(at.block.scores, split_rows([*mine, 1.0], sizes))
    term = _term(at.penalty_rows, job.penalties[0])
    swept = sweep(at, seeds, term, sums.of(at.block.tape))
    sums.add_samples(beside.samples, swept.at_samples)
    sums.add_samples(parts.points[0].samples, None)
    return swept.penalty, swept.norms


def _apart(
    job: Job, parts: Parts, loss: Scored, sums: Sums, differentiate: bool
) -> tuple[list[tuple[Tensor, Tensor]], Scale]:
    """Each penalty by itself, then a backward for each set of rows; and the gradients' scale."""
    points = iter(parts.points)
    found = []
    waiting: list[tuple[Part, Value]] = []
    for arguments in job.penalties:
        at_samples = is_at_samples(arguments.kind)
        part = parts.losses[arguments.kind == "r2"] if at_samples else next(points)
        value = value_at(part.block, _plan(parts, part), _term(part.rows, arguments))
        found.append((value.penalty, value.norms))
        if differentiate:
            waiting.append((part, value))
        del value
        if loss.scale == 1:
            _tangents(waiting, 1.0, parts, sums)  # at once, which frees cotangents
    scale = within_range(loss.scale, [value for _, value in waiting])
    _tangents(waiting, scale, parts, sums)
    if differentiate:
        _backwards(loss.rescaled(scale), parts, sums)
    return found, scale


def _tangents(waiting: list[tuple[Part, Value]], scale: Scale, parts: Parts, sums: Sums) -> None:
    while waiting:
        part, value = waiting.pop(0)
        gradients = sums.of(part.block.tape)
        part.add(penalise(part.block, _plan(parts, part), part.rows, value, scale, gradients))


def _backwards(seeds: tuple[Seed, Seed], parts: Parts, sums: Sums) -> None:
    if len(parts.losses) == 1:
        both = parts.losses[0]
        both.seed(seeds, [each.shape[0] for each in both.samples])
    else:
        for part, seed in zip(parts.losses, seeds, strict=True):
            part.seed([seed], [])
    for part in (*parts.losses, *parts.points):
        _backward(part, parts, sums)


def _plan(parts: Parts, part: Part) -> Plan:
    return parts.plans[id(part.block.tape)]


def _term(rows: slice | None, of: Arguments) -> Term:
    return Term(rows, of.kind, of.weight, of.target, of.groups)


def _backward(part: Part, parts: Parts, sums: Sums) -> None:
    found = part.run_backward(_plan(parts, part), sums.of(part.block.tape))
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
