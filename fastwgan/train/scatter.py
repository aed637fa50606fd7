"""Points of the plane over the level sets of the critic."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastwgan.train.figures import FAKE, REAL, figure
from fastwgan.train.loop import Trainer

_LEVEL_GRID = 120
_LEVELS = 24
_UNLIKE = 4  # ratio of the two ranges, from which on equal scales would leave a sliver


def scatter_figure(
    trainer: Trainer, fake: Tensor, real: Tensor, size: tuple[int, int], title: str = ""
) -> Any:
    """Real and generated points, both [samples, 2], and what the critic thinks of the plane.

    Args:
        trainer: Whose critic is asked.
        fake: Generated points.
        real: Their range decides what is in sight, so that frames of one run lie on each other.
        size: Of the figure, in dots.
        title: Above it; without one there is no colour bar either, whose numbers would shift the
            axes from frame to frame.
    """
    drawn = figure(*size)
    if title:
        drawn.suptitle(title, fontsize=13)
    axes = drawn.add_subplot()
    low, high = real.amin(dim=0), real.amax(dim=0)
    span = (high - low).clamp(min=1e-6)
    low, high = low - 0.2 * span, high + 0.2 * span
    levels = _draw_levels(axes, trainer, low, high)
    if title:
        drawn.colorbar(levels, ax=axes, label="critic's score D(x)", shrink=0.85)
    axes.scatter(*real.T.numpy(), s=7, color=REAL, linewidths=0, alpha=0.6, label="real")
    axes.scatter(*fake.T.numpy(), s=7, color=FAKE, linewidths=0, alpha=0.6, label="generated")
    alike = float(span.max() / span.min()) < _UNLIKE
    axes.set(aspect="equal" if alike else "auto", xlabel="x₁", ylabel="x₂")
    axes.set(xlim=(float(low[0]), float(high[0])), ylim=(float(low[1]), float(high[1])))
    axes.legend(loc="upper right", markerscale=2.5, framealpha=0.9)
    return drawn


def _draw_levels(axes: Any, trainer: Trainer, low: Tensor, high: Tensor) -> Any:
    x, y = (torch.linspace(float(a), float(b), _LEVEL_GRID) for a, b in zip(low, high, strict=True))
    scores = _scores(trainer, torch.cartesian_prod(x, y)).view(_LEVEL_GRID, _LEVEL_GRID).T
    grid = (x.numpy(), y.numpy(), scores.numpy())
    return axes.contourf(*grid, _LEVELS, cmap="Greys", alpha=0.55)


def _scores(trainer: Trainer, points: Tensor) -> Tensor:
    """Scores of points [n, 2], over all classes their mean; of points judged together, alike."""
    classes = len(trainer.spec.classes) if trainer.config.conditional else 0
    if not classes:
        return trainer.score(points.repeat_interleave(trainer.config.pack, dim=0)).cpu()
    every = [
        trainer.score(points, torch.full((len(points),), label)).cpu() for label in range(classes)
    ]
    return torch.stack(every).mean(dim=0)
