"""Builds the extension modules; everything else is in pyproject.toml.

Environment:
    FASTWGAN_CUDA: "auto" builds the CUDA kernels where nvcc is found, "1" insists, "0" leaves them.
    FASTWGAN_CUDA_ARCH: architectures, as in "80 90+PTX"; by default all that nvcc knows, by major.
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

sys.path.insert(0, "csrc/cuda")
import nvcc

CUDA_SOURCES = sorted(str(path) for path in Path("csrc/cuda").glob("*.cu"))
CUDA_HEADERS = sorted(str(path) for path in Path("csrc/cuda").glob("*.cuh"))
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
        self._prepare_cuda()
        compile_flags, link_flags = self._openmp_flags()
        sanitize = os.environ.get("FASTWGAN_SANITIZE")
        if sanitize:
            flags = [f"-fsanitize={sanitize}", "-fno-omit-frame-pointer", "-g1"]
            # -O1: at -O3 the largest file takes three times as long to compile.
            compile_flags = [*compile_flags, *flags, "-fno-sanitize-recover=all", "-O1"]
            link_flags = [*link_flags, *flags]
        extension.extra_compile_args += compile_flags
        extension.extra_link_args += link_flags
        super().build_extensions()

    def _prepare_cuda(self) -> None:
        """Compiles the kernels for `_cuda`, or leaves it out and writes down why."""
        folder = Path("fastwgan") if self.inplace else Path(self.build_lib) / "fastwgan"
        note = folder / "_cuda_build.txt"
        note.unlink(missing_ok=True)
        wanted = nvcc.wanted()
        try:
            if wanted == "0":
                raise nvcc.NoCudaError("FASTWGAN_CUDA was 0 at the build")
            compiler = nvcc.Nvcc()
            cuda.library_dirs += compiler.library_folders()
            cuda.extra_objects += compiler.compile(CUDA_SOURCES, Path(self.build_temp) / "cuda")
        except nvcc.NoCudaError as reason:
            if wanted == "1":
                raise SystemExit(f"FASTWGAN_CUDA was 1, but {reason}") from reason
            print(f"fastwgan: built without CUDA: {reason}")
            self.extensions.remove(cuda)
            folder.mkdir(parents=True, exist_ok=True)
            note.write_text(f"{reason}\n")

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

# The runtime is linked statically, so that the module imports where there is no driver.
cuda = Pybind11Extension(
    "fastwgan._cuda",
    ["csrc/cuda/bindings.cpp"],
    depends=[*HEADERS, *CUDA_HEADERS, *CUDA_SOURCES],
    include_dirs=["csrc/include"],
    cxx_std=17,
    libraries=["cudart_static", "rt", "pthread", "dl"],
    extra_compile_args=["-O2", "-Wall", "-Wextra"],
    extra_link_args=["-Wl,--exclude-libs,ALL"] if sys.platform == "linux" else [],
)

ParallelCompile("FASTWGAN_BUILD_JOBS", default=0).install()
setup(ext_modules=[extension, cuda], cmdclass={"build_ext": BuildExtensions})
