"""A critic step, and a penalty by itself, of a feed-forward critic."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fastwgan._cpu import pooled_empty
from fastwgan.engine.feedforward import Feedforward
from fastwgan.engine.jobs import Done, Job
from fastwgan.engine.joint import seeds_of
from fastwgan.engine.losses import scored
from fastwgan.engine.parts import split_rows
from fastwgan.engine.penalty import Term
from fastwgan.engine.ready import ready
from fastwgan.ops.feedforward_critic import Pass
from fastwgan.ops.gradient_penalty.autograd import run_norm_penalty


def feedforward_step(critic: Feedforward, job: Job, points: Tensor) -> Done:
    """Loss and the job's only penalty, taken at points [batch, *sample] of its own."""
    run = _joint if critic.joins(points.shape[0]) else _apart
    with torch.no_grad():
        return run(critic, job, points.detach())


def _joint(critic: Feedforward, job: Job, points: Tensor) -> Done:
    """By one run of all rows."""
    batch = points.shape[0]
    sizes = [batch, batch, batch]
    joined = _joined(job.real, job.fake, points)
    run = critic.score(joined, 2 * batch, masks_as_torch=False)
    scores = critic.scores(run)
    real_scores, fake_scores, _ = scores.split(sizes)
    loss = scored(job.loss, real_scores, fake_scores, differentiate=True)
    seeds = seeds_of(scores, split_rows([*loss.seeds, 1.0], sizes))
    flows = job.real.requires_grad or job.fake.requires_grad
    adjoint = critic.backward(run, seeds, of_all=flows)
    at_points = adjoint[2 * batch :] if flows else adjoint
    penalty, norms, gradients = _penalised(critic, run, at_points, _term(job))
    tensors = critic.parameters()
    if flows:
        _add_samples(job, adjoint, tensors, gradients)
    return Done(loss.value, penalty, (norms,), real_scores, fake_scores, tensors, gradients, 1.0)


def _apart(critic: Feedforward, job: Job, points: Tensor) -> Done:
    """By a run of the loss's rows, whose memory one of the penalty's takes over."""
    batch = points.shape[0]
    sizes = [batch, batch]
    losses = critic.score(_joined(job.real, job.fake), 2 * batch, masks_as_torch=False)
    scores = critic.scores(losses)
    real_scores, fake_scores = scores.split(sizes)
    loss = scored(job.loss, real_scores, fake_scores, differentiate=True)
    seeds = seeds_of(scores, split_rows([*loss.seeds], sizes))
    flows = job.real.requires_grad or job.fake.requires_grad
    adjoint = critic.backward(losses, seeds, of_all=flows)
    run = critic.score(points, 0, masks_as_torch=False, after=losses)
    ones = seeds_of(critic.scores(run), [(slice(None), 1.0)])
    at_points = critic.backward(run, ones, of_all=False, of_weights=False)
    penalty, norms, gradients = _penalised(critic, run, at_points, _term(job), losses)
    tensors = critic.parameters()
    if flows:
        _add_samples(job, adjoint, tensors, gradients)
    return Done(loss.value, penalty, (norms,), real_scores, fake_scores, tensors, gradients, 1.0)


def _joined(*samples: Tensor) -> Tensor:
    """[rows, *sample], in memory that is kept from step to step."""
    first = samples[0]
    size, bits = len(samples) * first.numel(), 8 * first.element_size()
    joined: Tensor = pooled_empty(size, bits).view(-1, *first.shape[1:])
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
) -> tuple[Tensor, Tensor, list[Tensor | None]]:
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
