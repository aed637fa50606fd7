"""divergences.png: both pairs of distributions, values, gradients and critics side by side."""

from __future__ import annotations

from pathlib import Path

from fastwgan.train.divergences import panels
from fastwgan.train.divergences.examples import EXAMPLES
from fastwgan.train.divergences.results import Divergences
from fastwgan.train.divergences.style import INK, legend
from fastwgan.train.extras import require

_SIZE = (18.0, 10.0)  # inches
_DPI = 100
_TITLE = "What a distance tells a generator that is θ away from the data"
_SENTENCE = (
    "Where the supports are disjoint, Kullback–Leibler is infinite and Jensen–Shannon is log 2 "
    "with gradient 0: nothing says which way to go.\n"
    "Wasserstein-1 is |θ| with gradient ±1, and critics with a gradient penalty found it to "
    "{error:.1%}."
)


def draw(found: Divergences, path: Path) -> None:
    """Draws the picture; the same numbers give the same picture."""
    figures = require("matplotlib.figure", f"drawing {path.name}")
    figure = figures.Figure(figsize=_SIZE, dpi=_DPI)
    grid = figure.add_gridspec(
        len(found.comparisons),
        4,
        width_ratios=(0.75, 1.15, 1.15, 1.05),
        left=0.045,
        right=0.985,
        top=0.855,
        bottom=0.155,
        wspace=0.2,
        hspace=0.27,
    )
    figure.suptitle(
        _TITLE,
        x=0.045,
        y=0.978,
        ha="left",
        fontsize=17,
        fontweight="bold",
        color=INK,
    )
    figure.text(0.045, 0.915, _SENTENCE.format(error=found.penalty_error()), fontsize=12, color=INK)
    examples = {example.name: example for example in EXAMPLES}
    for row, comparison in enumerate(found.comparisons):
        example = examples[comparison.name]
        axes = [figure.add_subplot(grid[row, column]) for column in range(4)]
        panels.distributions(axes[0], example, comparison.profile.theta)
        panels.values(axes[1], example, comparison)
        panels.gradients(axes[2], example, comparison)
        panels.critics(axes[3], comparison.profile)
    legend(figure)
    figure.savefig(path)
