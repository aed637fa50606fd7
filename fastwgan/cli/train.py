"""`fastwgan train`."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import shutil
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

from fastwgan import progress, train
from fastwgan.cli.arguments import CommandError, number, option, whole_number
from fastwgan.cli.opening import opening
from fastwgan.train import checkpoint, extras
from fastwgan.train.config_file import read_config
from fastwgan.train.interrupt import StopOnSignal
from fastwgan.train.joining import join
from fastwgan.train.models import custom

EPILOG = """\
Defaults are the papers' (Arjovsky 2017 for wgan, Gulrajani 2017 for wgan-gp, Miyato 2018 for
sn-gan), except where the small data sets train better otherwise: docs/methods.md names each.
config.toml in the run's folder holds what was used.

examples:
  fastwgan train
  fastwgan train --data photos/ --image-size 32
  fastwgan train --method sn-gan --data 25gaussians --steps 3000
  fastwgan train --resume runs/digits-wgan-gp-seed0 --steps 8000
  fastwgan train --config runs/digits-wgan-gp-seed0/config.toml --seed 1
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    files = parser.add_argument_group("files")
    files.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder of the run (default: runs/DATA-METHOD-seedSEED, made unique)",
    )
    files.add_argument(
        "--resume",
        type=Path,
        metavar="PATH",
        help="go on with the run in this folder, or from this checkpoint, bit for bit",
    )
    files.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="settings to begin with, such as another run's config.toml; options win over it",
    )
    settings = parser.add_argument_group("settings (default: by method and data)")
    for field in dataclasses.fields(train.TrainConfig):
        kind = str(field.type).partition(" ")[0]
        given: dict[str, Any] = {"action": argparse.BooleanOptionalAction}
        if kind != "bool":
            metavar = {"int": "N", "float": "X", "str": field.name.upper()}[kind]
            given = {"type": _TYPES[kind], "metavar": metavar}
        settings.add_argument(
            option(field.name), default=None, help=field.metadata["help"], **given
        )


_INTERRUPTED = 128 + signal.SIGINT

_TYPES = {"str": str, "int": whole_number, "float": number}


def run(arguments: argparse.Namespace) -> int:
    """Trains; returns the exit status."""
    try:
        with join() as processes, processes.one_voice():
            return _train(processes, arguments)
    except train.ProcessesError as error:
        raise CommandError(str(error), 1) from None


def _train(processes: train.Processes, arguments: argparse.Namespace) -> int:
    try:
        extras.require("rich", "the progress bar")
        this = _run(arguments, processes)
        shown = progress.progress(this.step, this.config.steps, _own_threads(this))
    except train.ConfigError as error:
        raise CommandError(f"{option(error.name)} {error.problem}", 2) from None
    except (train.CheckpointError, train.FolderBusyError, train.MissingExtraError) as error:
        raise CommandError(str(error), 2) from None
    for note in this.data.notes:
        print(note)
    print(opening(this), flush=True)
    return _go(this, shown)


def _go(this: train.Run, shown: progress.Progress) -> int:
    say = partial(_stopping, this) if this.processes.is_writer else None
    with StopOnSignal(say) as stop:
        try:
            with shown:
                outcome = this.go(shown, stop, callbacks=train.standard_callbacks(this.config))
        except train.TrainingDivergedError as error:
            raise CommandError(str(error), 1) from None
        except train.ProcessesError:
            raise
        except (train.MissingExtraError, OSError) as error:
            _say_how_to_go_on(this)
            raise CommandError(str(error), 1) from None
        except KeyboardInterrupt:
            kept = checkpoint.last_good(this.folder.checkpoint)
            _say_how_to_go_on(this)
            raise CommandError(f"interrupted; {kept}", _INTERRUPTED) from None
        except Exception:  # a mistake of ours, or of a callback: raised again, with its traceback
            _say_how_to_go_on(this)
            raise
        received = this.processes.greatest(stop.received or 0)
        _report(outcome)
        if outcome.finished or not received:
            return 0
        print(f"stopped by {signal.Signals(received).name}; ", end="")
        _say_how_to_go_on(this)
        return 128 + received


def _own_threads(this: train.Run) -> int:
    """Those that work for this process alone, and could be fewer."""
    alone = this.processes.size == 1 and this.config.device == "cpu"
    return this.config.threads if alone else 1


def _stopping(this: train.Run, received: signal.Signals) -> str:
    """What to say at once of a signal, since the step that it waits for may take a minute."""
    again = "Ctrl-C again" if received.name == "SIGINT" else "a second signal"
    if this.step >= this.config.steps:
        return f"every step is done, and the run's files are being written; {again} stops that"
    loses = "" if this.saved_step is None else f" and loses what follows step {this.saved_step}"
    return f"stopping after this step; {again} stops at once{loses}"


def _say_how_to_go_on(this: train.Run) -> None:
    good = checkpoint.last_good_path(this.folder.checkpoint)
    if good is not None:
        path = this.folder.path if good == this.folder.checkpoint else good
        print(f"to go on:\n  {_again(this, path)}", flush=True)


def _run(arguments: argparse.Namespace, processes: train.Processes) -> train.Run:
    names = [field.name for field in dataclasses.fields(train.TrainConfig)]
    values = {name: getattr(arguments, name) for name in names}
    chosen = {name: value for name, value in values.items() if value is not None}
    if arguments.resume is None:
        config = _config(arguments.config, chosen)
        return train.Run.begin(config, out=arguments.out, processes=processes)
    if arguments.config is not None:
        raise train.ConfigError("config", "was given with --resume, which has its own: leave it.")
    this = train.Run.reopen(arguments.resume, chosen=chosen, processes=processes)
    if arguments.out is not None and arguments.out.resolve() != this.folder.path.resolve():
        raise train.ConfigError(
            "out", f"was {arguments.out}, but --resume goes on in {this.folder.path}: leave it out."
        )
    return this


def _config(path: Path | None, chosen: dict[str, Any]) -> train.TrainConfig:
    """The settings of a new run: options over a file over the defaults of method and data."""
    settings = {"method": "wgan-gp", "data": "digits"}
    if path is not None:
        settings |= read_config(path)
        if "critic" not in chosen:
            custom.confirm(settings.get("critic"), None, path)
    return train.TrainConfig.for_method(**settings | chosen)


def _report(outcome: train.Outcome) -> None:
    print(f"{outcome.step} generator steps in {outcome.seconds:.0f} s; the run's files:")
    files = outcome.folder.described()
    width = max(len(str(path)) for path, _ in files)
    for path, content in files:
        print(f"  {path!s:{width}}  {content}")


def _again(this: train.Run, path: Path) -> str:
    """The command line that goes on with a run, as this process was called."""
    called = Path(sys.argv[0])
    if this.processes.size > 1:
        each = f"--nproc-per-node={this.processes.local_size}"
        command = ["torchrun", each, "-m", "fastwgan"]
    elif called.name == "__main__.py":
        command = [sys.executable, "-m", "fastwgan"]
    else:
        found = shutil.which(called.name)
        on_path = found is not None and Path(found).resolve() == called.resolve()
        command = [called.name if on_path else str(called)]
    own = [] if this.config.critic is None else ["--critic", this.config.critic]
    return shlex.join([*command, "train", "--resume", str(path), *own])
