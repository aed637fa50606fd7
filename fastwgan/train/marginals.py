"""Tables and vectors: how each column is distributed, and how columns go together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fastwgan.train.extras import require
from fastwgan.train.figures import FAKE, REAL, figure, plain, tidy

_MOST_COLUMNS = 12  # marginals in a picture
_MOST_LEVELS = 12  # bars of a category
_MOST_CORRELATED = 24
_ACROSS = 4
_BINS = 30
_CELL = (235, 175)  # dots of a marginal
_MATRIX = 370
_MISSING = "(missing)"


@dataclass(frozen=True)
class Column:
    """One column of a table, real beside generated.

    Attributes:
        name: Of the column.
        real: Numbers [samples], or indices into `levels`.
        fake: As `real`, of the generated rows.
        levels: Names of a category's values; empty for numbers.
    """

    name: str
    real: Tensor
    fake: Tensor
    levels: tuple[str, ...] = ()


def of_vectors(fake: Tensor, real: Tensor) -> list[Column]:
    """The entries of samples [n, *shape] as columns x1, x2 and so on."""
    fake, real = fake.flatten(1), real.flatten(1)
    return [Column(f"x{i + 1}", real[:, i], fake[:, i]) for i in range(real.shape[1])]


def of_frames(fake: Any, real: Any) -> list[Column]:
    """The columns of two data frames of pandas with the same columns."""
    return [_of_frames(str(name), fake[name], real[name]) for name in real.columns]


def _of_frames(name: str, fake: Any, real: Any) -> Column:
    pandas = require("pandas", "drawing tables")
    types = pandas.api.types
    if types.infer_dtype(real, skipna=True) == "date":
        fake, real = pandas.to_datetime(fake), pandas.to_datetime(real)
    if types.is_datetime64_any_dtype(real):
        return Column(f"{name} (year)", _numbers(_years(real)), _numbers(_years(fake)))
    if types.is_timedelta64_dtype(real):
        real, fake = real.dt.total_seconds(), fake.dt.total_seconds()
        return Column(f"{name} (s)", _numbers(real), _numbers(fake))
    if types.is_numeric_dtype(real) and not types.is_bool_dtype(real):
        return Column(name, _numbers(real), _numbers(fake))
    texts = [column.astype("string").fillna(_MISSING).tolist() for column in (real, fake)]
    levels = tuple(sorted({*texts[0], *texts[1]}))
    places = {level: place for place, level in enumerate(levels)}
    codes = [torch.tensor([places[text] for text in column]) for column in texts]
    return Column(name, codes[0], codes[1], levels)


def _years(times: Any) -> Any:
    pandas = require("pandas", "drawing tables")
    since = times.dt.tz_localize(None) - pandas.Timestamp(1970, 1, 1)
    return 1970 + since / pandas.Timedelta(days=365.2425)


def _numbers(column: Any) -> Tensor:
    return torch.from_numpy(column.to_numpy(dtype="float64", na_value=math.nan, copy=True))


def marginals_figure(columns: Sequence[Column], size: tuple[int, int] | None = None) -> Any:
    """A small histogram a column, of the first `_MOST_COLUMNS`.

    Args:
        columns: What is drawn.
        size: Of the figure, in dots; by default as large as the columns need.
    """
    shown = columns[:_MOST_COLUMNS]
    down = math.ceil(len(shown) / _ACROSS)
    across = min(len(shown), _ACROSS)
    drawn = figure(*(size or (max(across, 2) * _CELL[0], down * _CELL[1] + 40)))
    _draw_marginals(drawn, shown, down, across)
    return drawn


def table_figure(columns: Sequence[Column], title: str) -> Any:
    """samples.png of a table: the marginals, and below them the correlations of either side."""
    shown = columns[:_MOST_COLUMNS]
    down = math.ceil(len(shown) / _ACROSS)
    names, real, fake = _correlated(columns)
    heights = [down * _CELL[1], _MATRIX if len(names) > 1 else 1]
    drawn = figure(_ACROSS * _CELL[0] + 20, sum(heights) + 80)
    more = f" · {len(shown)} of {len(columns)} columns" if len(shown) < len(columns) else ""
    drawn.suptitle(title + more, fontsize=13)
    if len(names) < 2:
        _draw_marginals(drawn, shown, down, _ACROSS)
        return drawn
    upper, lower = drawn.subfigures(2, 1, height_ratios=heights)
    _draw_marginals(upper, shown, down, _ACROSS)
    _draw_correlations(lower, names, real, fake)
    return drawn


def _draw_marginals(drawn: Any, columns: Sequence[Column], down: int, across: int) -> None:
    for place, column in enumerate(columns):
        axes = drawn.add_subplot(down, across, place + 1)
        draw = _draw_levels if column.levels else _draw_histogram
        draw(axes, column)
        axes.set_title(plain(column.name, 28), fontsize=9)
        axes.tick_params(labelsize=7)
        axes.set_yticks([])
        tidy(axes)
        axes.spines["left"].set_visible(False)
        if place == 0:
            axes.legend(loc="best", fontsize=7, frameon=False)


def _draw_histogram(axes: Any, column: Column) -> None:
    """Over the range of the real values; what lies outside is counted at the edges."""
    low, high = _range(column.real)
    edges = torch.linspace(low, high, _BINS + 1)
    for values, color, name in ((column.real, REAL, "real"), (column.fake, FAKE, "generated")):
        counts = torch.histc(_finite(values).clamp(low, high).double(), _BINS, low, high)
        shares = counts / counts.sum().clamp(min=1)
        axes.stairs(shares.numpy(), edges.numpy(), color=color, fill=True, alpha=0.22)
        axes.stairs(shares.numpy(), edges.numpy(), color=color, linewidth=1.2, label=name)
    axes.set_xlim(low, high)
    axes.locator_params(axis="x", nbins=4)


def _draw_levels(axes: Any, column: Column) -> None:
    """Shares of a category's values, the most frequent of the real ones first."""
    width = 0.4
    shares = [
        torch.bincount(values.long(), minlength=len(column.levels)).double() / max(len(values), 1)
        for values in (column.real, column.fake)
    ]
    first = shares[0].argsort(descending=True, stable=True)[:_MOST_LEVELS]
    places = torch.arange(len(first))
    for share, color, name, side in (
        (shares[0], REAL, "real", -width / 2),
        (shares[1], FAKE, "generated", width / 2),
    ):
        axes.bar((places + side).numpy(), share[first].numpy(), width, color=color, label=name)
    names = [plain(column.levels[int(level)], 10) for level in first]
    axes.set_xticks(places.numpy(), names, rotation=30 if len(names) > 3 else 0)


def _draw_correlations(drawn: Any, names: list[str], real: Tensor, fake: Tensor) -> None:
    matrices = (("real", real), ("generated", fake), ("generated − real", fake - real))
    every = drawn.subplots(1, len(matrices), sharey=True)
    for axes, (title, matrix) in zip(every, matrices, strict=True):
        image = axes.imshow(matrix.numpy(), cmap="RdBu_r", vmin=-1, vmax=1)
        axes.set_title(f"correlations, {title}", fontsize=9)
        ticks = range(len(names))
        axes.set_xticks(ticks, names, rotation=90, fontsize=6)
        axes.set_yticks(ticks, names, fontsize=6)
    bar = drawn.colorbar(image, ax=list(every), shrink=0.7)
    bar.ax.tick_params(labelsize=7)


def _correlated(columns: Sequence[Column]) -> tuple[list[str], Tensor, Tensor]:
    """Names and both correlation matrices of numbers and of the values of categories."""
    names: list[str] = []
    real: list[Tensor] = []
    fake: list[Tensor] = []
    for column in columns:
        for level, suffix in enumerate(column.levels or ("",)):
            names.append(plain(f"{column.name} = {suffix}" if column.levels else column.name, 18))
            for rows, values in ((real, column.real), (fake, column.fake)):
                is_level = (values == level) if column.levels else values
                rows.append(is_level.double())
    shown = slice(_MOST_CORRELATED)
    return names[shown], _correlations(real[shown]), _correlations(fake[shown])


def _correlations(rows: list[Tensor]) -> Tensor:
    """Pearson's; 0 where a column is constant."""
    return torch.corrcoef(torch.stack(rows).nan_to_num()).view(len(rows), -1).nan_to_num()


def _finite(values: Tensor) -> Tensor:
    return values[values.isfinite()]


def _range(values: Tensor) -> tuple[float, float]:
    """Nearly all of the values with a margin, so that one far value doesn't flatten the rest."""
    values = _finite(values).double()
    if not len(values):
        return 0.0, 1.0
    low, high = values.quantile(torch.tensor([0.005, 0.995], dtype=torch.float64)).tolist()
    edge = 0.1 * (high - low) or max(0.5, 1e-3 * abs(low))
    return low - edge, high + edge
