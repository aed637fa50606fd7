"""Where a critic is looked at: real and generated samples, and points between them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fastwgan.train.data import Data
from fastwgan.train.lipschitz_gradients import Points

_ROWS = 4  # that the layers are found on, or one of each class
_MOST_ROWS = 64
_ELEMENTS = 1 << 24  # of the data that noise takes its mean and deviation from


def unpacked(
    critic: Callable[..., Any], data: Tensor | Data, labels: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """The samples and, for a critic that needs them, their labels.

    Raises:
        TypeError: `data` is neither a tensor nor a data set.
    """
    if isinstance(data, Tensor):
        return data, labels
    if not isinstance(data, Data):
        raise TypeError(f"data was {type(data).__name__}; it must be a tensor or a Data.")
    own = data.labels if labels is None and _needs_labels(critic) else labels
    return data.values, own


def _needs_labels(critic: Callable[..., Any]) -> bool:
    called = critic.forward if isinstance(critic, nn.Module) else critic
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [
        each
        for each in inspect.signature(called).parameters.values()
        if each.kind in positional and each.default is inspect.Parameter.empty
    ]
    return len(needed) > 1


def check(
    data: Tensor,
    labels: Tensor | None,
    fake: Tensor | None,
    fake_labels: Tensor | None,
    samples: int,
) -> None:
    """Refuses what can't be looked at.

    Raises:
        TypeError: a tensor isn't one of floating point.
        ValueError: a shape, a number or a value that can't be.
    """
    if type(samples) is not int or samples < 1:
        raise ValueError(f"samples was {samples!r}; it must be a whole number of at least 1.")
    _check_samples("data", data)
    if fake is not None:
        _check_samples("fake", fake)
        if fake.shape[1:] != data.shape[1:]:
            raise ValueError(
                f"fake had samples of shape {tuple(fake.shape[1:])}; they must be as the data's, "
                f"{tuple(data.shape[1:])}."
            )
    elif fake_labels is not None:
        raise ValueError("fake_labels was given without fake; it must come with the samples.")
    for name, given, of in (("labels", labels, data), ("fake_labels", fake_labels, fake)):
        if given is not None and of is not None and given.shape != of.shape[:1]:
            raise ValueError(
                f"{name} had shape {tuple(given.shape)}; it must be ({len(of)},), one a sample."
            )


def _check_samples(name: str, samples: Tensor) -> None:
    if not isinstance(samples, Tensor) or not samples.is_floating_point():
        kind = samples.dtype if isinstance(samples, Tensor) else type(samples).__name__
        raise TypeError(f"{name} was {kind}; it must be a floating-point tensor.")
    if samples.dim() < 2 or samples.numel() == 0:
        raise ValueError(
            f"{name} had shape {tuple(samples.shape)}; it must be [samples, *shape] with at least "
            "one sample."
        )
    if not bool(torch.isfinite(samples).all()):
        raise ValueError(f"{name} held NaN or Inf; it must be finite.")


def like(modules: Mapping[str, nn.Module], data: Tensor) -> Tensor:
    """A tensor of the dtype and on the device that the critic wants its samples in."""
    for module in modules.values():
        for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
            if tensor.is_floating_point():
                return tensor.detach()
    return data


def points(
    real: Points,
    fake: Points | None,
    samples: int,
    generator: torch.Generator,
    target: Tensor,
) -> tuple[dict[str, Points], tuple[str, ...]]:
    """The points by kind, in the dtype and place of `target`, and notes on them.

    Args:
        real: All data.
        fake: All generated samples; None for noise.
        samples: The most of each kind.
        generator: Of the draws, on the CPU.
        target: See `like`.
    """
    notes: tuple[str, ...] = ()
    chosen = _chosen(real, samples, generator, target)
    if fake is None:
        notes = (
            "no generated samples were given: fake points are normal noise with the data's mean "
            "and deviation in each place",
        )
        others = Points(_noise(real, chosen.samples, generator), chosen.labels)
    else:
        others = _chosen(fake, samples, generator, target)
        if others.labels is None and chosen.labels is not None:
            rows = torch.arange(len(others.samples)) % len(chosen.labels)
            others = Points(others.samples, chosen.at(rows).labels)
    count = min(len(chosen.samples), len(others.samples))
    alpha = torch.rand(count, *[1] * (chosen.samples.dim() - 1), generator=generator).to(target)
    between = alpha * chosen.samples[:count] + (1 - alpha) * others.samples[:count]
    labels = None if chosen.labels is None else chosen.labels[:count]
    kinds = {"real": chosen, "fake": others, "interpolated": Points(between, labels)}
    return kinds, notes


def _chosen(all_points: Points, samples: int, generator: torch.Generator, target: Tensor) -> Points:
    count = len(all_points.samples)
    rows = torch.randperm(count, generator=generator)[:samples]
    found = all_points.at(rows)
    labels = None if found.labels is None else found.labels.to(target.device)
    return Points(found.samples.detach().to(target), labels)


def _noise(real: Points, chosen: Tensor, generator: torch.Generator) -> Tensor:
    rows = torch.randperm(len(real.samples), generator=generator)
    some = rows[: max(1, _ELEMENTS // real.samples[0].numel())]
    data = real.at(some).samples.detach().cpu().double()
    noise = torch.randn(chosen.shape, generator=generator, dtype=torch.float64)
    return (data.mean(0) + data.std(0, correction=0) * noise).to(chosen)


def rows_to_watch(real: Points) -> Points:
    """A few rows, two or more; one of each class where there are labels."""
    count = len(real.samples)
    if real.labels is None:
        return real.at(torch.arange(max(2, min(count, _ROWS))) % count)
    classes = real.labels.unique()
    first = [int((real.labels == each).nonzero()[0]) for each in classes[:_MOST_ROWS]]
    return real.at(torch.tensor(first if len(first) > 1 else first * 2))
