"""`fastwgan audit`."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from fastwgan import train
from fastwgan.cli.arguments import CommandError, count, option, whole_number, with_options
from fastwgan.train.folder import of_checkpoint
from fastwgan.train.lipschitz import run_audit

EPILOG = """\
Writes audit.png and audit.json beside the checkpoint, and prints the same as a table.

example:
  fastwgan audit runs/digits-wgan-gp-seed0
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument("checkpoint", type=Path, help="a run's folder or its checkpoint")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where to write (beside it)")
    parser.add_argument(
        "--samples", type=count, default=512, metavar="N", help="of real and of fake (512)"
    )
    parser.add_argument(
        "--critic",
        metavar="CRITIC",
        help="the user's own that the checkpoint names, package.module:Class, whose code then runs",
    )
    parser.add_argument("--seed", type=whole_number, default=0, metavar="N", help="of them (0)")


def run(arguments: argparse.Namespace) -> int:
    """Audits; returns the exit status."""
    try:
        audit = run_audit(
            arguments.checkpoint,
            out=arguments.out,
            samples=arguments.samples,
            seed=arguments.seed,
            critic=arguments.critic,
        )
    except train.ConfigError as error:
        raise CommandError(f"{option(error.name)} {error.problem}", 2) from None
    except (train.CheckpointError, train.MissingExtraError) as error:
        raise CommandError(str(error), 2) from None
    except OSError as error:
        raise CommandError(str(error), 1) from None
    print(dataclasses.replace(audit, verdict=with_options(audit.verdict)))
    out = arguments.out
    folder = of_checkpoint(arguments.checkpoint) if out is None else train.RunFolder(out)
    print(f"\nthe same is in {folder.audit_png} and {folder.audit_json}")
    return 0
