"""The one way the tests compare numbers; `test_compare.py` proves that it fails when it must.

The error is relative and taken in float64. Absolute tolerances are absent on purpose: with them a
gradient of zeros passes as soon as the true one is small.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from tests.tolerances import TOLERANCES, Bound


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """Norm of the difference over the norm of `expected`, in float64.

    Where nothing but zeros is expected, the error is 0 for zeros and infinite for anything else.
    """
    difference = _norm(_wide(actual) - _wide(expected))
    return _ratio(difference, _norm(_wide(expected)))


def assert_matches(
    actual: Tensor | None, expected: Tensor | None, *, op: str, order: int, context: str = ""
) -> None:
    """Fails unless `actual` is `expected` within the bound of (op, dtype of actual, order).

    Args:
        actual: The result under test.
        expected: The reference, usually float64. NaN and Inf in it are part of what is expected.
        op: Row of `tests/tolerances.py`.
        order: 0 for values, 1 for gradients, 2 for gradients of gradients.
        context: Said in front of every failure.
    """
    pair = _present(actual, expected, f"{op}: {context}")
    if pair is None:
        return
    actual, expected = pair
    where = _describe(op, order, context)
    _check_form(actual, expected, where)
    finite = _check_special_values(actual, expected, where)
    bound = _bound(op, actual.dtype, order)
    error = relative_error(actual[finite], expected[finite])
    _check_error(error, bound, where)


def assert_gradients_match(
    actual: Sequence[Tensor | None],
    expected: Sequence[Tensor | None],
    *,
    op: str,
    order: int,
    context: str = "",
) -> None:
    """Fails unless a whole gradient, one tensor a parameter, is the expected one.

    The error is relative to the norm of the whole gradient, since that of one parameter can truly
    be zero (the last bias of a critic under a gradient penalty). A whole gradient of zeros fails
    even where zeros are expected: such a test tests nothing.
    """
    where = _describe(op, order, context)
    if len(actual) != len(expected):
        raise AssertionError(f"{where}: {len(actual)} gradients where {len(expected)} are expected")
    pairs = []
    for index, (got, want) in enumerate(zip(actual, expected, strict=True)):
        pair = _present(got, want, f"{where}: gradient {index}")
        if pair is not None:
            _check_form(*pair, f"{where}: gradient {index}")
            pairs.append((index, *pair))
    if not pairs:
        raise AssertionError(f"{where}: no gradient at all, so nothing was compared")
    for index, got, want in pairs:
        _check_all_finite(got, want, f"{where}: gradient {index}")
    _check_whole(pairs, op, order, where)


def _check_whole(pairs: list[tuple[int, Tensor, Tensor]], op: str, order: int, where: str) -> None:
    whole = math.hypot(*(_norm(_wide(want)) for _, _, want in pairs))
    if whole == 0.0:
        raise AssertionError(f"{where}: the expected gradient is zero as a whole: tests nothing")
    if all(_norm(_wide(got)) == 0.0 for _, got, _ in pairs):
        raise AssertionError(f"{where}: the gradient is zero as a whole")
    # The widest bound serves the whole: mixed precisions are judged by their coarsest member.
    bound = max((_bound(op, got.dtype, order) for _, got, _ in pairs), key=lambda row: row.value)
    differences = {index: _norm(_wide(got) - _wide(want)) for index, got, want in pairs}
    worst = max(differences, key=differences.__getitem__)
    error = _ratio(math.hypot(*differences.values()), whole)
    _check_error(error, bound, f"{where} (worst in gradient {worst})")


def _wide(tensor: Tensor) -> Tensor:
    wide = torch.complex128 if tensor.is_complex() else torch.float64
    return tensor.detach().cpu().to(wide).reshape(-1)


def _norm(vector: Tensor) -> float:
    """Euclidean norm that neither overflows nor underflows for representable entries."""
    if vector.numel() == 0:
        return 0.0
    largest = float(vector.abs().max())
    if largest == 0.0 or not math.isfinite(largest):
        return largest
    return largest * float(torch.linalg.vector_norm(vector / largest))


def _ratio(difference: float, expected: float) -> float:
    if difference == 0.0:
        return 0.0
    return difference / expected if expected > 0.0 else math.inf


def _describe(op: str, order: int, context: str) -> str:
    return f"{op}, order {order}" + (f", {context}" if context else "")


def _bound(op: str, dtype: torch.dtype, order: int) -> Bound:
    if (op, dtype, order) not in TOLERANCES:
        raise KeyError(f"tests/tolerances.py has no bound for ({op!r}, {dtype}, order {order})")
    return TOLERANCES[op, dtype, order]


def _present(
    actual: Tensor | None, expected: Tensor | None, where: str
) -> tuple[Tensor, Tensor] | None:
    if actual is None and expected is None:
        return None
    if actual is None:
        raise AssertionError(f"{where}: missing (None) where a tensor is expected")
    if expected is None:
        raise AssertionError(f"{where}: a tensor where None is expected")
    return actual, expected


def _kind(dtype: torch.dtype) -> str:
    if dtype.is_complex:
        return "complex"
    return "real" if dtype.is_floating_point else "integer"


def _check_form(actual: Tensor, expected: Tensor, where: str) -> None:
    if actual.shape != expected.shape:
        raise AssertionError(
            f"{where}: shape {tuple(actual.shape)} where {tuple(expected.shape)} is expected"
        )
    if _kind(actual.dtype) != _kind(expected.dtype):
        raise AssertionError(
            f"{where}: dtype {actual.dtype} is not {_kind(expected.dtype)} as expected"
        )


def _check_special_values(actual: Tensor, expected: Tensor, where: str) -> Tensor:
    """NaN and each sign of Inf must stand exactly where expected. Returns where both are finite."""
    got, want = actual.detach().cpu(), expected.detach().cpu()
    for name, test in (("NaN", torch.isnan), ("Inf", torch.isinf)):
        wrong = test(got) != test(want)
        if bool(wrong.any()):
            first = tuple(wrong.nonzero()[0].tolist())
            raise AssertionError(f"{where}: {int(wrong.sum())} misplaced {name}, first at {first}")
    infinite = torch.isinf(want)
    if not got.is_complex() and bool((got[infinite].sign() != want[infinite].sign()).any()):
        raise AssertionError(f"{where}: Inf of the wrong sign")
    return torch.isfinite(want).to(actual.device)


def _check_all_finite(actual: Tensor, expected: Tensor, where: str) -> None:
    if not bool(torch.isfinite(expected).all()):
        raise AssertionError(f"{where}: the expected gradient itself is not finite")
    if not bool(torch.isfinite(actual).all()):
        raise AssertionError(f"{where}: NaN or Inf in the gradient")


def _check_error(error: float, bound: Bound, where: str) -> None:
    if not error <= bound.value:
        raise AssertionError(
            f"{where}: relative error {error:.3e} over the bound {bound.value:.3e} ({bound.reason})"
        )
