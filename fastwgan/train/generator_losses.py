"""The generator's side of each loss of `fastwgan.critic_loss`."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn.functional import softplus


def generator_loss(name: str, fake_scores: Tensor, real_scores: Callable[[], Tensor]) -> Tensor:
    """What the generator descends.

    Args:
        name: One of `fastwgan.train.config.LOSSES`.
        fake_scores: The critic's scores of generated samples [batch, 1].
        real_scores: Gives those of as many real samples; asked where the loss needs them.

    Returns:
        The loss []: minus the mean score for "wasserstein" and "hinge" (Miyato et al. 2018,
        equation 18), the non-saturating softplus(-f) for "logistic" (Goodfellow et al. 2014), and
        softplus of real minus fake, pair by pair, for "relativistic" (Jolicoeur-Martineau 2019).
    """
    if name == "logistic":
        return softplus(-fake_scores).mean()
    if name == "relativistic":
        return softplus(real_scores() - fake_scores).mean()
    return -fake_scores.mean()
