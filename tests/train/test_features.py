from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fastwgan.train import Data, features


def stripes(count: int, side: int = 12, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Images whose class is the half that is bright, and their labels."""
    stream = torch.Generator().manual_seed(seed)
    labels = torch.randint(2, (count,), generator=stream)
    images = 0.3 * torch.randn(count, 3, side, side, generator=stream)
    for image, label in zip(images, labels, strict=True):
        image[:, : side // 2 if label else side] += 0.5
        image[:, side // 2 :] -= 0.5
    return images.clamp(-1, 1), labels


@pytest.fixture(autouse=True)
def _fewer_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "_LEAST_STEPS", 100)


@pytest.fixture
def labelled() -> Data:
    (values, labels), (held_out, others) = stripes(200), stripes(100, seed=1)
    return Data(
        "stripes", values, held_out, labels=labels, held_out_labels=others, classes=("a", "b")
    )


def test_a_classifier_tells_classes_apart_and_its_features_do(labelled: Data) -> None:
    space = features.classifier(labelled)
    assert space.name == "classifier of 2 classes"
    assert space.accuracy is not None
    assert space.accuracy > 0.9
    assert labelled.held_out is not None
    found = space.embed(labelled.held_out)
    assert found.shape == (100, features.FEATURES)
    assert found.dtype == torch.float64
    assert not found.requires_grad
    assert labelled.held_out_labels is not None
    means = [found[labelled.held_out_labels == label].mean(dim=0) for label in (0, 1)]
    within = [found[labelled.held_out_labels == label].std(dim=0).norm() for label in (0, 1)]
    assert (means[0] - means[1]).norm() > max(within)


def test_a_classifier_is_decided_by_its_seed(labelled: Data) -> None:
    stream = torch.get_rng_state()
    one, same, other = (features.classifier(labelled, seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), stream)
    rows = labelled.values[:5]
    assert torch.equal(one.embed(rows), same.embed(rows))
    assert not torch.equal(one.embed(rows), other.embed(rows))


def test_points_are_classed_too() -> None:
    stream = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (300,), generator=stream)
    values = torch.randn(300, 2, generator=stream) + 4 * labels.unsqueeze(1)
    data = Data(
        "rows", values[:200], values[200:], labels[:200], labels[200:], classes=("a", "b", "c")
    )
    space = features.classifier(data)
    assert space.accuracy is not None
    assert space.accuracy > 0.9


def test_the_space_says_what_it_is(labelled: Data) -> None:
    assert list(features.spaces(labelled)) == ["classifier"]
    bare = Data("stripes", labelled.values)
    assert {key: each.name for key, each in features.spaces(bare).items()} == {
        "values": "the values as they are"
    }
    assert torch.equal(
        features.spaces(bare)["values"].embed(bare.values), bare.values.double().flatten(1)
    )
    one_class = Data("stripes", labelled.values, labels=labelled.labels, classes=("a",))
    assert list(features.spaces(one_class)) == ["values"]
    assert list(features.spaces(Data("images", torch.zeros(8, 1, 28, 28)))) == ["projection"]


def test_a_projection_keeps_distances() -> None:
    images, _ = stripes(20, side=32)
    space = features.projection(images.shape[1:])
    assert space.name == "256 random projections of 3072 values"
    found = space.embed(images)
    assert found.shape == (20, 256)
    before, after = (torch.pdist(rows) for rows in (images.double().flatten(1), found))
    assert (after / before).mean() == pytest.approx(1.0, abs=0.05)
    assert torch.equal(found, features.projection(images.shape[1:]).embed(images))


class Inception:
    """Stands in for torch-fidelity's: three features, the mean of each channel."""

    def __init__(
        self, name: str, features_list: list[str], feature_extractor_weights_path: str
    ) -> None:
        assert (name, features_list) == ("inception-v3-compat", ["2048"])
        assert Path(feature_extractor_weights_path).read_bytes() == b"weights"

    def __call__(self, images: Tensor) -> tuple[Tensor]:
        assert images.dtype == torch.uint8
        assert images.shape[1] == 3
        return (images.float().mean(dim=(2, 3)),)


@pytest.fixture
def inception(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """torch-fidelity as if it were installed, and where its weights would lie."""
    for name in ("torch_fidelity", "torch_fidelity.feature_extractor_inceptionv3"):
        module = types.ModuleType(name)
        module.__spec__ = types.SimpleNamespace()  # type: ignore[assignment]
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(module, "FeatureExtractorInceptionV3", Inception, raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    return tmp_path / "checkpoints" / features.INCEPTION_WEIGHTS


def test_inception_is_used_where_its_weights_are_at_hand(inception: Path) -> None:
    images = Data("grey", torch.linspace(-1, 1, 5).view(5, 1, 1, 1).expand(5, 1, 4, 4))
    assert list(features.spaces(images)) == ["values"]  # installed, but without weights
    inception.parent.mkdir()
    inception.write_bytes(b"weights")
    found = features.spaces(images)
    assert list(found) == ["values", "inception"]
    assert list(features.spaces(Data("points", torch.zeros(4, 2)))) == ["values"]
    embedded = found["inception"].embed(images.values)
    grey = torch.tensor([0.0, 64.0, 128.0, 191.0, 255.0]).double()
    torch.testing.assert_close(embedded, grey.unsqueeze(1).expand(5, 3))


def test_weights_without_the_package_are_left_alone(
    inception: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inception.parent.mkdir()
    inception.write_bytes(b"weights")
    assert features.inception_weights() == inception
    monkeypatch.delitem(sys.modules, "torch_fidelity")
    assert features.inception_weights() is None
