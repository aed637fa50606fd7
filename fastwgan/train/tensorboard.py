"""TensorBoard's events of a run: the lines of metrics.jsonl, the sample grids, the settings."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from fastwgan.train.callbacks import Callback
from fastwgan.train.config import TrainConfig
from fastwgan.train.extras import require
from fastwgan.train.grids import frame
from fastwgan.train.metrics import Record

if TYPE_CHECKING:
    from fastwgan.train.run import Run


class TensorBoard(Callback):
    """Writes a run's events as it goes on, below its folder.

    It is called after `SampleGrids`, whose pictures it shows.

    Raises:
        MissingExtraError: the package tensorboard isn't installed.
    """

    def __init__(self) -> None:
        require("tensorboard", "--tensorboard")
        self._writer: Any = None

    def begin(self, run: Run) -> None:
        """Opens the events; of a run gone on with, those after its checkpoint no longer count."""
        if run.step == 0:  # TensorBoard would show the settings of a part that was lost beside ours
            for path in run.folder.tensorboard.glob("events.out.tfevents.*"):
                path.unlink()
        events = require("torch.utils.tensorboard", "--tensorboard")
        self._writer = events.SummaryWriter(
            str(run.folder.tensorboard), purge_step=run.step + 1 if run.step else None
        )
        if run.step == 0:
            self._writer.add_text("settings", _as_table(run.config), 0)
            self._show_samples(run)

    def after_step(self, run: Run) -> None:
        """Shows the sample grid of this step where there is one."""
        every = run.config.sample_every
        if every and run.step % every == 0:
            self._show_samples(run)

    def logged(self, run: Run, record: Record) -> None:
        """Writes each value of a line as a scalar of the same name."""
        step = int(record["step"])
        for name, value in record.items():
            if name != "step":
                self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def end(self, run: Run) -> None:
        """Closes the events."""
        self._writer.close()

    def _show_samples(self, run: Run) -> None:
        path = frame(run.folder, run.step)
        if path.exists():
            with require("PIL.Image", "--tensorboard").open(path, formats=["PNG"]) as picture:
                pixels = require("numpy", "--tensorboard").asarray(picture.convert("RGB"))
            self._writer.add_image("samples", pixels, run.step, dataformats="HWC")


def _as_table(config: TrainConfig) -> str:
    """The settings as a table of Markdown, what each means beside it."""
    rows = ["| setting | value | |", "|---|---|---|"]
    values = config.to_dict()
    for field in dataclasses.fields(config):
        if field.name in values:
            about = field.metadata["help"]
            rows.append(f"| {field.name} | {_code(values[field.name])} | {about} |")
    return "\n".join(rows)


def _code(value: object) -> str:
    """A value that Markdown shows letter by letter in a table's cell."""
    text = str(value).replace("\n", " ").replace("|", "\\|")
    return f"`` {text} ``" if "`" in text else f"`{text}`"
