"""Spaces in which generated samples are compared with real ones by their features."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from fastwgan.train.data import Data
from fastwgan.train.extras import require

FEATURES = 64
"""Length of the classifier's feature vectors."""

INCEPTION_WEIGHTS = "weights-inception-2015-12-05-6726825d.pth"
"""The file that torch-fidelity keeps in torch's folder of checkpoints."""

_MOST_VALUES = 512  # of a sample that is compared as it is; more are projected
_PROJECTED = 256
_ROWS = 256  # at a time
_EPOCHS = 8
_LEAST_STEPS = 400
_BATCH_SIZE = 64
_RATE = 1e-3
_SMOOTHING = 0.1


@dataclass(frozen=True)
class Space:
    """Where samples are compared.

    Attributes:
        name: What a reader needs to judge the numbers by, "classifier of 10 classes".
        embed: Samples [n, *shape] on the CPU to feature vectors, float64 [n, features].
        accuracy: The classifier's share of held-out samples classed right; None without one.
    """

    name: str
    embed: Callable[[Tensor], Tensor]
    accuracy: float | None = None


def spaces(data: Data, seed: int = 0) -> dict[str, Space]:
    """The spaces that this data can be compared in, without a download.

    `classifier` where there are labels, else `values` (or `projection`, if there are many); and
    `inception` for images where torch-fidelity is installed and its weights lie in torch's folder
    of checkpoints.

    Args:
        data: Real samples.
        seed: Of the classifier's training, or of the projection.
    """
    found = {}
    if data.labels is not None and len(data.classes) > 1:
        found["classifier"] = classifier(data, seed)
    elif math.prod(data.shape) <= _MOST_VALUES:
        found["values"] = Space("the values as they are", lambda rows: rows.double().flatten(1))
    else:
        found["projection"] = projection(data.shape, seed)
    if data.is_image and (weights := inception_weights()) is not None:
        found["inception"] = inception(weights)
    return found


def projection(shape: torch.Size, seed: int = 0) -> Space:
    """Fixed random directions, which keep distances on average (Johnson and Lindenstrauss 1984)."""
    size = math.prod(shape)
    stream = torch.Generator().manual_seed(seed)
    matrix = torch.randn(size, _PROJECTED, generator=stream, dtype=torch.float64)
    matrix /= math.sqrt(_PROJECTED)
    name = f"{_PROJECTED} random projections of {size} values"
    return Space(name, lambda rows: rows.double().flatten(1) @ matrix)


def classifier(data: Data, seed: int = 0) -> Space:
    """The last hidden layer of a small network trained to tell the data's classes apart.

    Takes seconds. The same data, seed and number of threads give the same space; torch's global
    random generator is left as it was.

    Args:
        data: With labels. The held-out samples are not trained on.
        seed: Of the weights and the order.
    """
    assert data.labels is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        body, head = _body(data.shape), nn.Linear(FEATURES, len(data.classes))
        _train(nn.Sequential(body, head), data.values.cpu(), data.labels.cpu())
    accuracy = None
    if data.held_out is not None and data.held_out_labels is not None:
        guessed = _in_batches(nn.Sequential(body, head), data.held_out).argmax(dim=1)
        accuracy = float((guessed == data.held_out_labels.cpu()).double().mean())
    name = f"classifier of {len(data.classes)} classes"
    return Space(name, lambda rows: _in_batches(body, rows).double(), accuracy)


def inception_weights() -> Path | None:
    """The weights of torch-fidelity's Inception, if a download of earlier left them here."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION_WEIGHTS
    return path if path.is_file() and find_spec("torch_fidelity") else None


def inception(weights: Path) -> Space:
    """Inception's pool of 2,048 features: the space of the FID that papers report.

    It reads images of 299x299 pixels; smaller ones are enlarged, grey ones get three equal
    channels, and what it sees in them means little.
    """
    module = require(
        "torch_fidelity.feature_extractor_inceptionv3", "comparing images by Inception's features"
    )
    network = module.FeatureExtractorInceptionV3(
        "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(weights)
    )

    def embed(images: Tensor) -> Tensor:
        parts = [network(_bytes(part))[0] for part in images.cpu().split(_ROWS)]
        return torch.cat(parts).double()

    return Space("Inception, pool of 2,048 features", embed)


def _bytes(images: Tensor) -> Tensor:
    """uint8 [n, 3, height, width] of images in [-1, 1] with 1 or 3 channels."""
    scaled = ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return scaled.expand(-1, 3, -1, -1)


def _body(shape: torch.Size) -> nn.Sequential:
    """From a sample to its features: convolutions that halve an image, or two dense layers."""
    if len(shape) != 3:
        size = math.prod(shape)
        return nn.Sequential(
            nn.Flatten(), nn.Linear(size, 128), nn.ReLU(), nn.Linear(128, FEATURES), nn.ReLU()
        )
    (channels, height, across), width = shape, 16
    layers: list[nn.Module] = []
    while max(height, across) > 4 or not layers:
        layers += [nn.Conv2d(channels, width, 3, stride=2, padding=1), nn.ReLU()]
        channels, height, across = width, (height + 1) // 2, (across + 1) // 2
        width = min(2 * width, FEATURES)
    size = channels * height * across
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(size, FEATURES), nn.ReLU())


def _train(network: nn.Module, values: Tensor, labels: Tensor) -> None:
    optimizer = torch.optim.Adam(network.parameters(), _RATE)
    steps = max(_EPOCHS * len(values) // _BATCH_SIZE, _LEAST_STEPS)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = _RATE * (1 - step / steps)
        rows = torch.randint(len(values), (_BATCH_SIZE,))
        loss = functional.cross_entropy(
            network(values[rows]), labels[rows], label_smoothing=_SMOOTHING
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def _in_batches(network: nn.Module, rows: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat([network(part) for part in rows.cpu().split(_ROWS)])
