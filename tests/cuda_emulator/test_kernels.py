"""What the operations' tests do not ask of the CUDA backend: launches, waits, tables, orders."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from fastwgan import _gpu, backends
from fastwgan.ops import _cuda as on_device
from fastwgan.ops.gradient_penalty.autograd import run_norm_penalty
from fastwgan.ops.rmsprop import rmsprop_
from fastwgan.ops.spectral_norm.autograd import run_backward, run_forward
from fastwgan.ops.weight_clip import clip_
from tests.compare import assert_matches, relative_error
from tests.cuda_emulator.module import SEEDS, counters, load, why_not_built
from tests.gpu.jobs import JOBS, NUMBERS
from tests.gpu.test_operations import BOUNDS, DTYPES
from tests.guarded import assert_same_bits
from tests.ops.spectral_norm_cases import Group, make_group

pytestmark = pytest.mark.skipif(why_not_built() is not None, reason=str(why_not_built()))


@pytest.fixture(autouse=True)
def _emulated() -> Iterator[None]:
    with _gpu.emulated(load()), backends.use_backend("cuda"):
        yield


def _launches(call: Callable[[], object]) -> int:
    before, waits = counters().launches(), counters().synchronisations()
    call()
    assert counters().synchronisations() == waits
    return counters().launches() - before


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", JOBS)
def test_the_jobs_of_the_gpu_tests(name: str, dtype: torch.dtype) -> None:
    inputs = JOBS[name].inputs(dtype)
    with backends.use_backend("reference"):
        expected = JOBS[name].run([each.double().clone() for each in inputs])
    actual = JOBS[name].run([each.clone() for each in inputs])
    for got, want in zip(actual, expected, strict=True):
        if want.numel():
            assert relative_error(got, want) <= BOUNDS[dtype]


@pytest.mark.parametrize("name", JOBS)
def test_the_order_of_threads_and_blocks_does_not_show(name: str) -> None:
    inputs = JOBS[name].inputs(torch.float32)
    results = []
    for seed in range(SEEDS):
        counters().seed(seed)
        results.append(JOBS[name].run([each.clone() for each in inputs]))
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            assert_same_bits(two, one)


def _group(layers: int) -> Group:
    shapes = [((5, 9), 0), ((3, 4, 2), 1), ((4, 33), 1), ((1, 40), 0)]
    return make_group([shapes[i % len(shapes)] for i in range(layers)], torch.float32)


@pytest.mark.parametrize("first", ["u", "v"])
@pytest.mark.parametrize(
    ("layers", "iterations", "launches"),
    [(1, 1, 4), (4, 0, 3), (4, 1, 4), (4, 2, 6), (4, 5, 12), (120, 1, 4)],
)
def test_launches_of_spectral_norm(layers: int, iterations: int, launches: int, first: str) -> None:
    group = _group(layers)
    call = (*group, iterations, 1e-12, first)
    _, sigma, vectors = run_forward(*call)
    assert _launches(lambda: run_forward(*call)) == launches
    grads = [torch.ones_like(weight) for weight in group.weights]
    arguments = (grads, group.weights, sigma, vectors, group.dims, None)
    assert _launches(lambda: run_backward(*arguments)) == 2


def test_a_group_of_more_layers_than_travel_by_value() -> None:
    group = _group(150)
    wide = group.to(torch.float64)
    normalised, sigma, vectors = run_forward(*group, 1, 1e-12, "v")
    grads = [torch.randn_like(weight) for weight in group.weights]
    gradients = run_backward(grads, normalised, sigma, vectors, group.dims, None)
    with backends.use_backend("reference"):
        expected, wide_sigma, wide_vectors = run_forward(*wide, 1, 1e-12, "v")
        wide_grads = [grad.double() for grad in grads]
        wanted = run_backward(wide_grads, expected, wide_sigma, wide_vectors, group.dims, None)
    assert_matches(sigma, wide_sigma, op="spectral_norm", order=0)
    for got, want in zip((*normalised, *gradients), (*expected, *wanted), strict=True):
        assert_matches(got, want, op="spectral_norm", order=1)


@pytest.mark.parametrize("count", [1, 100, 1000, 3000])
def test_launches_of_clipping(count: int) -> None:
    tensors = [torch.full((i % 4 + 1,), 2.0) for i in range(count)]
    clip_(tensors, 0.5)
    assert _launches(lambda: clip_(tensors, 0.5)) == 1
    assert bool((torch.cat(tensors) == 0.5).all())


@pytest.mark.parametrize("count", [70, 1000])
def test_launches_of_rmsprop(count: int) -> None:
    values = (0.5, 0.7, 1.5, 3.5, 0.1)
    lists = [[torch.full((i % 3 + 1,), value) for i in range(count)] for value in values]
    expected = [[each.double() for each in tensors] for tensors in lists]
    rmsprop_(*lists, **NUMBERS)
    assert _launches(lambda: rmsprop_(*lists, **NUMBERS)) == 1
    with backends.use_backend("reference"):
        for _ in range(2):
            rmsprop_(*expected, **NUMBERS)
    for tensors, wanted in zip(lists, expected, strict=True):
        assert relative_error(torch.cat(tensors), torch.cat(wanted)) < 1e-5


@pytest.mark.parametrize(
    ("name", "launches"), [("interpolate", 1), ("norm", 4), ("bias_activation", 3)]
)
def test_launches_of_the_others(name: str, launches: int) -> None:
    inputs = JOBS[name].inputs(torch.float32)
    assert _launches(lambda: JOBS[name].run(inputs)) == launches


def test_a_table_is_uploaded_once_and_the_oldest_forgotten() -> None:
    like = torch.empty(1)
    tables = [bytes([i]) * 8 * (600 + i) for i in range(on_device._MOST_TABLES + 1)]
    for table in tables:
        memory = on_device.device_table(table, like)
        assert bytes(memory.tolist()) == table
    assert _launches(lambda: on_device.device_table(tables[-1], like)) == 0
    assert _launches(lambda: on_device.device_table(tables[0], like)) == 2
    assert len(on_device._tables) == on_device._MOST_TABLES


@pytest.mark.parametrize(
    ("size", "rows"), [(2, 1), (2, 500), (3, 3), (8191, 3), (8192, 2), (3 * 1024**2, 2)]
)
def test_norms_of_the_smallest_and_largest_samples(size: int, rows: int) -> None:
    gradient = torch.randn(rows, size).to(torch.bfloat16)
    norms = gradient.double().norm(dim=1)
    penalty, found, cotangent = run_norm_penalty(gradient, "wgan-gp", 0.5, 10.0)
    assert_matches(found, norms, op="gradient_penalty_norm", order=0)
    share = 20.0 / rows * (norms - 0.5) / norms
    expected = share[:, None] * gradient.double()
    assert relative_error(cotangent, expected) < 1e-5
    assert relative_error(penalty, 10.0 * (norms - 0.5).square().mean()) < 1e-5


def test_an_error_names_the_operation() -> None:
    with pytest.raises(ValueError, match="weight_clip was handed arguments its contract forbids"):
        load().weight_clip(0, 0, 1, 0, 1.0, 0, -1, 0)
    memory = torch.ones(64)
    with pytest.raises(RuntimeError, match="upload failed on the device: invalid device ordinal"):
        load().upload(bytes(8), memory.data_ptr(), 7, 0)


def test_halves_are_rounded_once() -> None:
    real, fake = torch.rand(2, 4, 97).to(torch.float16)
    alpha = torch.rand(4)
    exact = (alpha[:, None] * real.float() + (1 - alpha)[:, None] * fake.float()).half()
    (got,) = JOBS["interpolate"].run([real, fake, alpha])
    assert _most_units_apart(got, exact) <= 1


def _most_units_apart(one: Tensor, two: Tensor) -> int:
    return int((one.view(torch.int16).int() - two.view(torch.int16).int()).abs().max())
