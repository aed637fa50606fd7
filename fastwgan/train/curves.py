"""curves.png and distance.png: the lines of metrics.jsonl over the steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch.nn import functional

from fastwgan.train.figures import FAKE, FLOOR, INK, REAL, THIRD, figure, tidy
from fastwgan.train.metrics import Record

MANY = 40  # values, from which on a curve's extremes may lie outside of its panel
_WIDE_RANGE = 10  # largest over smallest distance, from which on a log scale shows more


class Measured(NamedTuple):
    """A distance to held-out data, beside that of real data.

    Attributes:
        name: Of `MEASURES`.
        step: When it was measured.
        distance: Of the generated samples.
        floor: Of real samples; None where it is missing.
    """

    name: str
    step: int
    distance: float
    floor: float | None

    @property
    def ratio(self) -> float | None:
        """How many floors the distance is; None where there is no floor."""
        return self.distance / self.floor if self.floor else None


class Panel(NamedTuple):
    """What is drawn over one axis.

    Attributes:
        title: What a reader calls it.
        formula: What is computed, or its unit.
        names: Of the values in metrics.jsonl.
    """

    title: str
    formula: str
    names: tuple[str, ...]


MEASURES = {
    "w1": "exact Wasserstein-1 distance",
    "w1_sinkhorn": "Sinkhorn estimate of the Wasserstein-1 distance",
    "w1_sliced": "sliced Wasserstein-1 distance",
}
"""What a run measures, by its name in metrics.jsonl: exact unless its points are too many."""

DISTANCE = Panel(
    "Wasserstein-1 distance to held-out data",
    "mean distance between samples, matched at the least cost",
    (
        *(name for measure in MEASURES for name in (measure, f"{measure}_floor")),
        "kantorovich",
        "kantorovich_normalised",
    ),
)
BOUND = "gradient_norm"  # the panel with the line that a 1-Lipschitz critic stays under

LABELS = {
    "w1": "exact, generated to held-out",
    "w1_sinkhorn": "Sinkhorn, generated to held-out",
    "w1_sliced": "sliced, generated to held-out",
    **{f"{name}_floor": "floor: real to held-out" for name in MEASURES},
    "kantorovich": "critic's estimate",
    "kantorovich_normalised": "critic's estimate over its slope",
    "wasserstein": "estimate on the training batches",
    "gradient_norm": "mean gradient norm",
}
COLORS = {
    **dict.fromkeys(MEASURES, FAKE),
    **{f"{name}_floor": FLOOR for name in MEASURES},
    "kantorovich": REAL,
    "kantorovich_normalised": THIRD,
    "generator_loss": FAKE,
}

_PENALTIES = {
    "gp": "λ · mean (‖∇D‖ − 1)²",
    "lp": "λ · mean max(0, ‖∇D‖ − 1)²",
    "dragan": "λ · mean (‖∇D‖ − 1)²",
    "r1": "λ · mean ‖∇D(real)‖²",
    "r2": "λ · mean ‖∇D(fake)‖²",
}


def label(name: str) -> str:
    """What a value of metrics.jsonl is called in a legend."""
    return LABELS.get(name, name.replace("_", " "))


def panels(records: Sequence[Record], parts: Sequence[str]) -> list[Panel]:
    """The panels that these lines have a value for.

    Args:
        records: Lines of metrics.jsonl.
        parts: Of the method, as in `TrainConfig.parts`.
    """
    penalties = [_PENALTIES[part] for part in parts if part in _PENALTIES]
    every = (
        DISTANCE,
        Panel("Wasserstein estimate", "mean D(real) − mean D(fake)", ("wasserstein",)),
        Panel("gradient penalty", " + ".join(penalties), ("penalty",)),
        Panel("gradient norm", "mean ‖∇D(x)‖ at real x", (BOUND,)),
        Panel("losses", "of critic and generator", ("critic_loss", "generator_loss")),
    )
    present = {name for record in records for name in record}
    kept = ((panel, tuple(n for n in panel.names if n in present)) for panel in every)
    return [panel._replace(names=names) for panel, names in kept if names]


def series(records: Sequence[Record], name: str) -> tuple[list[int], list[float]]:
    """The steps at which a value was measured, and the value there."""
    found = [(int(record["step"]), record[name]) for record in records if name in record]
    return [step for step, _ in found], [value for _, value in found]


def running_means(values: Sequence[float]) -> list[float]:
    """The mean of each value and those before it, over a fortieth of them all."""
    window = max(len(values) // 40, 1)
    sums = functional.pad(torch.tensor(values, dtype=torch.float64).cumsum(0), (1, 0))
    ends = torch.arange(1, len(values) + 1)
    starts = (ends - window).clamp(min=0)
    means: list[float] = ((sums[ends] - sums[starts]) / (ends - starts)).tolist()
    return means


def has_wide_range(values: Sequence[float]) -> bool:
    """Whether positive values are better read on a logarithmic scale."""
    return bool(values) and min(values) > 0 and max(values) > _WIDE_RANGE * min(values)


def curves_figure(records: Sequence[Record], parts: Sequence[str], title: str) -> Any:
    """Every panel of a run, one below the other."""
    shown = panels(records, parts)
    drawn = figure(960, 60 + 230 * max(len(shown), 1))
    drawn.suptitle(title, fontsize=13)
    for row, panel in enumerate(shown):
        axes = drawn.add_subplot(len(shown), 1, row + 1)
        if panel.title == DISTANCE.title:
            _draw_distance(axes, records, panel)
        else:
            _draw_panel(axes, records, panel)
        tidy(axes)
        axes.set_xlim(0, 1.01 * max(record["step"] for record in records))
    if shown:
        axes.set_xlabel("generator steps")
    return drawn


def distance_figure(records: Sequence[Record], title: str) -> Any | None:
    """The exact distance, its estimates and its floor; None where nothing was measured."""
    measured = [panel for panel in panels(records, ()) if panel.title == DISTANCE.title]
    if not measured:
        return None
    drawn = figure(960, 560)
    axes = drawn.add_subplot()
    _draw_distance(axes, records, measured[0])
    tidy(axes)
    axes.set_xlim(0, 1.01 * max(record["step"] for record in records))
    axes.set_xlabel("generator steps")
    axes.set_title(f"{title}\n{_last_distance(records)}", fontsize=12)
    return drawn


def last_measured(records: Sequence[Record]) -> Measured | None:
    """The last distance of a run beside its floor; None where none was measured."""
    for record in reversed(records):
        for name in MEASURES:
            if name in record:
                floor = record.get(f"{name}_floor")
                return Measured(name, int(record["step"]), record[name], floor)
    return None


def _last_distance(records: Sequence[Record]) -> str:
    last = last_measured(records)
    if last is None or last.floor is None:
        return ""
    text = f"at step {last.step:,}: {last.distance:.4g}, floor {last.floor:.4g}"
    return text if last.ratio is None else f"{text}, ratio {last.ratio:.2f}"


def _draw_distance(axes: Any, records: Sequence[Record], panel: Panel) -> None:
    """Each as measured; the exact one decides the scale, and wild estimates may leave it."""
    for name in panel.names:
        steps, values = series(records, name)
        is_floor = name.endswith("_floor")
        mark = "o" if len(values) == 1 or (len(values) <= MANY and not is_floor) else ""
        line = "--" if is_floor else "-"
        width = 2.0 if name in MEASURES else 1.3
        axes.plot(
            *(steps, values, line),
            color=COLORS[name],
            linewidth=width,
            marker=mark,
            markersize=3.5,
            label=label(name),
        )
    exact = [
        value for name in panel.names if name.startswith("w1") for value in series(records, name)[1]
    ]
    if has_wide_range(exact):
        axes.set_yscale("log", nonpositive="mask")
    if exact:
        _hold_in(axes, records, panel, exact)
    axes.set_ylabel("W₁ to held-out data", fontsize=9)
    axes.legend(loc="best", frameon=False, fontsize=9)


def _hold_in(axes: Any, records: Sequence[Record], panel: Panel, exact: list[float]) -> None:
    """Limits that show all exact distances, and estimates from zero up to twice as far."""
    every = [v for name in panel.names for v in series(records, name)[1] if math.isfinite(v)]
    low, high = min(exact), max(exact)
    if axes.get_yscale() == "log":
        axes.set_ylim(low / 2, min(max(every), 2 * high) * 1.2)
    else:
        edge = max(high - low, 0.1 * high, 1e-12)
        axes.set_ylim(
            max(min(every), min(0.0, low - edge)) - 0.06 * edge,
            min(max(every), high + edge) + 0.06 * edge,
        )


def _draw_panel(axes: Any, records: Sequence[Record], panel: Panel) -> None:
    colors = {panel.names[0]: REAL} | COLORS
    for name in panel.names:
        _curve(axes, records, name, colors[name])
    if BOUND in panel.names:
        axes.axhline(1, color=INK, linewidth=0.8, linestyle=":", label="1-Lipschitz bound")
    if BOUND in panel.names or len(panel.names) > 1:
        axes.legend(loc="best", frameon=False)
    _leave_outliers_out(axes, [r[name] for name in panel.names for r in records if name in r])
    axes.set_ylabel(f"{panel.title}\n{panel.formula}".strip(), fontsize=9)


def _curve(axes: Any, records: Sequence[Record], name: str, color: str) -> None:
    """Faint as measured, and strong its running mean."""
    steps, values = series(records, name)
    axes.plot(steps, values, color=color, linewidth=0.7, alpha=0.35)
    axes.plot(steps, running_means(values), color=color, linewidth=1.6, label=label(name))


def _leave_outliers_out(axes: Any, values: list[float]) -> None:
    """Keeps the first steps' extremes from flattening all that follows."""
    if len(values) >= MANY:
        low, high = torch.tensor(values).quantile(torch.tensor([0.02, 0.98])).tolist()
        edge = 0.15 * (high - low) or 1.0
        axes.set_ylim(low - edge, high + edge)
