"""The set still fits the source, and what is called killed was noticed by an assertion."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.mutation.mutation import Mutation
from tests.mutation.mutations import GROUPS, MUTATIONS
from tests.mutation.report import page, written
from tests.mutation.running import INVALID, KILLED, SURVIVED, Outcome, judged
from tests.mutation.tree import ROOT


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: f"{m.file}: {m.why}")
def test_every_mutation_still_applies(mutation: Mutation) -> None:
    text = (ROOT / mutation.file).read_text(encoding="utf-8")
    mutated = mutation.applied_to(text)
    assert mutated != text
    if mutation.file.endswith(".py"):
        compile(mutated, mutation.file, "exec")


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: f"{m.file}: {m.why}")
def test_the_tests_it_names_are_there(mutation: Mutation) -> None:
    selected = [part for part in mutation.tests.split() if part.startswith("tests/")]
    assert selected
    for each in selected:
        file, *names = each.split("::")
        text = (ROOT / file).read_text(encoding="utf-8")
        assert all(f"def {name}(" in text for name in names), each


def test_there_are_enough_of_every_layer_and_none_twice() -> None:
    assert all(len(group) >= 6 for group in GROUPS.values())
    assert [key for key, times in Counter(m.key for m in MUTATIONS).items() if times > 1] == []


@pytest.mark.parametrize(("old", "new"), [("b", "x"), ("a", "a"), ("z", "x")])
def test_a_mutation_that_does_not_apply_is_an_error(old: str, new: str) -> None:
    with pytest.raises(ValueError, match="where it must be once"):
        Mutation("file.py", old, new, "", "").applied_to("abb")


def _failed(when: str, *errors: str) -> str:
    return json.dumps({"test": "tests/test_x.py::test_x", "when": when, "error": errors})


@pytest.mark.parametrize(
    ("status", "witness", "verdict"),
    [
        (0, None, SURVIVED),
        (1, _failed("call", "AssertionError", "Exception"), KILLED),
        (1, _failed("call", "Failed", "OutcomeException"), KILLED),
        (1, _failed("call", "GradcheckError", "RuntimeError"), KILLED),
        (1, _failed("call", "ImportError", "Exception"), INVALID),
        (1, _failed("call", "RuntimeError", "Exception"), INVALID),
        (1, _failed("setup", "AssertionError", "Exception"), INVALID),
        (2, None, INVALID),
        (4, None, INVALID),
        (5, None, INVALID),
    ],
)
def test_only_an_assertion_kills(
    tmp_path: Path, status: int, witness: str | None, verdict: str
) -> None:
    file = tmp_path / "witness.json"
    if witness is not None:
        file.write_text(witness)
    found, said = judged(status, "ImportError: no module", file)
    assert found == verdict
    assert said == ("tests/test_x.py::test_x" if verdict == KILLED else said)


def test_the_page_says_first_what_was_not_killed() -> None:
    first, second, third, *_ = MUTATIONS
    outcomes = {
        first.key: Outcome(KILLED, "tests/test_x.py::test_x", 1.0),
        second.key: Outcome(SURVIVED, "", 2.0),
        third.key: Outcome(INVALID, "does not compile", 3.0),
    }
    text = page(outcomes)
    assert f"1 of 3 mistakes were killed; {len(MUTATIONS) - 3} were not run." in text
    places = [text.index(f"| {m.why} |") for m in (second, third, first)]
    assert places == sorted(places)


def test_what_a_page_says_was_killed_is_kept() -> None:
    """Not by a test that is named no more, nor of a mutation that is another by now."""
    piped = next(m for m in MUTATIONS if "|" in m.old)
    first, second, third, fourth = [m for m in MUTATIONS if m != piped and "::" in m.tests][:4]
    found = Outcome(KILLED, f"{first.tests.split()[-1]}[cpu]", 1.0)
    kept = {m.key: found._replace(said=f"{m.tests.split()[-1]}[cpu]") for m in (piped, first)}
    outcomes = {
        **kept,
        second.key: Outcome(SURVIVED, "", 2.0),
        third.key: found._replace(said="tests/test_x.py::test_x"),
        fourth.key: found._replace(said=f"{fourth.tests.split()[-1]}[cpu]"),
    }
    text = page(outcomes).replace(f"| {fourth.why} |", "| another mistake |")
    assert written(text) == kept
