"""What `fastwgan train` reaches with its defaults: `python -m benchmarks.bench_quality`.

Trains WGAN-GP on four data sets from fixed seeds, as the command does, restores each checkpoint,
judges it by `fastwgan.train.quality.evaluate`, and prints the table that the README shows between
its markers `quality` (`--readme README.md` puts it there). `make nightly` holds the first seed to
the same targets.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import BUSY_SHARE, OthersWatch, describe_machine
from benchmarks.readme_table import replace_section
from benchmarks.report import aligned
from fastwgan.train import TrainConfig, fit, load
from fastwgan.train.quality import evaluate
from fastwgan.train.restored import restore

METHOD = "wgan-gp"
SEEDS = (0, 1, 2)
MOST_SECONDS = 180.0
LAST_RUN = Path(".benchmarks/quality.json")


@dataclass(frozen=True)
class Target:
    """One number that the project asks of itself.

    Attributes:
        data: The data set.
        measure: What the table calls the number.
        path: Where it stands in what `evaluate` returns.
        bound: It must be at least this, or at most.
        at_least: Which of the two.
        percent: Whether it is shown in percent.
    """

    data: str
    measure: str
    path: tuple[str, str]
    bound: float
    at_least: bool
    percent: bool = False

    def value(self, answer: dict[str, Any]) -> float:
        section, name = self.path
        return float(answer[section][name])

    def holds(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound

    def shown(self, value: float) -> str:
        if self.percent:
            return f"{value:.1%}"
        return f"{value:.0f}" if self.path[1] == "covered" else f"{value:.2f}"


def _mixture(data: str, covered: int, share: float) -> tuple[Target, Target]:
    return (
        Target(data, "modes covered", ("modes", "covered"), covered, at_least=True),
        Target(
            data,
            "of 10,000 samples, within 4 sd of a mode",
            ("modes", "share"),
            share,
            at_least=True,
            percent=True,
        ),
    )


def _distance(data: str, ratio: float) -> Target:
    measure = "exact W1 to held-out data, over that of real samples"
    return Target(data, measure, ("w1", "ratio"), ratio, at_least=False)


TARGETS = (
    *_mixture("8gaussians", 8, 0.95),
    *_mixture("25gaussians", 24, 0.85),
    _distance("swissroll", 1.5),
    _distance("digits", 1.35),
)
DATA = tuple(dict.fromkeys(target.data for target in TARGETS))

HEADER = ("data", "measure", "required", "reached", "steps", "seconds")


@dataclass(frozen=True)
class Trained:
    """One run and how good it is.

    Attributes:
        seconds: Of the whole command, measurements and pictures included.
        answer: What `evaluate` said.
        others_share: Of the machine, what other processes took meanwhile.
    """

    data: str
    seed: int
    steps: int
    seconds: float
    answer: dict[str, Any]
    others_share: float | None


def train(data: str, seed: int) -> Trained:
    """Trains one run with the defaults, and judges its checkpoint."""
    config = TrainConfig.for_method(METHOD, data, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        watch, begun = OthersWatch(), time.perf_counter()
        outcome = fit(config, out=Path(folder))
        seconds, others = time.perf_counter() - begun, watch.share()
        answer = evaluate(restore(Path(folder)), load(data, seed))
    return Trained(data, seed, outcome.step, seconds, answer, others)


def misses(trained: Trained) -> list[str]:
    """A sentence for every target that a run falls short of."""
    found = []
    for target in TARGETS:
        if target.data == trained.data and not target.holds(value := target.value(trained.answer)):
            found.append(
                f"{trained.data}, seed {trained.seed}: {target.measure} is {target.shown(value)}; "
                f"required is {_required(target)}"
            )
    if trained.seconds > MOST_SECONDS:
        found.append(
            f"{trained.data}, seed {trained.seed}: took {trained.seconds:.0f} s; "
            f"required are {MOST_SECONDS:.0f}"
        )
    return found


def section(runs: Sequence[Trained]) -> str:
    """The generated part of the README."""
    seeds = " / ".join(str(seed) for seed in sorted({run.seed for run in runs}))
    first = (
        f"`fastwgan train --method {METHOD}` with its defaults, seeds {seeds}, on "
        f"{describe_machine().line()}."
    )
    lines = [first, "", table(runs)]
    missed = [sentence for run in runs for sentence in misses(run)]
    if missed:
        lines += ["", "**short**: " + "; ".join(missed) + "."]
    busy = max((run.others_share or 0.0 for run in runs), default=0.0)
    if busy > BUSY_SHARE:
        lines += ["", f"Other processes took up to {busy:.0%} of the machine: seconds say little."]
    return "\n".join(lines)


def table(runs: Sequence[Trained]) -> str:
    """A row for each target, the seeds beside each other."""
    rows = []
    for target in TARGETS:
        of = [run for run in runs if run.data == target.data]
        if of:
            rows.append(_row(target, of))
    return aligned(HEADER, rows)


def _row(target: Target, runs: Sequence[Trained]) -> tuple[str, ...]:
    values = [target.value(run.answer) for run in runs]
    short = "" if all(map(target.holds, values)) else " **short**"
    return (
        target.data,
        target.measure,
        _required(target),
        _beside(target.shown(value) for value in values) + short,
        f"{runs[0].steps:,}",
        _beside(f"{run.seconds:.0f}" for run in runs),
    )


def _required(target: Target) -> str:
    return f"{'≥' if target.at_least else '≤'} {target.shown(target.bound)}"


def _beside(texts: Iterable[str]) -> str:
    return " / ".join(texts)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", choices=DATA, default=DATA)
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    parser.add_argument("--readme", type=Path, help="put the table into this file")
    options = parser.parse_args(arguments)
    torch.set_num_threads(TrainConfig.for_method(METHOD, options.data[0]).threads)
    runs = []
    for data in options.data:
        for seed in options.seeds:
            runs.append(train(data, seed))
            print(table(runs[-1:]), flush=True)
    LAST_RUN.parent.mkdir(exist_ok=True)
    LAST_RUN.write_text(json.dumps([asdict(run) for run in runs], indent=2), encoding="utf-8")
    print(generated := section(runs))
    if options.readme is not None:
        text = options.readme.read_text(encoding="utf-8")
        text = replace_section(text, generated, name="quality")
        options.readme.write_text(text, encoding="utf-8")
    return 1 if any(misses(run) for run in runs) else 0


if __name__ == "__main__":
    sys.exit(main())
