"""The rules of each kind of layer, found by the function that a critic calls."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any

from torch import Tensor

from fastwgan.engine.rules import (
    activation,
    arithmetic,
    attention,
    batch_norm,
    clamp,
    convolution,
    deviation,
    dropout,
    embedding,
    join,
    linear,
    mapped,
    normalisation,
    pooling,
    prelu,
    product,
    reduction,
    shape,
    smooth,
    softmax,
)
from fastwgan.engine.rules.base import Bound, Rule
from fastwgan.engine.rules.local import Local

RULES: dict[Callable[..., Any], Rule | tuple[Rule, ...]] = {
    **linear.RULES,
    **activation.RULES,
    **convolution.RULES,
    **smooth.RULES,
    **clamp.RULES,
    **prelu.RULES,
    **dropout.RULES,
    **normalisation.RULES,
    **batch_norm.RULES,
    **pooling.RULES,
    **shape.RULES,
    **join.RULES,
    **mapped.RULES,
    **reduction.RULES,
    **deviation.RULES,
    **softmax.RULES,
    **arithmetic.RULES,
    **product.RULES,
    **embedding.RULES,
    **attention.RULES,
}
"""Where a function has several rules, the first that covers a call has it."""

LOCAL = Local()


def bind(
    function: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    activations: Container[int] = (),
) -> tuple[Rule, Bound]:
    """The rule for a call, and the call in that rule's form.

    Args:
        function: What is called.
        args: With these,
        kwargs: and these.
        activations: The ids of tensors that depend on the critic's input, which no rule takes for
            weights.
    """
    rules = RULES.get(function, ())
    for rule in rules if isinstance(rules, tuple) else (rules,):
        bound = rule.bind(function, args, kwargs)
        if bound is not None and not any(id(z) in activations for z in _weights(rule, bound)):
            return rule, bound
    return LOCAL, LOCAL.bind(function, args, kwargs)


def _weights(rule: Rule, bound: Bound) -> list[Tensor | None]:
    return [bound.inputs[position] for position in rule.weights if position < len(bound.inputs)]
