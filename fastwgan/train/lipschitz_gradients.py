"""How steep a critic is where it is looked at: lower bounds of its Lipschitz constant."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from fastwgan.engine.generic import input_gradient, rooted, run

QUANTILES = (1, 5, 25, 50, 75, 95, 99)
_BINS = 40
_PAIRS = 20_000
_ELEMENTS = 1 << 22  # of the samples in one call of the critic
_ROWS = 256
_CLOSE = 1e-2  # of the median distance: nearer pairs divide rounding errors by nearly nothing
_STARTS = 16
_STEPS = 12


class Points(NamedTuple):
    """Samples [n, *shape] in the critic's dtype and place, and labels [n] for a critic of them."""

    samples: Tensor
    labels: Tensor | None

    def at(self, rows: slice | Tensor) -> Points:
        """Some of them, by a slice or by row numbers on any device."""
        labels = None if self.labels is None else _rows_of(self.labels, rows)
        return Points(_rows_of(self.samples, rows), labels)


def _rows_of(tensor: Tensor, rows: slice | Tensor) -> Tensor:
    return tensor[rows.to(tensor.device) if isinstance(rows, Tensor) else rows]


class Slopes(NamedTuple):
    """What a critic does at points.

    Attributes:
        scores: [n], of each sample the sum.
        gradients: [n, *shape], of the sum of all scores.
        norms: float64 [n], of the gradients, on the CPU.
    """

    scores: Tensor
    gradients: Tensor
    norms: Tensor


@dataclass(frozen=True)
class Distribution:
    """Of gradient norms at one kind of points.

    Attributes:
        points: How many.
        not_finite: How many of them have a gradient with NaN or Inf; the rest leaves them out.
        mean: Of the norms; 0 without any.
        quantiles: By percent, then "max".
        counts: Of the histogram's bins, whose edges are those of `Gradients`.
    """

    points: int
    not_finite: int
    mean: float
    quantiles: Mapping[str, float]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Gradients:
    """Lower bounds of the Lipschitz constant, as found.

    Attributes:
        at: Gradient norms at "real", "fake" and "interpolated" points.
        edges: Of the bins of their histograms.
        slope: Largest |f(x) − f(y)| / ‖x − y‖ of random pairs of points; 0 without two points.
        pairs: How many pairs.
        climbed: Largest gradient norm that a local search from the steepest points met.
    """

    at: Mapping[str, Distribution]
    edges: tuple[float, ...]
    slope: float
    pairs: int
    climbed: float

    @property
    def largest(self) -> float:
        """The critic's Lipschitz constant is at least this."""
        seen = [found.quantiles["max"] for found in self.at.values()]
        return max(*seen, self.slope, self.climbed)

    def percentile(self, percent: int) -> float:
        """The largest of the quantiles at real, fake and interpolated points."""
        return max(found.quantiles[str(percent)] for found in self.at.values())


def slopes_at(critic: Callable[..., Tensor], points: Points) -> Slopes:
    """Scores and gradients, by parts that fit into memory."""
    found = [_slopes(critic, part) for part in parts(points)]
    return Slopes(*(torch.cat(column) for column in zip(*found, strict=True)))


def parts(points: Points) -> Iterator[Points]:
    """The same points in order, as many at a time as fit into memory."""
    rows = max(1, min(_ROWS, _ELEMENTS // max(points.samples[0].numel(), 1)))
    for begin in range(0, len(points.samples), rows):
        yield points.at(slice(begin, begin + rows))


def _slopes(critic: Callable[..., Tensor], points: Points) -> Slopes:
    others = () if points.labels is None else (points.labels,)
    at = run(critic, rooted(points.samples.clone()), nullcontext(), others)
    gradient = input_gradient(at, differentiable=False, flows=False).gradient.detach()
    norms = torch.linalg.vector_norm(_wide(gradient).flatten(1), dim=1).cpu()
    scores = at.scores.detach().reshape(len(norms), -1).sum(1)
    return Slopes(scores, gradient, norms)


def gradients_of(
    critic: Callable[..., Tensor], points: Mapping[str, Points], generator: torch.Generator
) -> Gradients:
    """Everything of `Gradients`.

    Args:
        critic: In evaluation mode.
        points: By kind.
        generator: Of the pairs and of the search, on the CPU.
    """
    found = {kind: slopes_at(critic, each) for kind, each in points.items()}
    norms = {kind: each.norms for kind, each in found.items()}
    finite = torch.cat([each[torch.isfinite(each)] for each in norms.values()])
    top = float(finite.max()) if len(finite) else 0.0
    edges = torch.linspace(0, (top or 1.0) * (1 + 1e-9), _BINS + 1, dtype=torch.float64)
    everywhere = _joined(list(points.values()))
    scores = torch.cat([each.scores for each in found.values()])
    slope, pairs = _steepest_pair(everywhere, scores, generator)
    climbed = _climb(critic, everywhere, torch.cat(list(norms.values())), generator)
    at = {kind: _distribution(each, edges) for kind, each in norms.items()}
    return Gradients(at, tuple(edges.tolist()), slope, pairs, climbed)


def _joined(several: list[Points]) -> Points:
    labels = [each.labels for each in several if each.labels is not None]
    samples = torch.cat([each.samples for each in several])
    return Points(samples, torch.cat(labels) if labels else None)


def _distribution(norms: Tensor, edges: Tensor) -> Distribution:
    finite = norms[torch.isfinite(norms)]
    shares = torch.tensor([*QUANTILES, 100], dtype=torch.float64) / 100
    values = finite.quantile(shares).tolist() if len(finite) else [0.0] * len(shares)
    names = [*map(str, QUANTILES), "max"]
    return Distribution(
        points=len(norms),
        not_finite=len(norms) - len(finite),
        mean=float(finite.mean()) if len(finite) else 0.0,
        quantiles=dict(zip(names, values, strict=True)),
        counts=tuple(int(count) for count in torch.histogram(finite, edges).hist),
    )


def _steepest_pair(points: Points, scores: Tensor, generator: torch.Generator) -> tuple[float, int]:
    """The largest finite-difference slope of random pairs with equal labels, and their number."""
    count = len(points.samples)
    pairs = torch.randint(count, (2, _PAIRS), generator=generator)
    pairs = pairs[:, pairs[0] != pairs[1]].to(scores.device)
    if points.labels is not None:
        pairs = pairs[:, points.labels[pairs[0]] == points.labels[pairs[1]]]
    rows = max(1, _ELEMENTS // max(points.samples[0].numel(), 1))
    flat = points.samples.flatten(1)
    distances = [
        torch.linalg.vector_norm(_wide(flat[first] - flat[second]), dim=1)
        for first, second in zip(*(side.split(rows) for side in pairs), strict=True)
    ]
    distance = torch.cat(distances) if distances else _wide(flat.new_empty(0))
    if not len(distance):
        return 0.0, 0
    rises = _wide(scores[pairs[0]] - scores[pairs[1]]).abs()
    kept = (distance > _CLOSE * distance.median()) & torch.isfinite(rises)
    slopes = rises[kept] / distance[kept]
    return (float(slopes.max()) if len(slopes) else 0.0), len(slopes)


def _climb(
    critic: Callable[..., Tensor], points: Points, norms: Tensor, generator: torch.Generator
) -> float:
    """The largest gradient norm met by searching around the steepest points, within the data's box.

    Critics of ReLUs have no second derivative to follow, so the rise of the norm is found by
    differences: by how the gradient changes along itself.
    """
    usable = torch.nan_to_num(norms, nan=-1.0, posinf=-1.0)
    order = usable.argsort(descending=True)[:_STARTS]
    order = order[usable[order] > 0]
    if not len(order):
        return 0.0
    box = points.samples.amin(0), points.samples.amax(0)
    starts = points.at(order)
    here = slopes_at(critic, starts)
    step = 0.1 * _length(box[1] - box[0]) * torch.ones(len(order), dtype=torch.float64)
    for _ in range(_STEPS):
        moved = _candidates(critic, starts, here, step, box, generator)
        better = torch.zeros(len(order), dtype=torch.bool)
        for samples, there in moved:
            rises = there.norms > here.norms
            better |= rises
            take = rises.to(samples.device).view(-1, *[1] * (samples.dim() - 1))
            starts = Points(torch.where(take, samples, starts.samples), starts.labels)
            here = Slopes(
                torch.where(rises.to(here.scores.device), there.scores, here.scores),
                torch.where(take, there.gradients, here.gradients),
                torch.where(rises, there.norms, here.norms),
            )
        step = torch.where(better, 1.2 * step, 0.5 * step)
    return float(here.norms.max())


def _candidates(
    critic: Callable[..., Tensor],
    starts: Points,
    here: Slopes,
    step: Tensor,
    box: tuple[Tensor, Tensor],
    generator: torch.Generator,
) -> list[tuple[Tensor, Slopes]]:
    def move(direction: Tensor) -> tuple[Tensor, Slopes]:
        unit = direction / _lengths(direction).clamp(min=torch.finfo(direction.dtype).tiny)
        reach = step.to(unit.dtype).to(unit.device).view(-1, *[1] * (unit.dim() - 1))
        samples = (starts.samples + reach * unit).clamp(*box)
        return samples, slopes_at(critic, Points(samples, starts.labels))

    noise = torch.randn(starts.samples.shape, generator=generator)
    along = move(here.gradients)
    change = along[1].gradients - here.gradients
    return [along, move(change), move(noise.to(starts.samples))]


def _wide(tensor: Tensor) -> Tensor:
    """In float64; on the CPU where the device has none."""
    return (tensor.cpu() if tensor.device.type == "mps" else tensor).double()


def _length(vector: Tensor) -> float:
    return float(torch.linalg.vector_norm(_wide(vector)))


def _lengths(samples: Tensor) -> Tensor:
    lengths: Tensor = torch.linalg.vector_norm(samples.flatten(1), dim=1)
    return lengths.view(-1, *[1] * (samples.dim() - 1))
