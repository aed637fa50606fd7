from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from torch import nn

import fastwgan
from fastwgan.train import ConfigError, Data, Run, TrainConfig
from fastwgan.train.models import build_critic, build_generator
from tests.train.model_cases import CASES, CLASSES, LABELLED, Case
from tests.train.settings import assert_same_state, small


@pytest.mark.parametrize("case", CASES, ids=str)
def test_samples_and_scores_have_their_shapes(case: Case) -> None:
    labels = case.labels(4)
    samples = case.generator()(torch.randn(4, 4), *labels)
    assert samples.shape == (4, *case.shape)
    assert case.critic()(samples, *labels).shape == (4, 1)


@pytest.mark.parametrize(
    ("model", "method"),
    [("mlp", "wgan-gp"), ("dcgan", "wgan-gp"), ("resnet", "wgan-gp"), ("resnet", "sn-gan")],
)
@torch.no_grad()
def test_images_of_every_size(model: str, method: str) -> None:
    config, noise = small(method, model=model, width=1), torch.randn(2, 4)
    for side in range(8, 129, 1 if model == "mlp" else 2):
        shape = ((1, 3, 4)[side // 2 % 3], side, side)
        samples = build_generator(config, shape)(noise)
        assert samples.shape == (2, *shape)
        assert build_critic(config, shape)(samples).shape == (2, 1)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("side", [8, 34, 48])
@pytest.mark.parametrize("model", ["mlp", "dcgan", "resnet"])
@torch.no_grad()
def test_images_of_every_number_of_channels(model: str, side: int, channels: int) -> None:
    for method, classes in itertools.product(("wgan-gp", "sn-gan"), (0, CLASSES)):
        case = Case(model, method, (channels, side, side), classes)
        samples = case.generator()(torch.randn(2, 4), *case.labels(2))
        assert samples.shape == (2, *case.shape)
        assert case.critic()(samples, *case.labels(2)).shape == (2, 1)


@pytest.mark.parametrize("shape", [(1, 8, 20), (3, 36, 24), (2, 128, 16)])
@pytest.mark.parametrize("model", ["mlp", "dcgan", "resnet"])
def test_images_need_not_be_square(model: str, shape: tuple[int, ...]) -> None:
    config = small(model=model)
    samples = build_generator(config, shape)(torch.randn(2, 4))
    assert samples.shape == (2, *shape)
    assert build_critic(config, shape)(samples).shape == (2, 1)


@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 4, 5)])
def test_other_samples_go_through_dense_layers_in_any_shape(shape: tuple[int, ...]) -> None:
    samples = build_generator(small(), shape)(torch.randn(2, 4))
    assert samples.shape == (2, *shape)
    assert build_critic(small(), shape)(samples).shape == (2, 1)


def _kinds(module: nn.Module) -> set[str]:
    return {type(layer).__name__ for layer in module.modules()}


@pytest.mark.parametrize(
    ("size", "nearest"),
    [(33, "32 and 36"), (17, "16 and 20"), (34, "32 and 36"), (127, "124 and 128")],
)
def test_a_size_that_auto_cannot_convolve_is_refused(
    tmp_path: Path, size: int, nearest: str
) -> None:
    config = small(data=str(tmp_path), image_size=size)
    sentence = (
        f"image_size was {size}; it must be a multiple of 4 for convolutions: the nearest are "
        f"{nearest}; model mlp takes any."
    )
    with pytest.raises(ConfigError) as caught:
        Run.begin(config, Data("photos", torch.zeros(9, 3, size, size)), out=tmp_path / "run")
    assert str(caught.value) == sentence
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("size", "model"), [(33, "mlp"), (34, "dcgan"), (15, "auto"), (36, "auto")]
)
def test_a_size_that_suits_is_taken(tmp_path: Path, size: int, model: str) -> None:
    config = small(data=str(tmp_path), image_size=size, model=model)
    data = Data("photos", torch.zeros(9, 3, size, size))
    assert Run.begin(config, data, out=tmp_path / "run").trainer.spec.shape == (3, size, size)


@pytest.mark.parametrize(
    ("shape", "convolves"),
    [
        ((2,), False),
        ((1, 8, 8), False),
        ((3, 12, 12), False),
        ((1, 16, 16), True),
        ((1, 28, 28), True),
        ((3, 30, 30), False),
        ((3, 33, 33), False),
        ((3, 128, 128), True),
        ((5, 200), False),
    ],
)
def test_auto_goes_by_the_shape(shape: tuple[int, ...], convolves: bool) -> None:
    generator, critic = build_generator(small(), shape), build_critic(small(), shape)
    assert ("Conv2d" in _kinds(critic)) == convolves
    assert ("ConvTranspose2d" in _kinds(generator)) == convolves


def _before_models_could_be_chosen(name: str, width: int, latent: int) -> list[nn.Sequential]:
    """The networks that the tuned defaults were tuned with, drawn in that order."""
    w = width
    if name == "mnist":
        generator = nn.Sequential(
            nn.Linear(latent, 2 * w * 49),
            nn.Unflatten(1, (2 * w, 7, 7)),
            nn.BatchNorm2d(2 * w),
            nn.ReLU(),
            nn.ConvTranspose2d(2 * w, w, 4, stride=2, padding=1),
            nn.BatchNorm2d(w),
            nn.ReLU(),
            nn.ConvTranspose2d(w, 1, 4, stride=2, padding=1),
            nn.Tanh(),
        )
        critic = nn.Sequential(
            nn.Conv2d(1, w, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(w, 2 * w, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Linear(2 * w * 49, 1),
        )
        return [generator, critic]
    size, images = (64, True) if name == "digits" else (2, False)
    hidden: list[nn.Module] = []
    for inputs in (latent, w) if images else (latent, w, w):
        hidden += [nn.Linear(inputs, w), *[nn.BatchNorm1d(w)] * images, nn.ReLU()]
    ends = [nn.Tanh(), nn.Unflatten(1, (1, 8, 8))] if images else []
    generator = nn.Sequential(*hidden, nn.Linear(w, size), *ends)
    judges: list[nn.Module] = [nn.Flatten()]
    for inputs in (size, w, w):
        judges += [nn.Linear(inputs, w), nn.LeakyReLU(0.2) if images else nn.ReLU()]
    return [generator, nn.Sequential(*judges, nn.Linear(w, 1))]


@pytest.mark.parametrize(
    ("name", "shape"), [("digits", (1, 8, 8)), ("mnist", (1, 28, 28)), ("8gaussians", (2,))]
)
def test_the_networks_of_the_tuned_defaults(name: str, shape: tuple[int, ...]) -> None:
    config = TrainConfig.for_method("wgan-gp", name)
    torch.manual_seed(5)
    expected = _before_models_could_be_chosen(name, config.width, config.latent_size)
    torch.manual_seed(5)
    actual = [build_generator(config, shape), build_critic(config, shape)]
    for ours, theirs in zip(actual, expected, strict=True):
        assert type(ours) is nn.Sequential
        assert str(ours) == str(theirs)
        assert_same_state(ours.state_dict(), theirs.state_dict())


@pytest.mark.parametrize("method", ["wgan", "wgan-gp", "sn-gan", "r1+r2"])
def test_no_critic_has_batch_norm(method: str) -> None:
    for model in ("mlp", "dcgan", "resnet"):
        for side in (16, 64):
            critic = build_critic(small(method, model=model, width=1), (1, side, side), CLASSES)
            assert not any("BatchNorm" in kind for kind in _kinds(critic))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_no_critic_mixes_its_samples(case: Case) -> None:
    critic, samples = case.critic(), torch.randn(4, *case.shape, requires_grad=True)
    (gradient,) = torch.autograd.grad(critic(samples, *case.labels(4))[1].sum(), samples)
    reached = gradient.flatten(1).norm(dim=1) > 0
    assert reached.tolist() == [False, True, False, False]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_states_load_into_networks_of_equal_settings(case: Case) -> None:
    labels, samples, noise = case.labels(4), torch.randn(4, *case.shape), torch.randn(4, 4)
    for make, given in ((case.generator, noise), (case.critic, samples)):
        one, other = make().eval(), make().eval()
        assert not torch.equal(one(given, *labels), other(given, *labels))
        other.load_state_dict(one.state_dict())
        assert torch.equal(one(given, *labels), other(given, *labels))


@pytest.mark.parametrize("case", LABELLED, ids=str)
def test_spectral_norm_goes_on_every_layer_of_a_critic(case: Case) -> None:
    critic = fastwgan.spectral_norm(case.critic())
    samples, labels = torch.randn(2, *case.shape), case.labels(2)
    with torch.no_grad():
        for _ in range(60):
            critic(samples, *labels)
    layers = [m for m in critic.modules() if isinstance(m, nn.Linear | nn.Conv2d | nn.Embedding)]
    assert any(isinstance(layer, nn.Embedding) for layer in layers)
    for layer in layers:
        norm = torch.linalg.matrix_norm(layer.weight.detach().flatten(1), ord=2)
        assert float(norm) == pytest.approx(1.0, rel=0.02)


@pytest.mark.parametrize(
    ("model", "shape", "sentence"),
    [
        (
            "dcgan",
            (2,),
            "model was 'dcgan', which takes images with sides of an even number of pixels from 8 "
            "to 128; samples of 2 numbers it does not, but mlp does.",
        ),
        (
            "resnet",
            (3, 33, 32),
            "model was 'resnet', which takes images with sides of an even number of pixels from 8 "
            "to 128; samples of 3×33×32 it does not, but mlp does.",
        ),
        (
            "auto",
            (3, 130, 130),
            "model was 'auto', which goes up to 128 pixels a side; for samples of 3×130×130 set a "
            "smaller image_size, or the model to mlp.",
        ),
    ],
)
def test_samples_that_a_model_cannot_take_are_refused(
    model: str, shape: tuple[int, ...], sentence: str
) -> None:
    for build in (build_generator, build_critic):
        with pytest.raises(ConfigError) as caught:
            build(small(model=model), shape)
        assert str(caught.value) == sentence
        assert caught.value.name == "model"


@pytest.mark.parametrize("side", [4, 6, 7, 9, 127, 130])
@pytest.mark.parametrize("model", ["dcgan", "resnet"])
def test_sides_beyond_the_limits(model: str, side: int) -> None:
    for shape in ((1, side, 32), (1, 32, side)):
        with pytest.raises(ConfigError, match=f"^model was '{model}'"):
            build_critic(small(model=model), shape)
