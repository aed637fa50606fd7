"""How the build finds nvcc, what it asks of it, and what it says where it cannot."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from fastwgan import _gpu
from tests.test_build import ROOT, SYSTEM_LIBRARY, _exported, linux

COMPUTE = "compute_75\ncompute_80\ncompute_86\ncompute_90\ncompute_100\ncompute_103\ncompute_120\n"
FAKE = """#!/bin/sh
case "$1" in
  --version) echo "Cuda compilation tools, release {release}, V0" ;;
  --list-gpu-arch) printf '{compute}' ;;
  *) echo "kernel.cu(1): error: no such thing" >&2; exit 1 ;;
esac
"""


@pytest.fixture(scope="module")
def nvcc() -> ModuleType:
    spec = importlib.util.spec_from_file_location("nvcc", ROOT / "csrc/cuda/nvcc.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A CUDA_HOME whose nvcc only talks."""
    for name in ("FASTWGAN_CUDA", "FASTWGAN_CUDA_ARCH", "CUDA_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    _write(tmp_path, "12.4")
    return tmp_path


def _write(home: Path, release: str) -> None:
    program = home / "bin/nvcc"
    program.parent.mkdir(exist_ok=True)
    program.write_text(FAKE.format(release=release, compute=COMPUTE.replace("\n", "\\n")))
    program.chmod(0o755)


@linux
def test_architectures_are_the_first_of_each_major_and_ptx_of_the_last(
    nvcc: ModuleType, home: Path
) -> None:
    compiler = nvcc.Nvcc()
    assert compiler.path == str(home / "bin/nvcc")
    assert compiler.architectures() == ["75", "80", "90", "100", "120+PTX"]
    assert compiler.flags()[-2:] == [
        "-gencode=arch=compute_120,code=sm_120",
        "-gencode=arch=compute_120,code=compute_120",
    ]


@linux
@pytest.mark.parametrize("named", ["80 9.0+PTX", "80,9.0+PTX", "8.0;90+PTX"])
def test_architectures_can_be_named(
    nvcc: ModuleType, home: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    monkeypatch.setenv("FASTWGAN_CUDA_ARCH", named)
    codes = [flag.rsplit("=", 1)[1] for flag in nvcc.Nvcc().flags() if "gencode" in flag]
    assert codes == ["sm_80", "sm_90", "compute_90"]
    monkeypatch.setenv("FASTWGAN_CUDA_ARCH", "hopper")
    with pytest.raises(SystemExit, match="FASTWGAN_CUDA_ARCH has 'hopper'; each entry must be"):
        nvcc.Nvcc().flags()


@linux
def test_an_old_compiler_is_refused(nvcc: ModuleType, home: Path) -> None:
    _write(home, "11.8")
    with pytest.raises(nvcc.NoCudaError, match="nvcc is 11; it must be 12 or newer"):
        nvcc.Nvcc()


@linux
def test_a_failure_says_where(nvcc: ModuleType, home: Path) -> None:
    with pytest.raises(nvcc.NoCudaError, match=r"nvcc failed on kernel\.cu: .*no such thing"):
        nvcc.Nvcc()._compile_one([], "kernel.cu", str(home / "kernel.o"))


def test_the_choice_is_one_of_three(nvcc: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    for value, expected in (("", "auto"), ("auto", "auto"), ("0", "0"), ("1", "1")):
        monkeypatch.setenv("FASTWGAN_CUDA", value)
        assert nvcc.wanted() == expected
    monkeypatch.setenv("FASTWGAN_CUDA", "yes")
    with pytest.raises(SystemExit, match="FASTWGAN_CUDA was 'yes'; it must be auto, 0 or 1"):
        nvcc.wanted()


@linux
@pytest.mark.wheel
def test_a_build_that_insists_on_cuda_fails_without(home: Path, tmp_path: Path) -> None:
    _write(home, "11.8")
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("csrc", "fastwgan"):
        ignored = shutil.ignore_patterns("*.so", "__pycache__")
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", str(tmp_path), str(source)]
    environment = {**os.environ, "FASTWGAN_CUDA": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert "FASTWGAN_CUDA was 1, but nvcc is 11; it must be 12 or newer" in said


@linux
@pytest.mark.skipif(not _gpu._is_installed("fastwgan._cuda"), reason="built without CUDA")
def test_the_built_module_needs_no_driver_and_exports_its_entry_alone() -> None:
    from fastwgan import _cuda

    assert _cuda.runtime_version() >= 12000
    assert _exported(_cuda.__file__) == {"PyInit__cuda"}
    listed = subprocess.check_output(["readelf", "-d", _cuda.__file__], text=True)
    needed = [line.split("[")[1].rstrip("]") for line in listed.splitlines() if "(NEEDED)" in line]
    own = SYSTEM_LIBRARY.replace("libgomp", "librt|libdl")
    assert all(re.match(own, name) for name in needed), needed
