from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

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
    # An editable install would find the kernels elsewhere.
    said = error_of(
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "sys.meta_path[:] = [f for f in sys.meta_path if f.__module__.startswith('_frozen')]\n"
        "import fastwgan"
    )
    assert said == (
        "ImportError: fastwgan's compiled kernels are missing beside this source: "
        "run `pip install -e .` in it."
    )
