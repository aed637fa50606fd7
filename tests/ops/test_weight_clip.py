from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import fastwgan
from fastwgan.ops.weight_clip import clip_
from tests.compare import assert_matches
from tests.guarded import DTYPES, LAYOUTS, SIZES, assert_same_bits, place, special_values

# Above the size at which the kernels wake a second thread, and no multiple of anything.
LARGE = 70_003
BOUND = 0.01


def _values(shape: tuple[int, ...], dtype: torch.dtype, bound: float = BOUND) -> Tensor:
    """Random values on both sides of the bound, with the special ones at both ends."""
    values = torch.randn(shape, dtype=torch.float64).mul_(2 * bound).to(dtype)
    special = torch.tensor([*special_values(dtype), bound, -bound], dtype=torch.float64).to(dtype)
    flat = values.view(-1)
    count = min(len(special), len(flat))
    flat[len(flat) - count :] = special[:count].flip(0)
    flat[: count // 2] = special[: count // 2]
    return values


def _clipped(values: Tensor, bound: float = BOUND) -> Tensor:
    """The definition, element by element, in float64: NaN stays, the bound rounds to the dtype."""
    limit = torch.tensor(bound, dtype=values.dtype).double()
    wide = values.double()
    low = torch.where(wide < -limit, -limit, wide)
    return torch.where(low > limit, limit, low).to(values.dtype)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_equals_the_definition_and_writes_nothing_else(
    backend: str, dtype: torch.dtype, layout: str
) -> None:
    originals, placed = [], []
    for size in (*SIZES, LARGE):
        for shape in ((size,), (size, 3), (2, 3, size, 2)) if size < 100 else ((size,),):
            originals.append(_values(shape, dtype))
            placed.append(place(originals[-1], layout))
    clip_([p.view for p in placed], BOUND)
    for original, p in zip(originals, placed, strict=True):
        assert_matches(p.view, _clipped(original), op="weight_clip", order=0)
        assert_same_bits(p.view, _clipped(original), str(original.shape))
        p.assert_untouched_outside()


def test_one_call_takes_any_mixture(backend: str) -> None:
    originals, placed = [], []
    for dtype in DTYPES:
        for layout in LAYOUTS:
            for size in (0, 1, 33, 97):
                originals.append(_values((size, 5), dtype))
                placed.append(place(originals[-1], layout))
    clip_(tuple(p.view for p in placed), BOUND)
    for original, p in zip(originals, placed, strict=True):
        assert_same_bits(p.view, _clipped(original), f"{original.dtype} {original.shape}")
        p.assert_untouched_outside()


def test_scalars_and_nothing(backend: str) -> None:
    scalar = torch.tensor(3.0)
    clip_([scalar], 0.5)
    clip_([], 0.5)
    assert scalar.item() == 0.5


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("bound", [1e-60, 1e-8, 65_510.0, 1e5, 1e39, 1e300])
def test_bound_is_rounded_to_the_dtype(backend: str, dtype: torch.dtype, bound: float) -> None:
    original = _values((97,), dtype, bound=0.5)
    tensor = original.clone()
    clip_([tensor], bound)
    assert_matches(tensor, _clipped(original, bound), op="weight_clip", order=0)


def test_threads_give_the_same_bits(backend: str) -> None:
    for dtype in DTYPES:
        sizes = (LARGE, 1, 97, 0, LARGE // 2, 31)
        originals = [_values((size,), dtype) for size in sizes]
        single, double = ([t.clone() for t in originals] for _ in range(2))
        clip_(single, BOUND)
        try:
            torch.set_num_threads(2)
            clip_(double, BOUND)
        finally:
            torch.set_num_threads(1)
        for one, two in zip(single, double, strict=True):
            assert_same_bits(two, one)


@given(
    values=st.lists(st.lists(st.floats(width=32), max_size=40), max_size=6),
    bound=st.floats(min_value=1e-30, max_value=1e30),
)
def test_any_values_and_shapes(backend: str, values: list[list[float]], bound: float) -> None:
    originals = [torch.tensor(row, dtype=torch.float32) for row in values]
    tensors = [t.clone() for t in originals]
    clip_(tensors, bound)
    for tensor, original in zip(tensors, originals, strict=True):
        assert_same_bits(tensor, _clipped(original, bound))


def _library_call(tensors: list[Tensor], bound: float) -> None:
    with torch.no_grad():
        torch.ops.fastwgan.weight_clip_(tensors, bound)


def test_direct_path_equals_library_path(backend: str) -> None:
    for dtype in DTYPES:
        originals = [_values((size,), dtype) for size in (97, 0, LARGE)]
        direct, library = ([t.clone() for t in originals] for _ in range(2))
        clip_(direct, BOUND)
        _library_call(library, BOUND)
        for a, b in zip(direct, library, strict=True):
            assert_same_bits(a, b)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_opcheck(backend: str, dtype: torch.dtype) -> None:
    tensors = [torch.randn(5, 3, dtype=dtype), torch.randn(7, dtype=dtype), torch.randn(3, 5).t()]
    torch.library.opcheck(torch.ops.fastwgan.weight_clip_, (tensors, BOUND))


@pytest.mark.parametrize("call", [clip_, _library_call], ids=["direct", "library"])
def test_version_counters_move_so_that_a_stale_backward_raises(backend: str, call: Any) -> None:
    weight = nn.Parameter(torch.randn(4, 4))
    other = nn.Parameter(torch.randn(4, 4).double())
    x = torch.ones(4, 4, requires_grad=True)
    loss = (x @ weight).sum() + (x.double() @ other).sum()
    versions = weight._version, other._version
    call([weight, other], BOUND)
    assert weight._version > versions[0]
    assert other._version > versions[1]
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_frozen_and_trainable_parameters_alike(backend: str) -> None:
    frozen = nn.Parameter(torch.ones(3), requires_grad=False)
    trainable = nn.Parameter(torch.ones(3))
    clip_([frozen, trainable], 0.5)
    for parameter in (frozen, trainable):
        assert parameter.tolist() == [0.5] * 3
        assert parameter.is_leaf
        assert parameter.grad_fn is None
    assert (frozen.requires_grad, trainable.requires_grad) == (False, True)


def test_inference_tensors(backend: str) -> None:
    with torch.inference_mode():
        tensor = torch.ones(3)
        clip_([tensor], 0.5)
        assert tensor.tolist() == [0.5] * 3


def test_lazily_negated_memory(backend: str) -> None:
    tensor = torch.tensor([3 + 4j]).conj().imag
    assert tensor.is_neg()
    clip_([tensor], 2.0)
    assert tensor.tolist() == [-2.0]


class _Spy(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


def test_modes_see_the_operation(backend: str) -> None:
    tensor = torch.ones(3)
    with _Spy() as spy:
        clip_([tensor], 0.5)
    assert "fastwgan.weight_clip_.default" in spy.seen
    assert tensor.tolist() == [0.5] * 3


class _Subclass(Tensor):
    pass


def test_subclasses_are_clipped(backend: str) -> None:
    tensor = torch.ones(3).as_subclass(_Subclass)
    clip_([tensor, torch.ones(2)], 0.5)
    assert tensor.tolist() == [0.5] * 3


def test_compiles_in_one_graph(backend: str) -> None:
    def halved_after_clipping(weights: list[Tensor]) -> list[Tensor]:
        fastwgan.clip_weights_(weights, 0.5)
        return [0.5 * w for w in weights]

    weights = [torch.ones(3), torch.tensor([[-2.0, 0.1]])]
    compiled = torch.compile(halved_after_clipping, fullgraph=True, backend="aot_eager")
    halves = compiled(weights)
    assert [w.tolist() for w in weights] == [[0.5] * 3, [[-0.5, pytest.approx(0.1)]]]
    assert [h.tolist() for h in halves] == [[0.25] * 3, [[-0.25, pytest.approx(0.05)]]]


GOOD = [torch.float32, torch.float16]
BAD: dict[str, tuple[Any, type[Exception], str]] = {
    "integer": (lambda: torch.ones(3, dtype=torch.int64), TypeError, "torch.int64"),
    "bool": (lambda: torch.ones(3, dtype=torch.bool), TypeError, "torch.bool"),
    "complex": (lambda: torch.ones(3, dtype=torch.complex64), TypeError, "torch.complex64"),
    "float8": (lambda: torch.ones(3).to(torch.float8_e4m3fn), TypeError, "float8_e4m3fn"),
    "sparse": (lambda: torch.eye(3).to_sparse(), TypeError, "torch.sparse_coo"),
    "meta": (lambda: torch.ones(3, device="meta"), ValueError, "meta"),
    "expanded": (lambda: torch.ones(1, 3).expand(4, 3), ValueError, "expanded"),
    "number": (lambda: 1.0, TypeError, "float"),
    "none": (lambda: None, TypeError, "NoneType"),
    "list": (lambda: [torch.ones(3)], TypeError, "list"),
}


@pytest.mark.parametrize("position", [0, 1])
@pytest.mark.parametrize("dtype", GOOD, ids=str)
@pytest.mark.parametrize("name", BAD)
def test_bad_tensors_are_named_and_nothing_is_written(
    backend: str, name: str, dtype: torch.dtype, position: int
) -> None:
    make, error, said = BAD[name]
    good = place(torch.ones(5, dtype=dtype), "contiguous")
    tensors = [good.view, good.view[:2]]
    tensors.insert(position, make())
    with pytest.raises(error, match=rf"parameters\[{position}\].*{said}"):
        clip_(tensors, 0.5)
    good.assert_untouched()


def test_a_forced_backend_that_cannot_take_a_tensor_writes_nothing() -> None:
    good = torch.ones(3)
    with fastwgan.use_backend("cpu"), pytest.raises(TypeError, match="float8"):
        clip_([good, torch.ones(3).to(torch.float8_e5m2)], 0.5)
    assert good.tolist() == [1.0] * 3
