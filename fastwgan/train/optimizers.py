"""The optimizers of a run, and their learning rates over its steps."""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer

import fastwgan
from fastwgan.train.config import TrainConfig
from fastwgan.train.fused_adam import FusedAdam


def critic_optimizer(config: TrainConfig, critic: nn.Module) -> Optimizer:
    """Adam where the method has Adam's decays, else RMSprop; either clips where the method does."""
    if config.beta1 is None:
        return fastwgan.optim.RMSprop(
            critic.parameters(), config.critic_lr, weight_clip=config.weight_clip
        )
    optimizer = _adam(config, critic, config.critic_lr)
    if config.weight_clip is not None:
        fastwgan.clip_after_step(optimizer, config.weight_clip)
    return optimizer


def generator_optimizer(config: TrainConfig, generator: nn.Module) -> Optimizer:
    """Of the same kind as the critic's, without clipping."""
    if config.beta1 is None:
        return fastwgan.optim.RMSprop(generator.parameters(), config.generator_lr)
    return _adam(config, generator, config.generator_lr)


def set_rate(optimizer: Optimizer, rate: float, config: TrainConfig, step: int) -> None:
    """Sets the learning rate of generator step `step` (from 0): `rate`, decayed as configured."""
    left = 1 - step / config.steps if config.lr_decay == "linear" else 1.0
    for group in optimizer.param_groups:
        group["lr"] = rate * left


def _adam(config: TrainConfig, module: nn.Module, rate: float) -> Optimizer:
    assert config.beta1 is not None
    assert config.beta2 is not None
    betas = (config.beta1, config.beta2)
    return FusedAdam(module.parameters(), rate, betas)
