"""Generators and critics: of three families, chosen by the data's shape unless named."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from fastwgan.train.config import TrainConfig
from fastwgan.train.models import custom, dcgan, mlp, resnet
from fastwgan.train.models.families import check_size, family_of

__all__ = ["build_critic", "build_generator", "check_size"]


def build_generator(config: TrainConfig, shape: Sequence[int], classes: int = 0) -> nn.Module:
    """The network from noise [batch, latent_size] to samples [batch, *shape].

    With classes it is called with labels [batch] too, whole numbers below `classes`. They scale and
    shift what batch normalisation gives; a network without that has an embedding of the label
    beside its noise.

    Args:
        config: Its `model`, `latent_size`, `width` and `parts` decide the layers.
        shape: Of one sample: [channels, height, width] of an image, or any other.
        classes: How many labels there are; 0 for none.

    Raises:
        ConfigError: the model cannot make such samples.
    """
    build = {"mlp": mlp.generator, "dcgan": dcgan.generator, "resnet": resnet.generator}
    return build[family_of(config, shape)](config, tuple(shape), classes)


def build_critic(config: TrainConfig, shape: Sequence[int], classes: int = 0) -> nn.Module:
    """The network from samples [batch, *shape] to one score each, [batch, 1].

    With classes it is called with labels [batch] too, and judges by projection (Miyato & Koyama
    2018). It has no BatchNorm: under a gradient penalty every score must depend on its own sample
    alone (Gulrajani et al. 2017, section 4).

    Args:
        config: Its `model`, `width` and `parts` decide the layers; or its `critic` names a class,
            whose code then runs (see `fastwgan.train.models.custom`).
        shape: Of one sample, as for `build_generator`.
        classes: How many labels there are; 0 for none.

    Raises:
        ConfigError: the model cannot take such samples; or the named critic cannot be loaded, or is
            none.
    """
    if config.critic is not None:
        return custom.critic(config.critic, config.parts, tuple(shape), classes)
    build = {"mlp": mlp.critic, "dcgan": dcgan.critic, "resnet": resnet.critic}
    return build[family_of(config, shape)](config, tuple(shape), classes)
