"""The `fastwgan` command: one module for each of its commands."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from types import ModuleType

import fastwgan
from fastwgan.cli import audit, demo, report, sample, train
from fastwgan.cli.arguments import CommandError, Parser
from fastwgan.train.suggestions import nearest

_COMMANDS: dict[str, tuple[ModuleType, str]] = {
    "train": (train, "train a Wasserstein GAN, or go on with one"),
    "sample": (sample, "draw samples from a checkpoint: images, an array or a table"),
    "audit": (audit, "say how far a checkpoint's critic is from 1-Lipschitz"),
    "demo": (demo, "show why Wasserstein: divergences of disjoint distributions"),
    "report": (report, "write a run's report.html anew"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status.

    Args:
        argv: The arguments after the command's name; by default those of this process.
    """
    arguments = _parsed(parser := _parser(), sys.argv[1:] if argv is None else argv)
    if arguments.name is None:
        parser.print_help(sys.stderr)
        return 2
    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # as `| head` leaves it; Python would flush once more at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13
    except CommandError as failure:
        print(f"fastwgan {arguments.name}: {failure}", file=sys.stderr)
        return failure.status
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    return status


def _parsed(parser: Parser, argv: Sequence[str]) -> argparse.Namespace:
    """The arguments; ends the process at a command or an option that there isn't."""
    names = [*_COMMANDS, "doctor"]
    if argv and not argv[0].startswith("-") and argv[0] not in names:
        hint = nearest(argv[0], names)
        parser.error(f"there is no command {argv[0]}{hint}; it must be one of {', '.join(names)}.")
    arguments, unknown = parser.parse_known_args(argv)
    if unknown:
        command: Parser = getattr(arguments, "parser", parser)
        command.refuse(unknown)
    return arguments


def _parser() -> Parser:
    parser = Parser(
        prog="fastwgan",
        description="Kernels for Wasserstein critics, and a trainer that uses them.",
    )
    parser.add_argument("--version", action="version", version=f"fastwgan {fastwgan.__version__}")
    commands = parser.add_subparsers(dest="name", metavar="COMMAND")
    for name, (module, text) in _COMMANDS.items():
        command = commands.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            epilog=module.EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        module.add(command)
        command.set_defaults(run=module.run, parser=command)
    doctor = commands.add_parser("doctor", help="say what runs here, and test it against reference")
    doctor.set_defaults(run=_doctor, parser=doctor)
    return parser


def _doctor(arguments: argparse.Namespace) -> int:
    from fastwgan import doctor

    return doctor.main()
