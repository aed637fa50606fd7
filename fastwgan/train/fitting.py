"""A whole run in one call, as the command makes it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fastwgan.train.animation import Animation
from fastwgan.train.callbacks import Callback
from fastwgan.train.config import TrainConfig
from fastwgan.train.data import Data
from fastwgan.train.distance import MeasureDistance
from fastwgan.train.grids import SampleGrids
from fastwgan.train.joining import join
from fastwgan.train.quality import WriteQuality
from fastwgan.train.report import Report
from fastwgan.train.run import Outcome, Run, Stop, Watch
from fastwgan.train.tensorboard import TensorBoard


def fit(
    config: TrainConfig,
    data: Data | None = None,
    *,
    out: Path | None = None,
    callbacks: Sequence[Callback] | None = None,
    watch: Watch = lambda record: None,
    stop: Stop = lambda: False,
) -> Outcome:
    """Trains a new run to its end, as the command does: `Run.begin` and `Run.go`.

    Called by every process that torchrun has started, it trains one run over all of them.

    Args:
        config: What to train, and how: `TrainConfig.for_method("wgan-gp", "digits")`.
        data: What to imitate; by default what `config.data` names.
        out: The run's folder; by default runs/<data>-<method>-seed<seed>, made unique.
        callbacks: What is done round the steps; by default `standard_callbacks(config)`.
        watch: Called with every line of metrics.jsonl.
        stop: Asked before every step; True ends the run there.

    Returns:
        How the run ended, and where its files are.

    Raises:
        ConfigError: a setting cannot be, or the folder holds a run.
        FolderBusyError: another process trains in the folder.
        MissingExtraError: a package of the extra `train` isn't installed.
        TrainingDivergedError: NaN or Inf; the last good checkpoint is kept.
        OutputError: a file can't be written; the last good checkpoint is kept.
        ProcessesError: the processes can't train together, or one is lost.
    """
    chosen = standard_callbacks(config) if callbacks is None else callbacks
    with join() as processes:
        run = Run.begin(config, data, out=out, processes=processes)
        return run.go(watch, stop, callbacks=chosen)


def standard_callbacks(config: TrainConfig) -> list[Callback]:
    """What the command does round the steps of a run, for `fit`.

    Args:
        config: The run's settings, which ask for some of them.

    Returns:
        The callbacks, in the order in which they are called.
    """
    chosen: list[Callback] = []
    if config.measure_every:
        chosen += [MeasureDistance(), WriteQuality()]
    if config.sample_every:
        chosen += [SampleGrids(), Animation()]
    if config.tensorboard:
        chosen.append(TensorBoard())
    return [*chosen, Report()]
