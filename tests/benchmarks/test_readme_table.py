"""The table says what was measured, and goes into the README without harm to the rest of it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.machine import Machine
from benchmarks.race import Speedup
from benchmarks.readme_table import BEGIN, END, main, replace_section, section
from benchmarks.report import CaseResult, PeerResult, duration, footnotes, size, table
from benchmarks.roofline import Roofline

README = f"# Title\n\n{BEGIN}\nold table\n{END}\n\nThe rest.\n"


def peer(ratio: float, required: float | None) -> PeerResult:
    return PeerResult(
        name="eager",
        seconds=5e-3,
        speedup=Speedup(median=ratio, p20=ratio - 0.5, p80=ratio + 0.5),
        required=required,
        peak_bytes=2_000_000,
    )


def case(name: str = "a case", ratio: float = 5.0, **changes: Any) -> CaseResult:
    result = CaseResult(
        case=name,
        rounds=100,
        seconds=1e-3,
        of_copy=0.5,
        of_sgemm=0.0,
        peak_bytes=1000,
        others_share=0.0,
        peers=(peer(ratio, 4.0), peer(ratio, None)),
    )
    return dataclasses.replace(result, **changes)


def run_of(*results: tuple[str, CaseResult]) -> dict[str, Any]:
    machine = Machine("Some CPU", 4, 2, "avx2", "2.13.0", "3.11.7")
    return {
        "machine_info": {
            "fastwgan": {
                "machine": dataclasses.asdict(machine),
                "roofline": dataclasses.asdict(Roofline(copy=30e9, sgemm=150e9)),
            }
        },
        "benchmarks": [
            {"fullname": f"benchmarks/ops/bench_{op}.py::x", "extra_info": {"result": r.as_json()}}
            for op, r in results
        ],
    }


def test_result_survives_json() -> None:
    assert CaseResult.from_json(json.loads(json.dumps(case().as_json()))) == case()


def test_row_shows_times_ratio_and_requirement() -> None:
    row = table([case()]).splitlines()[2]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == [
        *["a case", "1 ms", "eager", "5 ms", "5.00× (4.50–5.50)", "4×"],
        *["50%", "–", "1 kB / 2 MB"],
    ]


def test_case_stands_once_above_its_peers() -> None:
    rows = table([case()]).splitlines()[2:]
    assert len(rows) == 2
    assert rows[0].count("a case") == 1
    assert rows[1].count("a case") == 0


@pytest.mark.parametrize(("ratio", "short"), [(3.99, True), (4.0, False)])
def test_only_a_required_ratio_can_be_short(ratio: float, short: bool) -> None:
    rows = table([case(ratio=ratio)]).splitlines()[2:]
    assert ("**short**" in rows[0]) is short
    assert "**short**" not in rows[1]
    assert bool(footnotes([case(ratio=ratio)])) is short


@pytest.mark.parametrize(("share", "busy"), [(None, False), (0.04, False), (0.3, True)])
def test_busy_machine_is_said(share: float | None, busy: bool) -> None:
    result = case(others_share=share)
    assert ("(busy)" in table([result])) is busy
    assert any("30%" in note for note in footnotes([result])) is busy


@pytest.mark.parametrize(
    ("seconds", "text"), [(1.234e-6, "1.23 µs"), (999.4e-6, "999 µs"), (0.0616, "61.6 ms")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (12, "12 B"), (1234, "1.23 kB"), (67_108_864, "67.1 MB")]
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


def test_section_orders_the_operations_and_names_the_machine() -> None:
    text = section(
        run_of(
            ("gradient_penalty", case("third")),
            ("spectral_norm", case("first")),
            ("spectral_norm", case("second")),
        )
    )
    assert text.index("first") < text.index("second") < text.index("third")
    assert "Some CPU, 2 of 4 cores, avx2, torch 2.13.0, Python 3.11.7" in text
    assert "30.0 GB/s copy, 150 GFLOP/s sgemm" in text


def test_run_without_results_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to show"):
        section(run_of())


def test_replacing_touches_nothing_else_and_is_idempotent() -> None:
    once = replace_section(README, "new table")
    assert once == README.replace("old table", "new table")
    assert replace_section(once, "new table") == once


@pytest.mark.parametrize("readme", ["", BEGIN, END, f"{END}\n{BEGIN}", f"{BEGIN}{END}{BEGIN}{END}"])
def test_readme_without_proper_markers_is_refused(readme: str) -> None:
    with pytest.raises(ValueError, match="README must hold"):
        replace_section(readme, "table")


def test_command_rewrites_the_readme(tmp_path: Path) -> None:
    readme, run = tmp_path / "README.md", tmp_path / "run.json"
    readme.write_text(README, encoding="utf-8")
    run.write_text(json.dumps(run_of(("rmsprop", case()))), encoding="utf-8")
    for _ in range(2):
        assert main([str(run), "--readme", str(readme)]) == 0
        text = readme.read_text(encoding="utf-8")
        assert text.count("a case") == 1
        assert "old table" not in text
        assert text.endswith("\n\nThe rest.\n")
