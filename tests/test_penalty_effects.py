"""What `gradient_penalty` leaves behind, alone and with other calls before one backward."""

from __future__ import annotations

import copy
import gc
import math
import threading
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fastwgan import gradient_penalty
from tests.compare import assert_gradients_match
from tests.penalty_critics import make, mlp
from tests.penalty_recipe import KINDS, gradients_of, plain_penalty, samples, zeros_for_none

INTERPOLATING = ("wgan-gp", "wgan-lp")


def _snapshot(critic: nn.Module) -> list[Any]:
    return [
        [(p.detach().clone(), p._version, p.requires_grad) for p in critic.parameters()],
        [module.training for module in critic.modules()],
    ]


def _assert_same(before: list[Any], after: list[Any]) -> None:
    assert before[1] == after[1]
    for one, two in zip(before[0], after[0], strict=True):
        assert torch.equal(one[0], two[0])
        assert one[1:] == two[1:]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "name",
    ["activation at the very input", "batch norm", "frozen parameters", "torch spectral norm"],
)
def test_nothing_else_is_changed(name: str, kind: str) -> None:
    critic, shape = make(name)
    critic[-1].eval()  # type: ignore[index]
    real, fake = (t.requires_grad_() for t in samples(4, *shape))
    values = real.detach().clone(), fake.detach().clone()
    before = _snapshot(critic)
    penalty = gradient_penalty(critic, real, fake, kind=kind)
    assert all(p.grad is None for p in critic.parameters())
    assert real.grad is None
    _assert_same(before, _snapshot(critic))
    penalty.backward()
    _assert_same(before, _snapshot(critic))
    assert (real._version, fake._version) == (0, 0)
    assert torch.equal(real, values[0])
    assert torch.equal(fake, values[1])
    assert real.is_leaf
    assert torch._C._len_torch_function_stack() == 0
    assert (real.grad is None) == (kind == "r2")
    assert (fake.grad is None) == (kind in ("r1", "dragan"))


@pytest.mark.parametrize("name", ["mlp with dropout", "dcgan", "layer norm", "tied weights"])
def test_an_existing_grad_is_added_to_exactly_once(name: str) -> None:
    critic, shape = make(name)
    real, fake = samples(4, *shape)
    torch.manual_seed(1)
    gradient_penalty(critic, real, fake).backward()
    alone = [p.grad.clone() for p in critic.parameters() if p.grad is not None]
    tensors = []
    for p in critic.parameters():
        p.grad = torch.ones_like(p)
        tensors.append(p.grad)
    torch.manual_seed(1)
    penalty = gradient_penalty(critic, real, fake)
    assert all(torch.equal(t, torch.ones_like(t)) for t in tensors)
    penalty.backward()
    for tensor, parameter, single in zip(tensors, critic.parameters(), alone, strict=True):
        assert parameter.grad is tensor
        torch.testing.assert_close(tensor, single + 1, rtol=1e-12, atol=1e-12)


def test_hooks_fire_as_in_the_recipe() -> None:
    counts = []
    for run in (lambda *a: plain_penalty(*a)[0], gradient_penalty):
        critic = mlp(nn.ReLU).double()
        seen: list[str] = []
        critic[0].register_forward_hook(lambda *a, s=seen: s.append("forward"))
        critic[1].register_forward_pre_hook(lambda *a, s=seen: s.append("pre"))
        for parameter in critic.parameters():
            if parameter.dim() == 2:
                parameter.register_hook(lambda g, s=seen: s.append("gradient"))
                parameter.register_post_accumulate_grad_hook(lambda p, s=seen: s.append("grad"))
        run(critic, *samples()).backward()
        counts.append(sorted(seen))
    assert counts[0] == counts[1]


def test_gradients_belong_to_the_caller() -> None:
    critic, shape = make("layer norm of images")
    real, fake = samples(4, *shape)
    parameters = list(critic.parameters())
    gradients = torch.autograd.grad(gradient_penalty(critic, real, fake), parameters)
    memory = {g.untyped_storage().data_ptr() for g in gradients}
    assert len(memory) == len(parameters)
    assert memory.isdisjoint(p.untyped_storage().data_ptr() for p in parameters)
    copies = [g.clone() for g in gradients]
    gradient_penalty(critic, real, fake).backward()
    for gradient, kept in zip(gradients, copies, strict=True):
        assert torch.equal(gradient, kept)
        gradient.add_(1)  # fails where memory is shared within the tensor


def test_memory_is_free_without_the_garbage_collector() -> None:
    critic, shape = make("dcgan in place")
    kept: list[weakref.ref[Any]] = []

    def watching(x: Tensor) -> Tensor:
        h = critic[:3](x)  # type: ignore[index]
        kept.append(weakref.ref(h))
        return critic[3:](h)  # type: ignore[index,no-any-return]

    gc.collect()
    gc.disable()
    try:
        for backward in (True, False):
            penalty = gradient_penalty(watching, *samples(4, *shape))
            if backward:
                penalty.backward()
            del penalty
            assert kept[-1]() is None
    finally:
        gc.enable()


def test_a_critic_that_raises_leaves_no_mode_behind() -> None:
    def broken(x: Tensor) -> Tensor:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        gradient_penalty(broken, *samples())
    assert torch._C._len_torch_function_stack() == 0
    assert torch.is_grad_enabled()


def test_two_penalties_before_one_backward() -> None:
    for name in ("dcgan in place", "own spectral norm, group", "mlp with dropout"):
        critic, shape = make(name)
        twin = copy.deepcopy(critic)
        real, fake = samples(4, *shape)
        torch.manual_seed(2)
        first = plain_penalty(twin, real, fake)[0]
        (first + 0.5 * plain_penalty(twin, fake, real, kind="wgan-lp")[0]).backward()
        torch.manual_seed(2)
        one = gradient_penalty(critic, real, fake)
        (one + 0.5 * gradient_penalty(critic, fake, real, kind="wgan-lp")).backward()
        expected = zeros_for_none(twin)
        assert_gradients_match(gradients_of(critic), expected, op="penalty", order=1, context=name)


def test_retained_graph_gives_the_same_again() -> None:
    critic, shape = make("dcgan")
    penalty = gradient_penalty(critic, *samples(4, *shape))
    penalty.backward(retain_graph=True)
    once = gradients_of(critic)
    penalty.backward()
    for one, two in zip(once, gradients_of(critic), strict=True):
        assert one is not None
        assert two is not None
        torch.testing.assert_close(two, 2 * one)
    with pytest.raises(RuntimeError, match="second time"):
        penalty.backward()


@pytest.mark.parametrize(
    "name", ["dcgan", "linear alone", "layer norm", "own spectral norm, hooks"]
)
def test_whole_critic_loss_in_one_backward_with_the_generators_gradient(name: str) -> None:
    critic, shape = make(name)
    size = math.prod(shape)
    generator = nn.Linear(4, size).double()
    twins = copy.deepcopy(critic), copy.deepcopy(generator)
    real, noise = torch.randn(5, *shape).double(), torch.randn(5, 4).double()

    def loss(critic: nn.Module, generator: nn.Module, penalty: Any) -> Tensor:
        torch.manual_seed(4)
        fake = torch.tanh(generator(noise)).view(5, *shape)
        return critic(fake).mean() - critic(real).mean() + penalty(critic, real, fake)  # type: ignore[no-any-return]

    loss(*twins, lambda *a: plain_penalty(*a)[0]).backward()
    loss(critic, generator, gradient_penalty).backward()
    expected = [p.grad for model in twins for p in model.parameters()]
    actual = [p.grad for model in (critic, generator) for p in model.parameters()]
    assert_gradients_match(actual, expected, op="penalty", order=1)


def test_weights_changed_before_the_backward_are_an_error() -> None:
    critic, shape = make("dcgan")
    penalty = gradient_penalty(critic, *samples(4, *shape), engine="never")
    with torch.no_grad():
        critic[1 - 1].weight.mul_(2)  # type: ignore[index,union-attr,operator]
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        penalty.backward()


def test_a_changed_bias_that_no_gradient_depends_on_is_none() -> None:
    critic, shape = make("dcgan")
    penalty = gradient_penalty(critic, *samples(4, *shape))
    with torch.no_grad():
        critic[-2].bias.add_(1)  # type: ignore[index,union-attr,operator]
    penalty.backward()


def test_two_threads_at_once() -> None:
    makers = [make(name) for name in ("dcgan in place", "mlp of leaky relu", "batch norm") * 2]
    jobs = [
        (critic, samples(4, *shape), torch.rand(4, dtype=torch.float64)) for critic, shape in makers
    ]
    expected = []
    for critic, (real, fake), alpha in jobs:
        twin = copy.deepcopy(critic)
        plain_penalty(twin, real, fake, alpha=alpha)[0].backward()
        expected.append(zeros_for_none(twin))
    barrier = threading.Barrier(len(jobs))
    failures: list[BaseException] = []

    def work(critic: nn.Module, samples: tuple[Tensor, Tensor], alpha: Tensor) -> None:
        try:
            barrier.wait()
            for _ in range(3):
                critic.zero_grad()
                gradient_penalty(critic, *samples, alpha=alpha).backward()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    for (critic, _, _), want in zip(jobs, expected, strict=True):
        assert_gradients_match(gradients_of(critic), want, op="penalty", order=1)


@pytest.mark.parametrize("name", ["mlp of tanh", "dcgan", "average and maximum", "layer norm"])
def test_second_derivatives_of_the_penalty(name: str) -> None:
    critic, shape = make(name)
    real, fake = samples(3, *shape)
    alpha = torch.rand(3, dtype=torch.float64)
    parameters = list(critic.parameters())
    results = []
    for penalty in (
        plain_penalty(critic, real, fake, alpha=alpha)[0],
        gradient_penalty(critic, real, fake, alpha=alpha, engine="never"),
    ):
        first = torch.autograd.grad(penalty, parameters, create_graph=True, allow_unused=True)
        generator = torch.Generator().manual_seed(0)
        along = sum(
            (g * torch.randn(g.shape, generator=generator, dtype=g.dtype)).sum()
            for g in (
                torch.zeros_like(p) if f is None else f
                for f, p in zip(first, parameters, strict=True)
            )
        )
        second = torch.autograd.grad(along, parameters, allow_unused=True)
        results.append(
            [
                torch.zeros_like(p) if g is None else g
                for g, p in zip(second, parameters, strict=True)
            ]
        )
    assert_gradients_match(results[1], results[0], op="penalty", order=1)


def test_weights_that_are_functions_of_others() -> None:
    critic = mlp(nn.ReLU).double()
    names = [name for name, _ in critic.named_parameters()]
    factors = [torch.rand(p.shape).double().requires_grad_() for p in critic.parameters()]
    real, fake = samples()
    alpha = torch.rand(5, dtype=torch.float64)
    gradients = []
    for run in (lambda *a, **o: plain_penalty(*a, **o)[0], gradient_penalty):
        weights = [f.sin() * p.detach() for f, p in zip(factors, critic.parameters(), strict=True)]
        state = dict(zip(names, weights, strict=True))
        value = run(
            lambda x, s=state: torch.func.functional_call(critic, s, x), real, fake, alpha=alpha
        )
        found = torch.autograd.grad(value, factors, allow_unused=True)
        gradients.append(
            [torch.zeros_like(f) if g is None else g for g, f in zip(found, factors, strict=True)]
        )
    assert_gradients_match(gradients[1], gradients[0], op="penalty", order=1)


@pytest.mark.parametrize("kind", KINDS)
def test_samples_that_the_penalty_does_not_depend_on_get_zeros(kind: str) -> None:
    weight = torch.randn(6, dtype=torch.float64, requires_grad=True)
    for scores in (lambda x: x @ weight, lambda x: x.mul_(2) @ weight, lambda x: x.neg_().sum(1)):
        real, fake = (t.requires_grad_() for t in samples())
        gradient_penalty(scores, real, fake, kind=kind).backward()
        for name, tensor in (("real", real), ("fake", fake)):
            used = {"r1": ["real"], "dragan": ["real"], "r2": ["fake"]}.get(kind, ["real", "fake"])
            if name in used:
                assert tensor.grad is not None
                assert bool((tensor.grad == 0).all())
            else:
                assert tensor.grad is None
