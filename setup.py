"""Builds the extension modules; everything else is in pyproject.toml.

Environment:
    FASTWGAN_SANITIZE: a value for -fsanitize (for example "address,undefined"): a debugging build.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from pybind11.setup_helpers import ParallelCompile, Pybind11Extension, build_ext
from setuptools import setup
from setuptools.errors import CompileError, LinkError

SOURCES = sorted(str(path) for path in Path("csrc/cpu").glob("*.cpp"))
HEADERS = sorted(str(path) for path in Path("csrc").rglob("*.h"))


class BuildExtensions(build_ext):
    """Finds out what the compiler can do before it compiles."""

    def build_extensions(self) -> None:
        if sys.platform == "win32":
            raise SystemExit(
                "fastwgan does not build on Windows: its kernels use the vector extensions of gcc "
                "and clang; WSL works."
            )
        compile_flags, link_flags = self._openmp_flags()
        sanitize = os.environ.get("FASTWGAN_SANITIZE")
        if sanitize:
            flags = [f"-fsanitize={sanitize}", "-fno-omit-frame-pointer", "-g1"]
            # -O1: at -O3 the largest file takes three times as long to compile.
            compile_flags = [*compile_flags, *flags, "-fno-sanitize-recover=all", "-O1"]
            link_flags = [*link_flags, *flags]
        for extension in self.extensions:
            extension.extra_compile_args += compile_flags
            extension.extra_link_args += link_flags
        super().build_extensions()

    def _openmp_flags(self) -> tuple[list[str], list[str]]:
        """The flags that give OpenMP, or none where the compiler has none: then single-threaded."""
        source = "#include <omp.h>\nint main() { return omp_get_max_threads() == 0; }\n"
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "openmp.cpp"
            file.write_text(source)
            try:
                objects = self.compiler.compile(
                    [str(file)], output_dir=folder, extra_postargs=["-fopenmp"]
                )
                self.compiler.link_executable(
                    objects, str(Path(folder) / "openmp"), extra_postargs=["-fopenmp"]
                )
            except (CompileError, LinkError):
                print("fastwgan: the compiler has no OpenMP; the kernels will run single-threaded.")
                return [], []
        return ["-fopenmp"], ["-fopenmp"]


extension = Pybind11Extension(
    "fastwgan._cpu",
    SOURCES,
    depends=HEADERS,
    include_dirs=["csrc/include"],
    cxx_std=17,
    # -fno-math-errno lets a square root be one instruction; it changes no value.
    extra_compile_args=["-O3", "-fno-math-errno", "-Wall", "-Wextra", "-Wno-psabi"],
)

ParallelCompile("FASTWGAN_BUILD_JOBS", default=0).install()
setup(ext_modules=[extension], cmdclass={"build_ext": BuildExtensions})
