"""samples/step-000500.png and so on: what the same latents look like as training goes on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from fastwgan.train.callbacks import Callback
from fastwgan.train.folder import RunFolder
from fastwgan.train.pictures import frame_png
from fastwgan.train.writing import write_whole

if TYPE_CHECKING:
    from fastwgan.train.run import Run

_NAME = re.compile(r"step-(\d+)\.png")


class SampleGrids(Callback):
    """Draws the samples before the first step, every `config.sample_every` steps, and at the end.

    A run that was stopped and gone on with leaves the files of one that never stopped.
    """

    def begin(self, run: Run) -> None:
        """Takes away what the steps to come will draw, or would not have drawn; draws step 0."""
        every = run.config.sample_every
        for step, path in frames(run.folder):
            if step > run.step or (every and step == run.step and step % every):
                path.unlink()
        if every and run.step == 0:
            _draw(run)

    def after_step(self, run: Run) -> None:
        """Draws the steps whose turn it is."""
        every = run.config.sample_every
        if every and run.step % every == 0:
            _draw(run)

    def end(self, run: Run) -> None:
        """Draws the last step, whether it was its turn or not."""
        if run.config.sample_every and not frame(run.folder, run.step).exists():
            _draw(run)


def frame(folder: RunFolder, step: int) -> Path:
    """The file of one step."""
    return folder.grids / f"step-{step:06}.png"


def frames(folder: RunFolder) -> list[tuple[int, Path]]:
    """The steps drawn so far and their files, the first step first."""
    if not folder.grids.is_dir():
        return []
    found = ((_NAME.fullmatch(path.name), path) for path in folder.grids.iterdir())
    return sorted((int(match[1]), path) for match, path in found if match)


def _draw(run: Run) -> None:
    run.folder.grids.mkdir(exist_ok=True)
    write_whole(frame(run.folder, run.step), frame_png(run.trainer, run.data))
