"""What the page's charts are drawn from: few enough points, none of the extremes lost."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from fastwgan.train import curves
from fastwgan.train.curves import Panel
from fastwgan.train.metrics import Record
from fastwgan.train.report.markup import Markup

MOST_BUCKETS = 300
_DIGITS = 6

# Names of the page's colours.
_COLORS = {
    **dict.fromkeys(curves.MEASURES, "fake"),
    **{f"{name}_floor": "floor" for name in curves.MEASURES},
    "kantorovich": "real",
    "kantorovich_normalised": "third",
    "generator_loss": "fake",
}
_ABOUT = {
    curves.DISTANCE.title: (
        "How far generated samples are from real samples that the training never saw. Other real "
        "samples are as far from them as the dashed floor: no generator can be expected below it. "
        "The critic's estimate is what the critic makes of the same distance; a critic that is "
        "1-Lipschitz never overshoots it."
    ),
    "Wasserstein estimate": (
        "How well the critic tells real from generated on the batches it trains on. It rises while "
        "the critic learns, and falls as the samples get better."
    ),
    "gradient penalty": "What the critic pays for gradients that are not of the norm asked for.",
    "gradient norm": (
        "How steep the critic is at real samples. A 1-Lipschitz critic stays at 1 or below."
    ),
    "losses": "What the two networks minimise. Neither is a measure of quality.",
}


def chart(records: Sequence[Record], panel: Panel) -> dict[str, Any]:
    """One panel for the page's script: shared steps, and a value or null for each series there."""
    lines = [record for record in records if any(name in record for name in panel.names)]
    means = {name: _means(lines, name) for name in panel.names}
    kept = _thinned(lines, panel.names)
    positive = curves.series(lines, panel.names[0])[1]
    return {
        "title": panel.title,
        "formula": panel.formula,
        "about": _ABOUT.get(panel.title, ""),
        "steps": [int(lines[index]["step"]) for index in kept],
        "lines": len(lines),
        "log": curves.has_wide_range(positive) and panel.names[0] in curves.MEASURES,
        "bound": 1 if curves.BOUND in panel.names else None,
        "series": [
            {
                "name": name,
                "label": curves.label(name),
                "color": _COLORS.get(name, "real"),
                "values": [_rounded(lines[index].get(name)) for index in kept],
                "means": [_rounded(means[name][index]) for index in kept],
            }
            for name in panel.names
        ],
    }


def as_json(value: object) -> Markup:
    """JSON that may stand inside a script element."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))


def _means(lines: Sequence[Record], name: str) -> list[float | None]:
    """The running mean at each line; None where the value is missing."""
    values = [line[name] for line in lines if name in line]
    means = iter(curves.running_means(values))
    return [next(means) if name in line else None for line in lines]


def _thinned(lines: Sequence[Record], names: Sequence[str]) -> list[int]:
    """Which lines are drawn: all, or of each bucket those with an extreme of a series."""
    if len(lines) <= 2 * MOST_BUCKETS:
        return list(range(len(lines)))
    kept = {0, len(lines) - 1}
    for bucket in range(MOST_BUCKETS):
        first = bucket * len(lines) // MOST_BUCKETS
        last = (bucket + 1) * len(lines) // MOST_BUCKETS
        for name in names:
            present = [index for index in range(first, last) if name in lines[index]]
            if present:
                kept.add(min(present, key=lambda index: lines[index][name]))
                kept.add(max(present, key=lambda index: lines[index][name]))
    return sorted(kept)


def _rounded(value: float | None) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{_DIGITS}g}")
