from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
import torch

import fastwgan
from fastwgan import _cpu
from tests.processes import error_of, output_of

ROOT = Path(__file__).parents[1]
CSRC = ROOT / "csrc"
# The files that are Python's end of the kernels.
PYTHON_SOURCES = {
    "bindings.cpp",
    "plain_calls",
    "plain_rmsprop",
    "plain_spectral_norm",
    "plain_tensor",
    "plain_weight_clip",
    "pooled_tensors",
    "tensor_table",
}
SYSTEM_LIBRARY = r"(libstdc\+\+|libm|libgcc_s|libc|libpthread|libgomp|ld-linux-[\w-]+)\.so\.\d+$"

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and ELF files")

OPENMP_LIBRARIES = """
import re
import torch
from fastwgan import clip_weights_

torch.set_num_threads(2)
weights = torch.ones(1 << 20)
(weights @ weights).item()
clip_weights_(weights, 0.5)
paths = {line.split(maxsplit=5)[5].strip() for line in open("/proc/self/maps") if "/" in line}
print(*sorted(p for p in paths if re.search(r"/lib(gomp|i?omp)[^/]*$", p)), sep="\\n")
"""


@linux
@pytest.mark.skipif(_cpu.openmp_threads() == 0, reason="these kernels were built without OpenMP")
@pytest.mark.parametrize("first", ["torch", "fastwgan"])
def test_one_openmp_runtime_whichever_is_imported_first(first: str) -> None:
    libraries = output_of(f"import {first}\n{OPENMP_LIBRARIES}").splitlines()
    assert len(libraries) == 1, libraries
    own = list((Path(torch.__file__).parent / "lib").glob("libgomp*"))
    if own:
        assert Path(libraries[0]).resolve() == own[0].resolve()


def _exported(extension: str) -> set[str]:
    """The names a shared library defines for others, weak template instances of std:: aside."""
    nm = shutil.which("nm")
    assert nm is not None, "nm comes with the compiler that built the kernels"
    lines = subprocess.check_output([nm, "-D", "--defined-only", extension], text=True)
    symbols = [line.split()[-2:] for line in lines.splitlines()]
    return {name for kind, name in symbols if kind not in "WVu" or not _of_std(name)}


def _of_std(name: str) -> bool:
    """True for mangled names of namespace std and type information of built-in types."""
    return re.match(r"_Z(N?K?St|NSt|NKSt|St|T[ISV]N?St|T[IS]P?Fv|ZNSt)", name) is not None


@linux
def test_the_module_exports_its_entry_and_nothing_else() -> None:
    assert _exported(_cpu.__file__) == {"PyInit__cpu"}


def test_no_torch_header_and_python_only_at_its_end() -> None:
    sources = [p for p in CSRC.rglob("*") if p.suffix in {".h", ".cpp", ".cu", ".cuh"}]
    assert len(sources) > 10
    for path in sources:
        included = re.findall(r'#\s*include\s*[<"]([^>"]+)', path.read_text())
        assert not [i for i in included if re.match(r"(torch|ATen|c10)/", i)], path
        if {path.name, path.stem}.isdisjoint(PYTHON_SOURCES):
            assert not [i for i in included if re.match(r"(Python\.h|pybind11/)", i)], path


def test_the_c_abi_is_c(tmp_path: Path) -> None:
    """Every public header compiles alone, as C99."""
    compiler = shutil.which("cc")
    assert compiler is not None
    headers = sorted((CSRC / "include/fastwgan").glob("*.h"))
    for header in headers:
        source = tmp_path / f"{header.stem}.c"
        source.write_text(f'#include "fastwgan/{header.name}"\n')
        flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
        subprocess.run([compiler, *flags, f"-I{CSRC / 'include'}", str(source)], check=True)


def test_a_checkout_without_kernels_says_what_to_run(tmp_path: Path) -> None:
    source = Path(fastwgan.__file__).parent
    shutil.copytree(source, tmp_path / "fastwgan", ignore=shutil.ignore_patterns("*.so"))
    said = error_of(f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nimport fastwgan")
    assert said == (
        "ImportError: fastwgan's compiled kernels are missing beside this source: "
        "run `pip install -e .` in it."
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the sources alone, built by pip in an environment that holds no torch."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("csrc", "fastwgan", "tests"):
        ignored = shutil.ignore_patterns("*.so", "__pycache__")
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    folder = tmp_path_factory.mktemp("wheels")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FASTWGAN_")}
    environment["FASTWGAN_CUDA"] = "0"  # minutes less where there is nvcc
    done = subprocess.run(
        [*command, str(source)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.iterdir()
    return built


def _build_requirements() -> list[str]:
    (line,) = re.findall(r"^requires = \[(.*)\]$", (ROOT / "pyproject.toml").read_text(), re.M)
    return re.findall(r'"([a-z0-9_-]+)', line)


@pytest.mark.wheel
def test_the_wheel_needs_no_torch_to_build(wheel: Path) -> None:
    assert _build_requirements() == ["setuptools", "pybind11"]


@pytest.mark.wheel
def test_the_wheel_holds_the_package_and_one_library(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    package = {name for name in names if not re.match(r"fastwgan-[^/]+\.dist-info/", name)}
    libraries = {name for name in names if re.search(r"\.(so|dylib|dll|a)(\.|$)", name)}
    assert len(libraries) == 1
    assert re.match(r"fastwgan/_cpu\.[^/]+\.so$", *libraries)
    wanted = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "fastwgan").rglob("*")
        if path.suffix in {".py", ".pyi", ".md", ".typed", ".css", ".js"}
    }
    assert {"fastwgan/py.typed", "fastwgan/_cpu.pyi", "fastwgan/ops/rmsprop/README.md"} <= wanted
    assert package == wanted | libraries | {"fastwgan/_cuda_build.txt"}


@linux
@pytest.mark.wheel
def test_the_wheels_library_needs_only_the_systems(wheel: Path, tmp_path: Path) -> None:
    with ZipFile(wheel) as archive:
        (member,) = (name for name in archive.namelist() if name.endswith(".so"))
        extension = archive.extract(member, tmp_path)
    listed = subprocess.check_output(["readelf", "-d", extension], text=True)
    needed = re.findall(r"\(NEEDED\).*\[([^\]]+)\]", listed)
    assert needed
    assert all(re.match(SYSTEM_LIBRARY, name) for name in needed), needed
    assert not re.search(r"RPATH|RUNPATH", listed)
    assert _exported(extension) == {"PyInit__cpu"}


RUN_ONE_OPERATION = """
import fastwgan, torch
weights = torch.full((3,), 2.0)
fastwgan.clip_weights_(weights, 0.5)
print(fastwgan.__file__, fastwgan.__version__, weights.tolist(), sep="|")
"""


@pytest.mark.wheel
def test_the_wheel_works_in_a_fresh_environment(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    python = environment / "bin/python"
    install = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", wheel]
    subprocess.run(install, check=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    # torch is borrowed from the environment that runs the tests instead of installed once more.
    (packages / "torch.pth").write_text(f"{Path(torch.__file__).parents[1]}\n")
    run = [python, "-I", "-W", "error", "-c", RUN_ONE_OPERATION]
    file, version, result = subprocess.check_output(run, text=True, cwd=tmp_path).split("|")
    assert Path(file).is_relative_to(packages)
    assert version == wheel.name.split("-")[1]
    assert result.strip() == "[0.5, 0.5, 0.5]"
    assert (environment / "bin/fastwgan").exists()
