"""`explain`: the way a critic goes, a row for each of its operations, and why."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import fastwgan
from fastwgan import explain
from fastwgan.engine import blocks
from tests.oracle_critics import REFUSALS, Net
from tests.penalty_critics import CRITICS, Function, make, mlp


def _critic() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 4, 4, 2, 1), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(64, 1, bias=False)
    )


def test_a_row_for_each_operation() -> None:
    report = explain(_critic(), torch.randn(5, 3, 8, 8))
    assert report.way == "direct"
    rows = [(r.kind, r.weights, r.output, r.second_order, r.products) for r in report.layers]
    assert rows == [
        ("convolution", ("0.weight", "0.bias"), (5, 4, 4, 4), "weights", 5 * 4 * 16 * 3 * 16),
        ("leaky_relu", (), (5, 4, 4, 4), "none", 0),
        ("reshape", (), (5, 64), "none", 0),
        ("linear", ("3.weight",), (5, 1), "weights", 5 * 64),
    ]
    assert all(layer.by_hand for layer in report.layers)


def test_rectifiers_have_their_own_names() -> None:
    critic = Function(
        lambda c, x: F.leaky_relu(F.relu(c.first(x)).relu(), 0.1).sum(1), first=nn.Linear(6, 9)
    )
    for each in (critic, nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.ReLU(), nn.LeakyReLU())):
        kinds = [layer.kind for layer in explain(each, torch.randn(4, 6)).layers]
        assert kinds[:4] == ["linear", "relu", "relu", "leaky_relu"]


def test_second_order_terms() -> None:
    critic = Function(
        lambda c, x: c.last(c.norm(torch.tanh(c.first(x))).detach() + F.silu(c.first(x))),
        first=nn.Linear(6, 9),
        norm=nn.LayerNorm(9),
        last=nn.Linear(9, 1),
    )
    found = {r.kind: r.second_order for r in explain(critic, torch.randn(4, 6)).layers}
    assert found["silu"] == "activations"
    assert found["linear"] == "weights"
    critic.function = lambda c, x: c.last(c.norm(c.first(x)))
    found = {r.kind: r.second_order for r in explain(critic, torch.randn(4, 6)).layers}
    assert found["layer_norm"] == "weights, activations"
    critic.requires_grad_(False)
    report = explain(critic, torch.randn(4, 6))
    assert {r.second_order for r in report.layers} == {"none"}
    assert {r.weights for r in report.layers} == {()}


def test_an_operation_without_rules_is_local() -> None:
    report = explain(nn.Sequential(nn.Linear(6, 3), nn.Mish(), nn.Linear(3, 1)), torch.randn(4, 6))
    assert report.way == "recorded"
    assert [(r.kind, r.by_hand) for r in report.layers] == [
        ("linear", True),
        ("mish", False),
        ("linear", True),
    ]
    assert "one local double backward" in report.layers[1].note


def test_weights_without_names_have_their_shapes() -> None:
    critic = nn.Linear(6, 1)
    assert explain(lambda x: critic(x), torch.randn(4, 6)).layers[0].weights == ("1×6", "1")
    assert explain(critic, torch.randn(4, 6)).layers[0].weights == ("weight", "bias")


def test_the_rest_of_the_arguments_are_handed_on() -> None:
    class Conditional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.labels = nn.Linear(6, 5), nn.Embedding(3, 5)

        def forward(self, x: Tensor, y: Tensor, scale: float) -> Tensor:
            return scale * (self.body(x) * self.labels(y)).sum(1)  # type: ignore[no-any-return]

    report = explain(Conditional(), torch.randn(3, 6), torch.arange(3), 0.5)
    assert report.way == "recorded"
    assert ("labels.weight",) in [layer.weights for layer in report.layers]


def _reads(critic: Any, x: Tensor) -> Tensor:
    return critic.body(x) if float(x.detach().sum()) > -1e9 else x


WAYS = {
    "direct": (mlp(nn.ReLU), "direct", "run as one batch"),
    "joined": (Function(lambda c, x: c.body(x) * 2, body=mlp(nn.ReLU)), "recorded", "as one batch"),
    "apart": (mlp(lambda: nn.BatchNorm1d(9)), "recorded", "mixes rows"),
    "called": (Function(_reads, body=mlp(nn.ReLU)), "recorded", "reads numbers out of tensors"),
}


@pytest.mark.parametrize("name", WAYS)
def test_ways(name: str) -> None:
    critic, way, reason = WAYS[name]
    report = explain(critic, torch.randn(4, 6))
    assert report.way == way
    assert reason in report.reason


@pytest.mark.parametrize("name", [name for name in CRITICS if "checkpointed" not in name])
def test_what_is_called_direct_is_run_so(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing else: the report is held against what `critic_loss` does."""
    critic, shape = make(name)
    real, fake = torch.randn(2, 5, *shape, dtype=torch.float64).unbind(0)
    recorded, own = [], blocks.record
    monkeypatch.setattr(blocks, "record", lambda *args: recorded.append(1) or own(*args))
    try:
        fastwgan.critic_loss(critic, real, fake, engine="always")
        way = "recorded" if recorded else "direct"
    except RuntimeError:
        way = "generic"
    assert explain(critic, real).way == way


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")
@pytest.mark.parametrize("name", REFUSALS)
def test_reasons_for_the_generic_way(name: str) -> None:
    net = Net(REFUSALS[name].run)
    report = explain(net, torch.randn(5, 6))
    assert report.way == "generic"
    assert report.layers == ()
    with pytest.raises(RuntimeError) as error:
        fastwgan.critic_loss(net, *torch.randn(2, 5, 6).unbind(0), engine="always")
    reason = str(error.value).removeprefix('engine was "always", and the critic has ')
    assert f"the critic has {reason.removesuffix('.')}; autograd's" in report.reason
    assert str(report) == f"generic: {report.reason}"


def test_the_report_is_a_table() -> None:
    report = explain(_critic(), torch.randn(5, 3, 8, 8))
    first, head, rule, *rows, last = str(report).splitlines()
    assert first == f"direct: {report.reason}"
    assert head.split()[:4] == ["layer", "weights", "output", "rules"]
    assert len(rows) == len(report.layers)
    assert set(rule) == {"-", " "}
    for row, layer in zip(rows, report.layers, strict=True):
        at = [head.index(name) for name in ("weights", "output", "rules", "second")]
        cells = [row[a:b].strip() for a, b in zip([0, *at], at, strict=False)]
        shape = "×".join(map(str, layer.output))
        assert cells == [layer.kind, ", ".join(layer.weights), shape, "by hand"]
    assert last == "0.0 million multiplications a forward of these rows"
    assert not [line for line in str(report).splitlines() if line != line.rstrip()]


def test_nothing_is_changed() -> None:
    critic, x = mlp(lambda: nn.ReLU(inplace=True)), torch.randn(4, 6)
    critic.insert(0, nn.LeakyReLU(0.2, inplace=True))
    before = x.clone(), {name: value.clone() for name, value in critic.state_dict().items()}
    random = torch.get_rng_state()
    explain(critic, x.requires_grad_())
    assert torch.equal(x, before[0])
    assert x.grad is None
    assert all(torch.equal(value, before[1][n]) for n, value in critic.state_dict().items())
    assert all(parameter.grad is None for parameter in critic.parameters())
    assert torch.equal(random, torch.get_rng_state())


def test_running_statistics_move_by_one_call() -> None:
    critic, x = mlp(lambda: nn.BatchNorm1d(9)), torch.randn(4, 6)
    explain(critic, x)
    assert critic[1].num_batches_tracked == 1


def test_under_no_grad() -> None:
    with torch.no_grad():
        assert explain(_critic(), torch.randn(5, 3, 8, 8)).layers[0].second_order == "weights"


def test_errors_in_the_arguments() -> None:
    critic = nn.Linear(6, 1)
    with pytest.raises(TypeError, match="example was list; it must be a floating-point tensor"):
        explain(critic, [1.0])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"example was torch\.int64; it must be a floating-point"):
        explain(critic, torch.arange(6))
    for example in (torch.tensor(1.0), torch.randn(0, 6)):
        with pytest.raises(ValueError, match="it must be a batch of at least one sample"):
            explain(critic, example)
    with pytest.raises(TypeError, match="critic"):
        explain(lambda x: "no tensor", torch.randn(4, 6))  # type: ignore[arg-type,return-value]
    with pytest.raises(ValueError, match="do not depend on its input"):
        explain(lambda x: x.detach(), torch.randn(4, 6))
