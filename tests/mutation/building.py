"""Builds `fastwgan._cpu` of a tree, with the object files that are as before kept.

As setup.py does, but optimised less, which compiles three times as fast.
"""

from __future__ import annotations

import shutil
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

from tests.object_files import compiled, run

FLAGS = (
    *("-std=c++17", "-O1", "-g0", "-fPIC", "-fvisibility=hidden", "-fno-math-errno", "-fopenmp"),
    "-Wno-psabi",
)


def build_cpu(tree: Path) -> None:
    """Puts the module beside the package of `tree`.

    Raises:
        AssertionError: a source does not compile; the compiler's messages.
    """
    compiler = shutil.which("g++") or shutil.which("c++")
    assert compiler is not None, "there is no C++ compiler"
    torch = find_spec("torch")
    assert torch is not None, "torch is not installed"
    assert torch.origin is not None
    # pybind11's headers come with torch.
    headers = (sysconfig.get_path("include"), Path(torch.origin).parent / "include")
    system = [f"-isystem{folder}" for folder in headers]
    flags = [*FLAGS, f"-I{tree / 'csrc/include'}", *system]
    sources = sorted((tree / "csrc/cpu").glob("*.cpp"))
    objects = compiled(compiler, sources, flags, tree / "build/objects")
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    run([compiler, "-shared", *FLAGS, *objects, "-o", tree / f"fastwgan/_cpu{suffix}"])


if __name__ == "__main__":
    build_cpu(Path(sys.argv[1]))
