"""A critic step, and a penalty by itself, of a feed-forward critic."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

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
    samples = (job.real, job.fake)
    sizes = [job.real.shape[0], job.fake.shape[0], points.shape[0]]
    loss_rows = sizes[0] + sizes[1]
    with torch.no_grad():
        joined = torch.cat([job.real.detach(), job.fake.detach(), points.detach()])
        run = critic.score(joined, loss_rows, masks_as_torch=False)
        scores = critic.scores(run)
        real_scores, fake_scores, _ = scores.split(sizes)
        loss = scored(job.loss, real_scores, fake_scores, differentiate=True)
        seeds = seeds_of(scores, split_rows([*loss.seeds, 1.0], sizes))
        flows = any(each.requires_grad for each in samples)
        adjoint = critic.backward(run, seeds, of_all=flows)
        arguments = job.penalties[0]
        term = Term(None, arguments.kind, arguments.weight, arguments.target, arguments.groups)
        at_points = adjoint[loss_rows:] if flows else adjoint
        penalty, norms, gradients = _penalised(critic, run, at_points, term)
    tensors = critic.parameters()
    if flows:
        for each, rows in zip(samples, adjoint[:loss_rows].split(sizes[:2]), strict=True):
            if each.requires_grad:
                tensors.append(each)
                gradients.append(rows.reshape(each.shape).clone())
    found = tensors, gradients
    return Done(loss.value, penalty, (norms,), real_scores, fake_scores, *found, 1.0)


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
    critic: Feedforward, run: Pass, adjoint: Tensor, term: Term
) -> tuple[Tensor, Tensor, list[Tensor | None]]:
    """Penalty, norms, and the gradients of everything, from the gradient at the points."""
    # A norm is the same in any order of a row's elements: here that of memory.
    memory = adjoint.permute(0, 2, 3, 1)
    rows = memory.reshape(adjoint.shape[0] // term.groups, -1)
    penalty, norms, start = run_norm_penalty(rows, term.kind, term.target, term.weight)
    moved = start.view(memory.shape).permute(0, 3, 1, 2)
    return penalty, norms, critic.gradients(run, moved)


def takes(job: Job, points: Sequence[Tensor | None]) -> Tensor | None:
    """The points of a job's only penalty, where they are its own and nothing else is asked for."""
    return points[0] if len(points) == 1 and not (job.real_args or job.fake_args) else None
