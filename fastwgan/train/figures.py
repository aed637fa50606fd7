"""What all pictures of a run share: colours, a matplotlib figure, and its bytes."""

from __future__ import annotations

import io
import warnings
from typing import Any

from fastwgan.train.extras import require

INK, REAL, FAKE, FAINT = "#222222", "#2a6f97", "#d1495b", "#b8c4cc"
THIRD, FLOOR = "#b7791f", "#5b6770"
_DPI = 100
_LONGEST = 64  # characters of a name


def figure(width: float, height: float, layout: str = "constrained") -> Any:
    """A matplotlib figure of so many dots, free of pyplot's global state."""
    figures = require("matplotlib.figure", "drawing samples.png and curves.png")
    return figures.Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, layout=layout)


def png(drawn: Any) -> bytes:
    """A figure as the bytes of a PNG; equal figures give equal bytes."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():  # a name in a script that the font lacks is drawn as boxes
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        drawn.savefig(buffer, format="png")
    return buffer.getvalue()


def plain(name: str, longest: int = _LONGEST) -> str:
    """A user's string as matplotlib shows it letter by letter, the middle left out if it is long.

    Between two dollar signs matplotlib would read a formula, and refuse most.
    """
    name = " ".join(name.encode("utf-8", "replace").decode().split())
    if len(name) > longest:
        half = (longest - 1) // 2
        name = f"{name[:half]}…{name[-half:]}"
    return name.replace("$", r"\$")


def tidy(axes: Any) -> None:
    """A faint grid behind the curves, and no frame above and at the right of them."""
    axes.grid(color=FAINT, linewidth=0.5, alpha=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
