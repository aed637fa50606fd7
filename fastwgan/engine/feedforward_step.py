"""A critic step, and a penalty by itself, of a feed-forward critic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from fastwgan import penalty_points
from fastwgan._cpu import pooled_empty
from fastwgan.engine.feedforward import Feedforward
from fastwgan.engine.feedforward_reader import feedforward_of
from fastwgan.engine.jobs import Done, Job, Numbers, numbers_of
from fastwgan.engine.joint import seeds_of
from fastwgan.engine.losses import Scored, scored, wasserstein
from fastwgan.engine.parts import split_rows
from fastwgan.engine.penalty import Term
from fastwgan.engine.ready import ready
from fastwgan.ops.feedforward_critic import NormPenalty, Pass
from fastwgan.ops.gradient_penalty.autograd import run_norm_penalty

Penalised = tuple[Tensor, Tensor, list[Tensor | None]]
"""A penalty [], its norms, and the gradients of the critic's parameters."""


def feedforward_step(critic: Feedforward, job: Job, points: Tensor) -> Done:
    """Loss and the job's only penalty, taken at points [batch, *sample] of its own."""
    run = _joint if critic.joins(points.shape[0]) else _apart
    with torch.no_grad():
        loss, scores, adjoint, penalised = run(critic, job, points.detach())
        penalty, norms, gradients = penalised
        tensors = critic.parameters()
        if _flows(job):
            _add_samples(job, adjoint, tensors, gradients)
    numbers = numbers_of(job, loss.value, penalty, [norms], scores)
    return Done(numbers, *scores, tensors, gradients, 1.0)


def step_at_once(job: Job) -> Done | None:
    """A step of the Wasserstein loss by one call of C++; None where it can't be.

    Its seeds do not wait for the scores, nor does it need points that lie between real and fake.

    Args:
        job: With every draw made.
    """
    if job.loss is not wasserstein or len(job.penalties) != 1 or _flows(job):
        return None
    of = job.penalties[0]
    if of.kind in ("r1", "r2") or of.alpha is None or job.real_args or job.fake_args:
        return None
    critic = feedforward_of(job.critic, job.real)
    if critic is None:
        return None
    are_alpha = of.kind != "dragan"
    points = of.alpha if are_alpha else penalty_points.points(of)
    penalty = NormPenalty(of.kind, of.target, of.weight, of.groups)
    found = critic.wasserstein_step(job.real, job.fake, points, penalty, are_alpha=are_alpha)
    if found is None:
        return None
    *numbers, real_scores, fake_scores, gradients = found
    tensors, given = critic.parameters(), list[Tensor | None](gradients)
    return Done(Numbers(*numbers), real_scores, fake_scores, tensors, given, 1.0)


class _Found(NamedTuple):
    loss: Scored
    scores: tuple[Tensor, Tensor]  # of real, of fake
    adjoint: Tensor  # gradient of the loss at the rows [real, fake, ...], where it is asked for
    penalised: Penalised


def _joint(critic: Feedforward, job: Job, points: Tensor) -> _Found:
    """By one run of all rows."""
    batch = points.shape[0]
    sizes = [batch, batch, batch]
    run = critic.score(_joined(job.real, job.fake, points), 2 * batch, masks_as_torch=False)
    scores = critic.scores(run)
    real_scores, fake_scores, _ = scores.split(sizes)
    loss = scored(job.loss, real_scores, fake_scores, differentiate=True)
    seeds = seeds_of(scores, split_rows([*loss.seeds, 1.0], sizes))
    adjoint = critic.backward(run, seeds, of_all=_flows(job))
    penalised = _penalised(critic, run, adjoint[-batch:], _term(job))
    return _Found(loss, (real_scores, fake_scores), adjoint, penalised)


def _apart(critic: Feedforward, job: Job, points: Tensor) -> _Found:
    """By a run of the loss's rows, whose memory one of the penalty's takes over."""
    batch = points.shape[0]
    sizes = [batch, batch]
    losses = critic.score(_joined(job.real, job.fake), 2 * batch, masks_as_torch=False)
    scores = critic.scores(losses)
    real_scores, fake_scores = scores.split(sizes)
    loss = scored(job.loss, real_scores, fake_scores, differentiate=True)
    seeds = seeds_of(scores, split_rows(loss.seeds, sizes))
    adjoint = critic.backward(losses, seeds, of_all=_flows(job))
    run = critic.score(points, 0, masks_as_torch=False, after=losses)
    ones = seeds_of(critic.scores(run), [(slice(None), 1.0)])
    at_points = critic.backward(run, ones, of_all=False, of_weights=False)
    penalised = _penalised(critic, run, at_points, _term(job), losses)
    return _Found(loss, (real_scores, fake_scores), adjoint, penalised)


def _flows(job: Job) -> bool:
    return job.real.requires_grad or job.fake.requires_grad


def _joined(*samples: Tensor) -> Tensor:
    """[rows, *sample], images channels-last, in memory that is kept from step to step."""
    first = samples[0]
    memory = pooled_empty(len(samples) * first.numel(), 8 * first.element_size())
    shape = first.shape[1:]
    if len(shape) == 3:
        channels, height, width = shape
        joined: Tensor = memory.view(-1, height, width, channels).permute(0, 3, 1, 2)
    else:
        joined = memory.view(-1, *shape)
    return torch.cat([each.detach() for each in samples], out=joined)


def _term(job: Job) -> Term:
    arguments = job.penalties[0]
    return Term(None, arguments.kind, arguments.weight, arguments.target, arguments.groups)


def _add_samples(
    job: Job, adjoint: Tensor, tensors: list[Tensor], gradients: list[Tensor | None]
) -> None:
    """Those of real and fake that ask for it, from the gradients at the rows [real, fake, ...]."""
    batch = job.real.shape[0]
    for index, each in enumerate((job.real, job.fake)):
        if each.requires_grad:
            tensors.append(each)
            rows = adjoint[index * batch : (index + 1) * batch]
            gradients.append(rows.reshape(each.shape).clone())


def feedforward_penalty(critic: Feedforward, points: Tensor, term: Term) -> Tensor:
    """The penalty [] at points [batch, *sample], with its gradients."""
    with torch.no_grad():
        run = critic.score(points.detach(), 0, masks_as_torch=True)
        seeds = seeds_of(critic.scores(run), [(slice(None), 1.0)])
        adjoint = critic.backward(run, seeds, of_all=False)
        penalty, _, gradients = _penalised(critic, run, adjoint, term)
    tensors = critic.parameters()
    if points.requires_grad:
        tensors.append(points)
        gradients.append(None)
    return ready(penalty, tensors, gradients)


def _penalised(
    critic: Feedforward, run: Pass, adjoint: Tensor, term: Term, after: Pass | None = None
) -> Penalised:
    """Penalty, norms, and the gradients of everything, from the gradient at the points."""
    # A norm is the same in any order of a row's elements: here that of memory.
    memory = adjoint.permute(0, 2, 3, 1)
    rows = memory.reshape(adjoint.shape[0] // term.groups, -1)
    penalty, norms, start = run_norm_penalty(rows, term.kind, term.target, term.weight)
    moved = start.view(memory.shape).permute(0, 3, 1, 2)
    return penalty, norms, critic.gradients(run, moved, after)


def takes(job: Job, points: Sequence[Tensor | None]) -> Tensor | None:
    """The points of a job's only penalty, where they are its own and nothing else is asked for."""
    return points[0] if len(points) == 1 and not (job.real_args or job.fake_args) else None
