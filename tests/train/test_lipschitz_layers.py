from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations as torch_parametrizations

import fastwgan
from fastwgan import parametrizations
from tests.train.lipschitz_cases import dense, norm, normal, read


def convolutional() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 3, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(3, 4, 3, padding=1),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(36, 1),
    ).double()


def each(normalise: Callable[[nn.Module], nn.Module]) -> Callable[[nn.Sequential], nn.Module]:
    def apply(critic: nn.Sequential) -> nn.Module:
        for layer in (critic[0], critic[2], critic[5]):
            normalise(layer)
        return critic

    return apply


FORMS: dict[str, Callable[[nn.Sequential], nn.Module]] = {
    "torch's hook": each(nn.utils.spectral_norm),
    "torch's parametrization": each(torch_parametrizations.spectral_norm),
    "our hook": each(fastwgan.spectral_norm),
    "our group": fastwgan.spectral_norm,
    "our parametrization": each(parametrizations.spectral_norm),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_weight_under_spectral_norm_is_the_divided_one(form: str) -> None:
    torch.manual_seed(0)
    plain = convolutional()
    critic = FORMS[form](plain)
    samples = normal(4, 1, 6, 6)
    for _ in range(100):
        critic(samples)
    layers, bound = read(critic.eval(), samples)
    assert [layer.name for layer in layers] == ["0", "2", "5"]
    assert [layer.kind for layer in layers] == ["Conv2d", "Conv2d", "Linear"]
    assert all(layer.normalised for layer in layers)
    assert [layer.sigma for layer in layers] == pytest.approx([1, 1, 1], rel=1e-9)
    assert [layer.sigma_power for layer in layers] == pytest.approx([1, 1, 1], rel=1e-9)
    shapes = [(1, 6, 6), (3, 3, 3), (36,)]
    norms = [norm(dense(critic[i], shape)) for i, shape in zip((0, 2, 5), shapes, strict=True)]
    assert norms[0] > 1.1 < norms[1]
    assert [layer.norm for layer in layers] == pytest.approx(norms, rel=1e-9)
    assert bound.product == pytest.approx(math.prod(norms), rel=1e-9)
    assert bound.value == pytest.approx(math.prod(norms), rel=1e-9)
    assert f"{norms[0]:.2f} times its reshaped σ" in layers[0].note
    assert layers[2].note == ""


def test_a_stale_spectral_norm_shows_in_sigma() -> None:
    torch.manual_seed(0)
    layer = fastwgan.spectral_norm(nn.Linear(6, 4).double())
    with torch.no_grad():
        layer.weight_orig.copy_(normal(4, 6, seed=3))
    ((found,), _) = read(nn.Sequential(layer, nn.ReLU()).eval(), normal(3, 6))
    divisor = layer.weight_u @ layer.weight_orig.detach() @ layer.weight_v
    expected = norm(layer.weight_orig) / float(divisor)
    assert expected > 1.05
    assert found.sigma == pytest.approx(expected, rel=1e-9)


def test_layers_without_spectral_norm_are_said_to_have_none() -> None:
    critic = convolutional()
    fastwgan.spectral_norm(critic[2])
    torch_parametrizations.weight_norm(critic[0])
    layers, _ = read(critic.eval(), normal(3, 1, 6, 6))
    assert [layer.normalised for layer in layers] == [False, True, False]
    assert layers[0].sigma == pytest.approx(norm(critic[0].weight.flatten(1)), rel=1e-9)


class Residual(nn.Module):
    """A block with a shortcut, between two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.inner, self.last = nn.Linear(3, 5), nn.Linear(5, 5), nn.Linear(5, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        return self.last(h + self.inner(functional.relu(h)))


def test_a_shortcut_adds_its_branches() -> None:
    critic = Residual().double()
    first, inner, last = (norm(layer.weight) for layer in critic.children())
    layers, bound = read(critic, normal(4, 3))
    assert [layer.name for layer in layers] == ["first", "inner", "last"]
    assert bound.product == pytest.approx(first * inner * last, rel=1e-12)
    assert bound.value == pytest.approx(first * (1 + inner) * last, rel=1e-12)
    assert "branches" in bound.note


def test_an_activation_in_place_changes_the_shortcut_too() -> None:
    critic = Residual().double()
    critic.forward = lambda x: critic.last(  # type: ignore[method-assign]
        (h := functional.selu_(critic.first(x))) + critic.inner(h)
    )
    first, inner, last = (norm(layer.weight) for layer in critic.children())
    slope = 1.0507009873554805 * 1.6732632423543772
    bound = read(critic, normal(4, 3))[1]
    assert bound.value == pytest.approx(first * slope * (1 + inner) * last, rel=1e-12)


def test_a_chain_is_called_a_product() -> None:
    critic = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1)).double()
    bound = read(critic, normal(4, 3))[1]
    assert bound.value == bound.product
    assert "product" in bound.note
    assert "branches" not in bound.note


def test_scores_of_patches_are_summed() -> None:
    critic = nn.Sequential(nn.Conv2d(2, 1, 2)).double()
    bound = read(critic, normal(3, 2, 3, 3))[1]
    matrix = dense(critic, (2, 3, 3))
    assert bound.value == pytest.approx(norm(matrix) * 2, rel=1e-10)
    gradient = matrix.sum(0).norm()
    assert gradient <= bound.value


class Projection(nn.Module):
    """A critic of labels, as Miyato and Koyama 2018 have it."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head, self.labels = nn.Linear(3, 4), nn.Linear(4, 1), nn.Embedding(5, 4)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        features = functional.relu(self.body(x))
        return self.head(features) + (self.labels(labels) * features).sum(1, keepdim=True)


def test_labels_enter_by_the_longest_row_met() -> None:
    critic = Projection().double()
    body, head = norm(critic.body.weight), norm(critic.head.weight)
    layers, bound = read(critic, normal(3, 3), torch.tensor([0, 3, 1]))
    rows = critic.labels.weight[[0, 3, 1]].norm(dim=1)
    assert bound.value == pytest.approx(body * (head + float(rows.detach().max())), rel=1e-10)
    embedding = next(layer for layer in layers if layer.kind == "Embedding")
    assert embedding.sigma == pytest.approx(norm(critic.labels.weight), rel=1e-10)
    assert embedding.sigma_power == pytest.approx(embedding.sigma, rel=1e-10)
    assert embedding.norm is None
    assert "labels" in embedding.note
    product = body * head * float(rows.detach().max())
    assert bound.product == pytest.approx(product, rel=1e-10)
    fastwgan.spectral_norm(critic.labels)
    normalised = read(critic.eval(), normal(3, 3), torch.tensor([0, 3, 1]))[0]
    assert [layer.kind for layer in normalised if layer.normalised] == ["Embedding"]


def test_a_bilinear_layer_of_two_activations_has_a_matrix_and_no_norm() -> None:
    layer = nn.Bilinear(3, 3, 2).double()
    ((found, *_), bound) = read(lambda x: layer(x, x), normal(3, 3))
    assert found.sigma == pytest.approx(norm(layer.weight.flatten(1)), rel=1e-10)
    assert (found.norm, bound.product, bound.value) == (None, None, None)


def test_functions_with_weights_are_layers_too() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Parameter(normal(3, 4))
            self.kernel = nn.Parameter(normal(1, 1, 2))

        def forward(self, x: Tensor) -> Tensor:
            return functional.conv1d((x @ self.mix)[:, None], self.kernel).flatten(1)

    critic = Own()
    layers, _ = read(critic, normal(3, 3))
    assert [(layer.name, layer.kind) for layer in layers] == [
        ("mix", "matmul"),
        ("kernel", "conv1d"),
    ]
    assert layers[0].norm == pytest.approx(norm(critic.mix), rel=1e-10)
    expected = norm(dense(lambda x: functional.conv1d(x, critic.kernel), (1, 4)))
    assert layers[1].norm == pytest.approx(expected, rel=1e-10)
    assert layers[1].sigma == pytest.approx(float(critic.kernel.detach().norm()), rel=1e-10)


def test_only_what_has_the_weight_is_said_to_be_normalised() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(normal(4, 3))

        def forward(self, x: Tensor) -> Tensor:
            return functional.linear(x, self.weight).sum(1, keepdim=True)

    critic = nn.utils.spectral_norm(Own()).eval()
    layers, _ = read(critic, normal(3, 3))
    assert [(each.kind, each.normalised) for each in layers] == [("linear", True), ("sum", False)]


def test_a_layer_met_twice_is_two_layers() -> None:
    layer = nn.Conv1d(1, 1, 3, padding=1).double()
    critic = nn.Sequential(layer, nn.ReLU(), nn.MaxPool1d(2), layer).double()
    layers, bound = read(critic, normal(3, 1, 8))
    norms = [norm(dense(layer, (1, size))) for size in (8, 4)]
    assert norms[0] > norms[1]
    assert [found.norm for found in layers] == pytest.approx(norms, rel=1e-10)
    assert bound.value == pytest.approx(norms[0] * norms[1] * 2, rel=1e-10)


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: object, g: Tensor) -> Tensor:
        return 2 * g


def test_what_torch_functions_do_not_show_leaves_no_bound() -> None:
    layer = nn.Linear(3, 1).double()
    for critic in (lambda x: layer(Doubled.apply(x)), lambda x: Doubled.apply(layer(x))):
        bound = read(critic, normal(3, 3))[1]
        assert bound.value is None
        assert "custom" in bound.note or "operation" in bound.note


@pytest.mark.parametrize("seed", range(6))
def test_no_slope_is_above_the_bound(seed: int) -> None:
    """Of critics with everything: convolutions, pools, shortcuts, norms, activations."""
    torch.manual_seed(seed)

    class Critic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            modes = ("zeros", "circular", "reflect", "replicate")
            self.a = nn.Conv2d(1, 4, 3, padding=1, padding_mode=modes[seed % 4])
            self.b = nn.Conv2d(4, 4, 3, padding=1, groups=2)
            self.norm = nn.BatchNorm2d(4) if seed % 2 else nn.GroupNorm(2, 4, eps=1.0)
            self.act = (nn.SiLU(), nn.GELU(), nn.PReLU(4, init=-1.5))[seed % 3]
            self.pool = (nn.MaxPool2d(3, 1), nn.AvgPool2d(3, 2, 1))[seed % 2]
            self.head = nn.Linear(4, 1)

        def forward(self, x: Tensor) -> Tensor:
            h = self.act(self.a(x))
            h = self.pool(torch.cat((h[:, :2], h[:, 2:]), 1) + self.b(self.norm(h)))
            return self.head(h.sum((2, 3)) / h[0, 0].numel() + h.amax((2, 3)))

    critic = Critic().double().eval()
    if seed % 2:
        critic.norm.running_var.uniform_(0.1, 2)
    bound = read(critic, normal(3, 1, 6, 6))[1]
    points = (3 * normal(400, 1, 6, 6, seed=seed)).requires_grad_()
    (gradients,) = torch.autograd.grad(critic(points).sum(), points)
    steepest = float(gradients.flatten(1).norm(dim=1).max())
    assert bound.value is not None
    assert 0.01 * bound.value < steepest <= bound.value
