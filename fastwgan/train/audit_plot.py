"""audit.png: the layers, the gradient norms and the weights of an audited critic."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastwgan.train.extras import require
from fastwgan.train.lipschitz_report import Audit
from fastwgan.train.writing import write_whole

_DPI = 100
_WIDTH = 1100
_BAR = 26  # dots of height a layer
_MOST_LAYERS = 32
_INK, _REAL, _FAKE, _BETWEEN, _FAINT = "#222222", "#2a6f97", "#d1495b", "#8a6fb0", "#b8c4cc"
_COLORS = {"real": _REAL, "fake": _FAKE, "interpolated": _BETWEEN}
_LABELS = {"real": "real samples", "fake": "fake samples", "interpolated": "points between"}
_ONE = 1.01
_NEAR_ONE = 0.2  # the largest norm, from which on the line at 1 is in the picture
_MANY_WEIGHTS = 50  # in a bin, from which on its axis is logarithmic
_WIDE = 30.0  # ratio of constants, from which on their axis is logarithmic


def draw(audit: Audit, path: Path) -> None:
    """Writes the picture.

    Raises:
        MissingExtraError: matplotlib isn't installed.
        OSError: the file can't be written.
    """
    figures = require("matplotlib.figure", "drawing audit.png")
    title = textwrap.fill(audit.verdict, 124, break_on_hyphens=False)
    bars = _BAR * min(max(len(audit.layers), 3), _MOST_LAYERS)
    heights = [bars + 100, 330]
    whole = sum(heights) + 40 + 22 * (title.count("\n") + 1)
    figure = figures.Figure(figsize=(_WIDTH / _DPI, whole / _DPI), dpi=_DPI, layout="constrained")
    figure.suptitle(title, fontsize=12, x=0.01, ha="left")
    grid = figure.add_gridspec(2, 2, height_ratios=heights, width_ratios=[1.35, 1])
    _draw_layers(figure.add_subplot(grid[0, :]), audit)
    _draw_gradients(figure.add_subplot(grid[1, 0]), audit)
    _draw_weights(figure.add_subplot(grid[1, 1]), audit)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix[1:] or "png")
    write_whole(path, buffer.getvalue())


def _draw_layers(axes: Any, audit: Audit) -> None:
    """Two bars a layer: σ of its weight as a matrix, and what it does to distances."""
    layers = audit.layers[:_MOST_LAYERS]
    sigmas = [(place - 0.2, layer.sigma_power or 0.0) for place, layer in enumerate(layers)]
    norms = [(place + 0.2, layer.norm or 0.0) for place, layer in enumerate(layers)]
    several = (
        ("σ of its weight as a matrix", _FAINT, sigmas),
        ("stretches by at most 1", _REAL, [bar for bar in norms if bar[1] <= _ONE]),
        ("stretches by more", _FAKE, [bar for bar in norms if bar[1] > _ONE]),
    )
    for label, color, bars in several:
        if bars:
            axes.barh(*zip(*bars, strict=True), height=0.38, color=color, label=label)
    _scale(axes, [value for _, value in (*sigmas, *norms) if value > 0])
    for place, layer in enumerate(layers):
        _say(axes, place - 0.2, layer.sigma_power, "")
        _say(axes, place + 0.2, layer.norm, "unknown")
    axes.axvline(1, color=_INK, linewidth=1.1, linestyle=":")
    names = [f"{layer.name}  {layer.kind}".strip() for layer in layers]
    axes.set_yticks(range(len(layers)), names, fontsize=9)
    axes.set_ylim(max(len(layers), 1) - 0.4, -0.6)
    axes.set_title(_layers_title(audit, len(layers)), fontsize=10, loc="left")
    _tidy(axes, legend=False)
    if layers:
        axes.legend(
            loc="lower right",
            bbox_to_anchor=(1, 1),
            borderaxespad=0.1,
            ncols=3,
            frameon=False,
            fontsize=8,
            columnspacing=1.2,
        )


def _layers_title(audit: Audit, shown: int) -> str:
    every = len(audit.layers)
    which = f"{shown} of {every} layers" if shown < every else "layers in order"
    if audit.bound.value is None:
        return f"{which}; together: no bound is known"
    return f"{which}; together at most ×{audit.bound.value:.3g}"


def _scale(axes: Any, values: Sequence[float]) -> None:
    largest = max((*values, 1.0))
    if values and largest / min(values) > _WIDE:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_xlabel("logarithmic", fontsize=8)
        axes.set_xlim(min((*values, 1.0)) / 2, largest * 2)
    else:
        axes.set_xlim(0, 1.12 * largest)


def _say(axes: Any, place: float, value: float | None, absent: str | None) -> None:
    text = absent if value is None else f"{value:.3g}"
    if text:
        at = axes.get_xlim()[0] if value is None else value
        axes.annotate(
            text, (at, place), (4, 0), textcoords="offset points", va="center", fontsize=8
        )


def _draw_gradients(axes: Any, audit: Audit) -> None:
    gradients = audit.gradients
    for kind, found in gradients.at.items():
        color = _COLORS[kind]
        axes.stairs(found.counts, gradients.edges, color=color, fill=True, alpha=0.22)
        axes.stairs(found.counts, gradients.edges, color=color, linewidth=1.4, label=_LABELS[kind])
    top, title = gradients.edges[-1], "how steep the critic is, point by point"
    if not any(sum(found.counts) for found in gradients.at.values()):
        axes.set_ylim(0, 1)
        axes.text(0.5, 0.5, "no gradient is finite", ha="center", transform=axes.transAxes)
    if top >= _NEAR_ONE:
        axes.set_xlim(0, max(1.06, 1.03 * top))
        _line_at_one(axes)
    else:
        axes.set_xlim(0, 1.03 * top)
        title += f"; 1 is {1 / top:.3g} times as far right →"
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_xlabel("gradient norm ‖∇D(x)‖")
    axes.set_ylabel("points")
    _tidy(axes)


def _draw_weights(axes: Any, audit: Audit) -> None:
    weights = audit.weights
    axes.stairs(weights.counts, weights.edges, color=_REAL, fill=True, alpha=0.8)
    title = "weights"
    if weights.clip is not None and weights.at_clip is not None:
        title += f"; {weights.at_clip:.0%} at the clip bound ±{weights.clip:g}"
        for side in (-weights.clip, weights.clip):
            axes.axvline(side, color=_INK, linewidth=0.9, linestyle=":")
    if weights.not_finite:
        title += f"; {weights.not_finite:,} NaN or infinite"
    if max(weights.counts) >= _MANY_WEIGHTS:
        axes.set_yscale("log", nonpositive="clip")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_ylim(bottom=0.7)
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_xlabel("value")
    axes.set_ylabel("weights")
    _tidy(axes, legend=False)


def _line_at_one(axes: Any) -> None:
    axes.axvline(1, color=_INK, linewidth=1.1, linestyle=":", label="1, the most for 1-Lipschitz")


def _tidy(axes: Any, *, legend: bool = True) -> None:
    axes.grid(color=_FAINT, linewidth=0.5, alpha=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if legend and axes.get_legend_handles_labels()[0]:
        axes.legend(loc="best", frameon=False, fontsize=8)
