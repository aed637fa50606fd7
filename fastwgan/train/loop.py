"""Training a Wasserstein GAN with the kernels: a critic step and a generator step, nothing hidden.

This is the example of how the library is used. Files, progress and signals are in `run.py`.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import get_ema_multi_avg_fn

import fastwgan
from fastwgan.train.config import TrainConfig
from fastwgan.train.data import Batches, Data
from fastwgan.train.metrics import Meter
from fastwgan.train.models import build_critic, build_generator


class Trainer:
    """The state of one run and the steps that change it.

    Building one seeds torch's global generator with `config.seed`.

    Args:
        config: What to train, and how.
        data: What to imitate.

    Attributes:
        generator: Noise [batch, latent_size] to samples.
        average: The generator whose weights are the moving average of `generator`'s.
        critic: Samples to scores [batch, 1].
        step: Generator steps done.
        meter: The numbers of the steps since they were last read.
    """

    def __init__(self, config: TrainConfig, data: Data) -> None:
        self.config = config
        self.device = torch.device(config.device)
        torch.manual_seed(config.seed)
        order_seed, noise_seed = torch.randint(1 << 31, (2,)).tolist()  # streams of their own
        self.generator = build_generator(config, data.shape).to(self.device)
        self.critic = build_critic(config, data.shape).to(self.device)
        if config.method == "sn-gan":
            fastwgan.spectral_norm(self.critic)
        self.average = copy.deepcopy(self.generator).requires_grad_(False)
        self._averaged = _floats(self.average), _floats(self.generator)
        self.critic_optimizer = _optimizer(
            config, self.critic, config.critic_lr, weight_clip=config.weight_clip
        )
        self.generator_optimizer = _optimizer(config, self.generator, config.generator_lr)
        self._batches = Batches(data.values.to(self.device), config.batch_size, order_seed)
        self._noise = torch.Generator(self.device).manual_seed(noise_seed)
        self._last_real = data.values[:0]
        self.meter = Meter()
        self.step = 0

    def train_step(self) -> None:
        """One generator step after the critic steps it needs."""
        for _ in range(self.config.critic_steps):
            measured = self.critic_step()
        measured["generator_loss"] = self.generator_step()
        self._update_average()
        self.meter.add(measured)
        self.step += 1

    def critic_step(self) -> dict[str, Tensor]:
        """Brings the critic closer to one batch's Wasserstein distance; returns its scalars."""
        real = self._last_real = self._batches.next()
        with torch.no_grad():
            fake = self.generator(self._latent())
        done = fastwgan.critic_loss(
            self.critic,
            real,
            fake,
            penalty=None if self.config.penalty_weight is None else "wgan-gp",
            weight=self.config.penalty_weight or 0.0,
            loss=self.config.loss,
            generator=self._noise,
        )
        self.critic_optimizer.zero_grad()
        done.total.backward()
        self.critic_optimizer.step()
        measured = {"wasserstein": done.wasserstein, "critic_loss": done.total.detach()}
        if self.config.penalty_weight is not None:
            measured["penalty"] = done.penalty
        return measured

    def generator_step(self) -> Tensor:
        """Moves the generator where the critic scores higher; returns its loss."""
        loss: Tensor = -self.critic(self.generator(self._latent())).mean()
        self.generator_optimizer.zero_grad()
        # With `inputs`, no gradient of the critic's weights is computed, nor left in their .grad.
        loss.backward(inputs=list(self.generator.parameters()))
        self.generator_optimizer.step()
        return loss

    def gradient_norm(self) -> Tensor:
        """Mean norm of the critic's gradient at a batch of real samples; changes nothing.

        A 1-Lipschitz critic has at most 1; the penalty of wgan-gp aims at 1.
        """
        self.critic.eval()  # spectral norm then leaves its vectors as they are
        real = self._last_real.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(self.critic(real).sum(), real)
        self.critic.train()
        norms: Tensor = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
        return norms.mean()

    def _latent(self) -> Tensor:
        size = (self.config.batch_size, self.config.latent_size)
        return torch.randn(size, generator=self._noise, device=self.device)

    def _update_average(self) -> None:
        # Young averages forget faster, so that a short run isn't drawn with its first weights.
        decay = min(self.config.ema_decay, (1 + self.step) / (10 + self.step))
        update = get_ema_multi_avg_fn(decay)
        update(*self._averaged, self.step)

    def sample(self, noise: Tensor) -> Tensor:
        """The averaged generator's samples, [len(noise), *shape], without a graph.

        Args:
            noise: [samples, latent_size], standard normal, on any device.
        """
        self.average.eval()
        with torch.no_grad():
            samples: Tensor = self.average(noise.to(self.device))
        return samples

    def score(self, samples: Tensor) -> Tensor:
        """The critic's scores of samples on any device, [len(samples), 1], without a graph."""
        self.critic.eval()
        with torch.no_grad():
            scores: Tensor = self.critic(samples.to(self.device))
        self.critic.train()
        return scores

    def state_dict(self) -> dict[str, Any]:
        """All that decides the steps to come, in tensors, numbers, strings, lists and dicts."""
        modules = {name: getattr(self, name).state_dict() for name in _PARTS}
        return modules | {
            "step": self.step,
            "batches": self._batches.state_dict(),
            "meter": self.meter.state_dict(),
            "random": self._random_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on, bit for bit, where the trainer that gave `state` was.

        Args:
            state: From a trainer of equal configuration; global random generators are set too.
        """
        for name in _PARTS:
            getattr(self, name).load_state_dict(state[name])
        self.step = state["step"]
        self._batches.load_state_dict(state["batches"])
        self.meter.load_state_dict(state["meter"], self.device)
        self._noise.set_state(state["random"]["noise"])
        torch.set_rng_state(state["random"]["global"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(state["random"]["cuda"], self.device)

    def _random_state(self) -> dict[str, Tensor]:
        state = {"noise": self._noise.get_state(), "global": torch.get_rng_state()}
        if self.device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(self.device)
        return state


_PARTS = ("generator", "average", "critic", "critic_optimizer", "generator_optimizer")


def _floats(module: nn.Module) -> list[Tensor]:
    """Parameters, and the running statistics that belong to them."""
    return [t for t in module.state_dict().values() if t.is_floating_point()]


def _optimizer(
    config: TrainConfig,
    module: nn.Module,
    learning_rate: float,
    weight_clip: float | None = None,
) -> Optimizer:
    """Each method's own: Adam where it has Adam's decays, else RMSprop that clips as it steps."""
    if config.beta1 is not None and config.beta2 is not None:
        betas = (config.beta1, config.beta2)
        return torch.optim.Adam(module.parameters(), learning_rate, betas, fused=True)
    return fastwgan.optim.RMSprop(module.parameters(), learning_rate, weight_clip=weight_clip)
