"""What an audit found: a text for the terminal, plain values for a file, a picture."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastwgan.train.lipschitz_gradients import QUANTILES, Distribution, Gradients
from fastwgan.train.lipschitz_layers import Bound, Layer
from fastwgan.train.lipschitz_weights import Units, Weights

_BARS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Audit:
    """Whether a critic is 1-Lipschitz, and why; printing it shows a table.

    Attributes:
        status: "proven" everywhere; "unrefuted", no slope above 1 was met; "nearly", where samples
            lie; "average", a gradient penalty's mean norm is near 1, and single slopes are above;
            "refuted", slopes above 1 were met; "flat", no gradient; "broken", NaN or Inf.
        verdict: What that means, and what to change.
        method: How the critic is kept 1-Lipschitz, as given or found; "" where unknown.
        layers: Those with a weight, or a Lipschitz constant other than 1.
        bound: What they say of the whole critic.
        gradients: How steep it is at samples and between them.
        weights: Its parameters.
        units: Its rectifiers.
        notes: What else a reader must know.
    """

    status: str
    verdict: str
    method: str
    layers: tuple[Layer, ...]
    bound: Bound
    gradients: Gradients
    weights: Weights
    units: tuple[Units, ...]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """In numbers, strings, lists and dicts, None for numbers that aren't finite: for JSON."""
        values: dict[str, Any] = _plain(dataclasses.asdict(self))
        return values

    def draw(self, path: Path) -> None:
        """Writes the picture of it.

        Raises:
            MissingExtraError: matplotlib isn't installed.
        """
        from fastwgan.train import audit_plot

        audit_plot.draw(self, path)

    def table(self) -> str:
        """The text for a terminal."""
        parts = [self.verdict, _layers_text(self), _gradients_text(self.gradients)]
        parts += [_weights_text(self), "\n".join(self.notes)]
        return "\n\n".join(part for part in parts if part)

    def __str__(self) -> str:
        return self.table()


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _layers_text(audit: Audit) -> str:
    head = ("layer", "kind", "weight", "input", "σ", "σ (power)", "constant", "note")
    rows = [head, *(_layer_cells(layer) for layer in audit.layers)]
    bound = audit.bound
    product = "unknown" if bound.product is None else _number(bound.product)
    lines = [*aligned(rows), f"product of the constants: {product}"]
    if bound.value is None:
        lines.append(f"{bound.note}; the product is over the layers as met and bounds nothing")
    else:
        lines.append(f"every slope is at most {_number(bound.value)}: {bound.note}")
    return "\n".join(lines)


def _layer_cells(layer: Layer) -> tuple[str, ...]:
    spectral = "spectral norm" if layer.normalised else ""
    return (
        layer.name or "(critic)",
        layer.kind,
        _sizes(layer.weight),
        _sizes(layer.input),
        _number(layer.sigma),
        _number(layer.sigma_power),
        _number(layer.norm),
        "; ".join(part for part in (spectral, layer.note) if part),
    )


def _gradients_text(gradients: Gradients) -> str:
    head = ("gradient norms", "points", "mean", *(f"{q} %" for q in QUANTILES), "max")
    end = f"0 … {_number(gradients.edges[-1])}"
    rows = [(*head, end)]
    rows += [_gradient_cells(kind, found) for kind, found in gradients.at.items()]
    pairs = f"steepest of {gradients.pairs:,} random pairs: {_number(gradients.slope)}"
    climbed = f"steepest point that a search met: {_number(gradients.climbed)}"
    return "\n".join([*aligned(rows), f"{pairs}; {climbed}"])


def _gradient_cells(kind: str, found: Distribution) -> tuple[str, ...]:
    numbers = [_number(value) for value in found.quantiles.values()]
    return (kind, f"{found.points:,}", _number(found.mean), *numbers, _bars(found.counts))


def _bars(counts: Sequence[int]) -> str:
    """Two bins of a histogram a character."""
    joined = [sum(counts[i : i + 2]) for i in range(0, len(counts), 2)]
    most = max(joined, default=0) or 1
    return "".join(_BARS[math.ceil(count / most * (len(_BARS) - 1))] for count in joined)


def _weights_text(audit: Audit) -> str:
    weights = audit.weights
    text = f"weights: {weights.count:,}, the largest {_number(weights.largest)}"
    if weights.clip is not None and weights.at_clip is not None:
        text += f"; {weights.at_clip:.1%} at the clip bound {weights.clip:g}"
    if weights.not_finite:
        text += f"; {weights.not_finite:,} NaN or infinite, in {', '.join(weights.broken)}"
    if not audit.units:
        return text
    head = ("units", "kind", "in all", "positive at no sample", "at every sample")
    rows = [
        (u.name or "(critic)", u.kind, str(u.units), str(u.dead), str(u.linear))
        for u in audit.units
    ]
    return "\n".join([text, "", *aligned([head, *rows])])


def _sizes(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}" if value < 1e4 else f"{value:.1e}"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table whose first row is its head."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return [lines[0], "  ".join("─" * width for width in widths), *lines[1:]]
