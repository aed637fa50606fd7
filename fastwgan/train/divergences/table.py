"""The numbers of the demo as a person reads them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fastwgan.train.divergences.critics import METHODS, Found
from fastwgan.train.divergences.exact import Quantity
from fastwgan.train.divergences.examples import EXAMPLES
from fastwgan.train.divergences.results import Comparison, Divergences
from fastwgan.train.extras import require

_EXACT = {
    "kl": "Kullback–Leibler",
    "js": "Jensen–Shannon",
    "tv": "total variation",
    "wasserstein": "Wasserstein-1",
}


def show(found: Divergences) -> None:
    """Prints a table of each pair of distributions, then what to see in them."""
    console = require("rich.console", "the tables").Console()
    titles = {example.name: example.title for example in EXAMPLES}
    for comparison in found.comparisons:
        console.print(_table(comparison, titles[comparison.name]))
    console.print(sentence(found))


def sentence(found: Divergences) -> str:
    """What to see, with the largest error of the gradient penalty's estimates."""
    return (
        "What to see: once the two distributions are disjoint, Kullback–Leibler is infinite and "
        "Jensen–Shannon stays at log 2 = 0.693 with gradient 0, so a generator isn't told which "
        "way to go; Wasserstein-1 is |θ| with gradient ±1, and critics under a gradient penalty "
        f"found it to {found.penalty_error():.1%}."
    )


def _table(comparison: Comparison, title: str) -> Any:
    """Values and gradients at θ > 0; those at −θ differ in the gradients' sign."""
    table = require("rich.table", "the tables").Table(
        title=title,
        title_justify="left",
        box=require("rich.box", "the tables").SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    points = [point for point in comparison.points if point.theta > 0]
    table.add_column("θ", no_wrap=True)
    for what in ("value", "gradient"):
        for number, point in enumerate(points):
            heading = f"{what if number == 0 else ''}\n{point.theta:g}"
            table.add_column(heading, justify="right", no_wrap=True)
    for name, label in _EXACT.items():
        table.add_row(label, *_row([getattr(point.exact, name) for point in points]))
    table.add_section()
    for method in METHODS:
        found = [point.found[method.name] for point in points]
        table.add_row(method.title, *_row(found))
        if method.name == "wgan":
            table.add_row("clipping, scaled", *_row([each.scaled() for each in found]))
    return table


def _row(quantities: Sequence[Quantity | Found]) -> list[str]:
    values = [_text(each.value) for each in quantities]
    return values + [_text(each.gradient) for each in quantities]


def _text(number: float | None) -> str:
    if number is None:
        return "–"
    return "∞" if number == math.inf else f"{number:.3f}"
