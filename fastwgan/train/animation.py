"""training.webp: the sample grids of a run one after the other, each with its step."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastwgan.train.callbacks import Callback
from fastwgan.train.extras import require
from fastwgan.train.folder import RunFolder
from fastwgan.train.grids import frames
from fastwgan.train.writing import write_whole

if TYPE_CHECKING:
    from fastwgan.train.run import Run

MOST_BYTES = 4_000_000
_SIZES = ((100, 640), (60, 560), (40, 420), (24, 320), (12, 200))  # frames and pixels across
_WHOLE = 8000  # milliseconds of the film
_SHORTEST, _LONGEST, _LAST = 60, 600, 2000  # milliseconds of a frame
_CAPTION = 44  # pixels below the picture
_INK, _PAPER, _BAR, _TRACK = "#222222", "#ffffff", "#2a6f97", "#d9e0e4"
_QUALITY = 82


class Animation(Callback):
    """Makes training.webp of the grids when a run ends, or is stopped."""

    def end(self, run: Run) -> None:
        """Makes it where there are grids."""
        animate(run.folder, run.config.steps)


def animate(folder: RunFolder, steps: int) -> Path | None:
    """Makes training.webp from all grids of a run's folder, those of its earlier parts too.

    Args:
        folder: Of the run.
        steps: In all, of which the caption shows how many are done.

    Returns:
        The file, of at most `MOST_BYTES`; None where there is no grid.
    """
    drawn = frames(folder)
    if not drawn:
        return None
    for most, width in _SIZES:
        film = _film([_captioned(step, path, steps, width) for step, path in evenly(drawn, most)])
        if len(film) <= MOST_BYTES:
            break
    write_whole(folder.animation, film)
    return folder.animation


def evenly(drawn: list[tuple[int, Path]], most: int) -> list[tuple[int, Path]]:
    """At most so many of the frames, evenly chosen, the first and the last among them."""
    if len(drawn) <= most:
        return drawn
    return [drawn[round(place * (len(drawn) - 1) / (most - 1))] for place in range(most)]


def _film(pictures: list[Any]) -> bytes:
    each = min(max(_WHOLE // len(pictures), _SHORTEST), _LONGEST)
    durations = [each] * (len(pictures) - 1) + [_LAST]
    buffer = io.BytesIO()
    pictures[0].save(
        buffer,
        format="WEBP",
        save_all=True,
        append_images=pictures[1:],
        duration=durations,
        loop=0,
        quality=_QUALITY,
        method=4,
    )
    return buffer.getvalue()


def _captioned(step: int, path: Path, steps: int, width: int) -> Any:
    """One grid with its step below it, and a bar of how far that is."""
    image, draw, font = (
        require(f"PIL.{name}", "drawing training.webp")
        for name in ("Image", "ImageDraw", "ImageFont")
    )
    with image.open(path, formats=["PNG"]) as file:
        grid = file.convert("RGB")
    if grid.width > width:
        height = round(grid.height * width / grid.width)
        grid = grid.resize((width, height), image.Resampling.LANCZOS)
    whole = image.new("RGB", (grid.width, grid.height + _CAPTION), _PAPER)
    whole.paste(grid, (0, 0))
    pen = draw.Draw(whole)
    middle = grid.height + _CAPTION // 2
    pen.text(
        (12, middle),
        f"step {step:,}",
        fill=_INK,
        font=font.load_default(size=20),
        anchor="lm",
    )
    left, right = min(150, grid.width // 2), grid.width - 12
    done = left + (right - left) * min(step / steps, 1.0)
    pen.rounded_rectangle((left, middle - 4, right, middle + 4), 4, fill=_TRACK)
    if step > 0:
        pen.rounded_rectangle((left, middle - 4, max(done, left + 8), middle + 4), 4, fill=_BAR)
    return whole
