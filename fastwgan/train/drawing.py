"""Samples of a trained generator, from a random stream of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from fastwgan.train.config import ConfigError, TrainConfig

ROWS = 512
"""Of noise, drawn at a time: part of the contract, since it decides which numbers a seed gives."""


def judged_shape(config: TrainConfig, shape: Sequence[int]) -> torch.Size:
    """The shape of what the critic gives one score.

    Args:
        config: Says how many samples it judges together.
        shape: Of one sample.

    Raises:
        ConfigError: several together, and a sample isn't one row.
    """
    if config.pack == 1:
        return torch.Size(shape)
    if len(shape) != 1:
        raise ConfigError("pack", f"was {config.pack}; it must be 1 for samples that aren't rows.")
    return torch.Size([config.pack * shape[0]])


def packed(rows: Tensor, pack: int) -> Tensor:
    """What a critic that judges `pack` samples together takes.

    Args:
        rows: [samples, *shape]; of data without pixels where `pack` is above 1.
        pack: A divisor of the number of samples.

    Returns:
        [samples / pack, pack * features]; `rows` itself for 1.

    Source: Lin et al. 2018, "PacGAN", section 3.
    """
    return rows if pack == 1 else rows.reshape(len(rows) // pack, -1)


def draw(
    generator: nn.Module,
    latent_size: int,
    count: int,
    seed: int,
    *,
    device: torch.device,
    label_counts: Sequence[int] = (),
) -> tuple[Tensor, Tensor | None]:
    """All samples of `stream`, and the labels they were asked for.

    Args:
        generator: As `stream`'s.
        latent_size: Likewise.
        count: Likewise.
        seed: Likewise.
        device: Likewise.
        label_counts: Likewise.

    Returns:
        float32 [count, *shape] and int64 [count] (None without labels), both on the CPU.
    """
    drawn = stream(
        generator, latent_size, max(count, 1), seed, device=device, label_counts=label_counts
    )
    samples, labels = zip(*drawn, strict=True)
    return torch.cat(samples)[:count], torch.cat(labels)[:count] if len(label_counts) else None


def stream(
    generator: nn.Module,
    latent_size: int,
    count: int,
    seed: int,
    *,
    device: torch.device,
    batch: int = ROWS,
    label_counts: Sequence[int] = (),
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Samples a batch at a time, and the labels they were asked for, on the CPU.

    Args:
        generator: In evaluation mode, on `device`; called with noise, and with labels where there
            are any.
        latent_size: Length of its noise vectors.
        count: How many samples.
        seed: Of the noise and the labels; a longer stream of the same seed begins with the same
            samples.
        device: Where the generator is.
        batch: Samples at a time, at most `ROWS`; another number changes samples by rounding only.
        label_counts: How often each class occurs in the data; labels are drawn as often. Empty for
            a generator without labels.

    Yields:
        float32 [≤ batch, *shape] and int64 [≤ batch] (None without labels).
    """
    random = torch.Generator().manual_seed(seed)
    shares = torch.tensor(label_counts, dtype=torch.float64)
    for begin in range(0, count, ROWS):
        rows = min(ROWS, count - begin)
        parts = [torch.randn(ROWS, latent_size, generator=random)[:rows]]
        if len(shares):
            labels = torch.multinomial(shares, ROWS, replacement=True, generator=random)
            parts.append(labels[:rows])
        for arguments in zip(*(part.split(batch) for part in parts), strict=True):
            with torch.no_grad():
                samples = generator(*(each.to(device) for each in arguments))
            yield samples.float().cpu(), arguments[1] if len(shares) else None
