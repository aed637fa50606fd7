"""The networks of a checkpoint, without the data they were trained on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

import fastwgan
from fastwgan.train import checkpoint, stored_state
from fastwgan.train.config import TrainConfig
from fastwgan.train.data import DataSpec
from fastwgan.train.drawing import draw, judged_shape
from fastwgan.train.folder import of_checkpoint
from fastwgan.train.models import build_critic, build_generator, custom


@dataclass(frozen=True)
class Restored:
    """What a checkpoint holds, on the CPU.

    Attributes:
        config: The run's settings.
        spec: What is known of its data.
        generator: The averaged one, in evaluation mode.
        critic: In evaluation mode; takes what `fastwgan.train.drawing.packed` gives. None where it
            was not asked for.
        step: Generator steps done.
        label_counts: How often each class occurs in the data; empty where not conditional.
        path: The checkpoint.
    """

    config: TrainConfig
    spec: DataSpec
    generator: nn.Module
    critic: nn.Module | None
    step: int
    label_counts: list[int]
    path: Path

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return torch.device("cpu")

    def draw(self, count: int, seed: int = 0) -> tuple[Tensor, Tensor | None]:
        """Samples of a seed and their labels; see `fastwgan.train.drawing.draw`."""
        size, counts = self.config.latent_size, self.label_counts
        return draw(self.generator, size, count, seed, device=self.device, label_counts=counts)


def restore(path: Path, *, critic: str | None = None, judging: bool = True) -> Restored:
    """Reads a checkpoint's networks; torch's global random generator is left as it was.

    Args:
        path: A run's folder or its checkpoint.
        critic: The user's own critic that the checkpoint names, as `package.module:Class`, whose
            code then runs.
        judging: Whether the critic is asked for.

    Returns:
        The networks, on the CPU and in evaluation mode.

    Raises:
        CheckpointError: there is none, or it is damaged or not one of ours.
        ConfigError: the run had a critic of its user's own, which is asked for and was not named,
            or can't be imported.
    """
    path = of_checkpoint(path).checkpoint if path.is_dir() else path
    state = checkpoint.load(path)
    config = TrainConfig.from_dict(state["config"])
    spec, counts = stored_state.spec_of(path, state), state["label_counts"]
    if judging:
        custom.confirm(config.critic, critic, path)
    judge = None
    with torch.random.fork_rng(devices=[]):
        generator = build_generator(config, spec.shape, len(counts)).eval()
        if judging:
            judge = _critic(config, spec, len(counts)).eval()
    try:
        generator.load_state_dict(state["trainer"]["average"])
        if judge is not None:
            judge.load_state_dict(state["trainer"]["critic"])
    except (RuntimeError, KeyError, TypeError) as error:
        raise stored_state.misfit(path, error) from None
    return Restored(config, spec, generator, judge, state["step"], counts, path)


def _critic(config: TrainConfig, spec: DataSpec, classes: int) -> nn.Module:
    critic = build_critic(config, judged_shape(config, spec.shape), classes)
    if "sn" in config.parts:
        fastwgan.spectral_norm(critic)
    return critic
