"""samples.png and curves.png."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from fastwgan.train import metrics
from fastwgan.train.data import Data
from fastwgan.train.extras import require
from fastwgan.train.folder import RunFolder
from fastwgan.train.loop import Trainer
from fastwgan.train.metrics import Record

_GRID = 10  # images a side
_PIXELS = 56  # a tile's side in samples.png
_GAP = 6
_FRAME = -0.55  # between the tiles, in the units of the images
_MARGIN = 24
_POINTS = 2000
_LEVEL_GRID = 120
_DPI = 100
_MANY = 40  # values, from which on a curve's extremes may lie outside of its panel
_INK, _REAL, _FAKE, _FAINT = "#222222", "#2a6f97", "#d1495b", "#b8c4cc"


class _Panel(NamedTuple):
    names: tuple[str, ...]  # of metrics.jsonl
    label: str


_PANELS = (
    _Panel(("wasserstein",), "Wasserstein estimate\nmean D(real) − mean D(fake)"),
    _Panel(("penalty",), "gradient penalty\nλ · mean (‖∇D‖ − 1)²"),
    _Panel(("gradient_norm",), "gradient norm\nmean ‖∇D(x)‖ at real x"),
    _Panel(("critic_loss", "generator_loss"), "losses"),
)


def draw(trainer: Trainer, data: Data, folder: RunFolder) -> None:
    """Draws both pictures of a run; the same state gives the same pictures."""
    config = trainer.config
    title = f"{data.name} · {config.method} · seed {config.seed} · generator step {trainer.step:,}"
    _samples_figure(trainer, data, title).savefig(folder.samples)
    _curves_figure(metrics.read(folder.metrics), title).savefig(folder.curves)


def tile(images: Tensor) -> Tensor:
    """Images [n, channels, height, width] in [-1, 1] as one picture [rows, columns, 3] in [0, 1].

    Each is enlarged by bicubic interpolation, so that 8x8 pixels read as the strokes they sample.
    """
    scale = _PIXELS / max(images.shape[2:])
    size = [round(side * scale) for side in images.shape[2:]]
    enlarged = functional.interpolate(images, size=size, mode="bicubic").clamp(-1, 1)
    framed = functional.pad(enlarged, (_GAP, 0, _GAP, 0), value=_FRAME)
    rows = [torch.cat(list(row), dim=2) for row in torch.split(framed, _GRID)]
    picture = functional.pad(torch.cat(rows, dim=1), (0, _GAP, 0, _GAP), value=_FRAME)
    return (picture.expand(3, -1, -1).permute(1, 2, 0) + 1) / 2


def _samples_figure(trainer: Trainer, data: Data, title: str) -> Any:
    generator = torch.Generator().manual_seed(trainer.config.seed)
    count = _GRID**2 if data.is_image else _POINTS
    noise = torch.randn(count, trainer.config.latent_size, generator=generator)
    order = torch.randperm(len(data.values), generator=generator)
    real = data.values[order[torch.arange(count) % len(order)]].cpu()
    fake = trainer.sample(noise).cpu()
    if data.is_image:
        return _image_figure(tile(fake), tile(real), title)
    return _point_figure(trainer, fake, real, title)


def _image_figure(fake: Tensor, real: Tensor, title: str) -> Any:
    """Both pictures side by side, one dot of the file a pixel of the picture."""
    height, width = fake.shape[:2]
    whole = (2 * width + 3 * _MARGIN, height + 4 * _MARGIN)
    figure = _figure(*whole, layout="none")
    figure.text(0.5, 1 - 0.8 * _MARGIN / whole[1], title, ha="center", va="center", fontsize=13)
    for column, (name, picture) in enumerate((("generated", fake), ("real", real))):
        corner = (_MARGIN + column * (width + _MARGIN), _MARGIN)
        place = (corner[0] / whole[0], corner[1] / whole[1], width / whole[0], height / whole[1])
        axes = figure.add_axes(place)
        axes.imshow(picture.numpy(), interpolation="none")
        axes.set_title(name, fontsize=12)
        axes.set_axis_off()
    return figure


def _point_figure(trainer: Trainer, fake: Tensor, real: Tensor, title: str) -> Any:
    """Real and generated points over the level sets of the critic."""
    figure = _figure(860, 760)
    figure.suptitle(title, fontsize=13)
    axes = figure.add_subplot()
    low, high = real.amin(dim=0), real.amax(dim=0)
    edge = 0.2 * (high - low)
    low, high = low - edge, high + edge
    x, y = (torch.linspace(float(a), float(b), _LEVEL_GRID) for a, b in zip(low, high, strict=True))
    scores = trainer.score(torch.cartesian_prod(x, y)).view(_LEVEL_GRID, _LEVEL_GRID).T
    levels = axes.contourf(x.numpy(), y.numpy(), scores.cpu().numpy(), 24, cmap="Greys", alpha=0.55)
    figure.colorbar(levels, ax=axes, label="critic's score D(x)", shrink=0.85)
    axes.scatter(*real.T.numpy(), s=7, color=_REAL, linewidths=0, alpha=0.6, label="real")
    axes.scatter(*fake.T.numpy(), s=7, color=_FAKE, linewidths=0, alpha=0.6, label="generated")
    axes.set(aspect="equal", xlabel="x₁", ylabel="x₂")
    axes.set(xlim=(float(low[0]), float(high[0])), ylim=(float(low[1]), float(high[1])))
    axes.legend(loc="upper right", markerscale=2.5, framealpha=0.9)
    return figure


def _curves_figure(records: list[Record], title: str) -> Any:
    panels = [panel for panel in _PANELS if records and panel.names[0] in records[0]]
    figure = _figure(960, 60 + 230 * max(len(panels), 1))
    figure.suptitle(title, fontsize=13)
    for row, panel in enumerate(panels):
        axes = figure.add_subplot(len(panels), 1, row + 1)
        for name, color in zip(panel.names, (_REAL, _FAKE), strict=False):
            _curve(axes, records, name, color)
        if panel.names == ("gradient_norm",):
            axes.axhline(1, color=_INK, linewidth=0.8, linestyle=":", label="1-Lipschitz bound")
            axes.legend(loc="best", frameon=False)
        if len(panel.names) > 1:
            axes.legend(loc="best", frameon=False)
        _leave_outliers_out(axes, [r[name] for name in panel.names for r in records])
        axes.set_ylabel(panel.label, fontsize=9)
        axes.grid(color=_FAINT, linewidth=0.5, alpha=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.01)
    if panels:
        axes.set_xlabel("generator steps")
    return figure


def _curve(axes: Any, records: list[Record], name: str, color: str) -> None:
    """Faint as measured, and strong its running mean."""
    steps = [record["step"] for record in records]
    values = torch.tensor([record[name] for record in records], dtype=torch.float64)
    axes.plot(steps, values.numpy(), color=color, linewidth=0.7, alpha=0.35)
    window = max(len(values) // 40, 1)
    sums = functional.pad(values.cumsum(0), (1, 0))
    ends = torch.arange(1, len(values) + 1)
    starts = (ends - window).clamp(min=0)
    means = (sums[ends] - sums[starts]) / (ends - starts)
    axes.plot(steps, means.numpy(), color=color, linewidth=1.6, label=name.replace("_", " "))


def _leave_outliers_out(axes: Any, values: list[float]) -> None:
    """Keeps the first steps' extremes from flattening all that follows."""
    if len(values) >= _MANY:
        low, high = torch.tensor(values).quantile(torch.tensor([0.02, 0.98])).tolist()
        edge = 0.15 * (high - low) or 1.0
        axes.set_ylim(low - edge, high + edge)


def _figure(width: float, height: float, layout: str = "constrained") -> Any:
    """A matplotlib figure of so many dots, free of pyplot's global state."""
    figures = require("matplotlib.figure", "drawing samples.png and curves.png")
    return figures.Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, layout=layout)
