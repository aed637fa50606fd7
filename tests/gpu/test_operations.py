"""Each operation on real CUDA tensors, beside the reference in float64, and captured in a graph."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fastwgan import backends
from fastwgan.ops.weight_clip import clip_
from tests.compare import relative_error
from tests.gpu.jobs import JOBS
from tests.guarded import assert_same_bits

pytestmark = pytest.mark.gpu

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
# Relative to the norm of a result: sums of up to 12,288 terms, rounded to the dtype at the end.
BOUNDS = {
    torch.float32: 1e-4,
    torch.float64: 1e-12,
    torch.bfloat16: 2e-2,
    torch.float16: 3e-3,
}


def _to(inputs: list[Tensor], device: str) -> list[Tensor]:
    return [each.detach().clone().to(device) for each in inputs]


def _truth(name: str, inputs: list[Tensor]) -> list[Tensor]:
    with backends.use_backend("reference"):
        return JOBS[name].run([each.double().clone() for each in inputs])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", JOBS)
def test_equals_the_reference(gpu_backend: str, name: str, dtype: torch.dtype) -> None:
    inputs = JOBS[name].inputs(dtype)
    expected = _truth(name, inputs)
    actual = JOBS[name].run(_to(inputs, "cuda"))
    assert len(actual) == len(expected)
    for index, (got, want) in enumerate(zip(actual, expected, strict=True)):
        assert got.is_cuda
        if want.numel():
            error = relative_error(got.cpu(), want)
            assert error <= BOUNDS[dtype], f"result {index} is off by {error}"


@pytest.mark.parametrize("name", JOBS)
def test_results_repeat_bit_for_bit(gpu_backend: str, name: str) -> None:
    inputs = JOBS[name].inputs(torch.float32)
    one, two = (JOBS[name].run(_to(inputs, "cuda")) for _ in range(2))
    for first, second in zip(one, two, strict=True):
        assert_same_bits(first.cpu(), second.cpu())


@pytest.mark.parametrize("name", JOBS)
def test_captured_in_a_graph(gpu_backend: str, name: str) -> None:
    """What a replay computes from new numbers in the old memory is what a call computes."""
    inputs = JOBS[name].inputs(torch.float32)
    static = _to(inputs, "cuda")
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        JOBS[name].run(static)  # the warm-up that capture asks for
        JOBS[name].run(static)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        results = JOBS[name].run(static)
    expected = JOBS[name].run(_to(inputs, "cuda"))
    for memory, values in zip(static, inputs, strict=True):
        memory.copy_(values)
    graph.replay()
    torch.cuda.synchronize()
    for got, want in zip(results, expected, strict=True):
        assert_same_bits(got.cpu(), want.cpu())


@pytest.mark.parametrize("name", JOBS)
def test_nothing_waits_for_the_device(gpu_backend: str, name: str) -> None:
    inputs = _to(JOBS[name].inputs(torch.float32), "cuda")
    JOBS[name].run(inputs)
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        JOBS[name].run(inputs)
    finally:
        torch.cuda.set_sync_debug_mode(before)


def test_the_current_stream_is_taken(gpu_backend: str) -> None:
    tensor = torch.ones(1 << 24, device="cuda")
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        tensor.mul_(2)
        clip_([tensor], 0.5)
        tensor.add_(1)
    stream.synchronize()
    assert bool((tensor == 1.5).all())


def test_many_tensors_in_one_call(gpu_backend: str) -> None:
    tensors = [torch.full((i % 5 + 1,), 2.0, device="cuda") for i in range(3000)]
    clip_(tensors, 0.5)
    assert bool((torch.cat(tensors) == 0.5).all())


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_tensors_of_another_device_than_the_current(gpu_backend: str) -> None:
    tensor = torch.ones(1000, device="cuda:1")
    clip_([tensor], 0.5)
    assert bool((tensor == 0.5).all())
    assert torch.cuda.current_device() == 0
    with pytest.raises(RuntimeError, match="one device"):
        clip_([tensor, torch.ones(3, device="cuda:0")], 0.5)
