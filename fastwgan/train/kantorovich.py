"""The critic's estimate of the Wasserstein distance, and how steep the critic is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fastwgan.train.drawing import packed
from fastwgan.train.transport import Plan

_PACKS = 64  # judged at a time
_SEED = 0  # of where between real and fake the critic is looked at


class Sample(NamedTuple):
    """Points, [points, *shape], and where the run is conditional their labels, [points]."""

    points: Tensor
    labels: Tensor | None = None


class Kantorovich(NamedTuple):
    """A critic's estimate of the distance between two samples.

    Attributes:
        estimate: mean D(real) - mean D(fake).
        slope: The largest norm of D's gradient that was met between real and fake points.
        pack: How many points D judges together.
    """

    estimate: float
    slope: float
    pack: int = 1

    @property
    def normalised(self) -> float:
        """The estimate divided by the slope, and by the points judged together; 0 for a flat D."""
        return self.estimate / (self.slope * self.pack) if self.slope > 0 else 0.0


def kantorovich(
    critic: nn.Module,
    real: Sample,
    fake: Sample,
    *,
    along: Plan | None = None,
    pack: int = 1,
) -> Kantorovich:
    """The Kantorovich-Rubinstein estimate of the distance, and the slope that it must be held to.

    W1 is the largest mean D(real) - mean D(fake) of all D that are 1-Lipschitz. A critic of slope
    K overstates it up to K-fold: under a gradient penalty K is near 1 but seldom 1, under clipping
    or no constraint it is anything, and the raw estimate scales with it. Divided by the slope, the
    critic is 1-Lipschitz where it was looked at, and its estimate a lower bound of W1 in the
    data's own units: how far it stays below says what the critic has not found. The bound holds
    exactly if the slope is the largest on the segments of an optimal plan; it is taken at one
    point of each of these (`along`) and of as many segments between random pairs, so that it can
    fall short by what lies between them.

    A conditional critic bounds the distance of samples with labels, which is no smaller than that
    of the samples alone. One that judges several points together bounds the distance of such
    packs, which is at most so many times that of points.

    Args:
        critic: Called with points, and with labels where there are any; its modes, buffers and
            random streams are left as they were.
        real: Held-out data, at least `pack` points.
        fake: Generated points, at least as many.
        along: An optimal plan from `real` to `fake`.
        pack: How many points the critic judges together; above 1, points are [points, features].
    """
    device = next(critic.parameters()).device
    with _evaluating(critic):
        scores = [_score(critic, sample, pack, device) for sample in (real, fake)]
        slope = _slope(critic, real, fake, _segments(real, fake, along), pack, device)
    return Kantorovich(scores[0] - scores[1], slope, pack)


@contextlib.contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode, in which spectral norm leaves its vectors alone; then as it was."""
    before = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


def _segments(real: Sample, fake: Sample, along: Plan | None) -> Tensor:
    """Rows of a real and a fake point at the ends of each segment, [2, segments]."""
    stream = torch.Generator().manual_seed(_SEED)
    count = max(len(real.points), len(fake.points))
    ends = torch.stack(
        [torch.randperm(count, generator=stream) % len(each.points) for each in (real, fake)]
    )
    return ends if along is None else torch.cat((ends, along.pairs), dim=1)


def _score(critic: nn.Module, sample: Sample, pack: int, device: torch.device) -> float:
    """The mean over the sample; points that fill no pack are left out."""
    whole = len(sample.points) // pack * pack
    with torch.no_grad():
        scores = [
            _call(critic, _rows(sample, rows), pack, device)[1].double().flatten()
            for rows in torch.arange(whole).split(_PACKS * pack)
        ]
    return float(torch.cat(scores).mean())


def _slope(
    critic: nn.Module, real: Sample, fake: Sample, ends: Tensor, pack: int, device: torch.device
) -> float:
    """The largest gradient norm at one random point of each segment."""
    stream = torch.Generator().manual_seed(_SEED)
    largest = 0.0
    for first, second in ends[:, : ends.shape[1] // pack * pack].split(_PACKS * pack, dim=1):
        start, end = _rows(real, first), _rows(fake, second)
        alpha = torch.rand(len(first) // pack, generator=stream).repeat_interleave(pack)
        points = torch.lerp(start.points, end.points, _beside(alpha, start.points))
        judged, scores = _call(critic, Sample(points, start.labels), pack, device)
        (gradient,) = torch.autograd.grad(scores.flatten(1).mean(dim=1).sum(), judged)
        norms = torch.linalg.vector_norm(gradient.double().flatten(1), dim=1)
        largest = max(largest, float(norms.max()))
    return largest


def _call(
    critic: nn.Module, sample: Sample, pack: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """What is judged, as a leaf, and its scores."""
    judged = packed(sample.points.to(device), pack).detach().requires_grad_()
    labels = () if sample.labels is None else (sample.labels.to(device),)
    return judged, critic(judged, *labels)


def _rows(sample: Sample, rows: Tensor) -> Sample:
    return Sample(sample.points[rows], None if sample.labels is None else sample.labels[rows])


def _beside(alpha: Tensor, points: Tensor) -> Tensor:
    """`alpha`, [points], with a dimension for each of `points`' own."""
    return alpha.view(-1, *(1 for _ in points.shape[1:]))
