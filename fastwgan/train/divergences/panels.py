"""The four panels of a row of divergences.png."""

from __future__ import annotations

import math
from typing import Any

import torch

from fastwgan.train.divergences.exact import LOG2, kl_of_whole_gaussians
from fastwgan.train.divergences.examples import Example, moved
from fastwgan.train.divergences.results import Comparison, Profile
from fastwgan.train.divergences.style import (
    CURVES,
    FAINT,
    FAKE,
    INK,
    KL,
    LINES,
    MARKS,
    REAL,
    SCALED,
)

_DRAWN = 250  # samples of each distribution
_FINE = 400  # places of an exact curve on either side of 0
_TOP = 1.46  # of the values' panels
_INFINITE = 1.25  # where in them an infinite value is marked

_NOTES = (  # where no line runs
    ("GAN discriminator,\nprobability of real:\nflat at the samples", "right", 0.42, "#d1495b"),
    ("weight clipping:\nsome other slope", "left", -0.22, "#c4611a"),
    ("penalties, spectral norm:\nslope −1", "left", -0.75, "#14795a"),
)


def distributions(axes: Any, example: Example, theta: float) -> None:
    """Samples of both."""
    real = example.draw(_DRAWN, torch.Generator().manual_seed(0))
    fake = moved(example.draw(_DRAWN, torch.Generator().manual_seed(1)), theta)
    for points, color, name, place in ((real, REAL, "real", 0.0), (fake, FAKE, "fake", theta)):
        axes.scatter(*points.T.numpy(), s=9, color=color, linewidths=0, alpha=0.6)
        axes.annotate(name, (place, example.height - 0.68), ha="center", color=color, fontsize=11)
    arrow = {"arrowstyle": "<->", "color": INK, "shrinkA": 0, "shrinkB": 0}
    level = example.height + 0.6
    axes.annotate("", (0, level), (theta, level), arrowprops=arrow)
    axes.annotate("θ", (theta / 2, level + 0.03), ha="center", fontsize=12)
    axes.set(xlim=(-0.45, theta + 0.45), ylim=(example.height - 0.8, example.height + 0.8))
    axes.set(xlabel="x", title=example.title)
    _tidy(axes)


def values(axes: Any, example: Example, comparison: Comparison) -> None:
    """Divergences, and what critics found of them, against θ."""
    thetas = [point.theta for point in comparison.points]
    heights = _curves(axes, example, thetas[-1], "value")
    if min(heights) > 0.5:  # it jumps at 0
        axes.plot(0, 0, marker="o", markersize=6, color=CURVES["js"].color, zorder=4)
    apart = [theta for theta in thetas if theta]
    axes.plot(apart, [_INFINITE] * len(apart), ls="", marker="^", color=KL, markersize=8)
    axes.annotate("KL = ∞ unless θ = 0", (0, _INFINITE + 0.08), ha="center", color=KL, fontsize=10)
    if example.name == "gaussians":
        edge = math.sqrt(_INFINITE / kl_of_whole_gaussians(1))
        places = torch.linspace(-edge, edge, _FINE).tolist()
        whole = [kl_of_whole_gaussians(theta) for theta in places]
        axes.plot(places, whole, color=KL, linewidth=1, linestyle=":")
    axes.annotate(
        "log 2",
        (thetas[-1], LOG2),
        (0, -13),
        textcoords="offset points",
        ha="right",
        color=CURVES["js"].color,
        fontsize=10,
    )
    _marks(axes, comparison, "value")
    axes.set(ylim=(-0.09, _TOP), xlabel="θ", title="value against θ", xticks=_ticks(thetas))
    _tidy(axes)


def gradients(axes: Any, example: Example, comparison: Comparison) -> None:
    """Their derivatives in θ; there is none at θ = 0."""
    thetas = [point.theta for point in comparison.points]
    steepest = max(1.0, *map(abs, _curves(axes, example, thetas[-1], "gradient")))
    _marks(axes, comparison, "gradient", at_zero=False)
    axes.set(ylim=(-1.25 * steepest, 1.25 * steepest), xlabel="θ", title="gradient against θ")
    axes.set_xticks(_ticks(thetas))
    _tidy(axes)


def critics(axes: Any, profile: Profile) -> None:
    """What critics say along a line through both distributions."""
    theta = profile.theta
    for place, color, name in ((0.0, REAL, "real"), (theta, FAKE, "fake")):
        axes.axvline(place, color=color, linewidth=7, alpha=0.15)
        axes.annotate(name, (place, 1.1), ha="center", color=color, fontsize=11)
    for name, mark in MARKS.items():
        axes.plot(profile.places, profile.scores[name], color=mark.color, **LINES[name])
    for text, side, level, color in _NOTES:
        place = profile.places[0 if side == "left" else -1]
        axes.annotate(text, (place, level), ha=side, color=color, fontsize=10)
    axes.set_xticks([-theta / 2, 0.0, theta / 2, theta, 1.5 * theta])
    axes.set(ylim=(-1.05, 1.25), xlabel="x", title=f"trained critics along x, at θ = {theta:g}")
    _tidy(axes)


def _curves(axes: Any, example: Example, end: float, what: str) -> list[float]:
    """Draws the exact curves to both sides of 0, where each has a kink or a jump.

    Returns:
        The heights of the Jensen–Shannon divergence's.
    """
    heights = []
    right = torch.linspace(0, end, _FINE + 1, dtype=torch.float64)[1:].tolist()
    for side in ([-theta for theta in reversed(right)], right):
        exact = [example.exact(theta) for theta in side]
        for name, curve in CURVES.items():
            drawn = [getattr(getattr(each, name), what) for each in exact]
            axes.plot(side, drawn, color=curve.color, linewidth=curve.width, zorder=2)
        heights += [getattr(each.js, what) for each in exact]
    return heights


def _marks(axes: Any, comparison: Comparison, what: str, at_zero: bool = True) -> None:
    """What trained critics found; of clipping also over its Lipschitz constant, hollow."""
    points = [point for point in comparison.points if point.theta or at_zero]
    thetas = [point.theta for point in points]
    for name, mark in MARKS.items():
        found = [point.found[name] for point in points]
        axes.plot(thetas, [getattr(each, what) for each in found], **mark.look())
        if name == "wgan":
            scaled = [getattr(each.scaled(), what) for each in found]
            axes.plot(thetas, scaled, **SCALED.look())


def _ticks(thetas: list[float]) -> list[float]:
    return [thetas[0], thetas[0] / 2, 0.0, thetas[-1] / 2, thetas[-1]]


def _tidy(axes: Any) -> None:
    axes.grid(color=FAINT, linewidth=0.5, alpha=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.title.set_fontsize(12)
