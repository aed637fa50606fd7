"""Values of interpolation, norm, penalty and cotangent, on every backend and instruction set."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fastwgan import _cpu, backends
from fastwgan.ops.gradient_penalty import interpolate, norm_penalty
from fastwgan.ops.gradient_penalty.autograd import run_norm_penalty
from tests.compare import assert_matches
from tests.conftest import INSTRUCTION_SETS, why_not_run
from tests.guarded import LAYOUTS, SIZES, assert_same_bits, place
from tests.ops.gradient_penalty_cases import (
    HALVES,
    IMAGE,
    KINDS,
    ROW_SIZES,
    ROWS,
    WIDE,
    gradients,
    mixed,
    samples,
    true_norm_penalty,
    wide,
)

NORM = "gradient_penalty_norm"
MIX = "gradient_penalty_interpolate"


def _check_mix(real: Tensor, fake: Tensor, alpha: Tensor) -> Tensor:
    got = interpolate(real, fake, alpha)
    assert got.dtype is real.dtype
    if real.numel():
        assert_matches(got, mixed(real, fake, alpha), op=MIX, order=0, context=str(real.shape))
    assert got.shape == real.shape
    return got


def _check_norm(gradient: Tensor, kind: str, target: float = 1.0, weight: float = 10.0) -> None:
    expected = true_norm_penalty(gradient, kind, target, weight)
    actual = run_norm_penalty(gradient, kind, target, weight)
    public = norm_penalty(gradient, kind, target, weight)
    for name, got, want in zip(("penalty", "norms", "cotangent"), actual, expected, strict=True):
        assert got.dtype is wide(gradient.dtype)
        context = f"{name}, {kind}, {tuple(gradient.shape)}"
        assert_matches(got, want, op=NORM, order=0, context=context)
    for got, same in zip(public, actual, strict=False):
        assert_same_bits(got, same)


@pytest.mark.parametrize("dtype", WIDE, ids=str)
def test_interpolates_of_every_size(backend: str, dtype: torch.dtype) -> None:
    for size in ROW_SIZES:
        for rows in ROWS:
            for groups in {1, rows}:
                _check_mix(*samples((rows, size), dtype), torch.rand(groups, dtype=dtype))
    _check_mix(*samples((6, 3, 5, 7), dtype), torch.rand(3, dtype=dtype))
    _check_mix(*samples((4,), dtype), torch.rand(2, dtype=dtype))
    _check_mix(*samples((0, 5), dtype), torch.rand(1, dtype=dtype))


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_half_precision_is_rounded_once(dtype: torch.dtype) -> None:
    real, fake = samples((6, 97), dtype)
    alpha = torch.rand(6)
    exact = (alpha[:, None] * real.float() + (1 - alpha)[:, None] * fake.float()).to(dtype)
    assert_same_bits(_check_mix(real, fake, alpha), exact)


def test_alpha_0_and_1_give_the_samples_themselves(backend: str) -> None:
    real, fake = samples((4, 33), torch.float32)
    got = interpolate(real, fake, torch.tensor([0.0, 1.0, 1.0, 0.0]))
    assert_same_bits(got, torch.stack([fake[0], real[1], real[2], fake[3]]))


@pytest.mark.parametrize("dtype", WIDE, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_interpolates_of_any_layout(backend: str, dtype: torch.dtype, layout: str) -> None:
    for shape in ((3, 17), (4, 3, 5, 7), (2, 3, 2, 3, 4)):
        real, fake = samples(shape, dtype)
        for fake_layout in (layout, "contiguous", "channels-last"):
            placed = place(real, layout), place(fake, fake_layout)
            alpha = place(torch.rand(shape[0], dtype=dtype), "gaps")
            _check_mix(placed[0].view, placed[1].view, alpha.view)
            for each in (*placed, alpha):
                each.assert_untouched()


@pytest.mark.parametrize("dtype", WIDE, ids=str)
def test_what_is_negated_lazily_has_its_own_sign(backend: str, dtype: torch.dtype) -> None:
    real, fake = samples((4, 9), dtype)
    alpha = torch.rand(4, dtype=dtype)
    lazily = [torch._neg_view(-t) for t in (real, fake, alpha)]
    assert all(each.is_neg() for each in lazily)
    assert_same_bits(interpolate(*lazily), interpolate(real, fake, alpha))
    options = ("wgan-gp", 1.0, 10.0)
    both = (run_norm_penalty(lazily[0], *options), run_norm_penalty(real, *options))
    for one, other in zip(*both, strict=True):
        assert_same_bits(one, other)


def test_channels_last_stays(backend: str) -> None:
    for shape, form in (
        ((2, 3, 4, 5), torch.channels_last),
        ((2, 3, 4, 5, 2), torch.channels_last_3d),
    ):
        real, fake = (t.to(memory_format=form) for t in samples(shape, torch.float32))
        got = _check_mix(real, fake, torch.rand(2))
        assert got.is_contiguous(memory_format=form)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", WIDE, ids=str)
def test_norms_of_every_size(backend: str, dtype: torch.dtype, kind: str) -> None:
    for size in SIZES:
        for rows in ROWS:
            _check_norm(gradients(rows, size, dtype), kind, target=1.0, weight=10.0)
    if kind == "wgan-gp":
        _check_norm(gradients(3, IMAGE, dtype), kind)
    _check_norm(gradients(5, 33, dtype), kind, target=2.5, weight=0.3)
    _check_norm(gradients(5, 33, dtype), kind, target=0.0, weight=1.0)
    _check_norm(gradients(5, 33, dtype), kind, target=1.0, weight=0.0)


@pytest.mark.parametrize("kind", KINDS)
def test_no_rows_are_the_mean_of_nothing(backend: str, kind: str) -> None:
    penalty, norms = norm_penalty(torch.empty(0, 5), kind, 1.0, 10.0)
    assert penalty.isnan()
    assert norms.shape == (0,)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_half_precision_norms_are_those_of_float32(dtype: torch.dtype, kind: str) -> None:
    for size in (1, 17, 97, IMAGE):
        _check_norm(gradients(5, size, dtype), kind)
    # 300² is beyond float16: the squares must be taken in float32.
    _check_norm(torch.full((2, 50), 300.0, dtype=dtype), kind)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", WIDE, ids=str)
def test_norms_of_any_layout(backend: str, dtype: torch.dtype, layout: str) -> None:
    placed = place(gradients(5, 37, dtype), layout)
    _check_norm(placed.view, "wgan-gp")
    placed.assert_untouched()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("dtype", "magnitude"),
    [
        (torch.float32, 1e30),
        (torch.float32, 3e36),
        (torch.float32, 1e-21),  # squares of few bits, in float32
        (torch.float32, 1e-30),
        (torch.float32, 1e-37),
        (torch.float64, 1e200),
        (torch.float64, 1e306),
        (torch.float64, 1e-200),
        (torch.float64, 1e-306),
    ],
    ids=str,
)
def test_neither_overflow_nor_underflow(
    backend: str, dtype: torch.dtype, magnitude: float, kind: str
) -> None:
    for size in (1, 2, 9, 33, 97):
        gradient = gradients(3, size, torch.float64) * magnitude
        gradient[:, size // 2 + 1 :] = 0  # an exact zero must stay one
        _check_one_row_large(gradient.to(dtype), kind, size)


def _check_one_row_large(gradient: Tensor, kind: str, size: int) -> None:
    _, norms, cotangent = run_norm_penalty(gradient, kind, 1.0, 10.0)
    _, true_norms, true_cotangent = true_norm_penalty(gradient, kind, 1.0, 10.0)
    assert_matches(norms, true_norms, op=NORM, order=0, context=f"norms, {size}")
    assert_matches(cotangent, true_cotangent, op=NORM, order=0, context=f"cotangent, {size}")
    assert bool((cotangent[:, size // 2 + 1 :] == 0).all())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [*WIDE, *HALVES], ids=str)
def test_zero_rows_have_a_finite_cotangent_of_zero(dtype: torch.dtype, kind: str) -> None:
    for name in ("cpu", "reference") if dtype in WIDE else ("reference",):
        with backends.use_backend(name):
            gradient = gradients(4, 17, dtype)
            gradient[1] = 0
            gradient[2] = -0.0
            _check_norm(gradient, kind)
            _, _, cotangent = run_norm_penalty(gradient, kind, 1.0, 10.0)
            assert bool((cotangent[1:3] == 0).all())
            assert bool((cotangent[0] != 0).any() or kind == "wgan-lp")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", WIDE, ids=str)
@pytest.mark.parametrize("column", [0, 16, 32])
def test_nan_in_a_row_is_seen_in_that_row_alone(
    backend: str, dtype: torch.dtype, kind: str, column: int
) -> None:
    gradient = gradients(3, 33, dtype)
    gradient[1, column] = math.nan
    penalty, norms, cotangent = run_norm_penalty(gradient, kind, 1.0, 10.0)
    assert penalty.isnan()
    assert norms.isnan().tolist() == [False, True, False]
    assert bool(cotangent[1].isnan().all()) or kind in ("r1", "r2")
    assert bool(cotangent[1, column].isnan())
    assert bool(cotangent[[0, 2]].isfinite().all())


@pytest.mark.parametrize("dtype", WIDE, ids=str)
def test_an_infinite_entry_makes_an_infinite_norm(backend: str, dtype: torch.dtype) -> None:
    gradient = gradients(2, 33, dtype)
    gradient[0, 5] = -math.inf
    penalty, norms = norm_penalty(gradient, "wgan-gp", 1.0, 10.0)
    assert norms.isinf().tolist() == [True, False]
    assert penalty.isinf()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", WIDE, ids=str)
def test_number_of_threads_does_not_show(backend: str, dtype: torch.dtype, kind: str) -> None:
    # Beyond the size at which the kernels wake a second thread.
    gradient = gradients(7, IMAGE, dtype)
    real, fake = samples((7, IMAGE), dtype)
    alpha = torch.rand(7, dtype=dtype)
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        try:
            results.append(
                (*run_norm_penalty(gradient, kind, 1.0, 10.0), interpolate(real, fake, alpha))
            )
        finally:
            torch.set_num_threads(1)
    if backend == "reference":
        return  # torch's own sums, whose order is torch's affair
    for one, two in zip(*results, strict=True):
        assert_same_bits(two, one)


@given(
    rows=st.integers(0, 9),
    shape=st.lists(st.integers(0, 9), max_size=4),
    splits=st.integers(1, 9),
    seed=st.integers(0, 2**16),
    dtype=st.sampled_from(WIDE),
    kind=st.sampled_from(KINDS),
)
def test_any_shape(
    backend: str,
    rows: int,
    shape: list[int],
    splits: int,
    seed: int,
    dtype: torch.dtype,
    kind: str,
) -> None:
    torch.manual_seed(seed)
    groups = math.gcd(rows, splits) if rows else 1
    _check_mix(*samples((rows, *shape), dtype), torch.rand(groups, dtype=dtype))
    if rows:
        _check_norm(gradients(rows, math.prod(shape), dtype), kind, target=1.25)


@given(
    row=st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1),
    kind=st.sampled_from(KINDS),
    weight=st.floats(0, 100, width=32),
)
def test_any_values_have_their_own_norm_and_a_finite_cotangent(
    backend: str, row: list[float], kind: str, weight: float
) -> None:
    gradient = torch.tensor([row], dtype=torch.float32)
    true = math.hypot(*row)
    if not 1.2e-38 <= true <= 3e38 and true != 0:
        return  # the contract is silent about norms that are no normal numbers of the dtype
    _, norms, cotangent = run_norm_penalty(gradient, kind, 1.0, weight)
    assert_matches(norms, torch.tensor([true]).double(), op=NORM, order=0)
    if weight * max(2 * true, 2) < 1e38:
        assert bool(cotangent.isfinite().all())


@pytest.mark.parametrize("instruction_set", INSTRUCTION_SETS)
@pytest.mark.parametrize("dtype", WIDE, ids=str)
def test_kernels_write_all_of_their_outputs_and_nothing_else(
    dtype: torch.dtype, instruction_set: str
) -> None:
    reason = why_not_run(f"cpu-{instruction_set}")
    if reason is not None:
        pytest.skip(reason)
    suffix = "f32" if dtype is torch.float32 else "f64"
    mix = getattr(_cpu, f"gradient_penalty_interpolate_{suffix}")
    norm = getattr(_cpu, f"gradient_penalty_norm_{suffix}")
    with backends.use_instruction_set(instruction_set):
        for size in (*ROW_SIZES, 3 * IMAGE):
            for threads in (1, 2):
                _check_raw_mix(mix, size, dtype, threads)
                _check_raw_norm(norm, size, dtype, threads)


def _check_raw_mix(mix, size: int, dtype: torch.dtype, threads: int) -> None:  # type: ignore[no-untyped-def]
    real, fake = samples((4, size), dtype)
    inputs = [place(t, "misaligned") for t in (real, fake, torch.rand(2, dtype=dtype))]
    out = place(torch.full((4, size), math.nan, dtype=dtype), "misaligned")
    pointers = [p.view.data_ptr() for p in (*inputs, out)]
    mix(*pointers, 4, size, 2, threads)
    if size:
        assert_matches(out.view, mixed(real, fake, inputs[2].view), op=MIX, order=0)
    out.assert_untouched_outside()
    for each in inputs:
        each.assert_untouched()


def _check_raw_norm(norm, size: int, dtype: torch.dtype, threads: int) -> None:  # type: ignore[no-untyped-def]
    gradient = gradients(3, size, dtype)
    source = place(gradient, "misaligned")
    shapes = ((), (3,), (3, size))
    outputs = [place(torch.full(s, math.nan, dtype=dtype), "misaligned") for s in shapes]
    pointers = [p.view.data_ptr() for p in outputs]
    norm(source.view.data_ptr(), 3, size, 0, 1.0, 10.0, *pointers, threads)
    expected = true_norm_penalty(gradient, "wgan-gp", 1.0, 10.0)
    for out, want in zip(outputs, expected, strict=True):
        assert_matches(out.view, want, op=NORM, order=0)
        out.assert_untouched_outside()
    source.assert_untouched()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: norm_penalty(torch.ones(3), "r1", 0.0, 1.0), r"gradient had shape \(3,\)"),
        (lambda: norm_penalty(torch.ones(3, 3), "l2", 0.0, 1.0), "kind was 'l2'"),
        (
            lambda: interpolate(torch.ones(3, 3), torch.ones(3, 2), torch.ones(3)),
            r"fake was \(3, 2\)",
        ),
        (
            lambda: interpolate(torch.ones(3), torch.ones(3).double(), torch.ones(3)),
            "fake was .* torch.float64",
        ),
        (lambda: interpolate(torch.ones(3), torch.ones(3), torch.ones(2)), r"alpha had shape \(2"),
        (lambda: interpolate(torch.ones(3), torch.ones(3), torch.ones(0)), r"alpha had shape \(0"),
        (
            lambda: interpolate(torch.ones(3), torch.ones(3), torch.ones(3, 1)),
            r"alpha had shape \(3, 1",
        ),
        (
            lambda: interpolate(torch.ones(3), torch.ones(3), torch.ones(3).double()),
            "alpha was torch.float64",
        ),
        (
            lambda: interpolate(torch.ones(()), torch.ones(()), torch.ones(1)),
            r"batch of real, \(\)",
        ),
    ],
)
def test_errors_are_one_sentence(backend: str, call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "must be" in str(caught.value)
    assert "\n" not in str(caught.value)
