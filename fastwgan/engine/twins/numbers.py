"""Arguments that torch takes as one number or as one a spatial dimension."""

from __future__ import annotations

from typing import Any


def are_numbers(*values: Any) -> bool:
    """True when every value is an int or a list or tuple of ints, the forms that `each` knows."""
    return all(
        isinstance(value, int)
        or (isinstance(value, (list, tuple)) and all(isinstance(item, int) for item in value))
        for value in values
    )


def each(value: Any, dims: int) -> list[int]:
    """One number a dimension, from a number or a sequence of one or of `dims`."""
    if isinstance(value, int):
        return [value] * dims
    values = list(value)
    return values * dims if len(values) == 1 else values
