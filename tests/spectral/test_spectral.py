"""The hook form: a literal replacement of torch.nn.utils.spectral_norm."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils import remove_spectral_norm as torch_remove_spectral_norm
from torch.nn.utils import spectral_norm as torch_spectral_norm
from torch.nn.utils.spectral_norm import SpectralNorm as TorchSpectralNorm

import fastwgan
from fastwgan import remove_spectral_norm, spectral_norm
from fastwgan.ops.spectral_norm import vector_dtype
from tests.compare import assert_gradients_match, assert_matches
from tests.spectral.nets import MODULES, Critic, assert_same_state, assert_same_step, inputs, pair


def _twins(
    make: Any, dtype: torch.dtype | None = None, **settings: Any
) -> tuple[nn.Module, nn.Module]:
    """Our form and torch's of the same module, from the same seeds."""
    nets = []
    for normalise in (spectral_norm, torch_spectral_norm):
        torch.manual_seed(5)
        module = make()
        if dtype is not None:
            module.to(dtype)
        assert normalise(module, **settings) is module
        nets.append(module)
    return nets[0], nets[1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("kind", MODULES)
def test_replays_torch_step_by_step(backend: str, kind: str, dtype: torch.dtype) -> None:
    make, shape = MODULES[kind]
    ours, theirs = _twins(make, dtype)
    after = []
    for net in (ours, theirs):
        optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
        after.append(optimizer)
    for step in range(6):
        for net in (ours, theirs):
            net.train(step not in (3, 4))
        assert_same_step(ours, theirs, torch.randn(shape, dtype=dtype))
        assert_matches(ours.weight, theirs.weight.double(), op="spectral_norm", order=0)
        for optimizer in after:
            optimizer.step()


@pytest.mark.parametrize(
    "settings",
    [
        {"n_power_iterations": 3},
        {"eps": 1e-3},
        {"dim": 1},
        {"dim": 2},
        {"name": "weight", "n_power_iterations": 2, "dim": 3},
        {"name": "bias"},
    ],
    ids=str,
)
def test_replays_torch_with_every_argument(backend: str, settings: dict[str, Any]) -> None:
    ours, theirs = _twins(lambda: nn.Conv2d(3, 5, (2, 4)), **settings)
    for _ in range(3):
        assert_same_step(ours, theirs, torch.randn(2, 3, 6, 6))


def test_arguments_may_be_positional() -> None:
    module = spectral_norm(nn.Linear(3, 4), "weight", 2, 1e-6, 1)
    assert module.weight_u.shape == (3,)
    assert fastwgan.SpectralNorm is spectral_norm


@pytest.mark.parametrize("kind", MODULES)
def test_first_use_in_eval_mode(backend: str, kind: str) -> None:
    make, shape = MODULES[kind]
    ours, theirs = _twins(make, torch.float64)
    for net in (ours, theirs):
        net.eval()
    # u and v are random still: sigma = u^T W v is a sum that cancels, hence float64.
    for _ in range(2):
        assert_same_step(ours, theirs, torch.randn(shape, dtype=torch.float64))


def test_registers_what_torch_registers() -> None:
    ours, theirs = _twins(lambda: nn.Linear(3, 4))
    assert [name for name, _ in ours.named_parameters()] == ["bias", "weight_orig"]
    assert [name for name, _ in ours.named_buffers()] == ["weight_u", "weight_v"]
    assert isinstance(ours.weight, Tensor)
    assert not isinstance(ours.weight, nn.Parameter)
    (hook,) = ours._forward_pre_hooks.values()
    assert isinstance(hook, TorchSpectralNorm)
    assert ours.state_dict()._metadata == theirs.state_dict()._metadata
    assert repr(ours) == repr(theirs)
    assert_same_state(ours, theirs)


def test_the_parameter_object_is_kept() -> None:
    module = nn.Linear(3, 4)
    weight = module.weight
    assert spectral_norm(module).weight_orig is weight


def test_two_weights_of_one_module(backend: str) -> None:
    nets = []
    for normalise in (spectral_norm, torch_spectral_norm):
        torch.manual_seed(2)
        net = nn.LSTM(3, 4)
        for name in ("weight_hh_l0", "weight_ih_l0"):
            normalise(net, name)
        nets.append(net)
    ours, theirs = nets
    for _ in range(3):
        x = torch.randn(6, 2, 3)
        assert_matches(ours(x)[0], theirs(x)[0].double(), op="spectral_norm", order=0)
    remove_spectral_norm(ours, "weight_hh_l0")
    torch_remove_spectral_norm(theirs, "weight_hh_l0")
    assert_matches(ours(x)[0], theirs(x)[0].double(), op="spectral_norm", order=0)
    ours.half()
    assert ours.weight_ih_l0_u.dtype is torch.float32


@pytest.mark.parametrize("remove", [remove_spectral_norm, torch_remove_spectral_norm])
@pytest.mark.parametrize("training", [True, False])
def test_remove(backend: str, remove: Any, training: bool) -> None:
    ours, theirs = _twins(lambda: nn.Conv2d(3, 5, 3))
    x = torch.randn(2, 3, 6, 6)
    for net in (ours, theirs):
        net(x)
        net.train(training)
    plain = set(nn.Conv2d(3, 5, 3).__dict__)
    assert remove(ours) is ours
    torch_remove_spectral_norm(theirs)
    assert_same_state(ours, theirs)
    assert isinstance(ours.weight, nn.Parameter)
    assert ours.weight.is_leaf
    assert set(ours.__dict__) == plain
    for hooks in ("_forward_pre_hooks", "_state_dict_hooks", "_load_state_dict_pre_hooks"):
        assert not getattr(ours, hooks)
    ours.load_state_dict(ours.state_dict())
    ours.half()
    assert ours.weight.dtype is torch.float16
    assert spectral_norm(ours.float())(x).isfinite().all()


def test_remove_where_there_is_none() -> None:
    for remove in (remove_spectral_norm, torch_remove_spectral_norm):
        with pytest.raises(ValueError, match="spectral_norm of 'weight' not found in"):
            remove(nn.Linear(3, 4))
        with pytest.raises(ValueError, match="spectral_norm of 'bias' not found in"):
            remove(spectral_norm(nn.Linear(3, 4)), "bias")


def test_remove_takes_torch_hooks_too() -> None:
    module = remove_spectral_norm(torch_spectral_norm(nn.Linear(3, 4)))
    assert isinstance(module.weight, nn.Parameter)


def test_negative_dim_counts_from_the_end() -> None:
    torch.manual_seed(0)
    module = spectral_norm(nn.Conv2d(3, 5, (2, 4)), dim=-1)
    assert module.weight_u.shape == (4,)


@pytest.mark.parametrize("kind", ["channels-last", "transposed", "offset"])
def test_weights_in_any_memory(backend: str, kind: str) -> None:
    ours, theirs = _twins(lambda: nn.Conv2d(6, 4, 3))
    for net in (ours, theirs):
        weight = net.weight_orig.data
        net.weight_orig.data = {
            "channels-last": weight.to(memory_format=torch.channels_last),
            "transposed": weight.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0),
            "offset": torch.cat([torch.ones(7), weight.flatten()])[7:].view_as(weight),
        }[kind]
    for _ in range(3):
        assert_same_step(ours, theirs, torch.randn(2, 6, 5, 5))
        assert ours.weight.stride() == theirs.weight.stride()


def test_to_channels_last(backend: str) -> None:
    ours, theirs = pair("hook")
    for net in (ours, theirs):
        net.to(memory_format=torch.channels_last)
    for _ in range(2):
        assert_same_step(ours, theirs, *inputs())


@pytest.mark.parametrize("shape", [(0, 5), (5, 0)])
@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors is a no-op")
def test_layers_without_elements(backend: str, shape: tuple[int, int]) -> None:
    module = spectral_norm(nn.Linear(shape[1], shape[0]))
    output = module(torch.randn(2, shape[1]))
    output.sum().backward()
    assert output.shape == (2, shape[0])
    assert module.weight.shape == shape


def test_all_zero_weight_gives_zeros(backend: str) -> None:
    module = spectral_norm(nn.Linear(3, 4, bias=False))
    nn.init.zeros_(module.weight_orig)
    module(torch.randn(2, 3)).sum().backward()
    assert torch.count_nonzero(module.weight) == 0
    assert torch.count_nonzero(module.weight_orig.grad) == 0
    assert module.weight_u.norm().item() == pytest.approx(1.0)


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
        x = torch.randn(5, 33)
        wide(x)
        half(x.to(dtype)).sum().backward()
        assert half.weight_u.dtype is half.weight_v.dtype is torch.float32
        assert half.weight.dtype is half.weight_orig.grad.dtype is dtype
        assert torch.equal(half.weight_u, wide.weight_u)
        assert_matches(half.weight, wide.weight.double(), op="spectral_norm", order=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_autocast_leaves_the_weight_u_and_v_in_float32(backend: str, dtype: torch.dtype) -> None:
    ours, theirs = pair("hook", Critic().body)
    images, _ = inputs()
    with torch.autocast("cpu", dtype=dtype):
        output = ours(images)
        output.float().sum().backward()
    theirs(images)
    assert output.dtype is dtype
    assert_same_state(ours, theirs)
    assert all(value.dtype is torch.float32 for value in ours.state_dict().values())
    assert all(parameter.grad.dtype is torch.float32 for parameter in ours.parameters())


def test_random_draws_in_half_precision_are_torchs() -> None:
    for dtype in (torch.bfloat16, torch.float16):
        ours, theirs = _twins(lambda: nn.Linear(33, 17), dtype)
        assert ours.weight_u.dtype is vector_dtype(ours.weight_orig) is torch.float32
        cosine = torch.nn.functional.cosine_similarity
        assert cosine(ours.weight_u, theirs.weight_u.float(), dim=0) > 0.9999


def test_frozen_weights(backend: str) -> None:
    module = spectral_norm(nn.Linear(3, 4)).requires_grad_(False)
    before = module.weight_u.clone()
    x = torch.randn(2, 3, requires_grad=True)
    module(x).sum().backward()
    assert module.weight_orig.grad is None
    assert not torch.equal(module.weight_u, before)
    assert x.grad is not None


def test_gradients_of_both_forwards(backend: str) -> None:
    """loss = D(real) - D(fake): each forward backpropagates through its own u and v."""
    ours, theirs = pair("hook")
    real, fake = inputs(), inputs()
    for net in (ours, theirs):
        (net(*real) - net(*fake)).square().sum().backward()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert_matches(mine.grad, other.grad.double(), op="spectral_norm", order=1)


@pytest.mark.parametrize("form", ["hook", "group", "parametrization"])
def test_gradient_penalty_by_autograd(backend: str, form: str) -> None:
    ours, theirs = pair(form)
    images, labels = inputs()
    images.requires_grad_()
    gradients = []
    for net in (ours, theirs):
        (slope,) = torch.autograd.grad(net(images, labels).sum(), images, create_graph=True)
        penalty = (slope.flatten(1).norm(dim=1) - 1).square().mean()
        gradients.append(torch.autograd.grad(penalty, list(net.parameters()), allow_unused=True))
    assert_gradients_match(*gradients, op="spectral_norm", order=2)


@pytest.mark.parametrize("form", ["hook", "group"])
def test_no_cycle_keeps_a_critic_alive(form: str) -> None:
    net, _ = pair(form)
    net(*inputs()).sum().backward()
    watch = [weakref.ref(net), *(weakref.ref(parameter) for parameter in net.parameters())]
    gc.disable()
    try:
        del net, _
        alive = [each() is not None for each in watch]
    finally:
        gc.enable()
    assert not any(alive)


def test_parametrizing_weight_orig_and_pruning_stack(backend: str) -> None:
    class Symmetric(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return weight + weight.T

    modules = []
    for normalise in (spectral_norm, torch_spectral_norm):
        torch.manual_seed(0)
        module = normalise(nn.Linear(4, 4))
        parametrize.register_parametrization(module, "weight_orig", Symmetric())
        modules.append(module)
    for _ in range(3):
        x = torch.randn(2, 4)
        assert_matches(modules[0](x), modules[1](x).double(), op="spectral_norm", order=0)
