"""`fastwgan demo`."""

from __future__ import annotations

import argparse
from pathlib import Path

from fastwgan import train
from fastwgan.cli.arguments import CommandError, count, option, whole_number
from fastwgan.train import divergences

EPILOG = """\
divergences: two distributions that don't touch, at distance theta: what the divergences of GANs
make of them, exactly and as trained critics find it. docs/divergences.md says how to read it.

example:
  fastwgan demo divergences
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument("demo", choices=["divergences"], help="which")
    parser.add_argument("--out", type=Path, metavar="DIR", help="(runs/divergences)")
    parser.add_argument("--seed", type=whole_number, default=0, metavar="N", help="(0)")
    parser.add_argument("--steps", type=count, metavar="N", help="of each critic")
    parser.add_argument("--quick", action="store_true", help="fewer distances, fewer steps")


def run(arguments: argparse.Namespace) -> int:
    """Shows it; returns the exit status."""
    try:
        return divergences.main(
            arguments.out, seed=arguments.seed, steps=arguments.steps, quick=arguments.quick
        )
    except train.ConfigError as error:
        raise CommandError(f"{option(error.name)} {error.problem}", 2) from None
    except train.MissingExtraError as error:
        raise CommandError(str(error), 2) from None
    except OSError as error:
        raise CommandError(str(error), 1) from None
