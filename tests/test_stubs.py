"""The stubs of the compiled modules say what the modules hold."""

from __future__ import annotations

import ast
import importlib
from types import ModuleType

import pytest

from tests.documents import ROOT

# How pybind11 writes in a docstring what the stub calls so: its releases differ.
WRITTEN = {
    "SupportsInt": "int",
    "SupportsFloat": "float",
    "SupportsIndex": "int",
    "Sequence": "Sequence",
}


def _module(name: str) -> ModuleType:
    """The built one; where there is no nvcc, the CUDA module on its emulator."""
    try:
        return importlib.import_module(f"fastwgan.{name}")
    except ModuleNotFoundError:
        from tests.cuda_emulator.module import load, why_not_built

        if (reason := why_not_built()) is not None:
            pytest.skip(reason)
        return load()


def _signature(function: ast.FunctionDef) -> tuple[list[tuple[str, str]], str]:
    """Names and types of the arguments, `self` aside, and the type returned."""
    arguments = [each for each in function.args.args if each.arg != "self"]
    assert not [*function.args.posonlyargs, *function.args.kwonlyargs]
    types = [(each.arg, _kind(each.annotation)) for each in arguments]
    return types, _kind(function.returns)


def _kind(annotation: ast.expr | None) -> str:
    """The outermost type: of containers without what they hold, of unions the first."""
    assert annotation is not None
    if isinstance(annotation, ast.BinOp):
        kinds = [_kind(annotation.left), _kind(annotation.right)]
        if kinds[1] == "None":
            return "object"
        return "float" if "float" in kinds else kinds[0]
    if isinstance(annotation, ast.Subscript):
        return _kind(annotation.value)
    name = ast.unparse(annotation).rpartition(".")[2]
    return WRITTEN.get(name, name)


def _said(documented: object) -> tuple[list[tuple[str, str]], str]:
    """The signature in the first line of what pybind11 wrote."""
    line = (getattr(documented, "__doc__", None) or "").partition("\n")[0]
    signature = line[line.index("(") :].replace("(arg0: ", "(self: ")  # of a property
    (function,) = ast.parse(f"def f{signature}: ...").body
    assert isinstance(function, ast.FunctionDef)
    return _signature(function)


def _assert_same(name: str, stub: ast.FunctionDef, documented: object) -> None:
    (wanted, wanted_result), (found, result) = _signature(stub), _said(documented)
    assert [argument for argument, _ in wanted] == [argument for argument, _ in found], name
    for (argument, kind), (_, actual) in zip(wanted, found, strict=True):
        assert _agree(kind, actual), (name, argument, kind, actual)
    assert _agree(wanted_result, result), (name, wanted_result, result)


def _agree(stub: str, built: str) -> bool:
    return built in (stub, "object")  # what is an object to pybind11, the stub may know better


def _public(owner: object) -> set[str]:
    return {name for name in vars(owner) if not name.startswith("_")}


@pytest.mark.parametrize("name", ["_cpu", "_cuda"])
def test_the_stub_is_the_module(name: str) -> None:
    module = _module(name)
    body = ast.parse((ROOT / f"fastwgan/{name}.pyi").read_text(encoding="utf-8")).body
    functions = {each.name: each for each in body if isinstance(each, ast.FunctionDef)}
    classes = {each.name: each for each in body if isinstance(each, ast.ClassDef)}
    constants = {
        each.target.id: each.annotation
        for each in body
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
    }
    assert functions.keys() | classes.keys() | constants.keys() == _public(module)
    for function, stub in functions.items():
        _assert_same(function, stub, getattr(module, function))
    for constant, annotation in constants.items():
        assert type(getattr(module, constant)).__name__ == _kind(annotation)
    for kind, declared in classes.items():
        _assert_same_class(declared, getattr(module, kind))


def _assert_same_class(stub: ast.ClassDef, built: type) -> None:
    members = {each.name: each for each in stub.body if isinstance(each, ast.FunctionDef)}
    assert members.keys() == _public(built) | {"__init__"}
    for name, member in members.items():
        found = vars(built)[name]
        properties = [ast.unparse(decorator) for decorator in member.decorator_list]
        assert (properties == ["property"]) == isinstance(found, property), (stub.name, name)
        documented = found.fget if isinstance(found, property) else found
        _assert_same(f"{stub.name}.{name}", member, documented)


@pytest.mark.parametrize(
    "stub",
    [
        "def f(a: int) -> None: ...",
        "def f(b: int, a: float) -> None: ...",
        "def f(a: int, b: float, c: int) -> None: ...",
        "def f(a: float, b: float) -> None: ...",
        "def f(a: int, b: bool) -> None: ...",
        "def f(a: int, b: float) -> int: ...",
    ],
)
def test_every_difference_is_seen(stub: str) -> None:
    def built() -> None: ...

    built.__doc__ = "f(a: typing.SupportsInt | typing.SupportsIndex, b: float) -> None\n\nText."
    (same,) = ast.parse("def f(a: int, b: float) -> None: ...").body
    (other,) = ast.parse(stub).body
    assert isinstance(same, ast.FunctionDef)
    assert isinstance(other, ast.FunctionDef)
    _assert_same("f", same, built)
    with pytest.raises(AssertionError):
        _assert_same("f", other, built)
