"""report.html: all of a run on one page, made from the files in its folder alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fastwgan.train.callbacks import Callback
from fastwgan.train.folder import RunFolder
from fastwgan.train.report import machine
from fastwgan.train.report.page import page
from fastwgan.train.report.reading import ReportError, read
from fastwgan.train.writing import write_whole

if TYPE_CHECKING:
    from fastwgan.train.run import Run

__all__ = ["Report", "ReportError", "write_report"]


class Report(Callback):
    """Writes report.html when a run ends, or is stopped; the last of the callbacks, to show all."""

    def begin(self, run: Run) -> None:
        """Keeps what the run is computed with."""
        machine.record(run.folder, run.config, run.processes.size)

    def end(self, run: Run) -> None:
        """Writes the page."""
        write_report(run.folder)


def write_report(folder: RunFolder) -> Path:
    """Writes report.html anew from what a run's folder holds.

    Args:
        folder: Of a run, finished or not.

    Returns:
        The page: one file, that needs no other and no network.

    Raises:
        ReportError: there is no run in the folder, or a file of it is damaged.
    """
    content = page(read(folder)).encode()
    write_whole(folder.report, content)
    return folder.report
