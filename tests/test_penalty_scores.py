"""`gradient_penalty(..., return_scores=True)`: a loss of one's own beside the penalty."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fastwgan import gradient_penalty
from tests.compare import assert_gradients_match
from tests.penalty_critics import CRITICS, make
from tests.penalty_recipe import KINDS, gradients_of, plain_penalty, samples, zeros_for_none
from tests.scores_recipe import assert_as_plain, both, joint, own_loss, penalty_first, scores_first

SOME = ("mlp of tanh", "dcgan in place", "layer norm", "projection of labels")
TRAINABLE = [name for name in CRITICS if name != "all frozen"]


@pytest.mark.parametrize("call", [joint, penalty_first, scores_first])
@pytest.mark.parametrize("name", TRAINABLE)
def test_every_critic_in_double(name: str, call: Any) -> None:
    critic, shape = make(name)
    assert_as_plain(critic, samples(5, *shape), call)


@pytest.mark.parametrize("engine", ["auto", "never"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SOME)
def test_every_kind_with_samples_that_require_grad(name: str, kind: str, engine: str) -> None:
    critic, shape = make(name)
    real, fake = (t.requires_grad_() for t in samples(4, *shape))
    assert_as_plain(critic, (real, fake), joint, kind=kind, engine=engine)


@pytest.mark.parametrize("call", [joint, penalty_first, scores_first])
def test_a_fake_from_a_generator_and_packs(call: Any) -> None:
    critic, shape = make("mlp of tanh")
    real, fake = samples(6, *shape)
    assert_as_plain(critic, (real, fake.requires_grad_()), call, groups=3)


@pytest.mark.parametrize("name", ["linear alone", "mlp of leaky relu", "dcgan", "batch norm"])
def test_one_alone_or_none(name: str) -> None:
    critic, shape = make(name)
    pair = samples(4, *shape)
    assert_as_plain(critic, pair, lambda penalty, scores: own_loss(scores).backward())
    critic.zero_grad()
    if name != "linear alone":
        assert_as_plain(critic, pair, lambda penalty, scores: penalty.backward())
    both(critic, *pair)


def test_without_retain_graph_the_two_are_apart() -> None:
    critic, shape = make("mlp of tanh")
    pair, alpha = samples(4, *shape), torch.rand(4, dtype=torch.float64)
    joint(*both(critic, *pair, alpha=alpha, engine="always"))
    expected = gradients_of(critic)
    for order in (0, 1):
        critic.zero_grad()
        penalty, scores = both(critic, *pair, alpha=alpha, engine="always")
        losses = [penalty, own_loss(scores)]
        for loss in losses[:: 1 - 2 * order]:
            loss.backward()
        assert_gradients_match(gradients_of(critic), expected, op="penalty", order=1)


def test_backward_is_once_unless_retained() -> None:
    critic, shape = make("dcgan")
    _, scores = both(critic, *samples(4, *shape), engine="always")
    scores.sum().backward(retain_graph=True)
    once = gradients_of(critic)
    scores.sum().backward()
    for one, two in zip(once, gradients_of(critic), strict=True):
        assert one is not None
        assert two is not None
        torch.testing.assert_close(two, 2 * one)
    with pytest.raises(RuntimeError, match="second time through the same scores"):
        scores.sum().backward()


def test_a_second_derivative_is_refused() -> None:
    critic, shape = make("mlp of tanh")
    _, scores = both(critic, *samples(4, *shape))
    with pytest.raises(RuntimeError, match="create_graph was True in a backward through the"):
        torch.autograd.grad(scores.sum(), list(critic.parameters()), create_graph=True)
    _, scores = both(critic, *samples(4, *shape), engine="never")
    torch.autograd.grad(scores.sum(), list(critic.parameters()), create_graph=True)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("engine", ["auto", "always", "never"])
def test_without_grad_mode_there_are_values_only(mode: Any, engine: str) -> None:
    critic, shape = make("mlp of tanh")
    pair, alpha = samples(4, *shape), torch.rand(4, dtype=torch.float64)
    expected = both(critic, *pair, alpha=alpha)
    with mode():
        actual = both(critic, *pair, alpha=alpha, engine=engine)
    for got, want in zip(actual, expected, strict=True):
        assert not got.requires_grad
        torch.testing.assert_close(got, want.detach(), rtol=1e-12, atol=0)


def test_scores_may_be_written_in_place() -> None:
    critic, shape = make("mlp of tanh")
    critic.append(nn.Tanh())  # type: ignore[operator]  # whose backward reads what it returned
    pair = samples(4, *shape)
    assert_as_plain(critic, pair, lambda _, scores: own_loss(scores).backward(), kind="r1")
    expected = gradients_of(critic)
    critic.zero_grad()
    _, scores = both(critic, *pair, kind="r1", engine="always")
    own_loss(scores.mul_(2).mul_(0.5)).backward()
    assert_gradients_match(gradients_of(critic), expected, op="penalty", order=1)


def test_batch_norm_run_again_before_the_backward() -> None:
    critic, shape = make("batch norm")
    pair, alpha = samples(4, *shape), torch.rand(4, dtype=torch.float64)

    def loss(run: Any, model: nn.Module) -> Tensor:
        penalty, scores = run(model, *pair, alpha=alpha)
        return penalty + own_loss(scores) + model(pair[1]).mean()  # type: ignore[no-any-return]

    twin = copy.deepcopy(critic)
    loss(plain_penalty, twin).backward()
    loss(both, critic).backward()
    assert_gradients_match(gradients_of(critic), zeros_for_none(twin), op="penalty", order=1)


def test_patches_through_expanded_cotangents() -> None:
    torch.manual_seed(2)
    critic = nn.Sequential(nn.Conv2d(3, 8, 3), nn.LeakyReLU(0.2), nn.Conv2d(8, 1, 3)).double()
    assert_as_plain(critic, samples(4, 3, 8, 8), lambda p, s: (p + s.mean()).backward())


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_autocast_around_the_call_or_inside_of_the_critic(dtype: torch.dtype, inside: bool) -> None:
    net, shape = make("mlp of tanh", torch.float32)
    twin = copy.deepcopy(net).double()
    real, fake = samples(5, *shape, dtype=torch.float32)
    alpha = torch.rand(5)

    def casting(x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype):
            return net(x)  # type: ignore[no-any-return]

    with torch.autocast("cpu", dtype, enabled=not inside):
        critic = casting if inside else net
        penalty, scores = both(critic, real, fake, alpha=alpha, engine="always")
    assert scores.dtype is dtype
    (penalty + scores.float().square().mean()).backward()
    wide, exact = plain_penalty(twin, real.double(), fake.double(), alpha=alpha.double())
    (wide + exact.square().mean()).backward()
    halves = [None if g is None else g.to(dtype) for g in gradients_of(net)]
    assert_gradients_match(halves, zeros_for_none(twin), op="penalty_half", order=1)


# torch's compiler looks at the .grad of what goes on after the call
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_compiled_callers_leave_their_graph_or_hear_why() -> None:
    critic, shape = make("mlp of tanh")
    pair, alpha = samples(4, *shape), torch.rand(4, dtype=torch.float64)

    def loss(real: Tensor, fake: Tensor) -> Tensor:
        penalty, scores = both(critic, real, fake, alpha=alpha)
        return penalty + own_loss(scores)

    loss(*pair).backward()
    expected = gradients_of(critic)
    critic.zero_grad()
    torch.compile(loss, backend="eager")(*pair).backward()
    assert_gradients_match(gradients_of(critic), expected, op="penalty", order=1)
    torch._dynamo.reset()
    with pytest.raises(Exception, match=r"return_scores was True inside torch\.compile"):
        torch.compile(loss, backend="eager", fullgraph=True)(*pair)


def test_return_scores_must_be_a_bool() -> None:
    critic, shape = make("mlp of tanh")
    with pytest.raises(TypeError, match="return_scores was of type int; it must be a bool"):
        gradient_penalty(critic, *samples(4, *shape), return_scores=1)  # type: ignore[call-overload]
