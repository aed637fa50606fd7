"""A critic's loss with its penalties, and every gradient of it, by the four passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fastwgan import penalty_points
from fastwgan.engine.blocks import Place, Recorded, Rows, place_rest, record
from fastwgan.engine.losses import Loss, scored
from fastwgan.engine.passes import Adjoints, Gradients, backward
from fastwgan.engine.penalty import Term, penalise, value_at
from fastwgan.engine.tape import Tape
from fastwgan.penalty_arguments import Arguments


class Job(NamedTuple):
    """What a critic step is asked for, checked."""

    critic: Callable[..., Tensor]
    real: Tensor
    fake: Tensor
    real_args: tuple[Any, ...]
    fake_args: tuple[Any, ...]
    loss: Loss
    penalties: tuple[Arguments, ...]


class Done(NamedTuple):
    """A critic step's numbers, and its gradients."""

    loss: Tensor  # []
    penalty: Tensor  # []
    norms: tuple[Tensor, ...]  # one [rows / groups] a penalty
    real_scores: Tensor
    fake_scores: Tensor
    tensors: list[Tensor]
    gradients: list[Tensor | None]


class Part:
    """One set of rows on the way through the passes."""

    def __init__(self, place: Place, samples: Tensor) -> None:
        self.block, self.rows = place
        self.samples = samples
        self.adjoints: Adjoints = [None] * self.block.tape.slots

    @property
    def scores(self) -> Tensor:
        """These rows' scores."""
        scores = self.block.scores
        return scores if self.rows is None else scores[self.rows]

    def add(self, adjoints: Adjoints) -> None:
        """Adds second-order terms to what the backward starts from."""
        for slot, term in enumerate(adjoints):
            self.add_at(slot, term)

    def add_at(self, slot: int, term: Tensor | None) -> None:
        """Adds one of them."""
        if term is not None:
            before = self.adjoints[slot]
            self.adjoints[slot] = term if before is None else before + term


def critic_step(
    job: Job, points: Sequence[Tensor | None], *, differentiate: bool
) -> Done | Recorded:
    """The whole step; or, where the engine cannot, the critic's recorded call on `real`.

    Args:
        job: What is asked for.
        points: Of each penalty, None for one at the loss's own samples.
        differentiate: Whether gradients are asked for.
    """
    first = record(job.critic, Rows(job.real, job.real_args))
    if first.refusal is not None:
        return first
    rest = [Rows(job.fake, job.fake_args)]
    rest += [Rows(p, job.real_args) for p in points if p is not None]
    with torch.no_grad():
        places = place_rest(job.critic, first, rest)
        if isinstance(places, str):
            return first._replace(refusal=places)
        block = first.block
        del first
        parts = [
            Part(place, rows.samples)
            for place, rows in zip(
                [Place(block, None), *places], [Rows(job.real, ()), *rest], strict=True
            )
        ]
        return _passes(job, parts, points, differentiate)


def _passes(
    job: Job, parts: list[Part], points: Sequence[Tensor | None], differentiate: bool
) -> Done:
    real_scores, fake_scores = parts[0].scores, parts[1].scores
    loss = scored(job.loss, real_scores, fake_scores, differentiate=differentiate)
    sums = Sums(parts)
    own = iter(parts[2:])
    total, norms = torch.zeros_like(loss.value), []
    for arguments, at in zip(job.penalties, points, strict=True):
        part = next(own) if at is not None else parts[arguments.kind == "r2"]
        value, lengths = _penalty(part, arguments, sums, differentiate)
        total = total + value.to(total.dtype)
        norms.append(lengths)
    if differentiate:
        parts[0].add_at(parts[0].block.tape.score, loss.real_seeds)
        parts[1].add_at(parts[1].block.tape.score, loss.fake_seeds)
        for part in parts:
            sums.add_samples(part.samples, _backward(part, sums))
    tensors, gradients = sums.results()
    return Done(loss.value, total, tuple(norms), real_scores, fake_scores, tensors, gradients)


def _penalty(
    part: Part, arguments: Arguments, sums: Sums, differentiate: bool
) -> tuple[Tensor, Tensor]:
    term = Term(part.rows, arguments.kind, arguments.weight, arguments.target, arguments.groups)
    if not differentiate:
        value, norms, _, _ = value_at(part.block, term)
        return value, norms
    needed = part.block.tape.trainable(part.samples.requires_grad)
    done = penalise(part.block, term, sums.of(part.block.tape), needed)
    part.add(done.second_order)
    return done.value, done.norms


def _backward(part: Part, sums: Sums) -> Tensor | None:
    if all(adjoint is None for adjoint in part.adjoints):
        return None
    tape = part.block.tape
    needed = tape.trainable(part.samples.requires_grad)
    return backward(part.block, part.rows, part.adjoints, sums.of(tape), needed)


class Sums:
    """The gradients of everything that requires one, over all tapes."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._tapes: dict[int, tuple[Tape, Gradients]] = {}
        self._samples: dict[int, tuple[Tensor, Tensor | None]] = {}
        for part in parts:
            tape = part.block.tape
            self._tapes.setdefault(id(tape), (tape, Gradients(tape)))

    def of(self, tape: Tape) -> Gradients:
        """The sums of one tape."""
        return self._tapes[id(tape)][1]

    def add_samples(self, samples: Tensor, gradient: Tensor | None) -> None:
        """Adds to the gradient of samples, where they require one."""
        if not samples.requires_grad:
            return
        before = self._samples.get(id(samples), (samples, None))[1]
        if before is not None and gradient is not None:
            gradient = before + gradient
        self._samples[id(samples)] = (samples, before if gradient is None else gradient)

    def results(self) -> tuple[list[Tensor], list[Tensor | None]]:
        """The tensors that the scores depend on, and their gradients; None is zero."""
        found = dict(self._samples)
        for tape, gradients in self._tapes.values():
            for index in tape.reached():
                tensor, gradient = tape.outers[index], gradients[index]
                before = found.get(id(tensor), (tensor, None))[1]
                if before is not None and gradient is not None:
                    gradient = before.add_(gradient)
                found[id(tensor)] = (tensor, before if gradient is None else gradient)
        return [tensor for tensor, _ in found.values()], [g for _, g in found.values()]


def points_of(penalties: Sequence[Arguments]) -> list[Tensor | None]:
    """Where each penalty is taken; None for the loss's own samples."""
    return [
        None if arguments.kind in ("r1", "r2") else penalty_points.points(arguments)
        for arguments in penalties
    ]
