"""A whole run: steps, metrics, checkpoints, pictures; begun, or gone on with."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fastwgan.train import checkpoint, extras, health, models, plots, stored_state, writing
from fastwgan.train.callbacks import Callback
from fastwgan.train.clock import Clock
from fastwgan.train.config import ConfigError, TrainConfig
from fastwgan.train.data import Data, load
from fastwgan.train.folder import RunFolder, create, of_checkpoint
from fastwgan.train.locking import FolderLock
from fastwgan.train.loop import Trainer
from fastwgan.train.metrics import MetricsFile, NoMetricsFile, Record
from fastwgan.train.models import custom
from fastwgan.train.processes import ALONE, Processes, ProcessLostError
from fastwgan.train.writing import OutputError

Watch = Callable[[Record], None]
Stop = Callable[[], bool]
_Metrics = MetricsFile | NoMetricsFile

_MAY_CHANGE = ("steps", "threads")  # when a run is gone on with


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        folder: Where its files are.
        config: Its settings.
        step: Generator steps done.
        seconds: Time spent in steps, over all parts of the run.
    """

    folder: RunFolder
    config: TrainConfig
    step: int
    seconds: float

    @property
    def finished(self) -> bool:
        """Whether every step was done, rather than stopped in between."""
        return self.step >= self.config.steps


class Run:
    """A run on the disk and the trainer behind it.

    From `begin` or `reopen` on, until `go` ends or nothing refers to it, no other process can train
    in its folder.

    Attributes:
        config: Its settings.
        folder: Its files.
        trainer: Its state.
        data: What it imitates.
        processes: Who trains it; only the writer of them writes files and has callbacks.

    Args:
        trainer: As above.
        data: As above.
        folder: As above.
        seconds: Spent in the steps that were done before.
        held: The folder's lock, in the process that writes.
    """

    def __init__(
        self,
        trainer: Trainer,
        data: Data,
        folder: RunFolder,
        seconds: float,
        held: contextlib.ExitStack,
    ) -> None:
        self.trainer = trainer
        self.config = trainer.config
        self.folder = folder
        self.data = data
        self.processes = trainer.processes
        self._callbacks: Sequence[Callback] = ()
        self._seconds = seconds
        self._held = held
        self._saved_step: int | None = None

    @classmethod
    def begin(
        cls,
        config: TrainConfig,
        data: Data | None = None,
        *,
        out: Path | None = None,
        processes: Processes = ALONE,
    ) -> Run:
        """A new run; everything is checked before its folder is made.

        Args:
            config: What to train, and how.
            data: What to imitate; by default the set that `config.data` names.
            out: The run's folder; by default runs/<data>-<method>-seed<seed>, made unique.
            processes: Who trains it, each calling this.

        Raises:
            ConfigError: a setting cannot be, or the folder holds a run.
            FolderBusyError: another process trains in the folder.
            MissingExtraError: a package of the extra `train` isn't installed.
            ProcessesError: the processes can't train together, or one is lost.
        """
        extras.check(config)
        models.check_size(config)
        data = _load(config, processes) if data is None else data
        trainer = Trainer(config, data, processes)
        with contextlib.ExitStack() as held:
            folder = processes.from_writer(lambda: create(config, out, held))
            return cls(trainer, data, folder, seconds=0.0, held=held.pop_all())

    @classmethod
    def reopen(
        cls,
        path: Path,
        data: Data | None = None,
        *,
        chosen: dict[str, Any] | None = None,
        processes: Processes = ALONE,
    ) -> Run:
        """A run as its checkpoint left it, to go on bit for bit as if it had never stopped.

        Args:
            path: The run's folder or its checkpoint.
            data: As given to `begin`.
            chosen: Settings to hold the run's own against. Only `steps`, which may grow, and
                `threads`, with which sums are equal to rounding only, may differ. A run with a
                critic of its user's own needs `critic`, since its code will run.
            processes: As in `begin`; with another number of them, equal to rounding.

        Raises:
            CheckpointError: there is none, or it is damaged or not one of ours.
            ConfigError: a chosen setting contradicts the run's.
            FolderBusyError: another process trains in the folder.
            MissingExtraError: as in `begin`.
            ProcessesError: as in `begin`.
        """
        with contextlib.ExitStack() as held:
            folder, path, state = processes.from_writer(lambda: _read(path, held))
            config = _agreed(path, state, chosen or {})
            custom.confirm(config.critic, (chosen or {}).get("critic"), path)
            extras.check(config)
            data = _load(config, processes) if data is None else data
            trainer = _as_it_was(Trainer(config, data, processes), path, state)
            return cls(trainer, data, folder, state["seconds"], held.pop_all())

    @property
    def step(self) -> int:
        """Generator steps done."""
        return self.trainer.step

    @property
    def saved_step(self) -> int | None:
        """The step of the last checkpoint that `go` wrote; None before."""
        return self._saved_step

    def go(
        self,
        watch: Watch = lambda record: None,
        stop: Stop = lambda: False,
        *,
        callbacks: Sequence[Callback] = (),
    ) -> Outcome:
        """Steps until the end, or until told to stop; saves and draws either way.

        Args:
            watch: Called with every line of metrics.jsonl.
            stop: Asked before every step; True, in any process, ends the run there.
            callbacks: What else is done round the steps, in this order.

        Raises:
            TrainingDivergedError: NaN or Inf; the last good checkpoint is kept.
            OutputError: a file can't be written; the last good checkpoint is kept.
            FolderBusyError: called once more while another process trains in the folder.
            ProcessLostError: another process is lost; the last good checkpoint is kept.
        """
        try:
            with self._held, self._locked():
                return self._go(watch, stop, callbacks)
        except OSError as error:
            kept = checkpoint.last_good(self.folder.checkpoint)
            raise OutputError(f"{writing.named(error)}; {kept}") from error

    def _locked(self) -> contextlib.AbstractContextManager[object]:
        """Holds the folder, also where `go` is called once more."""
        writes = self.processes.is_writer
        return FolderLock(self.folder.path) if writes else contextlib.nullcontext()

    def _go(self, watch: Watch, stop: Stop, callbacks: Sequence[Callback]) -> Outcome:
        self._callbacks = tuple(callbacks) if self.processes.is_writer else ()
        for callback in self._callbacks:
            callback.begin(self)
        writes = self.processes.is_writer
        metrics = MetricsFile(self.folder.metrics, self.step) if writes else NoMetricsFile()
        with _threads(self.config.threads), contextlib.closing(metrics):
            self._save(metrics, self._seconds)
            self._write_config()
            clock = Clock(self._seconds, self.step)
            try:
                self._step_on(metrics, clock, watch, stop)
            except ProcessLostError as error:
                kept = checkpoint.last_good(self.folder.checkpoint)
                raise ProcessLostError(f"{error}; {kept}") from None
            except health.TrainingDivergedError as error:
                raise health.traced(error, self.trainer, self.folder.checkpoint, stop) from None
            seconds = clock.seconds()
            with writing.writing(self.folder.path):
                if self.processes.is_writer:
                    plots.draw(self.trainer, self.data, self.folder)
                for callback in self._callbacks:
                    callback.end(self)
        return Outcome(self.folder, self.config, self.step, seconds)

    def _step_on(self, metrics: _Metrics, clock: Clock, watch: Watch, stop: Stop) -> None:
        trainer, config = self.trainer, self.config
        while trainer.step < config.steps and not self.processes.greatest(stop()):
            trainer.train_step()
            with clock.paused():
                for callback in self._callbacks:
                    callback.after_step(self)
            if self._is_logged(trainer.step):
                self._log(metrics, clock, watch)
            if trainer.step % config.checkpoint_every == 0:
                self._save(metrics, clock.seconds())
        if self._saved_step != trainer.step:
            self._save(metrics, clock.seconds())

    def _is_logged(self, step: int) -> bool:
        """Whether a step has a line: also each that the distance is measured at, and the last."""
        config = self.config
        measured = config.measure_every > 0 and step % config.measure_every == 0
        return step % config.log_every == 0 or measured or step == config.steps

    def _write_config(self) -> None:
        if not self.processes.is_writer:
            return
        text = extras.require("tomli_w", "writing config.toml").dumps(self.config.to_dict())
        writing.write_whole(self.folder.config, text.encode())

    def _log(self, metrics: _Metrics, clock: Clock, watch: Watch) -> None:
        trainer = self.trainer
        measured = trainer.meter.read()
        measured["gradient_norm"] = float(self.processes.gather(trainer.gradient_norm()).mean())
        health.check_measured(trainer, measured)
        trainer.meter.clear()
        if not self.processes.is_writer:
            return
        timings = clock.read(trainer.step)
        with clock.paused():
            for callback in self._callbacks:
                measured |= callback.measure(self)
        health.check_measured(trainer, measured)
        record = {"step": trainer.step, **measured, **timings}
        metrics.write(record)
        watch(record)
        with clock.paused():
            for callback in self._callbacks:
                callback.logged(self, record)

    def _save(self, metrics: _Metrics, seconds: float) -> None:
        self.trainer.align()
        state = self.trainer.state_dict()
        health.check_state(self.trainer, state)
        if self.processes.is_writer:
            self._write(state, metrics, seconds)
        self._saved_step = self.processes.greatest(self.step)  # when it is on the disk
        for callback in self._callbacks:
            callback.saved(self)

    def _write(self, state: dict[str, Any], metrics: _Metrics, seconds: float) -> None:
        metrics.sync()  # first, so that no checkpoint is ahead of them
        about = {
            "config": self.config.to_dict(),
            "data": self.trainer.spec.to_dict(),
            "label_counts": self.trainer.label_counts,
            "step": self.step,
            "seconds": seconds,
        }
        checkpoint.save(self.folder.checkpoint, {**about, "trainer": state})


def _read(path: Path, held: contextlib.ExitStack) -> tuple[RunFolder, Path, dict[str, Any]]:
    """The folder of a run, which is held from then on, its checkpoint and what that holds."""
    folder = of_checkpoint(path)
    path = folder.checkpoint if path.is_dir() else path
    if path.is_file():
        held.enter_context(FolderLock(folder.path))
    return folder, path, checkpoint.load(path)


def _load(config: TrainConfig, processes: Processes) -> Data:
    with processes.in_turn():
        return load(
            config.data,
            config.seed,
            image_size=config.image_size,
            label_column=config.label_column,
        )


def _agreed(path: Path, state: dict[str, Any], chosen: dict[str, Any]) -> TrainConfig:
    """The run's own settings, but for those that may change."""
    config, done = TrainConfig.from_dict(state["config"]), state["step"]
    for name, value in chosen.items():
        stored = getattr(config, name)
        if value != stored and name not in _MAY_CHANGE:
            raise ConfigError(
                name, f"was {value!r}, but the run of {path} has {stored!r}: leave it out."
            )
    config = dataclasses.replace(config, **chosen)
    if config.steps < done:
        raise ConfigError("steps", f"was {config.steps}; it must be at least {done}, already done.")
    return config


def _as_it_was(trainer: Trainer, path: Path, state: dict[str, Any]) -> Trainer:
    """The trainer, with the state of a checkpoint."""
    if stored_state.spec_of(path, state).fingerprint != trainer.spec.fingerprint:
        name = trainer.config.data
        raise ConfigError("data", f"was {name}, which has changed since the run began.")
    try:
        trainer.load_state_dict(stored_state.fitting(trainer, state["trainer"], state["step"]))
    except (RuntimeError, KeyError, ValueError) as error:
        raise stored_state.misfit(path, error) from None
    return trainer


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
