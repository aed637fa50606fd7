from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import fastwgan
from fastwgan.train.lipschitz import audit
from fastwgan.train.lipschitz_report import Audit
from tests.train.lipschitz_cases import normal
from tests.train.settings import small

DATA = normal(100, 2).float()


def linear(slope: float) -> nn.Linear:
    """A critic as steep everywhere."""
    critic = nn.Linear(2, 1)
    with torch.no_grad():
        critic.weight.copy_(torch.tensor([[0.6, 0.8]]) * slope)
    return critic


def judged(
    critic: Callable[..., Tensor], method: str = "", data: Tensor = DATA, **chosen: object
) -> Audit:
    config = small(method, "digits", **chosen) if method else None
    return audit(critic, data, samples=100, config=config)


def test_proven() -> None:
    found = judged(linear(0.9))
    assert found.status == "proven"
    assert found.verdict == (
        "1-Lipschitz everywhere: its layers bound every slope by 0.9, and gradient norms reach 0.9."
    )


@pytest.mark.parametrize(
    ("method", "advice"),
    [
        ("", "A gradient penalty (wgan-gp) steepens it."),
        ("sn-gan", "A gradient penalty beside the spectral norm (sn+gp) steepens it."),
        ("wgan", "Raise weight_clip (it was 0.7)."),
        ("wgan-gp", "Train longer, or raise critic_lr (it was 0.003)."),
    ],
)
def test_flatter_than_it_may_be(method: str, advice: str) -> None:
    chosen = {"weight_clip": 0.7} if method == "wgan" else {}
    found = judged(linear(0.2), method, critic_lr=0.003, **chosen)
    assert found.status == "proven"
    assert "99 % of gradient norms are below 0.2" in found.verdict
    assert found.verdict.endswith(advice)


@pytest.mark.parametrize("method", ["wgan-gp", "wgan-lp", "dragan", "sn+gp", ""])
def test_nearly(method: str) -> None:
    found = judged(linear(1.15), method)
    assert found.status == "nearly"
    assert "slopes reach 1.15 (99 % of gradient norms are below 1.15)" in found.verdict
    assert "nothing to change" in found.verdict


@pytest.mark.parametrize(
    ("method", "advice"),
    [
        ("wgan-gp", "Raise penalty_weight (it was 7), or critic_steps (it was 3) so that"),
        ("wgan-lp", "Raise penalty_weight (it was 7), or critic_steps (it was 3) so that"),
        ("r1", "R1 and R2 flatten the critic at the samples and promise no bound"),
        ("", "The critic's Linear has operator norm 3.1: train with a gradient penalty"),
        ("sn-gan", "The critic's Linear has operator norm 3.1: put spectral norm on it."),
    ],
)
def test_refuted(method: str, advice: str) -> None:
    penalised = {"wgan-gp", "wgan-lp", "r1"}
    chosen = {"penalty_weight": 7.0} if method in penalised else {}
    found = judged(linear(3.1), method, critic_steps=3, **chosen)
    assert found.status == "refuted"
    assert found.verdict.startswith(
        "Not 1-Lipschitz: slopes reach 3.1 (99 % of gradient norms are below 3.1). "
    )
    assert advice in found.verdict


def bent(extra: float, slope: float = 1.0) -> Callable[[Tensor], Tensor]:
    """A critic of a slope that is steeper at a tenth of the samples, and further out."""
    along = torch.tensor([0.6, 0.8])
    limit = float((DATA @ along).quantile(0.9))
    return lambda x: slope * (x @ along) + extra * functional.relu(x @ along - limit)


@pytest.mark.parametrize("method", ["wgan-gp", "wgan-lp", "dragan", "sn+gp", "gp+r1"])
def test_held_on_average(method: str) -> None:
    found = judged(bent(0.4), method)
    place = "real" if method == "dragan" else "interpolated"
    where = "at real samples" if method == "dragan" else "between real and fake samples"
    assert found.status == "average"
    mean = found.gradients.at[place].mean
    everywhere = " For a bound that holds everywhere take spectral norm (sn-gan)."
    assert found.verdict == (
        "1-Lipschitz on average, as a gradient penalty holds it, but not everywhere: gradient "
        f"norms {where} have a mean of {mean:.3g}, and slopes reach 1.4 (99 % "
        f"of gradient norms are below 1.4).{'' if method == 'sn+gp' else everywhere}"
    )


def test_held_on_average_with_too_many_steep_points() -> None:
    found = judged(bent(0.8), "wgan-gp", penalty_weight=7.0, critic_steps=3)
    assert found.status == "average"
    assert (
        "below 1.8). So many steep points are more than it should leave. Raise penalty_weight (it "
        "was 7), or critic_steps (it was 3) so that the critic can follow. For a bound"
    ) in found.verdict


@pytest.mark.parametrize(
    ("method", "slope", "status"),
    [
        ("wgan-gp", 1.25, "refuted"),
        ("wgan-gp", 0.75, "refuted"),
        ("wgan-lp", 1.25, "refuted"),
        ("wgan-lp", 0.75, "average"),  # asks nothing of norms below 1
        ("r1", 1.0, "refuted"),
        ("", 1.0, "refuted"),
    ],
)
def test_a_mean_that_is_off_or_not_held(method: str, slope: float, status: str) -> None:
    assert judged(bent(0.6, slope), method).status == status


def test_clipping_that_is_too_loose() -> None:
    found = judged(linear(3.1), "wgan", weight_clip=3.0)
    assert found.status == "refuted"
    assert "no more than some bound (between that and 3.1)" in found.verdict
    assert "lie at the clip bound" not in found.verdict


def test_many_weights_at_the_clip_bound() -> None:
    critic = nn.Sequential(nn.Linear(2, 40), nn.ReLU(), nn.Linear(40, 1))
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.clamp_(-0.1, 0.1)
    values = torch.cat([p.detach().flatten() for p in critic.parameters()])
    share = float((values.abs() == torch.tensor(0.1)).double().mean())
    assert 0.4 < share < 0.9
    sentence = (
        f"{share:.0%} of the weights lie at the clip bound 0.1: the critic is near a bang-bang"
    )
    for found in (judged(critic, "wgan", weight_clip=0.1), judged(critic)):
        assert sentence in found.verdict
        assert "try wgan-gp, or a larger bound" in found.verdict
        assert found.method == "wgan"
    loose = judged(critic, "wgan", weight_clip=0.05)
    assert "lie beyond the clip bound 0.05: clip after every step" in loose.verdict


def normalised_convolution() -> nn.Sequential:
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Flatten(), nn.Linear(64, 1))
    fastwgan.spectral_norm(critic, n_power_iterations=50)
    critic(normal(2, 1, 4, 4).float())
    return critic


def test_spectral_norm_that_divides_by_too_little() -> None:
    critic = normalised_convolution()
    with torch.no_grad():
        critic[0].weight_orig.copy_(torch.ones(4, 1, 3, 3))
        critic[2].weight_orig.copy_(torch.ones(1, 64))
    for _ in range(3):
        critic(normal(2, 1, 4, 4).float())
    found = judged(critic, data=normal(50, 1, 4, 4).float())
    assert found.status == "refuted"
    norm = f"{found.layers[0].norm:.3g}"
    assert float(norm) > 2
    assert (
        f"Layer 0 (Conv2d) has operator norm {norm} though its reshaped σ is 1, by which spectral "
        "norm divides: add a gradient penalty (sn+gp)" in found.verdict
    )


def test_spectral_norm_that_lags_behind() -> None:
    critic = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 1))
    fastwgan.spectral_norm(critic[0])
    with torch.no_grad():
        critic[0].weight_orig.copy_(torch.diag(torch.tensor([1.0, 4.0])))
        for vector in (critic[0].weight_u, critic[0].weight_v):
            vector.copy_(torch.tensor([1.0, 0.0]))
        critic[1].weight.copy_(torch.tensor([[0.0, 1.0]]))
    found = judged(critic)
    assert found.status == "refuted"
    assert "Layer 0 (Linear) has σ 4 in spite of spectral norm" in found.verdict
    assert "n_power_iterations" in found.verdict


def test_a_lag_that_explains_less_than_the_convolution_is_not_blamed() -> None:
    critic = normalised_convolution()
    with torch.no_grad():
        critic[0].weight_u.div_(1.03)
    found = judged(critic.eval(), "sn-gan", normal(50, 1, 4, 4).float())
    layer = found.layers[0]
    assert layer.norm > 1.3
    assert layer.sigma == pytest.approx(1.03, rel=1e-3)
    assert f"has operator norm {layer.norm:.3g} though its reshaped σ is 1.03" in found.verdict


def test_layers_a_little_above_1_are_not_blamed() -> None:
    critic = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 1))
    fastwgan.spectral_norm(critic, n_power_iterations=50)
    critic(DATA)
    with torch.no_grad():
        critic[0].weight_u.div_(1.04)
    found = judged(critic.eval(), "sn-gan")
    assert found.status == "unrefuted"
    assert "Layer" not in found.verdict


def test_a_sum_that_multiplies() -> None:
    found = judged(lambda x: x.flatten(1).sum(1), data=normal(50, 1, 4, 4).float())
    assert found.status == "refuted"
    assert "The critic's sum multiplies distances by up to 4: take a mean" in found.verdict


def test_unrefuted_names_the_bound_or_what_forbids_one() -> None:
    critic = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    with torch.no_grad():
        critic[0].weight.copy_(torch.tensor([[2.0, 0.0], [-2.0, 0.0]]))
        critic[0].bias.zero_()
        critic[2].weight.fill_(0.45)
    found = judged(critic)
    assert found.status == "unrefuted"
    assert "gradient norms reach 0.9 on and between the samples" in found.verdict
    assert "the bound that holds everywhere is 1.8" in found.verdict

    def attending(x: Tensor) -> Tensor:
        tokens = x[:, :, None]
        return 0.5 * functional.scaled_dot_product_attention(tokens, tokens, tokens).sum((1, 2)) / 9

    found = judged(attending)
    assert found.status == "unrefuted"
    assert "no bound holds everywhere, since attention isn't Lipschitz" in found.verdict


def test_flat() -> None:
    found = judged(linear(1e-4), critic_lr=0.1, method="wgan-gp")
    assert found.status == "flat"
    assert "gradient norms reach only 0.0001" in found.verdict
    assert "Lower critic_lr (it was 0.1)" in found.verdict
    found = judged(linear(1e-4), "wgan", weight_clip=0.01)
    assert found.status == "flat"
    assert "Raise weight_clip (it is 0.01)" in found.verdict


def test_broken_weights() -> None:
    critic = linear(1)
    with torch.no_grad():
        critic.weight[0, 1] = math.inf
    found = judged(critic)
    assert found.status == "broken"
    assert "1 of 3 weights are NaN or infinite, first in weight" in found.verdict


def test_broken_gradients() -> None:
    data = DATA.clone()
    data[0] = 0
    found = judged(lambda x: x.square().sum(1).sqrt(), data=data)
    assert found.status == "broken"
    assert "the gradient is NaN or infinite at 1 of 300 points" in found.verdict
    assert "sqrt" in found.verdict


def test_dead_units() -> None:
    critic = nn.Sequential(nn.Linear(2, 10), nn.ReLU(), nn.Linear(10, 1))
    with torch.no_grad():
        critic[0].bias[:7] = -1e3
    found = judged(critic, "wgan-gp", critic_lr=0.25)
    assert "Layer 1 (ReLU) has 7 of 10 units positive at no sample" in found.verdict
    assert "lower critic_lr (it was 0.25)" in found.verdict
    with torch.no_grad():
        critic[0].bias[4:7] = 1
    assert "positive at no sample" not in judged(critic).verdict
