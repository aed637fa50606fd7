"""Every dependency has a reason in CONTRIBUTING.md, and every reason a dependency."""

from __future__ import annotations

import re
import sys
from typing import Any

from tests.documents import ROOT, text_of
from tests.processes import output_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT: dict[str, Any] = tomllib.loads(text_of("pyproject.toml"))
NAME = re.compile(r"[A-Za-z0-9_-]+")


def _name(requirement: str) -> str:
    found = NAME.match(requirement)
    assert found is not None
    return found[0]


def _declared() -> set[tuple[str, str]]:
    """Each package, and what for."""
    project = PROJECT["project"]
    found = {(_name(each), "always") for each in project["dependencies"]}
    found |= {(_name(each), "build") for each in PROJECT["build-system"]["requires"]}
    for extra, needed in project["optional-dependencies"].items():
        found |= {(_name(each), f"`{extra}`") for each in needed if _name(each) != "fastwgan"}
    return found


def test_the_table_is_what_is_declared() -> None:
    text = text_of("CONTRIBUTING.md")
    part = text[text.index("## Dependencies, and why") :].partition("\n## Handing")[0]
    rows = re.findall(r"^\| ([\w-]+) \| (always|build|`\w+`) \| (.+) \|$", part, re.MULTILINE)
    assert len(rows) == part.count("\n| ") - 1  # but for the heading
    assert {(name, use) for name, use, _ in rows} == _declared()
    assert len({reason for _, _, reason in rows}) == len(rows)


def test_the_extra_test_has_all_others() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    (own,) = [each for each in extras["test"] if _name(each) == "fastwgan"]
    assert set(re.findall(r"\w+", own.partition("[")[2])) == extras.keys() - {"test"}


def test_every_pin_is_of_something_declared_or_what_it_needs() -> None:
    """constraints.txt pins no package that nothing here asks for."""
    needed_by_others = {"numpy", "scipy", "contourpy"}
    pinned = re.findall(r"^([\w-]+)==", text_of("constraints.txt"), re.MULTILINE)
    assert set(pinned) <= {name for name, _ in _declared()} | needed_by_others


def test_every_floor_has_a_pin_above_it() -> None:
    pins = dict(re.findall(r"^([\w-]+)==([\d.]+)", text_of("constraints.txt"), re.MULTILINE))
    extras = PROJECT["project"]["optional-dependencies"].values()
    needed = [*PROJECT["project"]["dependencies"], *(each for extra in extras for each in extra)]
    floors = dict(re.findall(r"^([\w-]+)>=([\d.]+)", "\n".join(needed), re.MULTILINE))
    for name, floor in floors.items():
        if name in pins:
            assert _numbers(pins[name]) >= _numbers(floor), name
    assert {"torch", "pandas", "hypothesis"} <= floors.keys() & pins.keys()


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part)


def test_wheels_are_built_for_the_pythons_that_are_supported() -> None:
    built = re.findall(r"cp3(\d+)-", PROJECT["tool"]["cibuildwheel"]["build"])
    floor = PROJECT["project"]["requires-python"].removeprefix(">=3.")
    assert [int(minor) for minor in built] == list(range(int(floor), int(floor) + len(built)))
    assert (ROOT / "tests/kernels_alone.py").exists()


WITHOUT_NUMPY = """
import sys, warnings
sys.modules["numpy"] = None
warnings.simplefilter("ignore")  # torch's own, at import
import torch, fastwgan
from torch import nn
warnings.simplefilter("error")
critic = nn.Sequential(nn.Linear(3, 5), nn.GELU(), nn.LeakyReLU(0.2), nn.Linear(5, 1))
fastwgan.spectral_norm(critic)
optimizer = fastwgan.optim.RMSprop(critic.parameters(), weight_clip=0.1)
real, fake = torch.randn(2, 4, 3)
for _ in range(2):
    fastwgan.critic_loss(critic, real, fake).total.backward()
    fastwgan.gradient_penalty(critic, real, fake).backward()
    optimizer.step()
fastwgan.clip_weights_(critic, 0.01)
print(max(float(p.detach().abs().max()) for p in critic.parameters()))
"""


def test_nothing_but_torch_is_needed() -> None:
    assert float(output_of(WITHOUT_NUMPY)) <= 0.01 + 1e-9
