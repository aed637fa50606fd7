"""A tree is mutated and restored, files are compiled when they must be, verdicts are right."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

import pytest

from tests.mutation.mutation import Mutation
from tests.mutation.running import INVALID, KILLED, tested
from tests.mutation.tree import ROOT, Tree
from tests.object_files import compiled


class SmallTree(Tree):
    def __init__(self, path: Path) -> None:
        self.path = path


def test_a_mutation_is_there_inside_alone(tmp_path: Path) -> None:
    tree, file = SmallTree(tmp_path), tmp_path / "package" / "module.py"
    tree._write("package/module.py", b"one = 1\n")
    cache = file.parent / "__pycache__" / "module.cpython-311.pyc"
    cache.parent.mkdir()
    mutation = Mutation("package/module.py", "1", "2", "", "")
    with suppress(KeyboardInterrupt), tree.mutated(mutation):
        assert file.read_text() == "one = 2\n"
        cache.write_bytes(b"of the mutated source")
        raise KeyboardInterrupt
    assert file.read_text() == "one = 1\n"
    assert not cache.exists()


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++")
def test_what_a_change_reaches_is_compiled_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "include").mkdir()
    sources = [tmp_path / "one.cpp", tmp_path / "other.cpp"]
    outer, inner = tmp_path / "outer.h", tmp_path / "include" / "inner.h"
    sources[0].write_text('#include "outer.h"\nint one() { return number; }\n')
    sources[1].write_text("int other() { return 1; }\n")
    outer.write_text('#include "inner.h"\n')
    inner.write_text("constexpr int number = 1;\n")

    def objects() -> list[Path]:
        return compiled("g++", sources, [f"-I{inner.parent}"], tmp_path / "objects")

    first = objects()
    made = [path.stat().st_mtime_ns for path in first]
    assert objects() == first
    inner.write_text("constexpr int number = 2;\n")
    second = objects()
    assert second[0] != first[0]
    assert second[1] == first[1]
    assert [path.stat().st_mtime_ns for path in first] == made
    inner.write_text("constexpr int number = ;\n")
    with pytest.raises(AssertionError, match="expected"):
        objects()


@pytest.mark.parametrize(
    ("test", "verdict", "said"),
    [
        ("assert fastwgan.one == 2", KILLED, "test_it.py::test_it"),
        ("fastwgan.two", INVALID, "AttributeError in the call of"),
    ],
)
def test_the_verdict_of_a_run(tmp_path: Path, test: str, verdict: str, said: str) -> None:
    found = _tested(tmp_path, test, tmp_path)
    assert found[0] == verdict
    assert said in found[1]


def test_another_package_than_the_mutated_one_is_not_tested(tmp_path: Path) -> None:
    (tmp_path / "mutated").mkdir()
    verdict, said = _tested(tmp_path, "assert False", tmp_path / "mutated")
    assert verdict == INVALID
    assert "fastwgan was of" in said


def _tested(package: Path, test: str, folder: Path) -> tuple[str, str]:
    """The verdict of one test, of a package that stands for fastwgan."""
    (package / "fastwgan").mkdir()
    (package / "fastwgan" / "__init__.py").write_text("one = 1\n")
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_it.py").write_text(f"import fastwgan\n\n\ndef test_it(): {test}\n")
    path = f"{package}{os.pathsep}{ROOT}"
    environment = {**os.environ, "PYTHONPATH": path, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return tested(folder, environment, "test_it.py")
