"""The `fastwgan` command: `train` and `doctor`."""

from __future__ import annotations

import argparse
import dataclasses
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import fastwgan
from fastwgan import progress, train
from fastwgan.train import extras
from fastwgan.train.interrupt import StopOnSignal
from fastwgan.train.joining import join

_TRAIN_EPILOG = """\
Defaults are the papers' (Arjovsky 2017 for wgan, Gulrajani 2017 for wgan-gp, Miyato 2018 for
sn-gan), except where the small data sets train better otherwise: fastwgan/train/defaults.py names
each. config.toml in the run's folder holds what was used.

examples:
  fastwgan train
  fastwgan train --method sn-gan --data 25gaussians --steps 3000
  fastwgan train --resume runs/digits-wgan-gp-seed0 --steps 8000
"""


class _CommandError(Exception):
    """Ends the command with one sentence and an exit status."""

    def __init__(self, sentence: str, status: int) -> None:
        super().__init__(sentence)
        self.status = status


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, without the usage in front of it."""

    def error(self, message: str) -> NoReturn:
        sentence = message.removeprefix("argument ").replace(": was ", " was ", 1)
        speaks = os.environ.get("LOCAL_RANK", "0") == "0"  # one of torchrun's processes a machine
        self.exit(2, f"{self.prog}: {sentence}\n" if speaks else None)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status.

    Args:
        argv: The arguments after the command's name; by default those of this process.
    """
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.name is None:
        parser.print_help(sys.stderr)
        return 2
    try:
        status: int = arguments.command(arguments)
    except _CommandError as failure:
        print(f"fastwgan {arguments.name}: {failure}", file=sys.stderr)
        return failure.status
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    return status


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="fastwgan",
        description="Kernels for Wasserstein critics, and a trainer that uses them.",
    )
    parser.add_argument("--version", action="version", version=f"fastwgan {fastwgan.__version__}")
    commands = parser.add_subparsers(dest="name", metavar="COMMAND")
    trains = commands.add_parser(
        "train",
        help="train a Wasserstein GAN, or go on with one",
        description="Trains a Wasserstein GAN. Ctrl-C saves it and says how to go on.",
        epilog=_TRAIN_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_settings(trains)
    trains.set_defaults(command=_train)
    doctor = commands.add_parser("doctor", help="say what runs here, and test it against reference")
    doctor.set_defaults(command=_doctor)
    return parser


def _add_settings(parser: argparse.ArgumentParser) -> None:
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
    settings = parser.add_argument_group("settings (default: by method and data)")
    for field in dataclasses.fields(train.TrainConfig):
        kind = str(field.type).partition(" ")[0]
        if kind == "bool":
            settings.add_argument(
                _option(field.name),
                action=argparse.BooleanOptionalAction,
                default=None,
                help=field.metadata["help"],
            )
            continue
        settings.add_argument(
            _option(field.name),
            type=_TYPES[kind],
            metavar={"int": "N", "float": "X", "str": field.name.upper()}[kind],
            help=field.metadata["help"],
        )


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _number(kind: Callable[[str], Any], expected: str) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        try:
            return kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"was {text!r}; it must be {expected}.") from None

    return parse


_TYPES: dict[str, Callable[[str], Any]] = {
    "str": str,
    "int": _number(int, "a whole number"),
    "float": _number(float, "a number"),
}


def _doctor(arguments: argparse.Namespace) -> int:
    from fastwgan import doctor

    return doctor.main()


def _train(arguments: argparse.Namespace) -> int:
    try:
        with join() as processes, processes.one_voice():
            return _train_with(processes, arguments)
    except train.ProcessesError as error:
        raise _CommandError(str(error), 1) from None


def _train_with(processes: train.Processes, arguments: argparse.Namespace) -> int:
    try:
        extras.require("rich", "the progress bar")
        run = _run(arguments, processes)
        shown = progress.progress(run.step, run.config.steps)
    except train.ConfigError as error:
        raise _CommandError(f"{_option(error.name)} {error.problem}", 2) from None
    except (train.CheckpointError, train.MissingExtraError) as error:
        raise _CommandError(str(error), 2) from None
    print(
        f"training on {run.config.data} by {run.config.method} into {run.folder.path}", flush=True
    )
    with StopOnSignal() as stop:
        try:
            with shown:
                outcome = run.go(shown, stop)
        except (train.TrainingDivergedError, OSError) as error:
            raise _CommandError(str(error), 1) from None
        received = processes.greatest(stop.received or 0)
        _report(outcome)
        if outcome.finished or not received:
            return 0
        again = _again(run.folder.path, processes)
        print(f"stopped by {signal.Signals(received).name}; to go on:\n  {again}", flush=True)
        return 128 + received


def _run(arguments: argparse.Namespace, processes: train.Processes) -> train.Run:
    names = [field.name for field in dataclasses.fields(train.TrainConfig)]
    values = {name: getattr(arguments, name) for name in names}
    chosen = {name: value for name, value in values.items() if value is not None}
    if arguments.resume is None:
        pair = {"method": "wgan-gp", "data": "digits"}
        config = train.TrainConfig.for_method(**pair | chosen)
        return train.Run.begin(config, out=arguments.out, processes=processes)
    run = train.Run.reopen(arguments.resume, chosen=chosen, processes=processes)
    if arguments.out is not None and arguments.out.resolve() != run.folder.path.resolve():
        raise train.ConfigError(
            "out", f"was {arguments.out}, but --resume goes on in {run.folder.path}: leave it out."
        )
    return run


def _report(outcome: train.Outcome) -> None:
    print(f"{outcome.step} generator steps in {outcome.seconds:.0f} s; the run's files:")
    paths = [str(path) for path in outcome.folder.files()]
    width = max(map(len, paths))
    for path, content in zip(paths, _CONTENTS, strict=True):
        print(f"  {path:{width}}  {content}")


_CONTENTS = (
    "generated samples beside real ones",
    "Wasserstein estimate, penalty, gradient norm and losses",
    "the same numbers, one JSON object a line",
    "what --resume goes on from",
    "every setting",
)


def _again(folder: Path, processes: train.Processes) -> str:
    """The command line that goes on with a run, as this process was called."""
    called = Path(sys.argv[0])
    if processes.size > 1:
        each = f"--nproc-per-node={processes.local_size}"
        command = ["torchrun", each, "-m", "fastwgan"]
    elif called.name == "__main__.py":
        command = [sys.executable, "-m", "fastwgan"]
    else:
        found = shutil.which(called.name)
        on_path = found is not None and Path(found).resolve() == called.resolve()
        command = [called.name if on_path else str(called)]
    return shlex.join([*command, "train", "--resume", str(folder)])
