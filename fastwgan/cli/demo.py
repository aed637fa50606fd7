"""`fastwgan demo`."""

from __future__ import annotations

import argparse
from pathlib import Path

from fastwgan import train
from fastwgan.cli.arguments import CommandError, count, whole_number
from fastwgan.train import extras
from fastwgan.train.divergences import demo_divergences

EPILOG = """\
divergences: two distributions that don't touch, at distance theta: what the divergences of GANs
make of them, exactly and as trained critics find it. docs/divergences.md says how to read it.

example:
  fastwgan demo divergences --out divergences
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument("demo", choices=["divergences"], help="which")
    parser.add_argument(
        "--out", type=Path, default=Path("divergences"), metavar="DIR", help="(divergences)"
    )
    parser.add_argument("--seed", type=whole_number, default=0, metavar="N", help="(0)")
    parser.add_argument("--steps", type=count, metavar="N", help="of each critic")


def run(arguments: argparse.Namespace) -> int:
    """Shows it; returns the exit status."""
    try:
        extras.check()
        shown = demo_divergences(arguments.out, seed=arguments.seed, steps=arguments.steps)
    except (train.ConfigError, train.MissingExtraError) as error:
        raise CommandError(str(error), 2) from None
    except OSError as error:
        raise CommandError(str(error), 1) from None
    print(shown)
    return 0
