"""The reference trainer: Wasserstein GANs on small data, by the library's own public calls."""

from __future__ import annotations

from fastwgan.train.callbacks import Callback
from fastwgan.train.checkpoint import CheckpointError
from fastwgan.train.config import ConfigError, TrainConfig
from fastwgan.train.data import Data, DataSpec, load
from fastwgan.train.extras import MissingExtraError
from fastwgan.train.fitting import fit, standard_callbacks
from fastwgan.train.folder import RunFolder
from fastwgan.train.health import TrainingDivergedError
from fastwgan.train.joining import join
from fastwgan.train.locking import FolderBusyError
from fastwgan.train.loop import Trainer
from fastwgan.train.processes import Processes, ProcessesError, ProcessLostError
from fastwgan.train.restored import Restored, restore
from fastwgan.train.run import Outcome, Run
from fastwgan.train.writing import OutputError

__all__ = [
    "Callback",
    "CheckpointError",
    "ConfigError",
    "Data",
    "DataSpec",
    "FolderBusyError",
    "MissingExtraError",
    "Outcome",
    "OutputError",
    "ProcessLostError",
    "Processes",
    "ProcessesError",
    "Restored",
    "Run",
    "RunFolder",
    "TrainConfig",
    "Trainer",
    "TrainingDivergedError",
    "fit",
    "join",
    "load",
    "restore",
    "standard_callbacks",
]
