from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from fastwgan.train import Data, Trainer
from fastwgan.train.models.labels import ConditionalBatchNorm
from tests.train.model_cases import CLASSES, LABELLED, WIDTH, Case
from tests.train.settings import small


@pytest.mark.parametrize("case", LABELLED, ids=str)
def test_samples_depend_on_their_label(case: Case) -> None:
    generator, noise = case.generator().eval(), torch.randn(2, 4)
    with torch.no_grad():  # conditional scales and shifts are all alike at first
        for name, parameter in generator.named_parameters():
            if "scale" in name or "shift" in name:
                parameter.normal_()
    first, second = (generator(noise, torch.tensor(labels)) for labels in ([0, 1], [0, 2]))
    torch.testing.assert_close(first[0], second[0])
    assert not torch.allclose(first[1], second[1])


@pytest.mark.parametrize("case", LABELLED, ids=str)
def test_labels_scores_differ_by_the_projection(case: Case) -> None:
    critic, samples = case.critic(), torch.randn(3, *case.shape)
    first, second = (critic(samples, torch.full((3,), label)) for label in (0, 2))
    embedding = critic.get_submodule("embedding").weight
    features = critic.get_submodule("features")(samples)
    torch.testing.assert_close(second - first, features @ (embedding[2] - embedding[0])[:, None])
    assert not torch.allclose(first, second)


@pytest.mark.parametrize(
    ("method", "precision"), [("wgan", "float32"), ("wgan-gp", "bf16"), ("sn+gp", "float32")]
)
@pytest.mark.parametrize("model", ["mlp", "dcgan", "resnet"])
def test_a_trainer_trains_them_on_labels(model: str, method: str, precision: str) -> None:
    values, labels = torch.randn(24, 1, 16, 16).clamp(-1, 1), torch.arange(24) % CLASSES
    data = Data("noise", values, labels=labels, classes=("a", "b", "c"))
    config = small(method, model=model, conditional=True, precision=precision, width=WIDTH)
    trainer = Trainer(config, data)
    before = {n: p.clone() for n, p in trainer.generator.named_parameters()}
    for _ in range(2):
        trainer.train_step()
    assert all(torch.isfinite(p).all() for p in trainer.critic.parameters())
    moved = {n for n, p in trainer.generator.named_parameters() if not torch.equal(p, before[n])}
    assert any("scale" in name for name in moved)
    assert trainer.sample(torch.zeros(2, 4), torch.tensor([0, 2])).shape == (2, 1, 16, 16)


@pytest.mark.parametrize("norm", [nn.BatchNorm1d, nn.BatchNorm2d])
def test_the_label_of_a_row_scales_and_shifts_that_row(norm: Any) -> None:
    layer = ConditionalBatchNorm(norm, CLASSES, 5)
    values, labels = torch.randn(6, 5, *[4] * (norm is nn.BatchNorm2d) * 2), torch.arange(6) % 3
    torch.testing.assert_close(layer(values, labels), norm(5)(values))
    with torch.no_grad():
        layer.scale.weight.normal_()
        layer.shift.weight.normal_()
        actual, plain = layer(values, labels), layer.norm(values)
    for row, label in enumerate(labels):
        scale, shift = (
            t.weight[label].view(plain[0].shape[0], *[1] * (plain.dim() - 2))
            for t in (layer.scale, layer.shift)
        )
        torch.testing.assert_close(actual[row], plain[row] * scale + shift)
