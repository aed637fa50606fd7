"""`fastwgan sample`."""

from __future__ import annotations

import argparse
from pathlib import Path

from fastwgan import progress, train
from fastwgan.cli.arguments import CommandError, count, option, whole_number
from fastwgan.train import extras, sampling

EPILOG = """\
The suffix of --out decides: a folder or .png for images, .npy or .npz for arrays, .csv or .parquet
for a table as the one that was trained on.

examples:
  fastwgan sample runs/digits-wgan-gp-seed0 --out digits.png --count 100
  fastwgan sample runs/customers-wgan-gp-seed0 --out rows.csv --count 1000000 --seed 3
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument("checkpoint", type=Path, help="a run's folder or its checkpoint")
    parser.add_argument("--out", type=Path, required=True, metavar="PATH", help="what to write")
    parser.add_argument("--count", type=count, default=100, metavar="N", help="samples (100)")
    parser.add_argument("--seed", type=whole_number, default=0, metavar="N", help="of them (0)")
    parser.add_argument(
        "--class",
        dest="classes",
        action="append",
        default=[],
        metavar="NAME",
        help="of a conditional run: this class only; may be given several times",
    )
    parser.add_argument(
        "--batch", type=count, default=512, metavar="N", help="samples made at a time (512)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")


def run(arguments: argparse.Namespace) -> int:
    """Draws samples; returns the exit status."""
    try:
        extras.require("rich", "the progress bar")
        restored = train.restore(arguments.checkpoint, judging=False)
        with progress.counting("samples", arguments.count) as shown:
            notes = sampling.write_samples(
                restored,
                arguments.out,
                arguments.count,
                arguments.seed,
                classes=arguments.classes,
                batch=arguments.batch,
                overwrite=arguments.overwrite,
                watch=shown,
            )
    except train.ConfigError as error:
        raise CommandError(f"{option(error.name)} {error.problem}", 2) from None
    except (train.CheckpointError, train.MissingExtraError) as error:
        raise CommandError(str(error), 2) from None
    except OSError as error:
        raise CommandError(str(error), 1) from None
    for note in notes:
        print(note)
    print(f"{arguments.count} samples of step {restored.step} are in {arguments.out}")
    return 0
