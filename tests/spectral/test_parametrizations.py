"""The parametrization form: torch.nn.utils.parametrizations.spectral_norm, replayed."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils import spectral_norm as torch_hook_spectral_norm
from torch.nn.utils.parametrizations import spectral_norm as torch_spectral_norm

from fastwgan.parametrizations import SpectralNorm, spectral_norm
from tests.compare import assert_matches
from tests.spectral.nets import MODULES, Critic, assert_same_state, assert_same_step, inputs, pair


def _twins(make: Any, **settings: Any) -> tuple[nn.Module, nn.Module]:
    nets = []
    for normalise in (spectral_norm, torch_spectral_norm):
        torch.manual_seed(5)
        module = make()
        assert normalise(module, **settings) is module
        nets.append(module)
    assert_same_state(*nets)
    return nets[0], nets[1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("kind", MODULES)
def test_replays_torch_step_by_step(backend: str, kind: str, dtype: torch.dtype) -> None:
    make, shape = MODULES[kind]
    ours, theirs = _twins(lambda: make().to(dtype))
    optimizers = [torch.optim.SGD(net.parameters(), lr=0.05) for net in (ours, theirs)]
    for step in range(6):
        for net in (ours, theirs):
            net.train(step not in (3, 4))
        assert_same_step(ours, theirs, torch.randn(shape, dtype=dtype))
        for optimizer in optimizers:
            optimizer.step()


def test_replays_torch_on_a_whole_critic(backend: str) -> None:
    ours, theirs = pair("parametrization")
    assert_same_state(ours, theirs)
    for _ in range(3):
        assert_same_step(ours, theirs, *inputs())


@pytest.mark.parametrize(
    "settings",
    [
        {"n_power_iterations": 3},
        {"eps": 1e-3},
        {"dim": 1},
        {"dim": -1},
        {"dim": -3},
        {"n_power_iterations": 2, "dim": 3},
        {"name": "bias"},
    ],
    ids=str,
)
def test_replays_torch_with_every_argument(backend: str, settings: dict[str, Any]) -> None:
    ours, theirs = _twins(lambda: nn.Conv2d(3, 5, (2, 4)), **settings)
    for _ in range(3):
        assert_same_step(ours, theirs, torch.randn(2, 3, 6, 6))


@pytest.mark.parametrize("training", [True, False])
def test_first_use_in_eval_mode_and_registration_in_it(backend: str, training: bool) -> None:
    ours, theirs = _twins(lambda: nn.Conv2d(3, 5, 3).train(training))
    for net in (ours, theirs):
        net.eval()
    for _ in range(2):
        assert_same_step(ours, theirs, torch.randn(2, 3, 6, 6))


def test_every_access_in_training_moves_u_and_v(backend: str) -> None:
    ours, theirs = _twins(lambda: nn.Linear(7, 9))
    for _ in range(3):
        assert_matches(ours.weight, theirs.weight.double(), op="spectral_norm", order=0)
        assert_same_state(ours, theirs)
    with parametrize.cached():
        assert ours.weight is ours.weight
        assert theirs.weight is theirs.weight
    assert_same_state(ours, theirs)


def test_registers_what_torch_registers() -> None:
    ours, theirs = _twins(lambda: nn.Linear(3, 4))
    assert [name for name, _ in ours.named_parameters()] == [
        name for name, _ in theirs.named_parameters()
    ]
    assert [name for name, _ in ours.named_buffers()] == [
        "parametrizations.weight.0._u",
        "parametrizations.weight.0._v",
    ]
    assert parametrize.is_parametrized(ours, "weight")
    assert isinstance(ours.parametrizations.weight[0], SpectralNorm)


def test_a_vector_is_divided_by_its_norm(backend: str) -> None:
    ours, theirs = _twins(lambda: nn.Linear(3, 4), name="bias")
    assert not list(ours.buffers())
    torch.testing.assert_close(ours.bias.norm(), torch.ones(()))
    assert torch.equal(ours.bias, theirs.bias)


def test_assigning_sets_the_weight_before_normalisation(backend: str) -> None:
    value = torch.randn(4, 3)
    ours, theirs = _twins(lambda: nn.Linear(3, 4))
    for net in (ours, theirs):
        net.weight = value
    assert torch.equal(ours.parametrizations.weight.original, value)
    for _ in range(2):
        assert_same_step(ours, theirs, torch.randn(2, 3))


class _Doubled(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight

    def right_inverse(self, weight: Tensor) -> Tensor:
        return weight / 2


@pytest.mark.parametrize("first", [True, False])
def test_another_parametrization_stacks(backend: str, first: bool) -> None:
    nets = []
    for normalise in (spectral_norm, torch_spectral_norm):
        torch.manual_seed(5)
        net = nn.Linear(3, 4)
        steps = [
            lambda net: parametrize.register_parametrization(net, "weight", _Doubled()),
            normalise,
        ]
        for step in steps if first else reversed(steps):
            step(net)
        nets.append(net)
    for _ in range(3):
        assert_same_step(*nets, torch.randn(2, 3))
    norm = torch.linalg.matrix_norm(nets[0].weight, 2).item()
    assert norm == pytest.approx(1.0 if first else 2.0, rel=1e-2)


def test_twice_stacks_as_in_torch(backend: str) -> None:
    nets = []
    for normalise in (spectral_norm, torch_spectral_norm):
        torch.manual_seed(5)
        nets.append(normalise(normalise(nn.Linear(3, 4), n_power_iterations=2)))
    for _ in range(2):
        assert_same_step(*nets, torch.randn(2, 3))
    assert len(nets[0]._load_state_dict_pre_hooks) == 1


@pytest.mark.parametrize("leave_parametrized", [True, False])
def test_remove_parametrizations(backend: str, leave_parametrized: bool) -> None:
    ours, theirs = _twins(lambda: nn.Conv2d(3, 5, 3))
    parameter = ours.parametrizations.weight.original
    for net in (ours, theirs):
        parametrize.remove_parametrizations(net, "weight", leave_parametrized=leave_parametrized)
    assert ours.weight is parameter
    assert_same_state(ours, theirs)
    ours.load_state_dict(nn.Conv2d(3, 5, 3).state_dict())


def test_transfer_and_buffers(backend: str) -> None:
    ours, theirs = _twins(lambda: nn.Linear(3, 4))
    targets = [nn.Linear(3, 4), nn.Linear(3, 4)]
    for source, target in zip((ours, theirs), targets, strict=True):
        parametrize.transfer_parametrizations_and_params(source, target)
    assert torch.equal(
        targets[0].parametrizations.weight.original, ours.parametrizations.weight.original
    )
    nets = []
    for normalise in (spectral_norm, torch_spectral_norm):
        torch.manual_seed(3)
        module = nn.Module()
        module.register_buffer("table", torch.randn(5, 4))
        nets.append(normalise(module, "table"))
    assert_matches(nets[0].table, nets[1].table.double(), op="spectral_norm", order=0)


ERRORS: dict[str, tuple[Any, dict[str, Any]]] = {
    "no iterations": (lambda: nn.Linear(3, 4), {"n_power_iterations": 0}),
    "missing name": (lambda: nn.Linear(3, 4), {"name": "wight"}),
    "container": (lambda: nn.Sequential(nn.Linear(3, 4)), {}),
    "None": (lambda: nn.Linear(3, 4, bias=False), {"name": "bias"}),
    "dim too large": (lambda: nn.Linear(3, 4), {"dim": 2}),
    "dim too small": (lambda: nn.Linear(3, 4), {"dim": -3}),
    "after the hook form": (lambda: torch_hook_spectral_norm(nn.Linear(3, 4)), {}),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_torchs(name: str) -> None:
    make, settings = ERRORS[name]
    raised = []
    for normalise in (spectral_norm, torch_spectral_norm):
        with pytest.raises(Exception) as error:  # noqa: PT011 - compared with torch's below
            normalise(make(), **settings)
        raised.append((error.type, str(error.value)))
    assert raised[0] == raised[1]


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"n_power_iterations": 1.5}, TypeError, "n_power_iterations was a float"),
        ({"eps": -1.0}, ValueError, "eps was -1.0"),
        ({"dim": 0.0}, TypeError, "dim was a float"),
        ({"name": 3}, TypeError, "name was a int"),
    ],
    ids=str,
)
def test_bad_arguments_are_named(
    settings: dict[str, Any], error: type[Exception], said: str
) -> None:
    module = nn.Linear(3, 4)
    with pytest.raises(error, match=said):
        spectral_norm(module, **settings)
    assert isinstance(module.weight, nn.Parameter)


def test_integers_and_sparse_weights_are_refused() -> None:
    for weight in (torch.ones(3, 4, dtype=torch.int32), torch.eye(3).to_sparse()):
        module = nn.Module()
        module.register_buffer("table", weight)
        with pytest.raises(TypeError, match="it must be dense and of a floating or complex dtype"):
            spectral_norm(module, "table")
        assert "table" in module._buffers


def test_complex_weights(backend: str) -> None:
    ours, theirs = _twins(lambda: nn.Linear(7, 9, dtype=torch.complex64))
    for _ in range(3):
        x = torch.randn(5, 7, dtype=torch.complex64)
        assert_matches(ours(x), theirs(x), op="spectral_norm", order=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_is_computed_in_float32(backend: str, dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    half = spectral_norm(nn.Linear(33, 17).to(dtype))
    wide = spectral_norm(nn.Linear(33, 17))
    wide.load_state_dict(half.state_dict())
    for _ in range(3):
        weight = half.weight
        assert weight.dtype is dtype
        assert_matches(weight, wide.weight.double(), op="spectral_norm", order=0)
        assert torch.equal(half.parametrizations.weight[0]._u, wide.parametrizations.weight[0]._u)


def test_all_zero_weight_gives_zeros(backend: str) -> None:
    module = nn.Linear(3, 4)
    nn.init.zeros_(module.weight)
    spectral_norm(module)
    weight = module.weight
    weight.sum().backward()
    assert torch.count_nonzero(weight) == 0
    assert torch.count_nonzero(module.parametrizations.weight.original.grad) == 0


def test_channels_last(backend: str) -> None:
    ours, theirs = _twins(lambda: nn.Conv2d(6, 4, 3).to(memory_format=torch.channels_last))
    for _ in range(2):
        assert_same_step(ours, theirs, torch.randn(2, 6, 5, 5))
        assert ours.weight.stride() == theirs.weight.stride()


@pytest.mark.parametrize("shape", [(0, 5), (5, 0)])
@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors is a no-op")
def test_layers_without_elements(backend: str, shape: tuple[int, int]) -> None:
    module = spectral_norm(nn.Linear(shape[1], shape[0]))
    module(torch.randn(2, shape[1])).sum().backward()
    assert module.weight.shape == shape


def test_gradients_of_both_forwards(backend: str) -> None:
    ours, theirs = pair("parametrization")
    real, fake = inputs(), inputs()
    for net in (ours, theirs):
        (net(*real) - net(*fake)).square().sum().backward()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert_matches(mine.grad, other.grad.double(), op="spectral_norm", order=1)


def test_autocast_leaves_everything_in_float32(backend: str) -> None:
    ours, theirs = pair("parametrization", Critic().body)
    images, _ = inputs()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours(images).float().sum().backward()
    theirs(images)
    assert_same_state(ours, theirs)
    assert all(value.dtype is torch.float32 for value in ours.state_dict().values())


def test_deep_copies_load_the_hook_form() -> None:
    """The hook that reads the other form's checkpoints follows the copy, not the original."""
    source = torch_hook_spectral_norm(nn.Linear(3, 4))
    net = spectral_norm(nn.Linear(3, 4))
    other = copy.deepcopy(net)
    parametrize.remove_parametrizations(net, "weight")
    other.load_state_dict(source.state_dict(), strict=True)
    assert torch.equal(other.parametrizations.weight.original, source.weight_orig)
