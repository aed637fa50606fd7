"""How good a trained generator is, in numbers that can be held against those of real samples."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from fastwgan.train import features, fidelity, modes, transport
from fastwgan.train.callbacks import Callback
from fastwgan.train.config import ConfigError
from fastwgan.train.data import Data
from fastwgan.train.writing import write_whole

if TYPE_CHECKING:
    from fastwgan.train.run import Run

SAMPLES = 10_000
"""Generated samples that modes are counted on; other measures take as many as are held out."""

POINTS = 2_000
"""Points a side, at most, of the exact distance and in a space of features: a second each."""

DRAWS = 3
"""Of so many points, over which the exact distance and its floor are the means."""

LEAST_HELD_OUT = 10
"""Held-out samples, at least, to be compared with in a space of features."""


class Drawing(Protocol):
    """What is judged: a `Trainer` or a `Restored`."""

    def draw(self, count: int, seed: int = 0) -> tuple[Tensor, Tensor | None]:
        """Samples [count, *shape] on the CPU, and their labels."""


def evaluate(model: Drawing, data: Data, seed: int = 0) -> dict[str, Any]:
    """Every measure that suits the data; the same model, data and seed give the same numbers.

    Args:
        model: A `Trainer` or a `Restored`.
        data: What it was trained on, with held-out samples.
        seed: Of the samples, of which real ones they are compared with, and of the classifier.

    Returns:
        Plain numbers, strings and dicts, for JSON. `w1` and `sliced`: `value`, the `floor` that
        real samples in the place of the generated ones score, and their `ratio`. `modes` for
        mixtures of Gaussians. `spaces`: by the names of `fastwgan.train.features.spaces`, `fid`
        with its floor, and the measures of `fastwgan.train.fidelity.Likeness`.

    Raises:
        ConfigError: nothing is held out.
        ValueError: the generator makes NaN or Inf.
        MissingExtraError: POT isn't installed.
    """
    if data.held_out is None:
        raise ConfigError("data", f"was {data.name}, which holds nothing out to compare with.")
    made = model.draw(SAMPLES, seed)[0]
    stream = torch.Generator().manual_seed(seed)
    real, held_out = (
        rows[torch.randperm(len(rows), generator=stream)] for rows in (data.values, data.held_out)
    )
    return {
        "held_out": len(held_out),
        **_distances(made, real, held_out, seed),
        **_modes(made, data),
        **_spaces(made, real, held_out, features.spaces(data, seed)),
    }


class WriteQuality(Callback):
    """Writes `evaluate`'s answer to quality.json when the run ends, if data was held out."""

    def end(self, run: Run) -> None:
        """Judges the averaged generator."""
        if run.data.held_out is not None:
            answer = {"step": run.step, **evaluate(run.trainer, run.data)}
            text = json.dumps(answer, indent=2, allow_nan=False)
            write_whole(run.folder.quality, (text + "\n").encode())


def _distances(made: Tensor, real: Tensor, held_out: Tensor, seed: int) -> dict[str, Any]:
    points = min(POINTS, len(held_out), len(real))
    draws = made.split(points)[:DRAWS]
    exact = sum(transport.exact(draw, held_out[:points]) for draw in draws) / len(draws)
    floor = transport.floor(real, held_out[:points], points, splits=DRAWS, seed=seed).distance
    many = min(len(made), len(held_out), len(real))
    sliced = transport.sliced(made[:many], held_out[:many])
    sliced_floor = transport.sliced(real[:many], held_out[:many])
    return {
        "w1": {"points": points, **_against(exact, floor)},
        "sliced": {"points": many, **_against(sliced, sliced_floor)},
    }


def _against(value: float, floor: float) -> dict[str, float]:
    """A ratio only where there is a floor: not where all real samples are one point."""
    found = {"value": value, "floor": floor}
    return found | {"ratio": value / floor} if floor > 0 else found


def _modes(made: Tensor, data: Data) -> dict[str, Any]:
    mixture = modes.mixture(data.name)
    return {} if mixture is None else {"modes": modes.count(made, mixture)._asdict()}


def _spaces(
    made: Tensor, real: Tensor, held_out: Tensor, spaces: dict[str, features.Space]
) -> dict[str, Any]:
    points = min(POINTS, len(real), len(held_out))
    if points < LEAST_HELD_OUT:
        return {}
    samples = (made[:points], real[:points], held_out[:points])
    return {"spaces": {name: _in_space(space, *samples) for name, space in spaces.items()}}


def _in_space(space: features.Space, made: Tensor, real: Tensor, held_out: Tensor) -> Any:
    fake, true, reference = (space.embed(rows) for rows in (made, real, held_out))
    found = {"name": space.name, "points": len(fake)}
    if space.accuracy is not None:
        found["accuracy"] = space.accuracy
    return {
        **found,
        "fid": fidelity.frechet_distance(reference, fake),
        "fid_floor": fidelity.frechet_distance(reference, true),
        **fidelity.likeness(reference, fake)._asdict(),
    }
