"""The networks of a run, and looking at them without a change to what training will do."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

import fastwgan
from fastwgan.train.config import ConfigError, TrainConfig
from fastwgan.train.data import Data
from fastwgan.train.drawing import draw, judged_shape, packed
from fastwgan.train.models import build_critic, build_generator
from fastwgan.train.processes import ALONE, Processes
from fastwgan.train.synced_batch_norm import refuse_unsynced, synced


class Networks:
    """A generator, its moving average and a critic.

    Building them seeds torch's global generator with `config.seed`.

    Args:
        config: What to train, and how.
        data: What to imitate.
        processes: Who trains them.

    Attributes:
        config: As given.
        processes: As given.
        spec: What a checkpoint says of the data.
        device: Where the networks are.
        generator: Noise [batch, latent_size], and labels [batch] where the run is conditional, to
            samples [batch, *shape].
        average: The generator whose weights are the moving average of `generator`'s.
        critic: What `fastwgan.train.drawing.packed` gives of samples, and labels likewise, to
            scores [batch / pack, 1].
        label_counts: How often each class occurs in the data; empty where the run is not
            conditional.
        last_batch: This process's real samples of the last critic step, and their labels.
        order_seed: Of the order of the data.
        noise_seed: Of all that is drawn in steps.
    """

    def __init__(self, config: TrainConfig, data: Data, processes: Processes = ALONE) -> None:
        self.config, self.spec, self.processes = config, data.spec(), processes
        processes.check(config, self.spec.fingerprint)
        self.device = processes.device(config.device)
        torch.manual_seed(config.seed)
        self.order_seed, self.noise_seed = torch.randint(1 << 31, (2,)).tolist()
        labels = self.labels_of(data)
        classes = 0 if labels is None else len(data.classes)
        self.label_counts = [] if labels is None else labels.bincount(minlength=classes).tolist()
        generator = build_generator(config, data.shape, classes).to(self.device)
        self.generator = synced(generator, processes)
        shape = judged_shape(config, data.shape)
        self.critic = build_critic(config, shape, classes).to(self.device)
        refuse_unsynced(self.critic, processes)
        if "sn" in config.parts:
            fastwgan.spectral_norm(self.critic)
        self.average = copy.deepcopy(self.generator).requires_grad_(False)
        self.last_batch = data.values[:0].to(self.device), None if labels is None else labels[:0]

    def labels_of(self, data: Data) -> Tensor | None:
        """The labels of the data on this device; None where the run is not conditional.

        Raises:
            ConfigError: it is, and the data has none.
        """
        if not self.config.conditional:
            return None
        if data.labels is None:
            raise ConfigError("conditional", f"was True, but {data.name} has no labels.")
        return data.labels.to(self.device)

    def gradient_norm(self) -> Tensor:
        """Mean norm of the critic's gradient at `last_batch`'s samples; changes nothing.

        A 1-Lipschitz critic has at most 1; the penalty of wgan-gp aims at 1.
        """
        self.critic.eval()  # spectral norm then leaves its vectors as they are
        real = packed(self.last_batch[0], self.config.pack).detach().requires_grad_()
        labels = self.last_batch[1]
        arguments = () if labels is None else (labels,)
        (gradient,) = torch.autograd.grad(self.critic(real, *arguments).sum(), real)
        self.critic.train()
        norms: Tensor = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
        return norms.mean()

    def sample(self, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        """The averaged generator's samples, [len(noise), *shape], without a graph.

        Args:
            noise: [samples, latent_size], standard normal, on any device.
            labels: int64 [samples], on any device, where the run is conditional.
        """
        return _without_graph(self.average, noise, labels, self.device)

    def score(self, samples: Tensor, labels: Tensor | None = None) -> Tensor:
        """The critic's scores of samples on any device, [samples / pack, 1], without a graph."""
        judged = packed(samples, self.config.pack)
        scores = _without_graph(self.critic, judged, labels, self.device)
        self.critic.train()
        return scores

    def draw(self, count: int, seed: int = 0) -> tuple[Tensor, Tensor | None]:
        """The averaged generator's samples of a seed; see `fastwgan.train.drawing.draw`."""
        size, counts = self.config.latent_size, self.label_counts
        generator = self.average.eval()
        return draw(generator, size, count, seed, device=self.device, label_counts=counts)


def _without_graph(
    module: nn.Module, rows: Tensor, labels: Tensor | None, device: torch.device
) -> Tensor:
    module.eval()
    arguments = () if labels is None else (labels.to(device),)
    with torch.no_grad():
        result: Tensor = module(rows.to(device), *arguments)
    return result
