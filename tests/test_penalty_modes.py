"""`gradient_penalty` under grad modes, precisions, hooks and transforms, and beside NaN."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fastwgan import gradient_penalty
from tests.compare import assert_gradients_match, assert_matches
from tests.penalty_critics import dcgan, make
from tests.penalty_recipe import KINDS, gradients_of, plain_penalty, samples, zeros_for_none
from tests.penalty_watch import Draws

INTERPOLATING = ("wgan-gp", "wgan-lp")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("name", ["dcgan in place", "mlp with dropout", "own spectral norm, group"])
def test_without_grad_mode_only_the_value_is_computed(mode: Any, kind: str, name: str) -> None:
    critic, shape = make(name)
    twin = copy.deepcopy(critic)
    real, fake = (t.requires_grad_() for t in samples(4, *shape))
    torch.manual_seed(1)
    expected = gradient_penalty(critic, real, fake, kind=kind)
    torch.manual_seed(1)
    with mode():
        actual = gradient_penalty(twin, real, fake, kind=kind)
        assert torch.is_inference_mode_enabled() == (mode is torch.inference_mode)
        assert not torch.is_grad_enabled()
    assert not actual.requires_grad
    assert actual.grad_fn is None
    assert_matches(actual, expected.detach(), op="penalty", order=0)
    for one, two in zip(critic.buffers(), twin.buffers(), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("kind", KINDS)
def test_samples_made_in_inference_mode(kind: str) -> None:
    critic, shape = make("dcgan")
    with torch.inference_mode():
        real, fake = samples(4, *shape)
        alpha = torch.rand(real.shape if kind == "dragan" else 4, dtype=torch.float64)
    options = {} if kind in ("r1", "r2") else {"alpha": alpha}
    gradient_penalty(critic, real, fake, kind=kind, **options).backward()
    assert all(p.grad is not None for p in critic.parameters())
    if kind in INTERPOLATING:
        moving = torch.randn_like(fake).clone().requires_grad_()
        gradient_penalty(critic, real, moving, kind=kind, **options).backward()
        assert moving.grad is not None


@pytest.mark.parametrize(
    "name", ["dcgan in place", "mlp with dropout", "average and maximum", "conv1d"]
)
def test_autocast(name: str) -> None:
    critic, shape = make(name, torch.float32)
    twin = copy.deepcopy(critic)
    real, fake = samples(4, *shape, dtype=torch.float32)
    penalties = []
    for model, run in ((twin, lambda *a: plain_penalty(*a)[0]), (critic, gradient_penalty)):
        torch.manual_seed(3)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            penalties.append(run(model, real, fake))
        penalties[-1].float().backward()
    assert penalties[1].dtype is torch.float32
    # Judged as the bfloat16 that they are made of.
    value = penalties[1].bfloat16()
    assert_matches(value, penalties[0].double(), op="penalty_autocast", order=0)
    actual = [p.grad.bfloat16() for p in critic.parameters() if p.grad is not None]
    assert_gradients_match(actual, zeros_for_none(twin), op="penalty_autocast", order=1)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_critics_in_half_precision(dtype: torch.dtype, kind: str) -> None:
    # Without a kink, which a rounded activation could lie on the other side of.
    half, shape = make("mlp of tanh", dtype)
    critic = copy.deepcopy(half).double()
    real, fake = samples(5, *shape, dtype=dtype)
    alpha = torch.rand(real.shape if kind == "dragan" else 5)
    # A target below all of the norms, for the one-sided kind to have a gradient.
    options: dict[str, Any] = {} if kind in ("r1", "r2") else {"alpha": alpha, "target": 0.05}
    got = gradient_penalty(half, real, fake, kind=kind, **options)
    assert got.dtype is torch.float32
    got.backward()
    expected = gradient_penalty(critic, real.double(), fake.double(), kind=kind, **options)
    expected.backward()
    assert_matches(got.to(dtype), expected, op="penalty_half", order=0)
    assert all(p.grad is not None and p.grad.dtype is dtype for p in half.parameters())
    assert_gradients_match(gradients_of(half), gradients_of(critic), op="penalty_half", order=1)


def test_saved_tensor_hooks_around_the_call() -> None:
    critic, shape = make("dcgan")
    twin = copy.deepcopy(critic)
    real, fake = samples(4, *shape)
    alpha = torch.rand(4, dtype=torch.float64)
    packed = []

    def pack(t: Tensor) -> Tensor:
        packed.append(t.shape)
        return t.clone()

    gradient_penalty(twin, real, fake, alpha=alpha).backward()
    for engine in ("auto", "never"):
        critic.zero_grad()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            gradient_penalty(critic, real, fake, alpha=alpha, engine=engine).backward()
        assert bool(packed) == (engine == "never")  # the engine leaves nothing to save
        assert_gradients_match(gradients_of(critic), gradients_of(twin), op="penalty", order=1)


def test_anomaly_mode_finds_nothing() -> None:
    critic, shape = make("dcgan in place")
    with pytest.warns(UserWarning, match="Anomaly Detection"), torch.autograd.detect_anomaly():
        gradient_penalty(critic, *samples(4, *shape)).backward()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_nan_in_one_sample_stays_visible(kind: str, dtype: torch.dtype) -> None:
    critic, shape = make("mlp of tanh", dtype)
    real, fake = samples(5, *shape, dtype=dtype)
    real[2, 1] = fake[2, 1] = math.nan
    penalty = gradient_penalty(critic, real, fake, kind=kind)
    assert penalty.isnan()
    penalty.backward()
    assert all(bool(p.grad.isnan().any()) for p in critic.parameters() if p.dim() == 2)  # type: ignore[union-attr]


def test_nan_passes_a_piecewise_linear_critic_as_in_the_recipe() -> None:
    critic, shape = make("mlp of leaky relu")
    real, fake = samples(5, *shape)
    real[2, 1] = math.nan
    alpha = torch.rand(5, dtype=torch.float64)
    value = gradient_penalty(critic, real, fake, alpha=alpha)
    expected = plain_penalty(critic, real, fake, alpha=alpha)[0]
    assert value.isnan() == expected.isnan()
    if not expected.isnan():
        assert_matches(value, expected, op="penalty", order=0)


def test_overlapping_windows_are_read_right() -> None:
    series = torch.randn(30).double()
    windows = series.as_strided((5, 6), (3, 1))
    critic, _ = make("mlp of tanh")
    alpha = torch.rand(5, dtype=torch.float64)
    fake = torch.randn(5, 6).double()
    one = gradient_penalty(critic, windows, fake, alpha=alpha)
    assert torch.equal(one, gradient_penalty(critic, windows.clone(), fake, alpha=alpha))


def test_penalty_of_a_critic_within_a_users_own_function_mode() -> None:
    critic, shape = make("dcgan")
    twin = copy.deepcopy(critic)
    real, fake = samples(4, *shape)
    alpha = torch.rand(4, dtype=torch.float64)
    with Draws():
        gradient_penalty(critic, real, fake, alpha=alpha).backward()
    plain_penalty(twin, real, fake, alpha=alpha)[0].backward()
    expected = zeros_for_none(twin)
    assert_gradients_match(gradients_of(critic), expected, op="penalty", order=1)


def test_nested_penalties() -> None:
    inner_critic, shape = make("mlp of tanh")
    inner_twin = copy.deepcopy(inner_critic)
    real, fake = samples(4, *shape)
    alpha = torch.rand(4, dtype=torch.float64)

    def outer(run: Any, critic: nn.Module) -> Any:
        def scores(x: Tensor) -> Tensor:
            return critic(x) + run(critic, x, fake, alpha=alpha)  # type: ignore[no-any-return]

        return scores

    def plain(*a: Any, **o: Any) -> Tensor:
        return plain_penalty(*a, **o)[0]

    plain(outer(plain, inner_twin), real, fake, alpha=alpha).backward()
    gradient_penalty(outer(gradient_penalty, inner_critic), real, fake, alpha=alpha).backward()
    expected = [torch.zeros_like(p) if p.grad is None else p.grad for p in inner_twin.parameters()]
    assert_gradients_match(gradients_of(inner_critic), expected, op="penalty", order=1)


def test_it_costs_what_it_says() -> None:
    """Four products a layer, two passes over the critic's activations and nothing else large."""
    from tests.engine.twin_cases import Count

    critic = dcgan()
    real, fake = samples(4, 3, 8, 8, dtype=torch.float32)
    with Count() as count:
        gradient_penalty(critic, real, fake, engine="never").backward()
    convolutions = count.calls["convolution"] + count.calls["convolution_backward"]
    assert convolutions == 4 * 3 - 1  # the last layer's cotangent is constant: no tangent behind it
    assert count.calls["leaky_relu"] == 2
    assert count.calls["leaky_relu_backward"] == 4
    assert not [name for name in count.calls if "double_backward" in name]


def test_a_transform_of_torch_func_is_refused_in_one_sentence() -> None:
    critic, shape = make("mlp of tanh")
    _, fake = samples(4, *shape)
    with pytest.raises(RuntimeError, match=r"called inside a torch\.func transform; it must be"):
        torch.func.grad(lambda x: gradient_penalty(critic, x, fake))(fake + 1)
    assert torch._C._len_torch_function_stack() == 0


# torch's compiler looks at the .grad of what goes on after the call
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_compiled_callers_leave_their_graph_for_it() -> None:
    critic, shape = make("dcgan")
    real, fake = samples(4, *shape)
    alpha = torch.rand(4, dtype=torch.float64)

    @torch.compile(backend="eager")
    def loss(real: Tensor, fake: Tensor) -> Tensor:
        return 2 * gradient_penalty(critic, real * 1, fake, alpha=alpha) + 1

    compiled = loss(real, fake)
    torch.testing.assert_close(compiled, 2 * gradient_penalty(critic, real, fake, alpha=alpha) + 1)
    compiled.backward()
    assert all(p.grad is not None for p in critic.parameters())
