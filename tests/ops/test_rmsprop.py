from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import fastwgan
from fastwgan.ops.rmsprop import rmsprop_
from tests.compare import assert_matches
from tests.guarded import (
    DTYPES,
    LAYOUTS,
    SIZES,
    Placed,
    assert_same_bits,
    place,
)

# Above the size at which the kernels wake a second thread, and no multiple of anything.
LARGE = 14_003
NUMBERS: dict[str, Any] = {
    "lr": 0.05,
    "alpha": 0.9,
    "eps": 1e-6,
    "weight_decay": 0.1,
    "momentum": 0.8,
    "maximize": False,
    "weight_clip": 0.7,
}
LISTS = ("parameters", "gradients", "square_averages", "momentum_buffers", "gradient_averages")


class Case(NamedTuple):
    """One parameter, its gradient and its state."""

    parameter: Tensor
    gradient: Tensor
    square_average: Tensor
    momentum_buffer: Tensor
    gradient_average: Tensor


def _case(shape: tuple[int, ...], dtype: torch.dtype) -> Case:
    """Magnitudes such that no sum of the step loses more than two bits to cancellation."""

    def between(low: float, high: float) -> Tensor:
        magnitude = low + (high - low) * torch.rand(shape, dtype=torch.float64)
        return (magnitude * torch.randint(0, 2, shape).mul_(2).sub_(1)).to(dtype)

    return Case(
        parameter=between(0.5, 1.0),
        gradient=between(0.5, 1.0),
        square_average=between(1.0, 2.0).abs(),
        momentum_buffer=between(3.0, 4.0),
        gradient_average=between(0.0, 0.5),
    )


def _lists(
    cases: list[tuple[Tensor, ...]], *, momentum: bool = True, centered: bool = True
) -> list[list[Tensor]]:
    rows = [list(row) for row in zip(*cases, strict=True)]
    return [*rows[:3], rows[3] if momentum else [], rows[4] if centered else []]


def _expected(case: Case, numbers: dict[str, Any], *, momentum: bool, centered: bool) -> Case:
    """The equations of csrc/include/fastwgan/rmsprop.h in float64."""
    p, g, square, buffer, mean = (t.double() for t in case)
    n = numbers
    g = -g if n["maximize"] else g
    if n["weight_decay"] != 0:
        g = g + n["weight_decay"] * p
    square = n["alpha"] * square + (1 - n["alpha"]) * g * g
    variance = square
    if centered:
        mean = mean + (1 - n["alpha"]) * (g - mean)
        variance = square - mean * mean
    direction = g / (variance.sqrt() + n["eps"])
    if momentum:
        buffer = direction = n["momentum"] * buffer + direction
    p = p - n["lr"] * direction
    if n["weight_clip"] is not None:
        p = p.clamp(-n["weight_clip"], n["weight_clip"])
    return Case(p, case.gradient.double(), square, buffer, mean)


FORMS = list(itertools.product((False, True), (False, True)))
FORM_IDS = ["plain", "centered", "momentum", "momentum-centered"]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_equals_the_equations_and_writes_nothing_else(
    backend: str, dtype: torch.dtype, layout: str
) -> None:
    for momentum, centered in (FORMS[0], FORMS[3]):
        cases = []
        for size in (*SIZES, LARGE):
            for shape in ((size,), (2, 3, size, 2)) if size < 100 else ((size,),):
                cases.append(_case(shape, dtype))
        placed = [tuple(place(t, layout) for t in case) for case in cases]
        views = [tuple(p.view for p in row) for row in placed]
        rmsprop_(*_lists(views, momentum=momentum, centered=centered), **NUMBERS)
        for case, row in zip(cases, placed, strict=True):
            expected = _expected(case, NUMBERS, momentum=momentum, centered=centered)
            _check(row, expected, written=(True, False, True, momentum, centered))


def _check(row: tuple[Placed, ...], expected: Case, written: tuple[bool, ...]) -> None:
    for name, p, value, was_written in zip(Case._fields, row, expected, written, strict=True):
        if was_written:
            context = f"{name} {tuple(value.shape)}"
            assert_matches(p.view, value, op="rmsprop", order=0, context=context)
            p.assert_untouched_outside()
        else:
            p.assert_untouched()


@pytest.mark.parametrize(("momentum", "centered"), FORMS, ids=FORM_IDS)
@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
@pytest.mark.parametrize("weight_clip", [None, 0.4, 1e39])
def test_every_option(
    backend: str,
    momentum: bool,
    centered: bool,
    maximize: bool,
    weight_decay: float,
    weight_clip: float | None,
) -> None:
    options = {"maximize": maximize, "weight_decay": weight_decay, "weight_clip": weight_clip}
    numbers = {**NUMBERS, **options}
    for dtype in DTYPES:
        case = _case((97,), dtype)
        row = tuple(place(t, "contiguous") for t in case)
        rmsprop_(
            *_lists([tuple(p.view for p in row)], momentum=momentum, centered=centered), **numbers
        )
        expected = _expected(case, numbers, momentum=momentum, centered=centered)
        _check(row, expected, written=(True, False, True, momentum, centered))


def test_one_call_takes_any_mixture(backend: str) -> None:
    cases, placed = [], []
    for dtype in DTYPES:
        for size in (0, 1, 33, 97):
            case = _case((size, 5), dtype)
            layouts = torch.randint(len(LAYOUTS), (5,)).tolist()
            row = zip(case, layouts, strict=True)
            placed.append(tuple(place(t, LAYOUTS[layout]) for t, layout in row))
            cases.append(case)
    rmsprop_(*_lists([tuple(p.view for p in row) for row in placed]), **NUMBERS)
    for case, row in zip(cases, placed, strict=True):
        expected = _expected(case, NUMBERS, momentum=True, centered=True)
        _check(row, expected, written=(True, False, True, True, True))


def test_gradient_of_another_dtype_and_expanded(backend: str) -> None:
    case = _case((5, 3), torch.float32)
    gradient = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64).expand(5, 3)
    case = case._replace(gradient=gradient)
    tensors = [t.clone() for t in case]
    tensors[1] = gradient
    rmsprop_(*_lists([tuple(tensors)]), **NUMBERS)
    expected = _expected(case, NUMBERS, momentum=True, centered=True)
    assert_matches(tensors[0], expected.parameter, op="rmsprop", order=0)


def test_special_values_stay_special(backend: str) -> None:
    inf, nan = float("inf"), float("nan")
    numbers = {**NUMBERS, "weight_decay": 0.0}
    for dtype, clip in itertools.product(DTYPES, (None, 0.5)):
        values = torch.tensor([nan, inf, -inf, 0.0, 1.0, 2.0, nan, inf], dtype=dtype).repeat(9)
        gradient = torch.tensor([1.0, 1.0, 1.0, nan, inf, -inf, nan, 0.0], dtype=dtype).repeat(9)
        case = _case((72,), dtype)._replace(parameter=values, gradient=gradient)
        row = tuple(place(t, "contiguous") for t in case)
        lists = _lists([tuple(p.view for p in row)], momentum=False, centered=False)
        rmsprop_(*lists, **{**numbers, "weight_clip": clip})
        step = {**numbers, "weight_clip": clip}
        expected = _expected(case, step, momentum=False, centered=False)
        # Without weight decay a parameter of NaN or Inf takes no part in its own gradient.
        assert bool(expected.square_average[gradient.isfinite()].isfinite().all())
        _check(row, expected, written=(True, False, True, False, False))


def test_one_minus_alpha_is_taken_before_it_is_rounded(backend: str) -> None:
    """In float32, 1 - float32(0.999) is a hundred roundings off."""
    for alpha in (0.9, 0.99, 0.999):
        averages, means = torch.zeros(19), torch.zeros(19)
        numbers = {**NUMBERS, "alpha": alpha, "weight_decay": 0.0}
        rmsprop_([torch.ones(19)], [torch.ones(19)], [averages], [], [means], **numbers)
        for state in (averages, means):
            assert_same_bits(state, torch.full_like(state, 1 - alpha))


@pytest.mark.parametrize(("momentum", "centered"), FORMS, ids=FORM_IDS)
def test_threads_give_the_same_bits(backend: str, momentum: bool, centered: bool) -> None:
    for dtype in DTYPES:
        cases = [_case((size,), dtype) for size in (LARGE, 1, 97, 0, LARGE // 2, 31)]
        runs = []
        for threads in (1, 2):
            copies = [tuple(t.clone() for t in case) for case in cases]
            try:
                torch.set_num_threads(threads)
                rmsprop_(*_lists(copies, momentum=momentum, centered=centered), **NUMBERS)
            finally:
                torch.set_num_threads(1)
            runs.append([t for copy in copies for t in copy])
        for single, double in zip(*runs, strict=True):
            assert_same_bits(double, single)


@given(
    sizes=st.lists(st.integers(0, 70), max_size=5),
    lr=st.floats(0, 10),
    alpha=st.floats(0.5, 0.999),
    weight_decay=st.floats(0, 2),
    momentum=st.floats(0, 2),
    weight_clip=st.none() | st.floats(1e-3, 1e3),
    maximize=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_any_sizes_and_options(
    backend: str, sizes: list[int], maximize: bool, seed: int, **options: Any
) -> None:
    torch.manual_seed(seed)
    numbers = {**NUMBERS, **options, "maximize": maximize}
    cases = [_case((size,), torch.float64) for size in sizes]
    copies = [tuple(t.clone() for t in case) for case in cases]
    rmsprop_(*_lists(copies) if cases else [[]] * 5, **numbers)
    for case, copy in zip(cases, copies, strict=True):
        expected = _expected(case, numbers, momentum=True, centered=True)
        # Cancellation between parameter and step is part of the problem, not of the arithmetic.
        scale = case.parameter.abs() + (expected.parameter - case.parameter).abs()
        difference = (copy[0] - expected.parameter).abs()
        assert bool((difference <= 64 * torch.finfo(torch.float64).eps * scale).all())
        assert_matches(copy[2], expected.square_average, op="rmsprop", order=0)


def _library_call(*lists: list[Tensor], **numbers: Any) -> None:
    with torch.no_grad():
        torch.ops.fastwgan.rmsprop_(*lists, *(numbers[name] for name in NUMBERS))


@pytest.mark.parametrize(("momentum", "centered"), FORMS, ids=FORM_IDS)
def test_direct_path_equals_library_path(backend: str, momentum: bool, centered: bool) -> None:
    for dtype in DTYPES:
        cases = [_case((size,), dtype) for size in (97, 0, LARGE)]
        runs = []
        for call in (rmsprop_, _library_call):
            copies = [tuple(t.clone() for t in case) for case in cases]
            call(*_lists(copies, momentum=momentum, centered=centered), **NUMBERS)
            runs.append([t for copy in copies for t in copy])
        for direct, library in zip(*runs, strict=True):
            assert_same_bits(direct, library)


@pytest.mark.parametrize(("momentum", "centered"), FORMS, ids=FORM_IDS)
def test_opcheck(backend: str, momentum: bool, centered: bool) -> None:
    cases = [_case((5, 3), torch.float32), _case((7,), torch.bfloat16)]
    lists = _lists(cases, momentum=momentum, centered=centered)
    torch.library.opcheck(torch.ops.fastwgan.rmsprop_, (*lists, *NUMBERS.values()))


@pytest.mark.parametrize("call", [rmsprop_, _library_call], ids=["direct", "library"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_version_counters_move(backend: str, call: Any, dtype: torch.dtype) -> None:
    case = _case((4, 4), dtype)
    before = [t._version for t in case]
    call(*_lists([case]), **NUMBERS)
    moved = [t._version > version for t, version in zip(case, before, strict=True)]
    assert moved == [True, False, True, True, True]


def test_a_stale_backward_raises(backend: str) -> None:
    case = _case((4, 4), torch.float32)
    weight = nn.Parameter(case.parameter)
    loss = (torch.ones(4, 4, requires_grad=True) @ weight).sum()
    rmsprop_(*_lists([(weight, *case[1:])]), **NUMBERS)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_lazily_negated_gradient(backend: str) -> None:
    case = _case((1,), torch.float32)
    gradient = torch.tensor([3 + 4j]).conj().imag
    assert gradient.is_neg()
    case = case._replace(gradient=gradient)
    expected = _expected(case, NUMBERS, momentum=True, centered=True)
    rmsprop_(*_lists([case]), **NUMBERS)
    for actual, wanted in zip(case, expected, strict=True):
        assert_matches(actual, wanted, op="rmsprop", order=0)


class _Spy(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


def test_modes_see_the_operation(backend: str) -> None:
    with _Spy() as spy:
        rmsprop_(*_lists([_case((3,), torch.float32)]), **NUMBERS)
    assert "fastwgan.rmsprop_.default" in spy.seen


def _replaced(index: int, tensor: Any, row: int = 1) -> list[list[Tensor]]:
    """Two good parameters, and in one row one tensor that is bad."""
    rows = [list(_case((4,), torch.float32)), list(_case((4,), torch.float32))]
    rows[row][index] = tensor
    return _lists([tuple(row) for row in rows])


BAD: dict[str, tuple[Any, tuple[int, ...], type[Exception], str]] = {
    "short": (lambda: torch.ones(3), (1, 2, 3, 4), ValueError, r"shape \(3,\)"),
    "long": (lambda: torch.ones(5), (0, 1, 2, 3, 4), ValueError, r"shape \(\d,\)"),
    "other shape": (lambda: torch.ones(2, 2), (1, 2, 3, 4), ValueError, r"shape \(2, 2\)"),
    "integer": (lambda: torch.ones(4, dtype=torch.int32), (0, 1, 2, 3, 4), TypeError, "int32"),
    "complex": (lambda: torch.ones(4) + 0j, (0, 1, 2, 3, 4), TypeError, "complex64"),
    "sparse": (lambda: torch.ones(4).to_sparse(), (0, 1, 2, 3, 4), TypeError, "sparse"),
    "meta": (lambda: torch.ones(4, device="meta"), (0, 1, 2, 3, 4), ValueError, "meta"),
    "expanded": (lambda: torch.ones(1).expand(4), (0, 2, 3, 4), ValueError, "expanded"),
    "none": (lambda: None, (0, 1, 2, 3, 4), TypeError, "NoneType"),
}


@pytest.mark.parametrize("row", [0, 1])
@pytest.mark.parametrize(
    ("name", "index"), [(name, i) for name, row in BAD.items() for i in row[1]]
)
def test_bad_tensors_are_named_and_nothing_is_written(
    backend: str, name: str, index: int, row: int
) -> None:
    make, _, error, said = BAD[name]
    lists = _replaced(index, make(), row)
    good = [t for i, both in enumerate(lists) for j, t in enumerate(both) if (i, j) != (index, row)]
    before = [t.clone() for t in good]
    with pytest.raises(error, match=rf"\w+\[\d\].*{said}"):
        rmsprop_(*lists, **NUMBERS)
    for now, then in zip(good, before, strict=True):
        assert_same_bits(now, then)


@pytest.mark.parametrize("index", [1, 2, 3, 4])
def test_lists_of_other_lengths_are_named_and_nothing_is_written(backend: str, index: int) -> None:
    for tensors in ([torch.ones(4)], [torch.ones(4)] * 3):
        lists = _replaced(0, torch.ones(4))
        lists[index] = tensors
        before = lists[0][0].clone()
        with pytest.raises(ValueError, match=f"{LISTS[index]} had {len(tensors)} tensors"):
            rmsprop_(*lists, **NUMBERS)
        assert_same_bits(lists[0][0], before)


@pytest.mark.parametrize("index", [1, 2])
def test_missing_lists_are_named(backend: str, index: int) -> None:
    lists = _replaced(0, torch.ones(4))
    lists[index] = []
    with pytest.raises(ValueError, match=f"{LISTS[index]} had 0 tensors"):
        rmsprop_(*lists, **NUMBERS)


def test_nothing_to_step(backend: str) -> None:
    rmsprop_([], [], [], [], [], **NUMBERS)


def test_tuples_are_lists_too(backend: str) -> None:
    case = _case((4,), torch.float32)
    expected = _expected(case, NUMBERS, momentum=True, centered=True)
    rmsprop_(*map(tuple, _lists([case])), **NUMBERS)
    assert_matches(case.parameter, expected.parameter, op="rmsprop", order=0)


def test_a_forced_backend_that_cannot_take_a_tensor_writes_nothing() -> None:
    case = _case((4,), torch.float32)
    before = case.parameter.clone()
    meta = tuple(t.to("meta") for t in case)
    with fastwgan.use_backend("cpu"), pytest.raises(ValueError, match="meta"):
        rmsprop_(*_lists([case, meta]), **NUMBERS)
    assert_same_bits(case.parameter, before)
