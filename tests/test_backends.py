from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
import torch
from torch import Tensor

import fastwgan
from fastwgan import _cpu, backends
from fastwgan.backends import use_backend, use_instruction_set
from fastwgan.ops import weight_clip
from tests.processes import LOAD_CPU, error_of, output_of


@pytest.fixture(autouse=True)
def _automatic(monkeypatch: pytest.MonkeyPatch) -> None:
    """The choice as without FASTWGAN_BACKEND, whatever this run of the suite forces."""
    monkeypatch.setattr(backends, "_from_environment", None)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The backends that weight clipping has run on, in order."""
    seen: list[str] = []
    for name, module in weight_clip.BACKENDS.items():
        # A backend is called through its module's attribute, so this sees every call.
        def spy(tensors: Any, bound: float, name: str = name, real: Any = module.clip_) -> None:
            seen.append(name)
            real(tensors, bound)

        monkeypatch.setattr(module, "clip_", spy)

    def plain(tensors: Any, bound: float, real: Any = weight_clip.native.clip_plain_) -> bool:
        taken = bool(real(tensors, bound))
        seen.extend(["cpu"] * taken)
        return taken

    monkeypatch.setattr(weight_clip.native, "clip_plain_", plain)
    return seen


def _clip(tensor: Tensor) -> None:
    fastwgan.clip_weights_(tensor, 0.5)


class TestAutomaticChoice:
    FLOATS = (torch.float32, torch.float64)
    HALVES = (torch.bfloat16, torch.float16)

    @pytest.mark.parametrize("op", ["weight_clip", "rmsprop", "spectral_norm", "gradient_penalty"])
    def test_kernels_for_floats_in_cpu_memory(self, op: str) -> None:
        mixed = [torch.ones(1, dtype=dtype) for dtype in self.FLOATS]
        assert backends.select(op, mixed) == "cpu"
        assert backends.select(op, []) == "cpu"

    @pytest.mark.parametrize("op", ["weight_clip", "rmsprop", "spectral_norm"])
    @pytest.mark.parametrize("dtype", HALVES, ids=str)
    def test_kernels_for_half_weights(self, op: str, dtype: torch.dtype) -> None:
        assert backends.select(op, [torch.ones(1, dtype=dtype)]) == "cpu"

    @pytest.mark.parametrize("op", ["weight_clip", "rmsprop", "spectral_norm", "gradient_penalty"])
    def test_reference_for_anything_else(self, op: str) -> None:
        good = torch.ones(1)
        for other in (torch.ones(1, dtype=torch.complex64), torch.ones(1, device="meta")):
            assert backends.select(op, [good, other]) == "reference"
            assert backends.select(op, [other, good]) == "reference"

    def test_calls_take_it(self, calls: list[str]) -> None:
        for dtype in (*self.FLOATS, *self.HALVES):
            _clip(torch.ones(3, dtype=dtype))
        assert calls == ["cpu"] * 4


class TestForcedChoice:
    def test_nesting_and_restoring(self, calls: list[str]) -> None:
        tensor = torch.ones(3)
        with use_backend("reference"):
            _clip(tensor)
            with use_backend("cpu"):
                _clip(tensor)
                with use_backend("reference"):
                    _clip(tensor)
                _clip(tensor)
            _clip(tensor)
        _clip(tensor)
        assert calls == ["reference", "cpu", "reference", "cpu", "reference", "cpu"]

    def test_restored_after_an_exception(self) -> None:
        with pytest.raises(KeyError), use_backend("reference"):
            raise KeyError
        assert backends.forced() is None

    def test_as_a_decorator(self, calls: list[str]) -> None:
        use_backend("reference")(_clip)(torch.ones(3))
        assert calls == ["reference"]

    def test_library_path_takes_it_too(self, calls: list[str]) -> None:
        with use_backend("reference"):
            torch.ops.fastwgan.weight_clip_([torch.ones(3)], 0.5)
        assert calls == ["reference"]

    @pytest.mark.parametrize("name", ["gpu", "", "CPU", "cpu-avx2"])
    def test_unknown_name(self, name: str) -> None:
        with pytest.raises(ValueError, match=rf"^name was '{name}'; it must be one of \['cuda', "):
            use_backend(name).__enter__()
        with pytest.raises(ValueError, match="name was"):
            backends.why_unavailable(name)

    def test_a_backend_that_cannot_take_a_tensor_says_which_can(self) -> None:
        tensors = [torch.ones(1), torch.ones(1).half()]
        with use_backend("cpu"), pytest.raises(RuntimeError) as error:
            backends.select("gradient_penalty", tensors)
        said = str(error.value)
        assert said.startswith(
            "backend 'cpu' cannot run gradient_penalty on a torch.float16 tensor"
        )
        assert "float32, float64" in said
        assert "backend 'reference' takes any" in said


class TestConcurrency:
    def test_each_thread_has_its_own_choice(self) -> None:
        inside = threading.Barrier(3)
        seen: dict[str, str | None] = {}

        def work(name: str) -> None:
            with use_backend(name):
                inside.wait(10)
                seen[name] = backends.forced()
                inside.wait(10)

        threads = [threading.Thread(target=work, args=(name,)) for name in ("cpu", "reference")]
        for thread in threads:
            thread.start()
        inside.wait(10)
        seen["main"] = backends.forced()
        inside.wait(10)
        for thread in threads:
            thread.join()
        assert seen == {"cpu": "cpu", "reference": "reference", "main": None}

    def test_each_asyncio_task_has_its_own_choice(self) -> None:
        async def work(name: str) -> str | None:
            with use_backend(name):
                await asyncio.sleep(0)
                return backends.forced()

        async def both() -> list[str | None]:
            return list(await asyncio.gather(work("cpu"), work("reference"), work("cpu")))

        assert asyncio.run(both()) == ["cpu", "reference", "cpu"]


class TestInstructionSets:
    def test_listed_and_restored(self) -> None:
        names = backends.instruction_sets()
        assert names[0] == "baseline"
        assert {"baseline", "portable256", "portable512"} <= set(names)
        before = backends.instruction_set()
        with use_instruction_set("portable256"):
            assert backends.instruction_set() == "portable256"
            with use_instruction_set("baseline"):
                assert backends.instruction_set() == "baseline"
            assert backends.instruction_set() == "portable256"
        assert backends.instruction_set() == before

    @pytest.mark.parametrize("name", ["sse", "", "AVX2"])
    def test_unknown_name(self, name: str) -> None:
        before = backends.instruction_set()
        with pytest.raises(ValueError, match=f"instruction set was '{name}'; it must be one of"):
            use_instruction_set(name).__enter__()
        with pytest.raises(ValueError, match="no instruction set named"):
            _cpu.set_instruction_set(name)
        assert backends.instruction_set() == before


SHOW_SET = LOAD_CPU + "print(_cpu.instruction_set())"
SHOW_BACKEND = "import fastwgan; print(fastwgan.backends.forced())"


class TestEnvironment:
    @pytest.mark.parametrize("name", backends.instruction_sets())
    def test_instruction_set(self, name: str) -> None:
        assert output_of(SHOW_SET, FASTWGAN_CPU_ISA=name) == name

    def test_without_it_the_widest_native_set(self) -> None:
        native = [n for n in backends.instruction_sets() if not n.startswith("portable")]
        assert output_of(SHOW_SET) == native[-1]
        assert output_of(SHOW_SET, FASTWGAN_CPU_ISA="") == native[-1]

    @pytest.mark.parametrize("name", ["sse9", "AVX2", "avx512 "])
    def test_bad_instruction_set(self, name: str) -> None:
        said = error_of(LOAD_CPU, FASTWGAN_CPU_ISA=name)
        assert said.startswith(f"ImportError: FASTWGAN_CPU_ISA was '{name}'; it must be one of")
        assert all(repr(known) in said for known in backends.instruction_sets())

    def test_bad_instruction_set_at_the_front_door(self) -> None:
        said = error_of("import fastwgan", FASTWGAN_CPU_ISA="sse9")
        assert said.startswith("ImportError: FASTWGAN_CPU_ISA was 'sse9'; it must be one of")

    @pytest.mark.parametrize("limit", ["", "0", "7", "1024"])
    def test_pool_limit(self, limit: str) -> None:
        assert output_of(SHOW_SET, FASTWGAN_POOL_MIB=limit)

    @pytest.mark.parametrize("limit", ["abc", "-1", "1.5", " 1", "1 ", "1e3", "9" * 30])
    def test_bad_pool_limit(self, limit: str) -> None:
        assert error_of(LOAD_CPU, FASTWGAN_POOL_MIB=limit) == (
            f"ImportError: FASTWGAN_POOL_MIB was '{limit}'; it must be a whole number of "
            "mebibytes, 0 or more."
        )

    def test_backend(self) -> None:
        assert output_of(SHOW_BACKEND, FASTWGAN_BACKEND="reference") == "reference"

    @pytest.mark.parametrize("name", ["auto", ""])
    def test_automatic_backend(self, name: str) -> None:
        assert output_of(SHOW_BACKEND, FASTWGAN_BACKEND=name) == "None"

    def test_bad_backend(self) -> None:
        said = error_of("import fastwgan", FASTWGAN_BACKEND="gpu")
        assert said == (
            "ValueError: FASTWGAN_BACKEND was 'gpu'; it must be one of "
            "['cuda', 'triton', 'cpu', 'reference']."
        )
