"""A critic's loss and penalties by autograd: the way of critics that the engine does not take."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from fastwgan import penalty_ways
from fastwgan.engine.blocks import Recorded
from fastwgan.engine.generic import eagerly
from fastwgan.engine.jobs import Job, Numbers
from fastwgan.engine.losses import check_loss, wasserstein
from fastwgan.engine.twins import Twins


def by_autograd(
    job: Job, points: Sequence[Tensor | None], first: Recorded | None
) -> tuple[Numbers, tuple[Tensor, Tensor]]:
    """The recorded call on `real`, if there is one, then a call for each other set of rows.

    Args:
        job: What is asked for.
        points: Of each penalty, None for one at the loss's own samples.
        first: The recorded call.

    Returns:
        Numbers, of which the total is differentiable, and the detached scores of real and fake.
    """
    recording = torch.is_grad_enabled()
    mode = Twins() if recording else nullcontext()
    with eagerly(), mode:
        real_scores = (
            first.at.scores if first is not None else job.critic(job.real.clone(), *job.real_args)
        )
        fake_scores = job.critic(job.fake.clone(), *job.fake_args)
    value = job.loss(real_scores, fake_scores)
    trainable = real_scores.requires_grad or fake_scores.requires_grad
    check_loss(value, differentiate=recording and trainable)
    total, penalties, norms = value.reshape(()), torch.zeros_like(value.detach().reshape(())), []
    for arguments, at in zip(job.penalties, points, strict=True):
        samples, others = _own_samples(job, arguments) if at is None else (at, job.real_args)
        critic = lambda x, others=others: job.critic(x, *others)  # noqa: E731
        term, lengths, _ = penalty_ways.by_autograd(critic, arguments, samples)
        total, penalties = total + term, penalties + term.detach()
        norms.append(lengths)
    scores = real_scores.detach(), fake_scores.detach()
    norm = norms[0].mean() if norms else None
    differentiable = total if recording else total.detach()
    return Numbers(differentiable, -wasserstein(*scores), penalties, norm), scores


def _own_samples(job: Job, arguments: Any) -> tuple[Tensor, tuple[Any, ...]]:
    real = arguments.kind == "r1"
    return (job.real if real else job.fake).clone(), job.real_args if real else job.fake_args
