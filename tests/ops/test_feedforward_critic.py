"""A feed-forward critic's scores and gradients, against autograd in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import torch
from torch import Tensor

from fastwgan import backends
from fastwgan.ops import feedforward_critic
from fastwgan.ops.feedforward_critic import Layer, native, score
from tests.compare import assert_gradients_match, assert_matches
from tests.conftest import INSTRUCTION_SETS, why_not_run
from tests.feedforward_recipe import Case, Conv, Found, Given, autograd, found, found_apart, given
from tests.guarded import Placed, assert_same_bits, place

FLOATS = (torch.float32, torch.float64)
ODD = (1, *range(7, 18), 31, 32, 33, 63, 64, 65, 97)
WAYS = ("reference", *(f"cpu-{name}" for name in INSTRUCTION_SETS))
IMAGES = Case(6, (3, 7, 6), (Conv(17, (3, 3), (2, 1), (1, 1)), Conv(9, (2, 3)), 5, 1))


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    """The reference, and the kernel with every instruction set; there is no GPU backend."""
    name: str = request.param
    reason = why_not_run(name)
    if reason is not None:
        pytest.skip(f"{name}: {reason}")
    with ExitStack() as stack:
        stack.enter_context(backends.use_backend(name.split("-")[0]))
        if name != "reference":
            stack.enter_context(backends.use_instruction_set(name.removeprefix("cpu-")))
        yield name


def dense(rows: int, inputs: int, *outputs: int, **more: Any) -> Case:
    return Case(rows, (inputs, 1, 1), outputs, **more)


def check(case: Case, dtype: torch.dtype, run: Callable[[Given], Found] = found) -> None:
    one = given(case, dtype)
    expected, actual = autograd(one), run(one)
    named: dict[str, Any] = {"op": "feedforward_critic", "context": str(case)}
    assert_matches(actual.scores, expected.scores, order=0, **named)
    assert actual.adjoint.shape == expected.adjoint.shape
    if expected.adjoint.numel():
        assert_matches(actual.adjoint, expected.adjoint, order=1, **named)
    assert_gradients_match(actual.gradients, expected.gradients, order=1, **named)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_odd_sizes(way: str, dtype: torch.dtype) -> None:
    for size in ODD:
        check(dense(size, 5, 9, 1), dtype)
        check(dense(13, size, 9, 2), dtype)
        check(dense(13, 5, size, 1), dtype)
        check(dense(13, 5, 7, size), dtype)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_above_one_block(way: str, dtype: torch.dtype) -> None:
    for case in (
        dense(7, 300, 9, 1),
        dense(7, 3, 520, 1),
        dense(520, 3, 33, 1),
        dense(780, 2, 17, 1, loss_rows=260),
        dense(9, 256, 257, 1),
        Case(3, (64, 5, 5), (Conv(17, (3, 3), padding=(1, 1)), Conv(2, (2, 2)))),  # depth 576
        Case(3, (2, 17, 16), (Conv(9, (3, 3)), 1)),  # above 96 patches a row
        Case(40, (1, 5, 5), (Conv(7, (2, 2)), 1)),  # above 256 positions
    ):
        check(case, dtype)


@pytest.mark.parametrize("slope", [0.0, 0.2, 1.5])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_forms(way: str, dtype: torch.dtype, masked: bool, slope: float) -> None:
    for outputs in ((1,), (11, 1), (11, 8, 1), (11, 8, 13, 2)):
        for biased in (False, True):
            check(dense(21, 6, *outputs, slope=slope, biased=biased, masked=masked), dtype)
    convolutions = (Conv(5, (3, 2)), Conv(4, (3, 3), padding=(1, 1)), 3)
    for biased in (False, True):
        check(Case(9, (3, 5, 4), convolutions, slope, biased, masked), dtype)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("slope", [0.0, 0.2])
def test_mask_before_a_padded_kernel(way: str, slope: float, dtype: torch.dtype) -> None:
    """Its one position is not the whole of what the kernel sees."""
    layers = (Conv(8, (3, 3)), Conv(7, (3, 3), padding=(1, 1)), Conv(2, (1, 1), padding=(1, 0)))
    check(Case(9, (2, 3, 3), layers, slope, masked=True), dtype)


@pytest.mark.parametrize("channels", [1, 3, 17, 64])
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_kernels(way: str, dtype: torch.dtype, channels: int) -> None:
    for kernel in ((1, 1), (2, 2), (3, 3), (4, 4), (1, 3), (4, 2)):
        for stride in ((1, 1), (2, 1), (2, 3)):
            padding = kernel[0] // 2, kernel[1] // 2
            layers = (Conv(5, kernel, stride, padding), Conv(3, (2, 1)), 1)
            check(Case(4, (channels, 6, 5), layers), dtype)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_paddings(way: str, dtype: torch.dtype) -> None:
    """To where a whole row of patches lies outside of the image."""
    for padding in ((0, 1), (1, 0), (2, 2), (3, 4), (5, 2)):
        check(Case(4, (3, 4, 3), (Conv(5, (3, 3), (1, 2), padding), 1)), dtype)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_where_images_end(way: str, dtype: torch.dtype) -> None:
    for layers in (
        (Conv(1, (3, 3)),),  # scores of patches
        (Conv(4, (3, 3)), Conv(2, (2, 2))),
        (Conv(5, (4, 5)), 3, 1),  # the kernel covers the image
        (Conv(5, (4, 5), padding=(1, 0)), 1),
        (Conv(5, (2, 2), (2, 2)), 9, 1),  # a dense layer on an image of several positions
        (6, 1),
    ):
        check(Case(5, (3, 4, 5), layers), dtype)


@pytest.mark.parametrize("of_all", [False, True])
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_shares_of_the_rows(way: str, dtype: torch.dtype, of_all: bool) -> None:
    for loss_rows in (0, 1, 7, 23, 24):
        check(dense(24, 5, 9, 9, 1, loss_rows=loss_rows, of_all=of_all), dtype)
    for loss_rows in (0, 1, 5, 6):
        check(IMAGES._replace(loss_rows=loss_rows, of_all=of_all), dtype)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("case", [dense(20, 5, 9, 9, 1), IMAGES._replace(layers=IMAGES.layers[:3])])
def test_only_what_is_wanted(way: str, case: Case, dtype: torch.dtype) -> None:
    one = given(case, dtype)
    whole = found(one).gradients
    for bits in range(64):
        flags = [bool(bits >> i & 1) for i in range(6)]
        wanted = list(zip(flags[::2], flags[1::2], strict=True))
        for g, flag, expected in zip(found(one, wanted).gradients, flags, whole, strict=True):
            assert (g is not None) == flag
            if g is not None:
                assert expected is not None
                assert_same_bits(g, expected)


class Guarding:
    """What the kernel writes, in memory of NaN between canaries."""

    def __init__(self) -> None:
        self.placed: list[Placed] = []

    def like(self, tensors: list[Tensor]) -> list[Tensor]:
        poison = [torch.full(t.shape, torch.nan, dtype=t.dtype) for t in tensors]
        made = [place(values, "misaligned") for values in poison]
        self.placed += made
        return [each.view for each in made]

    def empty(self, elements: int, bits: int) -> Tensor:
        return self.like([torch.empty(elements, dtype=FLOATS[bits == 64])])[0]

    def images(self, model: Tensor, shape: tuple[int, ...]) -> Tensor:
        rows, channels, height, width = shape
        memory = self.like([model.new_empty(rows, height, width, channels)])[0]
        return memory.permute(0, 3, 1, 2)


def _placed(one: Given) -> tuple[Given, list[Placed]]:
    """The same in memory between canaries."""
    placed: list[Placed] = []

    def put(tensor: Tensor) -> Tensor:
        placed.append(place(tensor, "misaligned"))
        return placed[-1].view

    def image(tensor: Tensor) -> Tensor:
        return put(tensor.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    layers = [
        layer._replace(
            weight=put(layer.weight),
            bias=None if layer.bias is None else put(layer.bias),
            mask=None if layer.mask is None else put(layer.mask),
        )
        for layer in one.layers
    ]
    samples, seeds, start = image(one.samples), image(one.seeds), image(one.start)
    return one._replace(samples=samples, seeds=seeds, start=start, layers=layers), placed


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize(
    "case", [dense(21, 5, 9, 33, 1, masked=True), dense(300, 300, 17, 1), IMAGES], ids=str
)
def test_nothing_else_is_written_and_all_of_it_is(
    way: str, case: Case, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, guarding = given(case, dtype), Guarding()
    plain = found(one)
    own, placed = _placed(one)
    with monkeypatch.context() as context:
        context.setattr(native._cpu, "pooled_like", guarding.like)
        context.setattr(native._cpu, "pooled_empty", guarding.empty)
        context.setattr(native, "_channels_last", guarding.images)
        again = found(own)
    for got, want in zip(again.gradients, plain.gradients, strict=True):
        assert got is not None
        assert want is not None
        assert_same_bits(got, want)
    assert_same_bits(again.scores, plain.scores)
    assert_same_bits(again.adjoint, plain.adjoint)
    assert bool(guarding.placed) == (way != "reference")
    for each in guarding.placed:
        each.assert_untouched_outside()
    for each in placed:
        each.assert_untouched()


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("of_all", [False, True])
def test_runs_of_the_two_kinds_of_rows_apart(way: str, of_all: bool, dtype: torch.dtype) -> None:
    for case in (dense(33, 65, 64, 130, 1, masked=True), IMAGES, dense(7, 3, 1, biased=False)):
        check(case._replace(of_all=of_all), dtype, found_apart)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_few_rows_of_many_columns(way: str, dtype: torch.dtype) -> None:
    """Where threads share a product's columns, not its rows."""
    for case in (dense(9, 300, 260, 257, 513, 2), Case(5, (8, 6, 6), (Conv(300, (6, 6)), 3))):
        check(case, dtype)
        check(case, dtype, found_apart)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("slope", [0.0, 0.2])
def test_nan_stays_in_its_row(way: str, slope: float, dtype: torch.dtype) -> None:
    for case in (dense(33, 5, 9, 17, 1, slope=slope), IMAGES._replace(rows=33, slope=slope)):
        one = given(case, dtype)
        for row in (0, 5, 6, 31, 32):
            samples = one.samples.clone(memory_format=torch.channels_last)
            samples[row, 2] = torch.nan
            scores = score(samples, one.layers, 20).scores
            assert scores.flatten(1).isnan().any(1).nonzero().flatten().tolist() == [row]


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_infinite_samples(way: str, dtype: torch.dtype) -> None:
    """An infinite product below zero is 0 behind a ReLU, not NaN."""
    weight = torch.tensor([[1.0], [-1.0]], dtype=dtype).view(2, 1, 1, 1)
    last = torch.ones(1, 2, 1, 1, dtype=dtype)
    samples = torch.tensor([torch.inf, -torch.inf, 1.0], dtype=dtype).view(3, 1, 1, 1)
    layers = [Layer(weight, None, 0.0), Layer(last, None, 1.0)]
    assert score(samples, layers, 3).scores.flatten().tolist() == [torch.inf, torch.inf, 1.0]
    layers[0] = layers[0]._replace(slope=0.5)
    assert score(samples, layers, 3).scores.flatten().isnan().tolist() == [True, True, False]


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("image", [(1, 1, 1), (1, 1, 3)], ids=["dense", "convolution"])
def test_infinite_cotangents_and_tangents(
    way: str, image: tuple[int, int, int], dtype: torch.dtype
) -> None:
    """Behind a ReLU they are 0 where its unit is not active, not 0 times infinity."""
    weight = torch.tensor([[1.0], [-1.0]], dtype=dtype).view(2, 1, 1, 1)
    last = torch.ones(1, 2, 1, image[2], dtype=dtype)
    layers = [Layer(weight, None, 0.0), Layer(last, None, 1.0)]
    samples = torch.tensor([2.0, -1.0], dtype=dtype).view(2, 1, 1, 1).repeat(1, *image)
    inf, wanted = torch.inf, [(True, False)] * 2
    run = score(samples, layers, 0)
    adjoint = run.backward(torch.full_like(run.scores, inf), wanted, of_all=False)
    assert adjoint.flatten(1).tolist() == [[inf] * image[2], [-inf] * image[2]]
    of_weight = run.tangent(torch.ones_like(samples))[0][0]
    assert of_weight is not None
    assert of_weight.flatten().tolist() == [inf, inf]
    run = score(samples, layers, 0)
    run.backward(torch.ones_like(run.scores), wanted, of_all=False)
    of_last = run.tangent(torch.full_like(samples, inf))[1][0]
    assert of_last is not None
    assert of_last.flatten(2).tolist() == [[[inf] * image[2], [-inf] * image[2]]]


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("slope", [0.0, 0.5])
def test_infinite_cotangents_at_masked_units(way: str, slope: float, dtype: torch.dtype) -> None:
    """Behind a ReLU whatever made the output 0 makes these 0; else a mask multiplies."""
    one = torch.ones(1, 1, 1, 1, dtype=dtype)
    layers = [Layer(one, None, slope, mask=torch.zeros(1, 1, dtype=dtype)), Layer(one, None, 1.0)]
    run = score(one, layers, 0)
    found = run.backward(one * torch.inf, [(True, False)] * 2, of_all=False).item()
    assert found == 0 if slope == 0 else found != found


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_threads_and_repetition_do_not_show(way: str, dtype: torch.dtype) -> None:
    if way == "reference":
        pytest.skip("torch's own products promise nothing")
    before = torch.get_num_threads()
    large = Case(50, (17, 9, 9), (Conv(33, (3, 3), (2, 2), (1, 1)), Conv(65, (4, 4)), 7, 1))
    for case in (dense(520, 70, 65, 33, 1, masked=True), dense(2, 520, 520, 1), large):
        one, all_found = given(case, dtype), []
        for threads in (1, 1, 2, 3):
            torch.set_num_threads(threads)
            all_found.append(found(one))
        torch.set_num_threads(before)
        for other in all_found[1:]:
            assert_same_bits(other.scores, all_found[0].scores)
            assert_same_bits(other.adjoint, all_found[0].adjoint)
            for got, want in zip(other.gradients, all_found[0].gradients, strict=True):
                assert got is not None
                assert want is not None
                assert_same_bits(got, want)


def _layers(*changes: dict[str, Any]) -> list[Layer]:
    layers = given(dense(4, 3, 5, 1), torch.float32).layers
    return [layer._replace(**change) for layer, change in zip(layers, changes, strict=False)]


def test_arguments_are_named() -> None:
    x, z = torch.zeros(4, 3, 1, 1), torch.zeros
    for samples in (z(3, 4), z(0, 3, 1, 1)):
        with pytest.raises(ValueError, match=r"samples had shape"):
            score(samples, _layers({}, {}), 2)
    for samples in (z(4, 3, 2, 2), z(3, 4, 1, 1).transpose(0, 1)):
        with pytest.raises(ValueError, match=r"samples had strides .* channels-last"):
            score(samples, _layers({}, {}), 2)
    for loss_rows in (-1, 5):
        with pytest.raises(ValueError, match=f"loss_rows was {loss_rows}; it must be 0 to 4"):
            score(x, _layers({}, {}), loss_rows)
    with pytest.raises(ValueError, match="layers was empty"):
        score(x, [], 2)
    w, turned = z(5, 3, 1, 1), z(3, 5, 1, 1).transpose(0, 1)
    wrong: list[tuple[type[Exception], str, list[Layer]]] = [
        (ValueError, r"layers\[0\].weight had shape", _layers({"weight": z(5, 4, 1, 1)}, {})),
        (ValueError, r"layers\[1\].weight had shape", _layers({}, {"weight": z(1, 4, 1, 1)})),
        (ValueError, r"layers\[0\].weight had shape", _layers({"weight": turned}, {})),
        (TypeError, r"layers\[0\].weight was torch.float64", _layers({"weight": w.double()}, {})),
        (ValueError, r"a kernel larger than its padded", _layers({"weight": z(5, 3, 2, 1)}, {})),
        (ValueError, r"layers\[0\].bias had shape", _layers({"bias": z(4)}, {})),
        (ValueError, r"layers\[0\].mask had shape", _layers({"mask": z(4, 2)}, {})),
        (ValueError, r"mask was given for an out", _layers({"mask": z(4), "padding": (1, 0)}, {})),
        (ValueError, r"layers\[0\] had .* slope -0\.1", _layers({"slope": -0.1}, {})),
        (ValueError, r"layers\[0\] had .* slope nan", _layers({"slope": torch.nan}, {})),
        (ValueError, r"layers\[0\] had stride \(0, 1\)", _layers({"stride": (0, 1)}, {})),
        (ValueError, r"layers\[0\] had .* padding \(0, -1\)", _layers({"padding": (0, -1)}, {})),
        (ValueError, r"slope 0.3 and no mask; its slope must be 1", _layers({}, {"slope": 0.3})),
        (ValueError, r"slope 1.0 and a mask; its slope must", _layers({}, {"mask": z(4, 1)})),
    ]
    for error, said, layers in wrong:
        with pytest.raises(error, match=said):
            score(x, layers, 2)


def test_sizes_beyond_memory() -> None:
    layer = _layers({}, {})[0]._replace(slope=1.0, padding=(2**61, 2**61))
    with backends.use_backend("cpu"), pytest.raises(ValueError, match="no memory can hold"):
        score(torch.zeros(4, 3, 1, 1), [layer], 2)


def test_arguments_of_the_other_calls_are_named() -> None:
    one, both = given(dense(6, 3, 5, 1), torch.float32), [(True, True)] * 2
    run = score(one.samples, one.layers, 4)
    with pytest.raises(RuntimeError, match="tangent was called after score"):
        run.tangent(one.start)
    with pytest.raises(ValueError, match="seeds had shape"):
        run.backward(torch.zeros(6, 2, 1, 1), both, of_all=False)
    with pytest.raises(TypeError, match=r"seeds was torch\.float64"):
        run.backward(torch.zeros(6, 1, 1, 1).double(), both, of_all=False)
    with pytest.raises(ValueError, match="wanted had 1 pairs"):
        run.backward(one.seeds, both[:1], of_all=False)
    run.backward(one.seeds, both, of_all=False)
    with pytest.raises(RuntimeError, match="backward was called after backward"):
        run.backward(one.seeds, both, of_all=False)
    with pytest.raises(ValueError, match="start had shape"):
        run.tangent(torch.zeros(3, 3, 1, 1))
    run.tangent(one.start)
    with pytest.raises(RuntimeError, match="tangent was called after tangent"):
        run.tangent(one.start)


def test_what_a_run_can_complete() -> None:
    one = given(dense(6, 3, 5, 1, loss_rows=3), torch.float32)
    flags = [(True, True)] * 2

    def ran(rows: slice, loss_rows: int, layers: list[Layer]) -> Any:
        run = score(one.samples[rows], layers, loss_rows)
        run.backward(one.seeds[rows], flags, of_all=False)
        return run

    losses, other = ran(slice(3), 3, one.layers), given(dense(6, 3, 5, 1), torch.float32)
    with pytest.raises(ValueError, match="after was of other layers"):
        ran(slice(3, 6), 0, other.layers).tangent(one.start, after=losses)
    with pytest.raises(ValueError, match="after had 3 rows of the penalty, and this run 0 of the"):
        ran(slice(3, 6), 0, one.layers).tangent(one.start, after=ran(slice(6), 3, one.layers))
    with pytest.raises(RuntimeError, match="after was not a run whose last call was backward"):
        ran(slice(3, 6), 0, one.layers).tangent(
            one.start, after=score(one.samples[:3], one.layers, 3)
        )
    ran(slice(3, 6), 0, one.layers).tangent(one.start, after=losses)
    with pytest.raises(RuntimeError, match="after was not a run whose last call was backward"):
        ran(slice(3, 6), 0, one.layers).tangent(one.start, after=losses)


def test_the_instruction_set_of_a_step_stays() -> None:
    one, both = given(dense(6, 3, 5, 1), torch.float32), [(True, True)] * 2
    with backends.use_instruction_set("portable256"):
        run = score(one.samples, one.layers, 4)
    said = "called under instruction set 'portable512'; it must be 'portable256', as score was"
    with backends.use_instruction_set("portable512"):
        with pytest.raises(RuntimeError, match=f"backward was {said}"):
            run.backward(one.seeds, both, of_all=False)
        with backends.use_instruction_set("portable256"):
            run.backward(one.seeds, both, of_all=False)
        with pytest.raises(RuntimeError, match=f"tangent was {said}"):
            run.tangent(one.start)
    with backends.use_instruction_set("portable256"):
        assert run.tangent(one.start)[0][0] is not None


def test_half_precision_goes_to_the_reference() -> None:
    one = given(dense(6, 3, 5, 1), torch.bfloat16)
    assert not feedforward_critic.runs_natively(one.samples)
    assert found(one).scores.dtype is torch.bfloat16
    with backends.use_backend("cpu"), pytest.raises(RuntimeError):
        score(one.samples, one.layers, 4)
