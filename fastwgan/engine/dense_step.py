"""A critic step, and a penalty by itself, of a fully connected critic."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fastwgan.engine.dense import Dense
from fastwgan.engine.jobs import Done, Job
from fastwgan.engine.joint import seeds_of
from fastwgan.engine.losses import scored
from fastwgan.engine.parts import split_rows
from fastwgan.engine.penalty import Term
from fastwgan.engine.ready import ready
from fastwgan.ops.dense_critic import Pass
from fastwgan.ops.gradient_penalty.autograd import run_norm_penalty


def dense_step(dense: Dense, job: Job, points: Tensor) -> Done:
    """Loss and the job's only penalty, taken at points [batch, *sample] of its own."""
    samples = (job.real, job.fake)
    with torch.no_grad():
        run = dense.score(torch.cat([job.real.detach(), job.fake.detach(), points.detach()]))
        sizes = [job.real.shape[0], job.fake.shape[0], points.shape[0]]
        real_scores, fake_scores, _ = run.scores.split(sizes)
        loss = scored(job.loss, real_scores, fake_scores, differentiate=True)
        seeds = seeds_of(run.scores, split_rows([*loss.seeds, 1.0], sizes))
        loss_rows = sizes[0] + sizes[1]
        flows = any(each.requires_grad for each in samples)
        adjoint = run.transpose(seeds, 0 if flows else loss_rows)
        arguments = job.penalties[0]
        term = Term(None, arguments.kind, arguments.weight, arguments.target, arguments.groups)
        at_points = adjoint[loss_rows:] if flows else adjoint
        penalty, norms, gradients = _penalised(dense, run, at_points, term, loss_rows)
    tensors = dense.parameters()
    if flows:
        for each, rows in zip(samples, adjoint[:loss_rows].split(sizes[:2]), strict=True):
            if each.requires_grad:
                tensors.append(each)
                gradients.append(rows.reshape(each.shape).clone())
    return Done(loss.value, penalty, (norms,), real_scores, fake_scores, tensors, gradients)


def dense_penalty(dense: Dense, points: Tensor, term: Term) -> Tensor:
    """The penalty [] at points [batch, *sample], with its gradients."""
    with torch.no_grad():
        run = dense.score(points.detach())
        seeds = seeds_of(run.scores, [(slice(None), 1.0)])
        adjoint = run.transpose(seeds, 0)
        penalty, _, gradients = _penalised(dense, run, adjoint, term, 0)
    tensors = dense.parameters()
    if points.requires_grad:
        tensors.append(points)
        gradients.append(None)
    return ready(penalty, tensors, gradients)


def _penalised(
    dense: Dense, run: Pass, adjoint: Tensor, term: Term, loss_rows: int
) -> tuple[Tensor, Tensor, list[Tensor | None]]:
    """Penalty, norms, and the gradients of everything, from the gradient at the points."""
    rows = adjoint.view(adjoint.shape[0] // term.groups, -1)
    penalty, norms, start = run_norm_penalty(rows, term.kind, term.target, term.weight)
    return penalty, norms, dense.gradients(run, start.view(adjoint.shape), loss_rows)


def takes(job: Job, points: Sequence[Tensor | None]) -> Tensor | None:
    """The points of a job's only penalty, where they are its own and nothing else is asked for."""
    return points[0] if len(points) == 1 and not (job.real_args or job.fake_args) else None
