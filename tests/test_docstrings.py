"""The docstrings of public names say all that a reader can't see in the signature."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

import fastwgan
from fastwgan import optim, parametrizations, train
from tests.documents import ROOT

OPERATIONS = sorted(path.parent.name for path in (ROOT / "fastwgan/ops").glob("*/__init__.py"))

# What a reader can't see of a tensor, and the words that say it.
SAYS = {
    "shape": r"\[[\w* ,/]*\]|\bshapes?\b",
    "dtype": r"\bfloat(32|64|ing)\b|\bdtype\b",
    "device": r"\bdevices?\b|\bCPU\b",
    "derivatives": r"ifferentia|derivative|Linear in|autograd",
}
# An algorithm of others, and the words that say whose.
SOURCED = {
    *("fastwgan.clip_after_step", "fastwgan.clip_weights_", "fastwgan.critic_loss"),
    *("fastwgan.gradient_penalty", "fastwgan.spectral_norm"),
    *("fastwgan.optim.RMSprop", "fastwgan.ops.feedforward_critic.score"),
    *("fastwgan.ops.gradient_penalty.interpolate", "fastwgan.ops.gradient_penalty.norm_penalty"),
    *("fastwgan.ops.rmsprop.rmsprop_", "fastwgan.ops.spectral_norm.spectral_norm"),
    *("fastwgan.ops.weight_clip.clip_", "fastwgan.parametrizations.SpectralNorm"),
    "fastwgan.parametrizations.spectral_norm",
}
SOURCE = r"https://arxiv\.org/abs/\d{4}\.\d{5}|arXiv:\d{4}\.\d{4,5}|et al\. \d{4}|docs/\w+\.md"
# Nothing that a caller could do makes these raise.
NEVER_RAISE = {
    "fastwgan.free_memory",
    "fastwgan.ops.bias_activation.as_matrix",
    "fastwgan.ops.feedforward_critic.runs_natively",
    "fastwgan.ops.rmsprop.rmsprop_group_",
    "fastwgan.train.standard_callbacks",
}
ORDER = (
    r"(once|any order|second derivatives?|[Nn]ot (differentiable|seen by autograd|differentiated))"
)
# Where tensors come out that autograd could go through, to which order it can.
DIFFERENTIABLE = {name for name in SOURCED if "clip_after" not in name and "RMSprop" not in name}


def _public() -> Iterator[tuple[str, Any]]:
    for module in (fastwgan, optim, parametrizations, train):
        for name in module.__all__:
            found = getattr(module, name)
            if callable(found):
                yield f"{module.__name__}.{name}", found
    for operation in OPERATIONS:
        package = importlib.import_module(f"fastwgan.ops.{operation}")
        for name, found in vars(package).items():
            own = getattr(found, "__module__", None) == package.__name__
            if inspect.isfunction(found) and own and not name.startswith("_"):
                yield f"{package.__name__}.{name}", found


PUBLIC = dict(_public())
ALIASES = {"fastwgan.SpectralNorm": "fastwgan.spectral_norm"}
FUNCTIONS = {name: found for name, found in PUBLIC.items() if inspect.isfunction(found)}
CLASSES = {name: found for name, found in PUBLIC.items() if inspect.isclass(found)}


def _text(found: Any) -> str:
    """The docstring; of a NamedTuple, and of settings, with what stands at its fields."""
    text = inspect.getdoc(found) or ""
    if dataclasses.is_dataclass(found):
        fields = [f"{each.name}: {each.metadata.get('help')}" for each in dataclasses.fields(found)]
        text += "\n  ".join(["", *(line for line in fields if not line.endswith(": None"))])
    if issubclass(found, tuple) if inspect.isclass(found) else False:
        source = inspect.cleandoc("\n" + inspect.getsource(found))
        text += "\n  ".join(["", *re.findall(r'^    (\w+: )[^\n]+\n    """', source, re.M), source])
    return text


def _parameters(found: Any) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(found).parameters
    except ValueError:  # of an exception without an __init__
        return {}


def _problems(name: str, found: Any) -> Iterator[str]:
    """What a docstring leaves unsaid."""
    text, parameters = _text(found), _parameters(found)
    if re.match(r"[\w`][^\n]+[.\w]", text) is None:
        yield "no summary"
    is_error = inspect.isclass(found) and issubclass(found, Exception)
    for parameter in parameters:
        listed = re.search(rf"^ +\*{{0,2}}{parameter}: +\S", text, re.MULTILINE)
        if not listed and not is_error and parameter not in ("args", "kwargs"):
            yield f"argument {parameter}"
    if inspect.isfunction(found):
        yield from _of_function(name, found, text)
    annotations = [str(each.annotation) for each in parameters.values()]
    if any("Tensor" in annotation for annotation in annotations):
        yield from (what for what, said in SAYS.items() if not re.search(said, text))
    if name in SOURCED and not re.search(SOURCE, text):
        yield "source"
    if name in DIFFERENTIABLE and not re.search(ORDER, text):
        yield "to which order it is differentiable"


def _of_function(name: str, found: Any, text: str) -> Iterator[str]:
    returned = str(inspect.signature(found).return_annotation)
    is_context = hasattr(found, "__wrapped__")
    if returned != "None" and not is_context and "\nReturns:\n" not in text:
        yield "Returns"
    if ("\nRaises:\n" in text) == (name in NEVER_RAISE):
        yield "Raises"


@pytest.mark.parametrize("name", sorted(PUBLIC.keys() - ALIASES.keys()))
def test_all_is_said(name: str) -> None:
    assert list(_problems(name, PUBLIC[name])) == []


def test_the_names_are_those_that_are_public() -> None:
    assert len(FUNCTIONS) > 20
    assert {*SOURCED, *NEVER_RAISE, *ALIASES} <= PUBLIC.keys()
    for alias, name in ALIASES.items():
        assert PUBLIC[alias] is PUBLIC[name]


def _well_said(samples: Tensor, weight: float) -> Tensor:  # type: ignore[name-defined] # noqa: F821
    """Scores samples.

    Args:
        samples: [batch, *sample], float32, on any device.
        weight: A factor.

    Returns:
        The scores [batch], differentiable once.

    Raises:
        ValueError: no batch.

    Source: Miyato et al. 2018, https://arxiv.org/abs/1802.05957, algorithm 1.
    """


@pytest.mark.parametrize(
    ("left_out", "problems"),
    [
        ("weight: A factor.", {"argument weight"}),
        ("[batch, *sample], float32, on", {"dtype"}),
        ("on any device", {"device"}),
        (", differentiable once", {"derivatives", "to which order it is differentiable"}),
        ("Returns:", {"Returns"}),
        ("Raises:", {"Raises"}),
        ("Source: Miyato et al. 2018, https://arxiv.org/abs/1802.05957, algorithm 1.", {"source"}),
    ],
)
def test_what_is_left_out_is_found(
    left_out: str, problems: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "fastwgan.critic_loss"
    text = _well_said.__doc__
    assert text is not None
    assert list(_problems(name, _well_said)) == []
    assert left_out in text
    monkeypatch.setattr(_well_said, "__doc__", text.replace(left_out, ""))
    assert set(_problems(name, _well_said)) == problems
