"""The rules of each kind of layer, found by the function that a critic calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastwgan.engine.rules import activation, convolution, linear
from fastwgan.engine.rules.base import Bound, Rule
from fastwgan.engine.rules.local import Local

RULES: dict[Callable[..., Any], Rule] = {
    **linear.RULES,
    **activation.RULES,
    **convolution.RULES,
}

LOCAL = Local()


def bind(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Rule, Bound]:
    """The rule for a call, and the call in that rule's form."""
    rule = RULES.get(function)
    bound = rule.bind(function, args, kwargs) if rule is not None else None
    if rule is None or bound is None:
        return LOCAL, LOCAL.bind(function, args, kwargs)
    return rule, bound
