"""Samples of a trained generator on the disk, any number of them, in the form of the data."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from fastwgan.train import drawing, sample_files
from fastwgan.train.checkpoint import CheckpointError
from fastwgan.train.config import ConfigError, TrainConfig
from fastwgan.train.data import DataSpec
from fastwgan.train.drawing import ROWS
from fastwgan.train.suggestions import nearest

Watch = Callable[[int], None]


class Source(Protocol):
    """What samples are drawn from: `fastwgan.train.restored.Restored`, for one."""

    @property
    def config(self) -> TrainConfig:
        """The run's settings."""

    @property
    def spec(self) -> DataSpec:
        """What is known of its data."""

    @property
    def generator(self) -> nn.Module:
        """Noise, and labels where there are any, to samples; in evaluation mode."""

    @property
    def label_counts(self) -> Sequence[int]:
        """How often each class occurs in the data; empty where the run is not conditional."""

    @property
    def device(self) -> torch.device:
        """Where the generator is."""


def write_samples(
    source: Source,
    out: Path,
    count: int,
    seed: int = 0,
    *,
    classes: Sequence[str] = (),
    batch: int = ROWS,
    overwrite: bool = False,
    watch: Watch = lambda done: None,
) -> tuple[str, ...]:
    """Draws samples and writes them, never more than a few blocks of them in memory.

    Images go to a folder of numbered PNG files (with labels, a folder a class), to a grid in one
    `.png`, or as uint8 [n, height, width, channels] to a `.npy` or `.npz`; rows of a table to a
    `.csv` or `.parquet` with the columns of the data; other rows to a `.npy` or `.npz` as float32
    [n, features]. What is written is there whole or not at all.

    Args:
        source: What to draw from.
        out: The file or folder; by its suffix, or none, the format. Its parents are made.
        count: How many samples.
        seed: Of the noise and the labels. Samples are those of `Restored.draw` of this seed, and a
            larger count begins with the same ones.
        classes: Draw from these classes only, in proportion to the data; by default from all.
        batch: Samples that pass through the generator at a time, at most 512. Another number
            changes samples by rounding only.
        overwrite: Replace `out` where it exists; a folder only if it holds nothing but samples.
        watch: Called with the number of samples drawn so far.

    Returns:
        Sentences on what the format leaves out.

    Raises:
        ConfigError: an argument can't be, or `out` exists.
        CheckpointError: the generator gives NaN or Inf.
        MissingExtraError: the package that writes this format isn't installed.
        OSError: the disk is full, or `out` can't be written.
    """
    _check_whole("count", count, 1, 2**63 - 1)
    _check_whole("seed", seed, 0, 2**32 - 1)
    _check_whole("batch", batch, 1, ROWS)
    shares = _shares(source, classes)
    chosen = sample_files.format_of(source.spec, out, count)
    _check_free(out, overwrite, chosen.is_folder)
    samples = _watched(stream(source, count, seed, batch=batch, shares=shares), watch)
    target = Path(os.path.realpath(out))
    target.parent.mkdir(parents=True, exist_ok=True)
    with _partial(target) as partial:
        chosen.write(partial, source.spec, count, samples)
    return chosen.notes(source.spec, bool(shares))


def stream(
    source: Source, count: int, seed: int, *, batch: int = ROWS, shares: Sequence[int] = ()
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Samples a batch at a time: [≤ batch, *shape] and labels [≤ batch], on the CPU.

    Args:
        source: What to draw from.
        count: How many samples in all.
        seed: Of the noise and the labels.
        batch: Samples at a time, at most 512.
        shares: How often each class is drawn; empty for a generator without labels.

    Raises:
        CheckpointError: a sample has NaN or Inf.
    """
    drawn = drawing.stream(
        source.generator,
        source.config.latent_size,
        count,
        seed,
        device=source.device,
        batch=batch,
        label_counts=shares,
    )
    for samples, labels in drawn:
        if not samples.isfinite().all():
            raise CheckpointError("the generator gives NaN or Inf: its run had diverged.")
        yield samples, labels


def _check_whole(name: str, number: int, least: int, most: int) -> None:
    if type(number) is not int or not least <= number <= most:
        raise ConfigError(
            name, f"was {number!r}; it must be a whole number from {least} to {most}."
        )


def _watched(
    samples: Iterator[tuple[Tensor, Tensor | None]], watch: Watch
) -> Iterator[tuple[Tensor, Tensor | None]]:
    done = 0
    for each in samples:
        yield each
        done += len(each[0])
        watch(done)


def _shares(source: Source, classes: Sequence[str]) -> list[int]:
    """How often each class is drawn."""
    counts, names = list(source.label_counts), source.spec.classes
    if not classes:
        return counts
    if not counts:
        raise ConfigError(
            "class", f"was {classes[0]!r}, but this run isn't conditional on labels: leave it out."
        )
    for name in classes:
        if name not in names:
            raise ConfigError(
                "class",
                f"was {name!r}{nearest(name, names)}; it must be one of {', '.join(names)}.",
            )
    shares = [count * (name in classes) for name, count in zip(names, counts, strict=True)]
    if not any(shares):
        raise ConfigError("class", f"was {classes[0]!r}, which no sample trained on belongs to.")
    return shares


def _check_free(out: Path, overwrite: bool, is_folder: bool) -> None:
    if not out.exists() and not out.is_symlink():
        return
    if out.is_dir() != is_folder:
        kind = "folder" if out.is_dir() else "file"
        raise ConfigError("out", f"was {out}, which is a {kind} already; choose another name.")
    if is_folder and not any(out.iterdir()):
        return
    if not overwrite:
        raise ConfigError(
            "out", f"was {out}, which exists; choose another name, or --overwrite it."
        )
    strange = is_folder and sample_files.first_not_sample(out)
    if strange:
        raise ConfigError(
            "out",
            f"was {out}, which isn't overwritten since it holds more than samples: {strange}.",
        )


@contextlib.contextmanager
def _partial(out: Path) -> Iterator[Path]:
    """A path beside `out`, of the same suffix, that becomes `out` at the end, or is gone."""
    partial = out.with_name(f".{out.stem}.partial-{os.getpid()}{out.suffix}")
    try:
        yield partial
        if out.is_dir():
            shutil.rmtree(out)
        os.replace(partial, out)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial)
        partial.unlink(missing_ok=True)
