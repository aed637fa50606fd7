"""What `fastwgan train` says before the first step: the data, the networks, where to look."""

from __future__ import annotations

from fastwgan import train
from fastwgan.train.models.families import family_of


def opening(run: train.Run) -> str:
    """Two lines: what is trained, then on how much, with what, and where its pictures will be."""
    first = f"training on {run.data.name} by {run.config.method} into {run.folder.path}"
    return f"{first}\n{_data(run)} · {_work(run)} · {_pictures(run)}"


def _data(run: train.Run) -> str:
    data = run.data
    if data.is_image:
        channels, height, width = data.shape
        parts = [f"{_many(len(data.values), 'image')}, {height}×{width}×{channels}"]
    elif data.table is not None:
        columns, numbers = len(data.table.columns), data.shape.numel()
        rows = _many(len(data.values), "row")
        parts = [f"{rows} of {_many(columns, 'column')}, coded as {_many(numbers, 'number')}"]
    else:
        rows = _many(len(data.values), "row")
        parts = [f"{rows} of {_many(data.shape.numel(), 'number')}"]
    if data.labels is not None:
        unused = "" if run.config.conditional else " (not used: --conditional would)"
        parts.append(_many(len(data.classes), "class") + unused)
    if data.held_out is not None:
        parts.append(f"{len(data.held_out):,} more held out")
    return ", ".join(parts)


def _work(run: train.Run) -> str:
    config = run.config
    family = family_of(config, run.data.shape)
    networks = family if config.critic is None else f"{family} and the critic {config.critic}"
    steps = _many(config.steps, "step")
    if run.step:
        steps = f"{steps} ({run.step:,} done)"
    where = [] if config.device == "cpu" else [f"on {config.device}"]
    if run.processes.size > 1:
        where.append(f"in {run.processes.size} processes")
    each = " each" if run.processes.size > 1 else ""
    where.append(f"on {_many(config.threads, 'thread')}{each}")
    return f"{networks}, {steps} {', '.join(where)}"


def _pictures(run: train.Run) -> str:
    if run.config.sample_every:
        return f"pictures in {run.folder.grids}/"
    return f"pictures at the end, in {run.folder.path}/"


def _many(count: int, thing: str) -> str:
    ending = "" if count == 1 else "es" if thing.endswith("s") else "s"
    return f"{count:,} {thing}{ending}"
