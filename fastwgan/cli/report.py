"""`fastwgan report`."""

from __future__ import annotations

import argparse
from pathlib import Path

from fastwgan import train
from fastwgan.cli.arguments import CommandError
from fastwgan.train.folder import of_checkpoint
from fastwgan.train.report import ReportError, write_report

EPILOG = """\
The page is one file that needs nothing else: settings, curves, samples, the exact distance, and the
audit where `fastwgan audit` has been run.

example:
  fastwgan report runs/digits-wgan-gp-seed0
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="a run's folder")


def run(arguments: argparse.Namespace) -> int:
    """Writes the report; returns the exit status."""
    if not arguments.run_folder.is_dir():
        raise CommandError(f"RUN was {arguments.run_folder}; it must be the folder of a run.", 2)
    try:
        path = write_report(of_checkpoint(arguments.run_folder))
    except (ReportError, train.MissingExtraError) as error:
        raise CommandError(str(error), 2) from None
    except OSError as error:
        raise CommandError(str(error), 1) from None
    print(path)
    return 0
