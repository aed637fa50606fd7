"""Samples of a trained generator, from a random stream of their own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fastwgan.train.config import ConfigError, TrainConfig

_ROWS = 512  # at a time; part of the contract, since it decides which numbers a seed gives


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
    """Samples, and the labels they were asked for.

    Args:
        generator: In evaluation mode, on `device`; called with noise, and with labels where there
            are any.
        latent_size: Length of its noise vectors.
        count: How many samples.
        seed: Of the noise and the labels; a longer draw of the same seed begins with the same
            samples.
        device: Where the generator is.
        label_counts: How often each class occurs in the data; labels are drawn as often. Empty for
            a generator without labels.

    Returns:
        float32 [count, *shape] and int64 [count] (None without labels), both on the CPU.
    """
    stream = torch.Generator().manual_seed(seed)
    shares = torch.tensor(label_counts, dtype=torch.float64)
    samples, labels = [], []
    with torch.no_grad():
        for begin in range(0, max(count, 1), _ROWS):
            noise = torch.randn(_ROWS, latent_size, generator=stream)
            arguments = [noise]
            if len(shares):
                arguments.append(
                    torch.multinomial(shares, _ROWS, replacement=True, generator=stream)
                )
            kept = [each[: count - begin].to(device) for each in arguments]
            samples.append(generator(*kept).float().cpu())
            labels += arguments[1:]
    return torch.cat(samples), torch.cat(labels)[:count] if labels else None
