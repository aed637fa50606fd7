"""`fastwgan demo divergences`: train, measure, draw, tell."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from fastwgan.train.config import ConfigError
from fastwgan.train.divergences import critics, figure, table
from fastwgan.train.divergences.examples import EXAMPLES, Example
from fastwgan.train.divergences.results import Comparison, Divergences, Point, Profile
from fastwgan.train.extras import require
from fastwgan.train.folder import RUNS

Watch = Callable[[int, int], None]
"""Called with how many critics are trained, and how many there will be."""

THETAS = (-1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0)
QUICK_THETAS = (-1.0, -0.5, 0.0, 0.5, 1.0)
STEPS = 200
QUICK_STEPS = 100

_LARGEST_SEED = 2**32 - 1  # torch's generators on the CPU take 32 bits and drop the rest

PICTURE = "divergences.png"
NUMBERS = "divergences.json"


def main(
    out: Path | None = None, *, seed: int = 0, steps: int | None = None, quick: bool = False
) -> int:
    """The command: a bar while the critics are trained, then the tables; returns its exit status.

    Args:
        out: Folder of the two files; by default runs/divergences.
        seed: As for `demo_divergences`.
        steps: Likewise.
        quick: Likewise.

    Raises:
        ConfigError: as `demo_divergences`.
        MissingExtraError: likewise.
        OSError: a file can't be written.
    """
    folder = RUNS / "divergences" if out is None else out
    progress = require("rich.progress", "the progress bar")
    with progress.Progress(transient=True) as bar:
        task = bar.add_task("training critics", total=None)

        def watch(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        found = demo_divergences(folder, seed=seed, steps=steps, quick=quick, watch=watch)
    table.show(found)
    print(f"\n{folder / PICTURE}\n{folder / NUMBERS}")
    return 0


def demo_divergences(
    out: Path,
    *,
    seed: int = 0,
    steps: int | None = None,
    quick: bool = False,
    watch: Watch = lambda done, total: None,
) -> Divergences:
    """Compares exact divergences of distributions at distance θ with what trained critics find.

    Writes divergences.png and divergences.json into `out`, over those of an earlier call. Critics
    are trained on one processor thread; torch's global random generator is left as it was.

    Args:
        out: A folder, made if it isn't there.
        seed: Of the critics' weights and of every batch.
        steps: Critic steps of each training; by default 200, with `quick` 100.
        quick: Fewer distances.
        watch: Called before the first and after each critic.

    Returns:
        All numbers.

    Raises:
        ConfigError: a value is out of its range, or `out` can't be a folder.
        MissingExtraError: matplotlib or rich isn't installed.
        OSError: a file can't be written.

    Source: Arjovsky, Chintala, Bottou 2017, "Wasserstein GAN", section 2 and example 1.
    """
    steps = (QUICK_STEPS if quick else STEPS) if steps is None else steps
    _check(out, seed, steps)
    thetas = QUICK_THETAS if quick else THETAS
    total = len(EXAMPLES) * len(thetas) * len(critics.METHODS)
    done = 0
    watch(done, total)

    def trained() -> None:
        nonlocal done
        done += 1
        watch(done, total)

    with _one_thread():
        comparisons = tuple(
            compare(example, thetas, steps=steps, seed=seed, trained=trained)
            for example in EXAMPLES
        )
    found = Divergences(seed, steps, comparisons)
    text = json.dumps(found.to_dict(), indent=1, allow_nan=False)
    (out / NUMBERS).write_text(text + "\n", encoding="utf-8")
    figure.draw(found, out / PICTURE)
    return found


def compare(
    example: Example,
    thetas: tuple[float, ...],
    *,
    steps: int,
    seed: int,
    trained: Callable[[], None] = lambda: None,
) -> Comparison:
    """Trains a critic of each method at each θ.

    Args:
        example: The pair of distributions.
        thetas: Ascending, at least one.
        steps: Critic steps of each training.
        seed: Of weights and batches, the same for every critic.
        trained: Called after each.
    """
    points = []
    for theta in thetas:
        found, along = {}, {}
        for method in critics.METHODS:
            critic = critics.train(example, theta, method, steps, seed)
            found[method.name] = critics.measure(critic, example, theta, method)
            along[method.name] = critics.scores_along(critic, example, theta, method)
            trained()
        points.append(Point(theta, example.exact(theta), found))
    scores = {name: tuple(values.tolist()) for name, values in along.items()}
    profile = Profile(theta, tuple(critics.places(theta).tolist()), scores)
    return Comparison(example.name, tuple(points), profile)


def _check(out: Path, seed: int, steps: int) -> None:
    """Refuses what can't be, and makes the folder, before the first critic is trained."""
    if type(seed) is not int or not 0 <= seed <= _LARGEST_SEED:
        raise ConfigError(
            "seed", f"was {seed!r}; it must be a whole number from 0 to {_LARGEST_SEED}."
        )
    if type(steps) is not int or steps < 1:
        raise ConfigError("steps", f"was {steps!r}; it must be a whole number of at least 1.")
    require("matplotlib", f"drawing {PICTURE}")
    if out.exists() and not out.is_dir():
        raise ConfigError("out", f"was {out}, which is a file; it must be a folder.")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError("out", f"was {out}, which can't be made: {error}.") from None


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """A second one gains nothing on critics this small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
