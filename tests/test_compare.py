"""The comparison must fail when a result is wrong: each test hands it one kind of wrong result."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tests.compare import assert_gradients_match, assert_matches, relative_error
from tests.tolerances import TOLERANCES, Bound, _merged

OP = "self_test"


def expected() -> Tensor:
    return torch.linspace(1.0, 2.0, 12, dtype=torch.float64).reshape(3, 4)


def actual(scale: float = 1.0) -> Tensor:
    return (expected() * scale).float()


def with_value(value: float) -> Tensor:
    tensor = actual()
    tensor[1, 2] = value
    return tensor


def check(got: Tensor | None, want: Tensor | None) -> None:
    assert_matches(got, want, op=OP, order=0, context="case")


def check_gradients(got: list[Tensor | None], want: list[Tensor | None]) -> None:
    assert_gradients_match(got, want, op=OP, order=1, context="case")


def test_equal_to_rounding_passes() -> None:
    check(actual(), expected())
    check(None, None)
    check_gradients([actual(), None], [expected(), None])


def test_relative_error_is_that_of_norms() -> None:
    assert relative_error(torch.tensor([3.0, 0.0]), torch.tensor([0.0, 4.0])) == pytest.approx(1.25)
    assert relative_error(torch.zeros(3), torch.zeros(3)) == 0.0
    assert relative_error(torch.full((3,), 1e-30), torch.zeros(3)) == math.inf
    assert relative_error(torch.zeros(0), torch.zeros(0)) == 0.0


def test_relative_error_neither_overflows_nor_underflows() -> None:
    for scale in (1e-300, 1e300):
        want = torch.tensor([3.0, 4.0], dtype=torch.float64) * scale
        assert relative_error(want * 1.5, want) == pytest.approx(0.5)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_unexpected_nan_or_inf_fails(value: float) -> None:
    with pytest.raises(AssertionError, match="misplaced"):
        check(with_value(value), expected())
    with pytest.raises(AssertionError, match="NaN or Inf"):
        check_gradients([with_value(value)], [expected()])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_expected_nan_or_inf_must_be_there(value: float) -> None:
    check(with_value(value), with_value(value).double())
    with pytest.raises(AssertionError, match="misplaced"):
        check(actual(), with_value(value).double())


def test_inf_of_the_wrong_sign_fails() -> None:
    with pytest.raises(AssertionError, match="sign"):
        check(with_value(math.inf), with_value(-math.inf).double())


def test_error_beside_an_expected_nan_still_fails() -> None:
    wrong = with_value(math.nan)
    wrong[0, 0] += 1.0
    with pytest.raises(AssertionError, match="over the bound"):
        check(wrong, with_value(math.nan).double())


@pytest.mark.parametrize(("got", "want"), [(None, expected()), (actual(), None)])
def test_missing_tensor_fails(got: Tensor | None, want: Tensor | None) -> None:
    with pytest.raises(AssertionError, match="None"):
        check(got, want)
    with pytest.raises(AssertionError, match="None"):
        check_gradients([actual(), got], [expected(), want])


def test_missing_entry_fails() -> None:
    with pytest.raises(AssertionError, match="1 gradients where 2"):
        check_gradients([actual()], [expected(), expected()])


@pytest.mark.parametrize("shape", [(4, 3), (12,), (1, 3, 4), (2, 4)])
def test_wrong_shape_fails(shape: tuple[int, ...]) -> None:
    wrong = torch.ones(shape)
    with pytest.raises(AssertionError, match="shape"):
        check(wrong, expected())
    with pytest.raises(AssertionError, match="shape"):
        check_gradients([wrong], [expected()])


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_wrong_kind_of_dtype_fails(dtype: torch.dtype) -> None:
    wrong = actual().to(dtype)
    with pytest.raises(AssertionError, match="dtype"):
        check(wrong, expected())
    with pytest.raises(AssertionError, match="dtype"):
        check_gradients([wrong], [expected()])


def test_error_over_the_bound_fails() -> None:
    check(actual(1.0 + 0.9e-3), expected())
    with pytest.raises(AssertionError, match="over the bound"):
        check(actual(1.0 + 1.1e-3), expected())
    with pytest.raises(AssertionError, match="over the bound"):
        check_gradients([actual(1.0 + 1.1e-3)], [expected()])


def test_exact_row_refuses_the_last_bit() -> None:
    check(expected(), expected())
    wrong = expected()
    wrong[0, 0] = math.nextafter(wrong[0, 0].item(), math.inf)
    with pytest.raises(AssertionError, match="over the bound"):
        check(wrong, expected())


def test_zeros_expected_are_exact() -> None:
    check(torch.zeros(3), torch.zeros(3).double())
    with pytest.raises(AssertionError, match="over the bound"):
        check(torch.full((3,), 1e-12), torch.zeros(3).double())


def test_whole_gradient_of_zero_fails() -> None:
    with pytest.raises(AssertionError, match="zero as a whole"):
        check_gradients([torch.zeros(3, 4)], [expected()])
    with pytest.raises(AssertionError, match="tests nothing"):
        check_gradients([torch.zeros(3, 4)], [torch.zeros(3, 4).double()])
    with pytest.raises(AssertionError, match="nothing was compared"):
        check_gradients([None], [None])


def test_one_parameter_may_be_zero_in_a_gradient() -> None:
    tiny = torch.full((2,), 1e-7)
    check_gradients([actual(), tiny], [expected(), torch.zeros(2).double()])


def test_gradient_error_is_that_of_the_whole() -> None:
    """A small error in a large gradient passes, the same error in a small one does not."""
    off = torch.full((2,), 1e-2)
    zero = torch.zeros(2).double()
    check_gradients([actual() * 100, off], [expected() * 100, zero])
    with pytest.raises(AssertionError, match="worst in gradient 1"):
        check_gradients([actual(), off], [expected(), zero])


def test_unknown_row_is_an_error() -> None:
    with pytest.raises(KeyError, match="no bound"):
        assert_matches(actual(), expected(), op="no_such_op", order=0)


def test_every_bound_has_a_reason_and_keeps_half_the_digits() -> None:
    for (op, dtype, order), bound in TOLERANCES.items():
        if op == OP:
            continue
        assert len(bound.reason.split()) >= 4, (op, dtype, order)
        assert order in (0, 1, 2), (op, dtype, order)
        assert 0.0 <= bound.value <= math.sqrt(torch.finfo(dtype).eps), (op, dtype, order)


def test_two_bounds_for_one_key_are_refused() -> None:
    block = {(OP, torch.float32, 0): Bound(0.0, "first")}
    with pytest.raises(ValueError, match="same key"):
        _merged((block, block))
