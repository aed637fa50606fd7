"""Colours, lines and marks of divergences.png, and its legend."""

from __future__ import annotations

from typing import Any, NamedTuple

from fastwgan.train.divergences.critics import METHODS
from fastwgan.train.extras import require

INK, FAINT = "#222222", "#b8c4cc"
REAL, FAKE = "#2a6f97", "#d1495b"
KL = "#7b4ba0"


class Curve(NamedTuple):
    """How an exact divergence is drawn."""

    color: str
    width: float
    label: str


CURVES = {
    "wasserstein": Curve("#2a6f97", 2.6, "Wasserstein-1, |θ|"),
    "js": Curve("#d1495b", 2.0, "Jensen–Shannon"),
    "tv": Curve("#8d99a6", 1.2, "total variation"),
}


class Mark(NamedTuple):
    """How what a critic found is drawn."""

    shape: str
    size: float
    color: str
    filled: bool = True

    def look(self) -> dict[str, Any]:
        """Arguments of matplotlib's Line2D."""
        return {
            "linestyle": "",
            "marker": self.shape,
            "markersize": self.size,
            "markerfacecolor": self.color if self.filled else "none",
            "markeredgecolor": "white" if self.filled else self.color,
            "markeredgewidth": 0.5 if self.filled else 1.6,
            "zorder": 3,
        }


# Nested, since the first three lie on each other.
MARKS = {
    "wgan-gp": Mark("o", 13, "#1b9e77", filled=False),
    "sn-gan": Mark("s", 8, INK, filled=False),
    "wgan-lp": Mark("o", 5, "#1b9e77"),
    "wgan": Mark("D", 6, "#e07a1f"),
    "gan": Mark("X", 9, "#d1495b"),
}
SCALED = MARKS["wgan"]._replace(filled=False)
"""Of weight clipping over its Lipschitz constant."""

LINES: dict[str, dict[str, Any]] = {
    "wgan-gp": {"linewidth": 5.0, "alpha": 0.45},
    "wgan-lp": {"linewidth": 2.0, "linestyle": "--"},
    "sn-gan": {"linewidth": 1.6},
    "wgan": {"linewidth": 2.2},
    "gan": {"linewidth": 2.2},
}
"""How a critic itself is drawn, in its mark's colour."""


def legend(figure: Any) -> None:
    """Two rows at the foot: what is exact, and what critics found."""
    line = require("matplotlib.lines", "drawing a legend").Line2D
    exact = [
        line([], [], color=curve.color, linewidth=curve.width, label=curve.label)
        for curve in CURVES.values()
    ]
    infinite = {"marker": "^", "markersize": 8, "linestyle": "", "label": "Kullback–Leibler (∞)"}
    whole = {"linestyle": ":", "linewidth": 1, "label": "the same, Gaussians not truncated"}
    exact += [line([], [], color=KL, **look) for look in (infinite, whole)]
    titles = {method.name: method.title for method in METHODS}
    found = [line([], [], label=titles[name], **mark.look()) for name, mark in MARKS.items()]
    found.append(line([], [], label="weight clipping / its Lipschitz constant", **SCALED.look()))
    for handles, title, level in ((exact, "exact", 0.072), (found, "trained critics", 0.028)):
        figure.text(0.045, level + 0.006, title, fontsize=11, fontweight="bold", color=INK)
        figure.legend(
            handles=handles,
            loc="lower left",
            bbox_to_anchor=(0.12, level - 0.012),
            ncols=len(handles),
            frameon=False,
            fontsize=11,
            handletextpad=0.5,
            columnspacing=1.8,
        )
