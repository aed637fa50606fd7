"""What the package may not do with bytes that a stranger wrote, read off its own source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.documents import ROOT

SOURCES = sorted((ROOT / "fastwgan").rglob("*.py"))

# Modules that run what they read, or start other programs.
RUNNING_MODULES = {
    *("cloudpickle", "code", "dill", "joblib", "jsonpickle", "marshal", "runpy", "shelve"),
    *("subprocess", "yaml"),
}
RUNNING_BUILTINS = {"__import__", "compile", "eval", "exec"}
# Methods and functions that do, or that unpack archives by the names in them.
RUNNING_CALLS = {
    *("exec_module", "extract", "extractall", "load_library", "load_module", "popen"),
    *("load_state_dict_from_url", "read_hdf", "read_pickle", "read_sql", "system", "to_pickle"),
    "unpack_archive",
}
# Arguments without which a function unpickles.
SAFE_LOADING = {"torch.load": ("weights_only", True), "np.load": ("allow_pickle", False)}
# What is allowed all the same, where, and why.
ALLOWED = {
    ("_gpu.py", "import_module"): "names of our own modules and of triton",
    ("backends.py", "import_module"): "names of our own modules",
    ("train/extras.py", "import_module"): "names of the extras' packages, written in the code",
    ("train/models/custom.py", "import_module"): "critic = package.module:Class, as its help says",
    ("train/process_group.py", "broadcast_object_list"): "from the run's own first process",
    ("train/checkpoint.py", "pickle"): "the name of an error, and nothing else of it",
}


def _name(node: ast.expr) -> str:
    """`a.b.c` of nested attributes; the last part alone where the first isn't a name."""
    if isinstance(node, ast.Attribute):
        owner = _name(node.value)
        return f"{owner}.{node.attr}" if owner else node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _findings(tree: ast.Module) -> Iterator[str]:
    """What in a source runs, or may run, code that it reads."""
    safe = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from _imports(node)
        elif isinstance(node, ast.Call):
            if _is_safe_load(node):
                safe.add(node.func)
            yield from _calls(node)
        elif isinstance(node, ast.Name) and node.id in RUNNING_BUILTINS:
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield from _attributes(node, node in safe)


def _imports(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    if isinstance(node, ast.ImportFrom):
        owner, names = node.module or "", {alias.name for alias in node.names}
        if owner == "pickle" or (owner in ("torch", "numpy") and "load" in names):
            yield f"from {owner}"
        yield from names & {"import_module"}
        modules = {owner}
    else:
        modules = {alias.name for alias in node.names}
        hidden = {alias.name for alias in node.names if alias.asname not in (None, "_torch")}
        if hidden & {"torch", "pickle", "importlib"}:
            yield "an alias"
    roots = {module.partition(".")[0] for module in modules}
    yield from roots & RUNNING_MODULES
    if "pickle" in roots and isinstance(node, ast.Import):
        yield "pickle"


def _calls(node: ast.Call) -> Iterator[str]:
    for keyword in node.keywords:
        if keyword.arg == "allow_pickle" and _constant(keyword.value) is not False:
            yield "allow_pickle"
    if isinstance(node.func, ast.Attribute) and node.func.attr == "open" and _opens_pictures(node):
        yield "a picture without its formats"


def _opens_pictures(node: ast.Call) -> bool:
    """Whether this may be Pillow's open: no mode comes first, as Path's does, and no formats."""
    assert isinstance(node.func, ast.Attribute)
    if _name(node.func.value) in ("os", "archive", "") and "require" not in ast.dump(node.func):
        return False
    is_mode = not node.args or isinstance(_constant(node.args[0]), str | ast.IfExp)
    return not is_mode and "formats" not in {keyword.arg for keyword in node.keywords}


def _attributes(node: ast.Attribute, is_safe: bool) -> Iterator[str]:
    name = _name(node)
    if name.startswith("pickle.") and name != "pickle.UnpicklingError":
        yield name
    if (
        name in (*SAFE_LOADING, "numpy.load", "torch.jit.load", "torch.hub.load", "torch.package")
        and not is_safe
    ):
        yield name
    if node.attr in RUNNING_CALLS | {"import_module", "broadcast_object_list"}:
        yield node.attr


def _is_safe_load(node: ast.Call) -> bool:
    wanted = SAFE_LOADING.get(_name(node.func))
    given = {keyword.arg: _constant(keyword.value) for keyword in node.keywords}
    return wanted is not None and given.get(wanted[0]) is wanted[1]


def _constant(node: ast.expr) -> object:
    return node.value if isinstance(node, ast.Constant) else node


def test_nothing_runs_what_it_reads() -> None:
    package = ROOT / "fastwgan"
    found = {
        (path.relative_to(package).as_posix(), what)
        for path in SOURCES
        for what in _findings(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert len(SOURCES) > 100
    assert found == ALLOWED.keys()


@pytest.mark.parametrize(
    "source",
    [
        "import pickle\npickle.load(f)",
        "import pickle as p",
        "from pickle import loads",
        "import marshal",
        "from yaml import load",
        "import joblib.memory",
        "import subprocess",
        "eval(text)",
        "run = exec",
        "torch.load(f)",
        "torch.load(f, weights_only=False)",
        "torch.load(f, weights_only=trusted)",
        "reader = torch.load",
        "from torch import load",
        "import torch as t",
        "torch.jit.load(f)",
        "torch.hub.load(name)",
        "np.load(f)",
        "np.load(f, allow_pickle=True)",
        "np.lib.format.read_array(f, allow_pickle=trusted)",
        "pandas().read_pickle(f)",
        "archive.extractall(folder)",
        "shutil.unpack_archive(f)",
        "os.system(command)",
        "importlib.import_module(name)",
        "from importlib import import_module",
        "images.open(path)",
        "image.open(path, 'r')",
        "require('PIL.Image', 'x').open(path)",
    ],
)
def test_each_way_to_run_it_is_found(source: str) -> None:
    assert set(_findings(ast.parse(source)))


@pytest.mark.parametrize(
    "source",
    [
        "torch.load(f, map_location='cpu', weights_only=True)",
        "np.load(f, allow_pickle=False)",
        "model.eval()",
        "path.open('rb')",
        "path.open(encoding='utf-8')",
        "os.open(path, flags)",
        "images.open(path, formats=FORMATS)",
        "except_for = pickle.UnpicklingError",
    ],
)
def test_what_only_looks_alike_is_not(source: str) -> None:
    assert not set(_findings(ast.parse(source)))


def test_extension_types_of_parquet_are_read_by_an_arrow_that_unpickles_none() -> None:
    """Arrow before 14.0.1 unpickled what a file's schema names."""
    (floor,) = [
        line.split('"')[1].removeprefix("pyarrow>=")
        for line in Path(ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
        if "pyarrow>=" in line
    ]
    assert int(floor.partition(".")[0]) >= 15
