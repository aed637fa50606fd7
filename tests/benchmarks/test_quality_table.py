"""The table of what training reaches says what was measured, and what falls short."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import bench_quality
from benchmarks.bench_quality import MOST_SECONDS, TARGETS, Trained, misses, section, table
from benchmarks.readme_table import replace_section


def trained(data: str, answer: dict[str, Any], seed: int = 0, seconds: float = 99.0) -> Trained:
    return Trained(data, seed, 5000, seconds, answer, others_share=0.0)


def modes(covered: int, share: float) -> dict[str, Any]:
    return {"modes": {"covered": covered, "modes": 8, "share": share}, "w1": {"ratio": 1.0}}


GOOD = modes(8, 0.9512)


def test_seeds_stand_beside_each_other() -> None:
    runs = [trained("8gaussians", GOOD), trained("8gaussians", modes(8, 0.97), seed=1)]
    lines = table(runs).splitlines()
    assert len(lines) == 4
    assert [cell.strip() for cell in lines[3].strip("|").split("|")] == [
        "8gaussians",
        "of 10,000 samples, within 4 sd of a mode",
        "≥ 95.0%",
        "95.1% / 97.0%",
        "5,000",
        "99 / 99",
    ]
    assert "short" not in section(runs)
    assert "seeds 0 / 1, on" in section(runs)


@pytest.mark.parametrize(
    ("run", "sentence"),
    [
        (trained("8gaussians", modes(7, 0.99)), "modes covered is 7; required is ≥ 8"),
        (trained("8gaussians", modes(8, 0.9)), "is 90.0%; required is ≥ 95.0%"),
        (trained("digits", {"w1": {"ratio": 1.36}}), "is 1.36; required is ≤ 1.35"),
        (trained("8gaussians", GOOD, seconds=181), "took 181 s; required are 180"),
    ],
)
def test_a_miss_is_said(run: Trained, sentence: str) -> None:
    (found,) = misses(run)
    assert found.endswith(sentence)
    assert found in section([run])


def test_what_holds_is_no_miss() -> None:
    assert misses(trained("8gaussians", GOOD, seconds=MOST_SECONDS)) == []
    assert misses(trained("digits", {"w1": {"ratio": 1.35}})) == []


def test_a_busy_machine_is_said() -> None:
    run = Trained("8gaussians", 0, 5000, 99.0, GOOD, others_share=0.4)
    assert "Other processes took up to 40% of the machine" in section([run])


def test_it_has_a_place_of_its_own_in_the_readme() -> None:
    text = "a\n<!-- benchmarks:begin -->\nx\n<!-- benchmarks:end -->\n"
    text += "<!-- quality:begin -->\ny\n<!-- quality:end -->\nb\n"
    assert replace_section(text, "new", name="quality") == text.replace("\ny\n", "\nnew\n")
    assert replace_section(text, "new") == text.replace("\nx\n", "\nnew\n")


@pytest.mark.nightly
@pytest.mark.parametrize("data", bench_quality.DATA)
def test_training_reaches_what_the_project_asks_of_itself(data: str) -> None:
    assert TARGETS
    assert misses(bench_quality.train(data, bench_quality.SEEDS[0])) == []
