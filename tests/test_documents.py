"""The code in the documents runs, and does what stands beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import fastwgan
from fastwgan.engine.rules import RULES
from tests.critic_loss_recipe import assert_step_is_the_plain_one
from tests.documents import ROOT, python_blocks, run, text_of
from tests.penalty_recipe import KINDS, assert_as_the_recipe

BLOCKS = python_blocks("README.md")
PAGES = sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))
ALL_BLOCKS = [
    pytest.param(page, block, id=f"{page}-{number}")
    for page in ("README.md", *PAGES)
    if page != "docs/own-loop.md"  # test_own_loop.py runs its blocks, which take seconds
    for number, block in enumerate(python_blocks(page))
]


@pytest.fixture
def _rules() -> Iterator[None]:
    """Rules that a document adds are known inside the test alone."""
    before = dict(RULES)
    yield
    RULES.clear()
    RULES.update(before)


@pytest.mark.usefixtures("_rules")
@pytest.mark.parametrize(("page", "block"), ALL_BLOCKS)
def test_block(page: str, block: str) -> None:
    run(block, page)


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What a block writes, such as a run's folder, isn't left in the checkout."""
    monkeypatch.chdir(tmp_path)


def test_there_are_blocks() -> None:
    joined = "\n".join(BLOCKS)
    for name in ("critic_loss", "gradient_penalty", "explain", "spectral_norm", "clip_weights_"):
        assert f"fastwgan.{name}(" in joined


def _as_said(printed: str) -> str:
    """What a document shows of a run, line by line."""
    return "\n".join(line.rstrip() for line in printed.strip().splitlines())


def test_the_report_in_the_readme_is_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    text = text_of("README.md")
    (block,) = [block for block in BLOCKS if "fastwgan.explain(" in block]
    shown = re.search(r"^```text\n(.*?)^```$", text[text.index(block) :], re.M | re.S)
    assert shown is not None
    run(block, "README.md")
    assert _as_said(capsys.readouterr().out) == _as_said(shown[1])


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", *PAGES])
def test_links_and_paths_lead_somewhere(document: str) -> None:
    text = text_of(document)
    links = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    paths = re.findall(r"`((?:fastwgan|tests|csrc|benchmarks|docs|scripts)/[\w./]*)`", text)
    folder = (ROOT / document).parent
    assert not [link for link in links if not (folder / link).exists()]
    assert not [path for path in paths if not (ROOT / path).exists()]


@pytest.fixture
def worked(_rules: None) -> Any:
    """What the worked layer of docs/engine.md defines."""
    (block,) = python_blocks("docs/engine.md")
    return run(block, "docs/engine.md")


class Worked(nn.Module):
    def __init__(self, layer: Any) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.layer = layer
        self.first, self.middle, self.last = nn.Linear(6, 7), nn.Linear(7, 5), nn.Linear(5, 1)
        self.scales = nn.ParameterList(torch.rand(n) + 0.5 for n in (7, 5))

    def forward(self, x: Tensor) -> Tensor:
        h = self.layer(self.first(x), self.scales[0])
        return self.last(self.layer(self.middle(h), self.scales[1]) * 2)  # type: ignore[no-any-return]


def _samples() -> list[Tensor]:
    return [torch.randn(5, 6, dtype=torch.float64) for _ in range(2)]


@pytest.mark.parametrize("kind", KINDS)
def test_the_worked_layer_against_double_backward(worked: Any, kind: str) -> None:
    critic = Worked(worked["scaled_tanh"]).double()
    assert_as_the_recipe(critic, *_samples(), kind=kind, engine="always")
    real, fake = (t.requires_grad_() for t in _samples())
    assert_as_the_recipe(critic, real, fake, kind=kind, engine="always")


def test_the_worked_layer_in_a_whole_step(worked: Any) -> None:
    critic = Worked(worked["scaled_tanh"]).double()
    alpha = torch.rand(5, dtype=torch.float64)
    assert_step_is_the_plain_one(critic, *_samples(), engine="always", alpha=alpha)


def test_the_worked_layer_goes_by_its_own_rule(worked: Any) -> None:
    critic = Worked(worked["scaled_tanh"]).double()
    report = fastwgan.explain(critic, _samples()[0])
    own = [layer for layer in report.layers if layer.kind == "scaled tanh"]
    assert [layer.weights for layer in own] == [("scales.0",), ("scales.1",)]
    assert all(layer.by_hand for layer in report.layers)
    assert own[0].second_order == "weights, activations"
    assert "one batch" in report.reason


def test_without_its_rule_it_is_local(worked: Any) -> None:
    critic = Worked(worked["scaled_tanh"]).double()
    RULES.pop(worked["scaled_tanh"])
    report = fastwgan.explain(critic, _samples()[0])
    assert [layer.kind for layer in report.layers if not layer.by_hand] == ["scaled_tanh"] * 2
    assert_as_the_recipe(critic, *_samples(), engine="always")


def test_the_worked_layer_is_twenty_lines() -> None:
    (block,) = python_blocks("docs/engine.md")
    rule = block[block.index("class ") : block.index("RULES[")]
    lines = [line for line in rule.splitlines() if line.strip()]
    assert len(lines) <= 25
