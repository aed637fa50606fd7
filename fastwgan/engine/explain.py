"""Which way each layer of a critic goes through the penalty engine, and why."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from fastwgan.engine.blocks import Rows, record
from fastwgan.engine.calls import name_of
from fastwgan.engine.direct import calls_of
from fastwgan.engine.feedforward_reader import feedforward_of
from fastwgan.engine.plan import Step, plan_of
from fastwgan.engine.replay import is_row_wise
from fastwgan.engine.rules.local import Local
from fastwgan.engine.tape import Block, Node, Tape

__all__ = ["Explanation", "Layer", "explain"]


@dataclass(frozen=True, slots=True)
class Layer:
    """One operation of a critic.

    Attributes:
        kind: What it is.
        weights: Names of its parameters, or their shapes where they have none.
        output: Shape of what it returns.
        by_hand: Whether its rules are written by hand; else autograd is applied to it alone.
        second_order: What has second-order terms: "none", "weights", "activations", or both.
        products: Multiplications of one forward, for layers that are products; else 0.
        note: What is joined, done in place, or why not.
    """

    kind: str
    weights: tuple[str, ...]
    output: tuple[int, ...]
    by_hand: bool
    second_order: str
    products: int
    note: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """The report of `explain`; printing it shows a table.

    Attributes:
        way: "direct", "recorded" or "generic".
        reason: Why that way.
        layers: One an operation, in the order they ran; none for the generic way.
    """

    way: str
    reason: str
    layers: tuple[Layer, ...]

    def __str__(self) -> str:
        lines = [f"{self.way}: {self.reason}"]
        if self.layers:
            lines += _table([_HEAD, *(_cells(layer) for layer in self.layers)])
            products = sum(layer.products for layer in self.layers)
            lines.append(f"{products / 1e6:.1f} million multiplications a forward of these rows")
        return "\n".join(lines)


_HEAD = ("layer", "weights", "output", "rules", "second order", "products", "note")


def explain(critic: Callable[..., Tensor], example: Tensor, *args: Any) -> Explanation:
    """Says how `critic_loss` and `gradient_penalty` take a critic.

    Args:
        critic: As for `critic_loss`. Called once, so that running statistics and vectors of
            spectral norm move once.
        example: [batch, *sample], floating point, on the critic's device; differentiated nowhere.
        *args: Further arguments of the critic.

    Returns:
        A report with one row an operation; print it.

    Raises:
        TypeError: `example` or the critic's result is no tensor.
        ValueError: `example` is no batch; or the scores do not depend on it.
    """
    if not isinstance(example, Tensor) or not example.is_floating_point():
        kind = example.dtype if isinstance(example, Tensor) else type(example).__name__
        raise TypeError(f"example was {kind}; it must be a floating-point tensor.")
    if example.dim() == 0 or example.shape[0] == 0:
        raise ValueError(
            f"example had shape {tuple(example.shape)}; it must be a batch of at least one sample, "
            f"[batch, *sample]."
        )
    example = example.detach()
    recorded = record(critic, Rows(example, args))
    if recorded.refusal is not None:
        return Explanation("generic", f"the critic has {recorded.refusal}; {_GENERIC}", ())
    tape = recorded.block.tape
    if calls_of(critic) and not args and is_row_wise(tape):
        is_native = feedforward_of(critic, example) is not None
        reason = f"{_DIRECT}; {_NATIVE}" if is_native else _DIRECT
        return _explained(critic, recorded.block, "direct", reason)
    if not recorded.is_replayable:
        reason = _CALLED_EACH
    else:
        reason = _JOINED if is_row_wise(tape) else _APART
    return _explained(critic, recorded.block, "recorded", reason)


_DIRECT = (
    "only torch's own modules, without hooks: real, fake and points run as one batch, activations "
    "in place"
)
_NATIVE = (
    "where a penalty has points of its own, the whole step is three native calls (feed-forward)"
)
_JOINED = "called once, on real; fake and points are replayed as one batch"
_APART = (
    "called once, on real; fake and points are replayed each by itself, since some operation mixes "
    "rows or may"
)
_CALLED_EACH = "called for each set of rows, since its Python reads numbers out of tensors"
_GENERIC = "autograd's double backward is taken, over twins of the operations that have them"


def _explained(critic: Any, block: Block, way: str, reason: str) -> Explanation:
    tape = block.tape
    plan = plan_of(tape, points_need_gradient=False)
    names = _names(critic)
    layers = tuple(
        _layer(tape, block, node, step, names)
        for node, step in zip(tape.nodes, plan.steps, strict=True)
    )
    return Explanation(way, reason, layers)


def _names(critic: Any) -> dict[int, str]:
    if not isinstance(critic, nn.Module):
        return {}
    return {id(parameter): name for name, parameter in critic.named_parameters()}


def _layer(tape: Tape, block: Block, node: Node, step: Step, names: dict[int, str]) -> Layer:
    outer = [tape.outers[~r] for r in node.inputs if r is not None and r < 0]
    weights = [w for w in outer if w.requires_grad]
    value = next((block.values[s] for s in node.outputs if block.values[s] is not None), None)
    is_local = isinstance(node.rule, Local)
    return Layer(
        kind=name_of(node.options.function) if is_local else node.rule.kind,
        weights=tuple(names.get(id(w), "×".join(map(str, w.shape))) for w in weights),
        output=() if value is None else tuple(value.shape),
        by_hand=not is_local,
        second_order=_second_order(step, weights),
        products=_products(node, outer, value),
        note=_note(node, step),
    )


def _second_order(step: Step, weights: list[Tensor]) -> str:
    if not step.differentiable or not step.is_wanted:
        return "none"
    if step.rule.piecewise_linear:
        return "weights" if weights and step.rule.reads_inputs else "none"
    return "weights, activations" if weights else "activations"


def _products(node: Node, outer: list[Tensor], value: Tensor | None) -> int:
    if not node.rule.merges or not outer or value is None:
        return 0
    weight = outer[0]  # [out, in, *kernel]
    return math.prod(value.shape) * math.prod(weight.shape[1:])


def _note(node: Node, step: Step) -> str:
    if isinstance(node.rule, Local):
        return "no rules of its own: one local double backward"
    if not any(node.differentiable):
        return "not differentiable: repeated, never differentiated"
    if step.merges:
        return "both terms of the weight may be one product"
    if step.places_tangent:
        return "tangent in place of the activation"
    return ""


def _cells(layer: Layer) -> tuple[str, ...]:
    return (
        layer.kind,
        ", ".join(layer.weights),
        "×".join(map(str, layer.output)),
        "by hand" if layer.by_hand else "local",
        layer.second_order,
        f"{layer.products / 1e6:.1f} M" if layer.products else "",
        layer.note,
    )


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:]]
