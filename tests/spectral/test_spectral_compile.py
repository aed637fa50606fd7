"""All three forms under torch.compile(fullgraph=True), against the same net run eagerly."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn

from tests.compare import assert_gradients_match, assert_matches
from tests.spectral.nets import FORMS, assert_same_state

# Two warnings of torch's own that only turn up where warnings are errors: dynamo hides the first by
# replacing warnings.showwarning, which comes too late then, and inductor still imports torch.jit.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),
    pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


class _Small(nn.Module):
    """Few layers, since every one is traced anew for each mode; `uses` calls of one of them."""

    def __init__(self, uses: int = 1) -> None:
        super().__init__()
        self.uses = uses
        self.body = nn.Sequential(nn.Conv2d(3, 2, 5, 3), nn.Tanh(), nn.Flatten())
        self.again = nn.Linear(8, 8)
        self.score = nn.Linear(8, 1)

    def forward(self, images: Tensor) -> Tensor:
        x = self.body(images)
        for _ in range(self.uses):
            x = torch.tanh(self.again(x))
        return self.score(x)


def _images(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(5, 3, 8, 8, dtype=dtype)


def _step(compiled: Any, eager: Any, nets: tuple[nn.Module, nn.Module]) -> None:
    """One forward, backward and weight update of both; values, gradients, u and v compared."""
    for net in nets:
        net.zero_grad()
    output, expected = compiled(), eager()
    assert_matches(output, expected.double(), op="spectral_norm", order=0)
    for loss in (output, expected):
        loss.square().sum().backward()
    gradients = [[parameter.grad for parameter in net.parameters()] for net in nets]
    assert_gradients_match(*gradients, op="spectral_norm", order=1)
    assert_same_state(*nets)
    with torch.no_grad():
        for mine, other in zip(*(net.parameters() for net in nets), strict=True):
            mine -= 0.01 * mine.grad
            other.copy_(mine)


def _difference(critic: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    return critic(real).mean() - critic(fake).square().mean()


@pytest.mark.parametrize("form", FORMS)
def test_module_in_training_and_eval(form: str) -> None:
    eager = FORMS[form](_Small(uses=2))
    net = copy.deepcopy(eager)
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    for training in (True, True, False, False, True):
        for each in (net, eager):
            each.train(training)
        x = _images()
        _step(lambda x=x: compiled(x), lambda x=x: eager(x), (net, eager))


@pytest.mark.parametrize("form", FORMS)
def test_two_forwards_in_one_graph(form: str) -> None:
    eager = FORMS[form](_Small())
    net = copy.deepcopy(eager)
    compiled = torch.compile(_difference, fullgraph=True, backend="aot_eager")
    for training in (True, True, False):
        for each in (net, eager):
            each.train(training)
        real, fake = _images(), _images()
        _step(
            lambda real=real, fake=fake: compiled(net, real, fake),
            lambda real=real, fake=fake: _difference(eager, real, fake),
            (net, eager),
        )


def test_inductor() -> None:
    eager = FORMS["group"](nn.Sequential(nn.Linear(7, 9), nn.Tanh(), nn.Linear(9, 1)))
    net = copy.deepcopy(eager)
    compiled = torch.compile(net, fullgraph=True)
    for _ in range(3):
        x = torch.randn(5, 7)
        _step(lambda x=x: compiled(x), lambda x=x: eager(x), (net, eager))


@pytest.mark.parametrize(("form", "calls"), [("group", 1), ("hook", 3), ("parametrization", 3)])
def test_the_graph_holds_our_operation(form: str, calls: int) -> None:
    graphs: list[fx.GraphModule] = []

    def keep(graph: fx.GraphModule, example_inputs: list[Tensor]) -> Any:
        graphs.append(graph)
        return graph.forward

    net = FORMS[form](_Small())
    torch.compile(lambda x: net(x), fullgraph=True, backend=keep)(_images())
    (graph,) = graphs
    targets = [str(node.target) for node in graph.graph.nodes if node.op == "call_function"]
    assert sum("fastwgan.spectral_norm" in target for target in targets) == calls


def test_one_compilation_serves_all_steps() -> None:
    net = FORMS["group"](_Small())
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    for _ in range(2):
        compiled(_images())
    with torch._dynamo.config.patch(error_on_recompile=True):
        for _ in range(3):
            compiled(_images()).sum().backward()


@pytest.mark.parametrize("form", FORMS)
def test_eager_and_compiled_calls_may_alternate(form: str) -> None:
    eager = FORMS[form](_Small())
    net = copy.deepcopy(eager)
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    for step in range(4):
        batch = _images()
        run = compiled if step % 2 else net
        assert_matches(run(batch), eager(batch).double(), op="spectral_norm", order=0)
        x = torch.randn(2, 8)
        assert_matches(net.again(x), eager.again(x).double(), op="spectral_norm", order=0)
        assert_same_state(net, eager)


def test_autocast() -> None:
    eager = FORMS["group"](_Small())
    net = copy.deepcopy(eager)
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    for _ in range(2):
        images = _images()
        with torch.autocast("cpu", torch.bfloat16):
            output, expected = compiled(images), eager(images)
        output.float().sum().backward()
        expected.float().sum().backward()
        assert output.dtype is torch.bfloat16
        assert_matches(output, expected.double(), op="spectral_norm", order=0)
        assert_same_state(net, eager)


class _Breaking(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.fail = False

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        torch._dynamo.graph_break()
        if self.fail:
            raise ValueError("told to")
        return self.second(x)


def test_graph_breaks_and_exceptions_after_them() -> None:
    eager = FORMS["group"](_Breaking())
    net = copy.deepcopy(eager)
    compiled = torch.compile(net, backend="aot_eager")
    for step in range(4):
        for each in (net, eager):
            each.fail = step == 1
        x = torch.randn(2, 4)
        if step == 1:
            for run in (compiled, eager):
                with pytest.raises(ValueError, match="told to"):
                    run(x)
        else:
            assert_matches(compiled(x), eager(x).double(), op="spectral_norm", order=0)
        assert_same_state(net, eager)
