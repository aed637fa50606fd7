"""What a method is made of: "sn+gp" holds a critic by spectral norm and by a gradient penalty."""

from __future__ import annotations

from functools import cache

PARTS = ("clip", "sn", "gp", "lp", "dragan", "r1", "r2")

PENALTIES = {"gp": "wgan-gp", "lp": "wgan-lp", "dragan": "dragan", "r1": "r1", "r2": "r2"}
"""The kind of `fastwgan.gradient_penalty` that a part stands for."""

_NAMES = {"clip": "wgan", "gp": "wgan-gp", "lp": "wgan-lp", "sn": "sn-gan"}
_PART_OF = {name: part for part, name in _NAMES.items()}

METHODS = ("wgan", "wgan-gp", "wgan-lp", "dragan", "sn-gan", "r1", "r1+r2", "sn+gp")
"""The methods that `--help` names; others are sums of parts."""


@cache
def parts_of(method: str) -> tuple[str, ...]:
    """The parts of a method in the order of `PARTS`.

    Args:
        method: Names of parts or of methods of one part, joined by "+", in any order.

    Raises:
        ValueError: what the method must be, as the rest of a sentence.
    """
    named = [_PART_OF.get(name, name) for name in method.split("+")]
    unknown = [name for name in named if name not in PARTS]
    if unknown or len(set(named)) < len(named):
        raise ValueError(
            f"one of {', '.join(METHODS)}, or different parts of {', '.join(PARTS)} joined by +"
        )
    if {"gp", "lp"} <= set(named):
        raise ValueError("one with gp or lp, not both: they penalise the same norms")
    return tuple(part for part in PARTS if part in named)


def name_of(parts: tuple[str, ...]) -> str:
    """The name of a method: a paper's where it is one part's."""
    return _NAMES.get(parts[0], parts[0]) if len(parts) == 1 else "+".join(parts)
