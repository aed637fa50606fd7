"""What rules do beyond a formula: draw masks, move statistics, look tables up, step aside."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

import fastwgan
from fastwgan.engine.generic import rooted, run
from fastwgan.engine.record import Recorder
from fastwgan.engine.replay import is_row_wise, replay
from fastwgan.engine.rules import LOCAL, bind
from fastwgan.engine.rules.local import Local
from tests.compare import assert_gradients_match, assert_matches
from tests.penalty_critics import Function
from tests.penalty_recipe import assert_as_the_recipe, plain_penalty, samples


def recorded(critic: Any, x: Tensor, *others: Tensor) -> Recorder:
    root = rooted(x.clone())
    recorder = Recorder([root, *others])
    at = run(critic, root, recorder, others)
    recorder.finish(at.scores, at.edge.node)
    assert recorder.refusal is None
    return recorder


def between(function: Any, width: int = 12, outputs: int | None = None, **layers: Any) -> nn.Module:
    torch.manual_seed(2)
    return Function(
        lambda c, x: c.last(torch.tanh(function(c, c.first(x)).flatten(1))).squeeze(1),
        first=nn.Linear(6, width),
        last=nn.Linear(outputs or width, 1),
        **layers,
    ).double()


DROPOUTS: dict[str, Any] = {
    "dropout": lambda c, h: F.dropout(h, 0.4),
    "dropout in place": lambda c, h: F.dropout(h * 1, 0.4, True, True),
    "dropout of everything": lambda c, h: F.dropout(h, 1.0) + h,
    "dropout of nothing": lambda c, h: F.dropout(h, 0.0),
    "dropout in eval": lambda c, h: F.dropout(h, 0.4, False),
    "torch.dropout": lambda c, h: torch.dropout(h, 0.4, True),
    "dropout1d": lambda c, h: F.dropout1d(h.view(-1, 4, 3), 0.4),
    "dropout2d": lambda c, h: F.dropout2d(h.view(-1, 3, 2, 2), 0.4, inplace=True),
    "dropout3d": lambda c, h: F.dropout3d(h.view(-1, 3, 2, 2, 1), 0.4),
    "alpha_dropout": lambda c, h: F.alpha_dropout(h, 0.4, True),
    "alpha_dropout in eval": lambda c, h: F.alpha_dropout(h, 0.4),
    "alpha_dropout in place": lambda c, h: F.alpha_dropout(h * 1, 0.4, True, True),
    "feature_alpha_dropout": lambda c, h: F.feature_alpha_dropout(h.view(-1, 4, 3), 0.4, True),
}


@pytest.mark.parametrize("name", DROPOUTS)
def test_dropout(name: str) -> None:
    critic = between(DROPOUTS[name])
    assert_as_the_recipe(critic, *samples(8, 6), engine="always")
    real, fake = (t.requires_grad_() for t in samples(3, 6))
    assert_as_the_recipe(critic, real, fake, engine="always")
    tape = recorded(critic, samples(8, 6)[0]).tape
    assert not any(isinstance(node.rule, Local) for node in tape.nodes)
    assert is_row_wise(tape)


@pytest.mark.parametrize("name", DROPOUTS)
def test_dropout_draws_the_bits_that_torch_draws(name: str) -> None:
    x = torch.randn(8, 12)
    for like in (x, torch.randn(12, 8).t()):
        torch.manual_seed(1)
        expected = DROPOUTS[name](None, like)
        state = torch.get_rng_state()
        torch.manual_seed(1)
        with Recorder([like]) as recorder:
            actual = DROPOUTS[name](None, like)
        assert recorder.refusal is None
        torch.testing.assert_close(actual, expected, rtol=0, atol=0)
        assert torch.equal(torch.get_rng_state(), state)


def test_dropout_draws_anew_in_a_replay() -> None:
    critic = nn.Sequential(nn.Linear(6, 400), nn.Dropout(0.4), nn.Flatten())
    x = torch.randn(2, 6)
    recorder = recorded(critic, x)
    first, second = (replay(recorder.tape, [torch.randn(5, 6)]) for _ in range(2))
    for block in (first, second):
        share = (block.scores == 0).double().mean()
        assert abs(float(share) - 0.4) < 0.05
    assert not torch.equal(first.scores == 0, second.scores == 0)


@pytest.mark.parametrize("momentum", [0.1, None])
def test_running_statistics_move_once_a_run(momentum: float | None) -> None:
    critic = between(lambda c, h: c.norm(h), norm=nn.BatchNorm1d(12, momentum=momentum))
    x = samples(8, 6)[0]
    twin = copy.deepcopy(critic)
    recorder = recorded(critic, x)
    twin(x)
    if momentum is not None:
        replay(recorder.tape, [2 * x])
        twin(2 * x)
    norms = [model.get_submodule("norm") for model in (critic, twin)]
    for name in ("running_mean", "running_var"):
        torch.testing.assert_close(*(getattr(norm, name) for norm in norms))
    assert not is_row_wise(recorder.tape)


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_module(training: bool) -> None:
    critic = between(lambda c, h: c.norm(h), norm=nn.BatchNorm1d(12)).train(training)
    with torch.no_grad():
        critic.get_submodule("norm").running_var.mul_(3)  # type: ignore[operator, union-attr]
    assert_as_the_recipe(critic, *samples(8, 6), engine="always")
    assert is_row_wise(recorded(critic, samples(8, 6)[0]).tape) is not training


def test_instance_norm_with_running_statistics() -> None:
    norm = nn.InstanceNorm1d(3, affine=True, track_running_stats=True)
    critic = between(lambda c, h: c.norm(h.view(-1, 3, 4)), norm=norm)
    assert_as_the_recipe(critic, *samples(4, 6))


@pytest.mark.parametrize("padding", [None, 1, -1])
@pytest.mark.parametrize("by_counts", [False, True])
def test_labels_as_an_argument(padding: int | None, by_counts: bool) -> None:
    torch.manual_seed(0)
    embed = nn.Embedding(4, 9, padding_idx=padding, scale_grad_by_freq=by_counts).double()
    first, last = nn.Linear(6, 9).double(), nn.Linear(9, 1).double()

    def critic(x: Tensor, labels: Tensor) -> Tensor:
        h = torch.tanh(first(x))
        return last(h).squeeze(1) + (embed(labels) * h).sum(1)

    x, labels = samples(5, 6)[0], torch.tensor([0, 1, 3, 1, 1])
    recorder = recorded(critic, x, labels)
    assert not any(isinstance(node.rule, Local) for node in recorder.tape.nodes)
    assert is_row_wise(recorder.tape)
    others = samples(7, 6)[0], torch.tensor([3, 3, 2, 1, 0, 1, 0])
    block = replay(recorder.tape, list(others))
    torch.testing.assert_close(block.scores, critic(*others).detach())


def test_projection() -> None:
    torch.manual_seed(1)
    labels = torch.tensor([0, 1, 3, 1, 1])
    critic = Function(
        lambda c, x: (c.embed(labels) * torch.tanh(c.first(x))).sum(1),
        first=nn.Linear(6, 9),
        embed=nn.Embedding(4, 9),
    ).double()
    assert_as_the_recipe(critic, *samples(5, 6), engine="always")
    real, fake = (t.requires_grad_() for t in samples(5, 6))
    assert_as_the_recipe(critic, real, fake, engine="always")


def _attention(critic: Any, x: Tensor, **options: Any) -> Tensor:
    q, k, v = critic.project(x).view(-1, 5, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
    return critic.last(F.scaled_dot_product_attention(q, k, v, **options)).mean((1, 2, 3))  # type: ignore[no-any-return]


@pytest.mark.parametrize("is_causal", [False, True])
def test_attention_by_the_fast_kernel_without_double_backward(is_causal: bool) -> None:
    torch.manual_seed(0)
    critic = Function(
        lambda c, x: _attention(c, x, is_causal=is_causal),
        project=nn.Linear(6, 24),
        last=nn.Linear(4, 1),
    ).double()
    real, fake = samples(3, 5, 6)
    alpha = torch.rand(3).double()
    with sdpa_kernel(SDPBackend.MATH):
        expected, _ = plain_penalty(critic, real, fake, alpha=alpha)
        gradients = torch.autograd.grad(expected, list(critic.parameters()), allow_unused=True)
    actual = fastwgan.gradient_penalty(critic, real, fake, alpha=alpha, engine="always")
    actual.backward()
    assert_matches(actual.detach(), expected.detach(), op="penalty", order=0)
    expected_gradients = [
        torch.zeros_like(p) if g is None else g
        for g, p in zip(gradients, critic.parameters(), strict=True)
    ]
    found = [p.grad for p in critic.parameters()]
    assert_gradients_match(found, expected_gradients, op="penalty", order=1)


def test_attention_of_other_forms_by_a_local_double_backward() -> None:
    torch.manual_seed(0)
    critic = Function(
        lambda c, x: _attention(c, x, attn_mask=c.bias.weight),
        project=nn.Linear(6, 24),
        last=nn.Linear(4, 1),
        bias=nn.Linear(5, 5, bias=False),
    ).double()
    assert_as_the_recipe(critic, *samples(3, 5, 6), engine="always")


def test_prelu_at_its_kink() -> None:
    """The gradient takes the slope at 0; the penalty's derivative is that of this gradient.

    Torch's own double backward takes 1 there, and no derivative by the slope.
    """
    torch.manual_seed(3)
    critic = nn.Sequential(nn.PReLU(6, 0.3), nn.Linear(6, 1)).double()
    real, fake = samples(5, 6)
    real[:, ::2] = 0

    def penalty() -> Tensor:
        return fastwgan.gradient_penalty(critic, real, fake, kind="r1", engine="always")

    found = torch.autograd.grad(penalty(), list(critic.parameters())[:2])
    for gradient, parameter in zip(found, critic.parameters(), strict=False):
        direction = torch.randn_like(parameter)
        ends = []
        for step in (0.5, -0.5):
            with torch.no_grad():
                parameter.add_(direction, alpha=step)
                ends.append(penalty())
                parameter.add_(direction, alpha=-step)
        # Of each parameter alone the penalty is a square: the difference is no approximation.
        torch.testing.assert_close((gradient * direction).sum(), ends[0] - ends[1])
    assert bool((found[0][::2] != 0).all())


def test_attention_with_dropout_is_refused() -> None:
    critic = Function(
        lambda c, x: _attention(c, x, dropout_p=0.5), project=nn.Linear(6, 24), last=nn.Linear(4, 1)
    ).double()
    with pytest.raises(RuntimeError, match="random numbers"), sdpa_kernel(SDPBackend.MATH):
        fastwgan.gradient_penalty(critic, *samples(3, 5, 6), engine="always")


WEIGHTS_THAT_MOVE: dict[str, Any] = {
    "linear": lambda c, h: F.linear(h, h.t() @ h),
    "prelu": lambda c, h: F.prelu(h, h.abs().mean(0)),
    "layer norm": lambda c, h: F.layer_norm(h, (12,), h.mean(0), h.sum(0)),
    "product": lambda c, h: h * h.mean(0),
    "sum": lambda c, h: h.amax(0) - h,
    "quotient": lambda c, h: h / (1 + h.square().sum(0)),
    "matmul": lambda c, h: h @ (h.t() @ h),
    "one row of many": lambda c, h: h + h.mean(0, keepdim=True),
    "all but constants": lambda c, h: h.detach() + h.mean(0, keepdim=True) * 2,
}


@pytest.mark.parametrize("name", WEIGHTS_THAT_MOVE)
def test_a_weight_that_depends_on_the_input_is_no_weight(name: str) -> None:
    critic = between(WEIGHTS_THAT_MOVE[name])
    assert_as_the_recipe(critic, *samples(5, 6), engine="always")
    assert_as_the_recipe(critic, *samples(12, 6), engine="always")  # as many rows as features
    assert not is_row_wise(recorded(critic, samples(5, 6)[0]).tape)


class Noisy(nn.Module):
    """A parameter with rows, added again and again: its gradient must have memory of its own.

    Two additions in a row lend it the cotangent that the layer before them gets too.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 9), nn.Linear(9, 1)
        self.noise = nn.Parameter(torch.randn(5, 9))

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.first(x) + self.noise) + self.noise + self.noise
        return self.last(torch.sigmoid(h)).squeeze(1)


def test_parameters_with_rows() -> None:
    critic = Noisy().double()
    assert_as_the_recipe(critic, *samples(5, 6), engine="always")
    assert not is_row_wise(recorded(critic, samples(5, 6)[0]).tape)


def test_a_constant_that_widens_one_row() -> None:
    critic = Function(
        lambda c, x: torch.tanh(c.first(x) + torch.arange(7.0).double()[:, None]).sum(1),
        first=nn.Linear(6, 9),
    ).double()
    assert not is_row_wise(recorded(critic, samples(1, 6)[0]).tape)
    assert_as_the_recipe(critic, *samples(1, 6), engine="always")


def test_minibatch_deviation() -> None:
    def deviate(c: Any, h: Tensor) -> Tensor:
        spread = (h.var(0, unbiased=False) + 1e-8).sqrt().mean()
        return torch.cat([h, spread.expand(len(h), 1)], 1)

    critic = between(deviate, outputs=13)
    assert_as_the_recipe(critic, *samples(5, 6), engine="always")
    tape = recorded(critic, samples(5, 6)[0]).tape
    assert not any(isinstance(node.rule, Local) for node in tape.nodes)
    assert not is_row_wise(tape)


def test_residual_branches_in_place() -> None:
    def residual(c: Any, h: Tensor) -> Tensor:
        branch = c.inner(F.elu(h, inplace=True))
        branch += h
        branch *= 0.7
        return branch.sub_(h.square()).div_(1.5)

    critic = between(residual, inner=nn.Linear(12, 12))
    assert_as_the_recipe(critic, *samples(5, 6), engine="always")
    tape = recorded(critic, samples(5, 6)[0]).tape
    assert not any(isinstance(node.rule, Local) for node in tape.nodes)
    assert is_row_wise(tape)


X = torch.randn(3, 4)
LEFT_LOCAL: dict[str, tuple[Any, tuple[Any, ...], dict[str, Any]]] = {
    "mixed dtypes": (torch.add, (X, X.double()), {}),
    "integers": (torch.add, (torch.arange(3), 1), {}),
    "out": (torch.mul, (X, X), {"out": X.clone()}),
    "rounded": (torch.div, (X, 2), {"rounding_mode": "floor"}),
    "by zero": (torch.div, (X, 0), {}),
    "complex": (torch.tanh, (X.to(torch.complex64),), {}),
    "sum in a dtype": (torch.sum, (X, 1), {"dtype": torch.float64}),
    "softmax in a dtype": (F.softmax, (X, 1), {"dtype": torch.float64}),
    "norm of order 1": (torch.norm, (X, 1), {}),
    "power of a tensor": (torch.pow, (X, X), {}),
    "clamp by tensors": (torch.clamp, (X, X - 1, X + 1), {}),
    "pick by a tensor": (Tensor.__getitem__, (X, torch.tensor([0, 1])), {}),
    "elu without a sign": (F.elu, (X, -1.0), {}),
    "dropout2d of vectors": (F.dropout2d, (X, 0.5), {}),
    "another device": (Tensor.to, (X, "meta"), {}),
    "view as another dtype": (Tensor.view, (X, torch.int32), {}),
    "renormalised table": (F.embedding, (torch.arange(3), X), {"max_norm": 1.0}),
    "layer norm of everything": (F.layer_norm, (X, (3, 4)), {}),
    "no batch": (F.max_pool2d, (torch.randn(3, 4, 4), 2), {}),
    "indices asked for": (F.max_pool2d, (torch.randn(1, 3, 4, 4), 2), {"return_indices": True}),
}


@pytest.mark.parametrize("name", LEFT_LOCAL)
def test_other_forms_are_left_to_the_local_rule(name: str) -> None:
    function, args, kwargs = LEFT_LOCAL[name]
    assert bind(function, args, kwargs)[0] is LOCAL
