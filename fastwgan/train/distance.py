"""How far the generator is from the data as training goes: exactly, and as the critic sees it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from fastwgan.train import transport
from fastwgan.train.callbacks import Callback
from fastwgan.train.metrics import Record

if TYPE_CHECKING:
    from fastwgan.train.loop import Trainer
    from fastwgan.train.run import Run

_ROWS = 512  # scored at a time
_SEED = 20170126  # of what is measured with: the same points at every step, so that curves are calm


class Sample(NamedTuple):
    """Points, [points, *shape], and where the run is conditional their labels, [points]."""

    points: Tensor
    labels: Tensor | None = None


class Kantorovich(NamedTuple):
    """A critic's estimate of the distance between two samples.

    Attributes:
        estimate: mean D(real) - mean D(fake).
        slope: The largest norm of D's gradient that was met between real and fake points.
    """

    estimate: float
    slope: float

    @property
    def normalised(self) -> float:
        """The estimate of the critic divided by its slope; 0 where the critic is flat."""
        return self.estimate / self.slope if self.slope > 0 else 0.0


def kantorovich(
    critic: nn.Module, real: Sample, fake: Sample, along: transport.Plan | None = None
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
    of the samples alone.

    Args:
        critic: Called with points, and with labels where there are any; its modes, buffers and
            random streams are left as they were.
        real: Held-out data.
        fake: Generated points.
        along: An optimal plan from `real` to `fake`.
    """
    device = next(critic.parameters()).device
    with _evaluating(critic):
        scores = [float(_scores(critic, sample, device).mean()) for sample in (real, fake)]
        slope = _slope(critic, real, fake, along, device)
    return Kantorovich(scores[0] - scores[1], slope)


class MeasureDistance(Callback):
    """Adds the distance of the averaged generator's samples to held-out data to the metrics.

    Every `config.measure_every` steps, and after the last:

    * `w1`: the exact Wasserstein-1 distance (where `points` are too many for that,
      `w1_sinkhorn` or `w1_sliced`; see `fastwgan.train.transport.estimate`);
    * `w1_floor`: the same for as many real points as generated ones, of the training data: what
      a perfect generator would score;
    * `kantorovich`, `kantorovich_normalised`: see `kantorovich`.

    Nothing is measured where the data holds nothing out.

    Args:
        points: How many samples, and at most how many held-out ones.
    """

    def __init__(self, points: int = 1000) -> None:
        self._points = points
        self._real: Sample | None = None
        self._floor = transport.Estimate(math.nan, "exact")

    def begin(self, run: Run) -> None:
        """Chooses the held-out points, and measures the floor."""
        data = run.data
        if data.held_out is None or run.config.measure_every == 0:
            return
        stream = torch.Generator().manual_seed(_SEED)
        rows = torch.randperm(len(data.held_out), generator=stream)[: self._points]
        labels = data.held_out_labels if run.config.conditional else None
        self._real = Sample(data.held_out[rows], None if labels is None else labels[rows])
        self._floor = transport.floor(data.values, self._real.points, len(rows), seed=_SEED)

    def measure(self, run: Run) -> Record:
        """The distances at this step; empty between two measurements."""
        if self._real is None or not _is_due(run):
            return {}
        fake = Sample(*run.trainer.draw(len(self._real.points), _SEED))
        if not bool(torch.isfinite(fake.points).all()):
            return {self._name: math.nan}  # the run stops with the sentence that it has for this
        found, along = self._distance(fake.points)
        judged = kantorovich(run.trainer.critic, self._real, fake, along)
        return {
            self._name: found,
            f"{self._name}_floor": self._floor.distance,
            "kantorovich": judged.estimate,
            "kantorovich_normalised": judged.normalised,
        }

    @property
    def _name(self) -> str:
        method = self._floor.method
        return "w1" if method == "exact" else f"w1_{method}"

    def _distance(self, fake: Tensor) -> tuple[float, transport.Plan | None]:
        assert self._real is not None
        if self._floor.method != "exact":
            return transport.estimate(self._real.points, fake).distance, None
        along = transport.plan(self._real.points, fake)
        return along.distance, along


def _is_due(run: Run) -> bool:
    return run.step % run.config.measure_every == 0 or run.step == run.config.steps


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


def _scores(critic: nn.Module, sample: Sample, device: torch.device) -> Tensor:
    with torch.no_grad():
        parts = [critic(*part).double() for part in _batches(sample, device)]
    return torch.cat([part.flatten() for part in parts])


def _slope(
    critic: nn.Module,
    real: Sample,
    fake: Sample,
    along: transport.Plan | None,
    device: torch.device,
) -> float:
    """The largest gradient norm at one random point between each pair of a real and a fake one."""
    stream = torch.Generator().manual_seed(_SEED)
    count = max(len(real.points), len(fake.points))
    first, second = (
        torch.randperm(count, generator=stream) % len(sample.points) for sample in (real, fake)
    )
    if along is not None:
        first, second = torch.cat((first, along.first)), torch.cat((second, along.second))
    alpha = torch.rand(len(first), *(1 for _ in real.points.shape[1:]), generator=stream)
    points = torch.lerp(real.points[first], fake.points[second], alpha)
    labels = None if real.labels is None else real.labels[first]
    largest = 0.0
    for part in _batches(Sample(points, labels), device):
        part[0].requires_grad_()
        (gradient,) = torch.autograd.grad(critic(*part).sum(), part[0])
        norms = torch.linalg.vector_norm(gradient.double().flatten(1), dim=1)
        largest = max(largest, float(norms.max()))
    return largest


def _batches(sample: Sample, device: torch.device) -> Iterator[tuple[Tensor, ...]]:
    columns = [sample.points] if sample.labels is None else [sample.points, sample.labels]
    for parts in zip(*(column.split(_ROWS) for column in columns), strict=True):
        yield tuple(part.to(device) for part in parts)
