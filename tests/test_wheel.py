"""What is handed out: the sdist, the wheel that it builds, and what both hold."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from zipfile import ZipFile

import pytest
import torch

from tests.test_build import ROOT, SYSTEM_LIBRARY, _exported, linux

pytestmark = pytest.mark.wheel

EPOCH = "1700000000"
SDIST_METADATA = {"PKG-INFO", "setup.cfg"}
# What auditwheel's table has for manylinux_2_34, the systems of 2021: what a toolchain of glibc
# 2.36 or older makes. Wheels for others are built in an older one's image ([tool.cibuildwheel]).
NEWEST_SYMBOLS = {"GLIBC": (2, 34), "GLIBCXX": (3, 4, 29), "CXXABI": (1, 3, 13), "GCC": (7, 0)}
BUILT_HERE = tuple(map(int, re.findall(r"\d+", platform.libc_ver()[1])))


def _sources() -> list[str]:
    """The files of the repository; in an unpacked sdist, which has no repository, its own."""
    if (ROOT / ".git").exists():
        listed = subprocess.check_output(["git", "ls-files", "-z"], text=True, cwd=ROOT)
        return [name for name in listed.split("\0") if name and (ROOT / name).exists()]
    (listing,) = ROOT.glob("*.egg-info/SOURCES.txt")
    return [name for name in listing.read_text().splitlines() if not _is_metadata(name)]


def _is_metadata(name: str) -> bool:
    return name in SDIST_METADATA or name.startswith("fastwgan.egg-info/")


def _environment(**more: str) -> dict[str, str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("FASTWGAN_", "PYTHON"))}
    # Without CUDA: minutes less where there is nvcc.
    return {**inherited, "FASTWGAN_CUDA": "0", "SOURCE_DATE_EPOCH": EPOCH, **more}


def _run(*command: object, **more: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *map(str, command)],
        env=_environment(**more),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _wheel_of(source: Path, folder: Path) -> Path:
    """The wheel that pip builds in an environment that holds no torch."""
    _run("pip", "wheel", "-q", "--no-deps", "-w", folder, source)
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository's files, without what was built in it."""
    folder = tmp_path_factory.mktemp("tree")
    for name in _sources():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def sdist(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    tools, folder = tmp_path_factory.mktemp("tools"), tmp_path_factory.mktemp("sdist")
    _run("pip", "install", "-q", "--target", tools, *_build_requirements())
    code = (
        "import os, sys; from setuptools import build_meta\n"
        f"os.chdir({str(tree)!r}); sys.argv = ['setup.py']; build_meta.build_sdist({str(folder)!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=_environment(PYTHONPATH=str(tools)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the sdist alone."""
    return _wheel_of(sdist, tmp_path_factory.mktemp("wheels"))


def _build_requirements() -> list[str]:
    (line,) = re.findall(r"^requires = \[(.*)\]$", (ROOT / "pyproject.toml").read_text(), re.M)
    return re.findall(r'"([^"]+)"', line)


def test_the_wheel_needs_no_torch_to_build(wheel: Path) -> None:
    names = [re.split(r"[^a-z0-9_-]", requirement)[0] for requirement in _build_requirements()]
    assert names == ["setuptools", "pybind11"]


def test_the_sdist_holds_the_repository(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
    assert all(member.isfile() or member.isdir() for member in members)
    files = [member.name.partition("/") for member in members if member.isfile()]
    assert {folder for folder, _, _ in files} == {sdist.name.removesuffix(".tar.gz")}
    assert {name for _, _, name in files if not _is_metadata(name)} == set(_sources())


def _files_of(wheel: Path) -> dict[str, bytes]:
    with ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}


@pytest.mark.nightly
def test_tree_and_sdist_build_the_same_wheel(
    tree: Path, wheel: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """In folders of other names and depths: a build that can be repeated, to the byte."""
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "a/deeper/place"
    shutil.copytree(tree, elsewhere)
    again = _wheel_of(elsewhere, tmp_path_factory.mktemp("again"))
    first, second = _files_of(wheel), _files_of(again)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []
    assert wheel.name == again.name
    assert wheel.read_bytes() == again.read_bytes()


def test_the_wheel_holds_the_package_and_one_library(wheel: Path) -> None:
    names = _files_of(wheel).keys()
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
    metadata = {name.partition("/")[2] for name in names - package}
    assert metadata == {
        *("METADATA", "RECORD", "WHEEL", "entry_points.txt", "top_level.txt"),
        "licenses/LICENSE",
    }


def test_the_wheel_names_no_folder_of_its_build(wheel: Path, tree: Path) -> None:
    places = {str(tree.parent), str(ROOT), str(Path.home()), sys.prefix}
    for name, content in _files_of(wheel).items():
        assert not [place for place in places if place.encode() in content], name


@linux
def test_the_wheels_library_needs_only_the_systems(wheel: Path, tmp_path: Path) -> None:
    extension = _library_of(wheel, tmp_path)
    listed = subprocess.check_output(["readelf", "-d", extension], text=True)
    needed = re.findall(r"\(NEEDED\).*\[([^\]]+)\]", listed)
    assert needed
    assert all(re.match(SYSTEM_LIBRARY, name) for name in needed), needed
    assert not re.search(r"RPATH|RUNPATH|TEXTREL", listed)
    assert _exported(extension) == {"PyInit__cpu"}


@linux
@pytest.mark.skipif(BUILT_HERE > (2, 36), reason="a newer glibc brings newer symbols")
def test_the_wheels_library_asks_for_no_new_symbols(wheel: Path, tmp_path: Path) -> None:
    extension = _library_of(wheel, tmp_path)
    listed = subprocess.check_output(["readelf", "-V", "-W", extension], text=True)
    needs = listed[listed.index(".gnu.version_r") :]
    found = re.findall(r"Name: (GLIBC|GLIBCXX|CXXABI|GCC)_([\d.]+)", needs)
    assert {family for family, _ in found} >= {"GLIBC", "GLIBCXX", "CXXABI"}
    newer = [
        f"{family}_{version}"
        for family, version in found
        if tuple(map(int, version.split("."))) > NEWEST_SYMBOLS[family]
    ]
    assert newer == []


@linux
def test_the_wheels_library_runs_no_code_from_its_stack(wheel: Path, tmp_path: Path) -> None:
    extension = _library_of(wheel, tmp_path)
    listed = subprocess.check_output(["readelf", "-l", "-W", extension], text=True)
    (flags,) = re.findall(r"GNU_STACK\s+(?:0x\w+\s+){5}([RWE ]+?)\s+0x", listed)
    assert flags == "RW"


def _library_of(wheel: Path, folder: Path) -> str:
    with ZipFile(wheel) as archive:
        (member,) = (name for name in archive.namelist() if name.endswith(".so"))
        return archive.extract(member, folder)


RUN_ONE_OPERATION = """
import fastwgan, torch
weights = torch.full((3,), 2.0)
fastwgan.clip_weights_(weights, 0.5)
print(fastwgan.__file__, fastwgan.__version__, weights.tolist(), sep="|")
"""


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
