"""The folder of one run: its files, how it is named, and when it may be written to."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from fastwgan.train.checkpoint import previous_of
from fastwgan.train.config import ConfigError, TrainConfig
from fastwgan.train.locking import FolderLock

RUNS = Path("runs")


@dataclass(frozen=True)
class RunFolder:
    """Paths of a run's files.

    Attributes:
        path: The folder.
    """

    path: Path

    @property
    def samples(self) -> Path:
        """Generated samples beside real ones."""
        return self.path / "samples.png"

    @property
    def curves(self) -> Path:
        """The metrics over the steps."""
        return self.path / "curves.png"

    @property
    def metrics(self) -> Path:
        """One JSON object a line."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoint(self) -> Path:
        """What the run goes on from."""
        return self.path / "checkpoint.pt"

    @property
    def config(self) -> Path:
        """Every setting of the run."""
        return self.path / "config.toml"

    @property
    def distance(self) -> Path:
        """The critic's estimate beside the exact Wasserstein distance."""
        return self.path / "distance.png"

    @property
    def animation(self) -> Path:
        """The samples as training went."""
        return self.path / "training.webp"

    @property
    def grids(self) -> Path:
        """The folder of the pictures that the animation is made of."""
        return self.path / "samples"

    @property
    def quality(self) -> Path:
        """Measures of the last samples."""
        return self.path / "quality.json"

    @property
    def report(self) -> Path:
        """All of the run on one page."""
        return self.path / "report.html"

    @property
    def audit_png(self) -> Path:
        """How far the critic is from 1-Lipschitz."""
        return self.path / "audit.png"

    @property
    def audit_json(self) -> Path:
        """The same, in numbers."""
        return self.path / "audit.json"

    @property
    def tensorboard(self) -> Path:
        """The folder of TensorBoard's events."""
        return self.path / "tensorboard"

    def described(self) -> list[tuple[Path, str]]:
        """The files that are there, each with what it holds."""
        return [
            (path, text)
            for path, text in (
                (self.report, "all of the run on one page, for a browser"),
                (self.samples, "generated samples beside real ones"),
                (self.curves, "Wasserstein estimate, penalty, gradient norm and losses"),
                (self.distance, "the critic's estimate beside the exact Wasserstein distance"),
                (self.animation, "the samples as training went"),
                (self.metrics, "the same numbers, one JSON object a line"),
                (self.quality, "measures of the last samples"),
                (self.checkpoint, "what --resume goes on from"),
                (self.config, "every setting"),
            )
            if path.exists()
        ]

    def files(self) -> list[Path]:
        """The files that every run has, in the order in which a reader wants them."""
        return [self.samples, self.curves, self.metrics, self.checkpoint, self.config]


def create(config: TrainConfig, out: Path | None, held: contextlib.ExitStack) -> RunFolder:
    """Makes the folder of a new run.

    Args:
        config: Names the folder when `out` is None: runs/<data>-<method>-seed<seed>, with -2, -3 …
            behind it where that exists.
        out: The folder itself; it may exist, but not with a run in it.
        held: Takes the folder's lock, against other processes.

    Raises:
        ConfigError: `out` holds a run, is no folder, or can't be made.
        FolderBusyError: another process trains in it.
    """
    try:
        return _create(config, out, held)
    except OSError as error:
        raise ConfigError("out", f"was {out or RUNS}, which can't be made: {error}.") from None


def _create(config: TrainConfig, out: Path | None, held: contextlib.ExitStack) -> RunFolder:
    if out is None:
        name = Path(config.data).stem or "data"
        folder = RunFolder(_create_unique(f"{name}-{config.method}-seed{config.seed}"))
        held.enter_context(FolderLock(folder.path))
        return folder
    if out.exists() and not out.is_dir():
        raise ConfigError("out", f"was {out}, which is a file; it must be a folder.")
    out.mkdir(parents=True, exist_ok=True)
    held.enter_context(FolderLock(out))  # before it is looked into
    folder = RunFolder(out)
    kept = [*folder.files(), previous_of(folder.checkpoint)]
    # An empty metrics.jsonl is all that a kill before the first checkpoint leaves: no run.
    if any(file.exists() and file.stat().st_size for file in kept):
        raise ConfigError(
            "out", f"was {out}, which holds a run; choose another, or go on by --resume {out}."
        )
    return folder


def _create_unique(name: str) -> Path:
    RUNS.mkdir(parents=True, exist_ok=True)
    path, number = RUNS / name, 1
    while True:
        try:
            path.mkdir()
            return path
        except FileExistsError:  # also where another process was faster
            number += 1
            path = RUNS / f"{name}-{number}"


def of_checkpoint(path: Path) -> RunFolder:
    """The run that `path`, a run's folder or its checkpoint, means."""
    return RunFolder(path if path.is_dir() else path.parent)
