"""The choice among GPU backends, and what is said where there is none, on a machine without one.

Tensors on a GPU are fake ones: a device, a dtype and no memory.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from fastwgan import _gpu, backends
from fastwgan.backends import use_backend
from fastwgan.ops import bias_activation, gradient_penalty, rmsprop, spectral_norm, weight_clip
from fastwgan.ops._library import takes_plain
from tests.processes import error_of, output_of

OPS: dict[str, ModuleType] = {
    "bias_activation": bias_activation,
    "gradient_penalty": gradient_penalty,
    "rmsprop": rmsprop,
    "spectral_norm": spectral_norm,
    "weight_clip": weight_clip,
}
FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


@pytest.fixture(autouse=True)
def _afresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No choice forced, nothing remembered of this machine, no warning given yet."""
    remembered = (_gpu.why_no_triton, _gpu._why_no_compiled, _gpu._interpreted)
    monkeypatch.setattr(backends, "_from_environment", None)
    monkeypatch.setattr(backends, "_has_warned", False)
    for function in remembered:
        function.cache_clear()
    yield
    for function in remembered:
        function.cache_clear()


def _on(device: str, dtype: torch.dtype = torch.float32) -> Tensor:
    with FakeTensorMode():
        return torch.empty(3, dtype=dtype, device=device)


class _Kernels(ModuleType):
    """What fastwgan._cuda says about the CUDA it was built with and the driver that is there."""

    def __init__(self, runtime: int, driver: int) -> None:
        super().__init__("fastwgan._cuda")
        self.runtime_version = lambda: runtime
        self.driver_version = lambda: driver


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Pretends a machine: its GPU, its driver, a build of `_cuda`, Triton."""

    def pretend(
        *, gpu: bool, built: tuple[int, int] | None, triton: bool, xpu: bool = False
    ) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
        monkeypatch.setattr(torch.xpu, "is_available", lambda: xpu)
        found = {"fastwgan._cuda": built is not None, "triton": triton}
        monkeypatch.setattr(_gpu, "_is_installed", found.__getitem__)
        if built is not None:
            monkeypatch.setitem(sys.modules, "fastwgan._cuda", _Kernels(*built))
        fake = ModuleType("triton")
        fake.__version__ = "3.6.0"  # type: ignore[attr-defined]
        fake.knobs = ModuleType("knobs")  # type: ignore[attr-defined]
        fake.knobs.runtime = ModuleType("runtime")
        fake.knobs.runtime.interpret = False
        monkeypatch.setitem(sys.modules, "triton", fake)

    return pretend


class TestReasons:
    def test_not_built(self, machine: Any, monkeypatch: Any, tmp_path: Path) -> None:
        machine(gpu=False, built=None, triton=True)
        assert backends.why_unavailable("cuda") == "not built"
        note = tmp_path / "_cuda_build.txt"
        note.write_text("nvcc was not found\n")
        monkeypatch.setattr(_gpu, "_BUILD_NOTE", note)
        _gpu._why_no_compiled.cache_clear()
        assert backends.why_unavailable("cuda") == "not built: nvcc was not found"

    def test_no_device(self, machine: Any) -> None:
        machine(gpu=False, built=(13000, 0), triton=True)
        said = backends.why_unavailable("cuda")
        assert said == "built, no device: torch.cuda.is_available() is False"
        said = backends.why_unavailable("triton")
        assert said == "triton 3.6.0 is installed, but torch finds no GPU"

    def test_no_driver_of_cuda(self, machine: Any) -> None:
        """A torch for AMD calls its devices cuda."""
        machine(gpu=True, built=(13000, 0), triton=True)
        assert "no CUDA driver" in str(backends.why_unavailable("cuda"))
        assert backends.why_unavailable("triton") is None

    def test_old_driver(self, machine: Any) -> None:
        machine(gpu=True, built=(13000, 12040), triton=True)
        said = backends.why_unavailable("cuda")
        assert said == "built for CUDA 13.0, but the driver ends at CUDA 12.4"

    @pytest.mark.parametrize("driver", [13000, 13010])
    def test_new_driver(self, machine: Any, driver: int) -> None:
        machine(gpu=True, built=(13000, driver), triton=False)
        assert backends.why_unavailable("cuda") is None
        assert backends.available() == ["cuda", "cpu", "reference"]
        assert "not installed" in str(backends.why_unavailable("triton"))

    @pytest.mark.parametrize("name", ["fastwgan._cuda", "triton"])
    def test_a_failing_import_is_shown(
        self, machine: Any, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        machine(gpu=True, built=(13000, 13000), triton=True)

        def refuse(asked: str, real: Any = _gpu.importlib.import_module) -> ModuleType:
            if asked == name:
                raise ImportError("libcudart.so.13: cannot open shared object file")
            return real(asked)  # type: ignore[no-any-return]

        monkeypatch.setattr(_gpu.importlib, "import_module", refuse)
        said = backends.why_unavailable("cuda" if name == "fastwgan._cuda" else "triton")
        assert said == (
            f"importing {name} failed with ImportError: libcudart.so.13: cannot open shared object "
            "file"
        )


class TestAutomaticChoice:
    @pytest.mark.parametrize("op", OPS)
    @pytest.mark.parametrize("dtype", FLOATS, ids=str)
    def test_best_that_runs(self, machine: Any, op: str, dtype: torch.dtype) -> None:
        tensors = [_on("cuda", dtype), _on("cuda")]
        machine(gpu=True, built=(13000, 13000), triton=True)
        assert backends.select(op, tensors) == "cuda"
        _gpu._why_no_compiled.cache_clear()
        machine(gpu=True, built=(13000, 12000), triton=True)
        assert backends.select(op, tensors) == "triton"

    def test_intel_takes_triton(self, machine: Any) -> None:
        machine(gpu=False, xpu=True, built=(13000, 0), triton=True)
        assert backends.select("rmsprop", [_on("xpu")]) == "triton"

    def test_reference_with_one_warning(self, machine: Any) -> None:
        machine(gpu=True, built=(13000, 12040), triton=False)
        with pytest.warns(RuntimeWarning) as caught:
            chosen = {backends.select(op, [_on("cuda")]) for op in OPS}
        assert chosen == {"reference"}
        (warning,) = caught
        said = str(warning.message)
        assert "plain torch runs instead" in said
        assert "cuda: built for CUDA 13.0, but the driver ends at CUDA 12.4" in said
        assert "triton: triton is not installed" in said

    def test_other_dtypes_and_devices_are_no_reason_to_warn(self, machine: Any) -> None:
        machine(gpu=True, built=(13000, 13000), triton=True)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert backends.select("spectral_norm", [_on("cuda", torch.complex64)]) == "reference"
            assert backends.select("spectral_norm", [torch.ones(1, device="meta")]) == "reference"
            both = [_on("cuda"), torch.ones(1, device="meta")]
            assert backends.select("spectral_norm", both) == "reference"

    @pytest.mark.parametrize("op", OPS)
    @pytest.mark.parametrize("devices", [("cpu", "cuda"), ("cuda:1", "cuda:0"), ("cuda", "xpu")])
    def test_two_devices_are_refused(self, op: str, devices: tuple[str, str]) -> None:
        tensors = [_on(device) for device in devices]
        named = " and ".join(sorted(str(t.device) for t in tensors))
        with pytest.raises(RuntimeError) as error:
            backends.select(op, tensors)
        said = f"{op} was given tensors on {named}; they must be on one device."
        assert str(error.value) == said

    def test_lists_on_several_devices_go_device_by_device(
        self, machine: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        machine(gpu=True, built=(13000, 13000), triton=True)
        seen = []
        for name, op in (("weight_clip", weight_clip), ("rmsprop", rmsprop)):
            spy = lambda backend, tensors, *_, name=name: seen.append((name, backend, len(tensors)))  # noqa: E731
            monkeypatch.setattr(op, "_run", spy)
        tensors = [torch.ones(1), _on("cuda:0"), torch.ones(2), _on("cuda:1")]
        weight_clip._clip_op(tensors, 0.5)
        rmsprop._rmsprop_op(tensors, tensors, tensors, [], [], *[0.0] * 7)
        counts = [("cpu", 2), ("cuda", 1), ("cuda", 1)]
        assert seen == [(n, *c) for n in ("weight_clip", "rmsprop") for c in counts]

    def test_cpu_tensors_never_ask_for_a_gpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail() -> bool:
            raise AssertionError("asked")

        monkeypatch.setattr(torch.cuda, "is_available", fail)
        for op in OPS:
            assert backends.select(op, [torch.ones(1)]) == "cpu"
        weight_clip.clip_([torch.ones(3), torch.ones(3).half()], 0.5)


class TestForcedChoice:
    @pytest.mark.parametrize("name", backends.GPU_NAMES)
    def test_one_that_cannot_run_raises(self, machine: Any, name: str) -> None:
        machine(gpu=False, built=None, triton=False)
        with pytest.raises(RuntimeError) as error:
            use_backend(name).__enter__()
        reason = backends.why_unavailable(name)
        assert str(error.value) == (
            f"backend '{name}' cannot run: {reason}; available: ['cpu', 'reference']."
        )

    @pytest.mark.parametrize("name", backends.GPU_NAMES)
    def test_by_environment_at_the_first_call(self, name: str) -> None:
        show = "import fastwgan; print(fastwgan.backends.forced())"
        assert output_of(show, FASTWGAN_BACKEND=name) == name
        if backends.why_unavailable(name) is None:
            pytest.skip(f"{name} runs here")
        call = "import fastwgan, torch; fastwgan.clip_weights_(torch.ones(3), 0.5)"
        said = error_of(call, FASTWGAN_BACKEND=name)
        assert said.startswith(f"RuntimeError: backend '{name}' cannot run: ")

    @pytest.mark.parametrize("name", backends.GPU_NAMES)
    def test_cpu_tensors_are_refused(self, machine: Any, name: str) -> None:
        machine(gpu=True, built=(13000, 13000), triton=True)
        with use_backend(name), pytest.raises(RuntimeError) as error:
            weight_clip.clip_([torch.ones(3)], 0.5)
        said = str(error.value)
        assert said.startswith(f"backend '{name}' cannot run weight_clip on a torch.float32 tensor")
        assert "bfloat16, float16, float32, float64 in cuda" in said

    @pytest.mark.parametrize("name", backends.GPU_NAMES)
    def test_plain_entries_are_left_out(self, machine: Any, name: str) -> None:
        machine(gpu=True, built=(13000, 13000), triton=True)
        assert takes_plain()
        with use_backend("cpu"):
            assert takes_plain()
        for other in (name, "reference"):
            with use_backend(other):
                assert not takes_plain()

    def test_the_stand_in_takes_cpu_tensors_and_only_when_forced(self, machine: Any) -> None:
        machine(gpu=False, built=None, triton=False)
        stand_in = object()
        with _gpu.emulated(stand_in):
            assert _gpu.cuda_module() is stand_in
            assert backends.select("weight_clip", [torch.ones(1)]) == "cpu"
            with use_backend("cuda"):
                assert backends.select("weight_clip", [torch.ones(1)]) == "cuda"
        assert backends.why_unavailable("cuda") == "not built"


class TestModules:
    @pytest.mark.parametrize("op", OPS)
    def test_every_operation_has_a_triton_module(self, op: str) -> None:
        folder = Path(str(OPS[op].__file__)).parent
        assert (folder / "triton.py").exists()

    def test_an_unknown_backend_has_no_module(self) -> None:
        with pytest.raises(KeyError, match="gpu"):
            weight_clip.BACKENDS["gpu"]

    def test_no_backend_for_gpus_is_imported_with_the_package(self) -> None:
        show = "import sys, fastwgan; print([m for m in sys.modules if m.startswith('fastwgan')])"
        loaded = output_of(show)
        assert "fastwgan.ops.rmsprop.native" in loaded
        assert "triton" not in loaded
        assert "_cuda" not in loaded
