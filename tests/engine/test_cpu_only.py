"""What a CPU's own algorithms are kept from, and which tensors the activation's kernels take."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from fastwgan import _gpu, backends
from fastwgan.engine.cpu_only import is_for_cpu
from tests.cuda_emulator.module import load, why_not_built

HALVES = (torch.bfloat16, torch.float16)


@pytest.fixture(autouse=True)
def _no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "_from_environment", None)


def _on_a_gpu(dtype: torch.dtype) -> Tensor:
    with FakeTensorMode():
        return torch.empty(3, dtype=dtype, device="cuda")


@pytest.mark.skipif(why_not_built() is not None, reason=str(why_not_built()))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, *HALVES], ids=str)
def test_emulated_kernels_run_in_the_passes_of_a_gpu(dtype: torch.dtype) -> None:
    tensor = torch.ones(3, dtype=dtype)
    with _gpu.emulated(load()):
        assert is_for_cpu(tensor)
        with backends.use_backend("cuda"):
            assert not is_for_cpu(tensor)
            assert backends.has_kernel("bias_activation", tensor)


def test_in_cpu_memory() -> None:
    for name in (None, "cpu", "reference"):
        tensor = torch.ones(3)
        if name is None:
            assert is_for_cpu(tensor)
            assert backends.has_kernel("bias_activation", tensor)
            continue
        with backends.use_backend(name):
            assert is_for_cpu(tensor)
            assert backends.has_kernel("bias_activation", tensor) == (name == "cpu")
    assert not is_for_cpu(torch.ones(3, device="meta"))


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_half_precision_on_a_cpu_is_left_to_torch(dtype: torch.dtype) -> None:
    tensor = torch.ones(3, dtype=dtype)
    assert not backends.has_kernel("bias_activation", tensor)
    with backends.use_backend("cpu"):
        assert not backends.has_kernel("bias_activation", tensor)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, *HALVES], ids=str)
def test_on_a_gpu(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    tensor = _on_a_gpu(dtype)
    assert not is_for_cpu(tensor)
    monkeypatch.setattr(_gpu, "why_no_cuda", lambda: None)
    assert backends.has_kernel("bias_activation", tensor)
    with backends.use_backend("reference"):
        assert not backends.has_kernel("bias_activation", tensor)


def test_on_a_gpu_without_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("why_no_cuda", "why_no_triton"):
        monkeypatch.setattr(_gpu, name, lambda: "not built")
    monkeypatch.setattr(backends, "_has_warned", True)
    assert not backends.has_kernel("bias_activation", _on_a_gpu(torch.float32))
