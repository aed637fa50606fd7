"""Puts the table of a run into README.md: `python -m benchmarks.readme_table RUN.json`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.machine import Machine
from benchmarks.report import CaseResult, footnotes, table
from benchmarks.roofline import Roofline

BEGIN = "<!-- benchmarks:begin -->"
END = "<!-- benchmarks:end -->"
LAST_RUN = Path(".benchmarks/last.json")
ORDER = (
    "spectral_norm",
    "rmsprop",
    "weight_clip",
    "gradient_penalty",
    "bias_activation",
    "feedforward_critic",
    "critic_step",
    "trainer",
)


def section(run: dict[str, Any]) -> str:
    """The generated part of the README.

    Args:
        run: What pytest-benchmark wrote, with the results that benchmarks/conftest.py added.
    """
    results = [
        CaseResult.from_json(entry["extra_info"]["result"])
        for entry in sorted(run["benchmarks"], key=_position)
    ]
    if not results:
        raise ValueError("the run holds no case that passed its check: there is nothing to show")
    machine = Machine(**run["machine_info"]["fastwgan"]["machine"])
    roofline = Roofline(**run["machine_info"]["fastwgan"]["roofline"])
    lines = [machine_line(machine, roofline), "", table(results)]
    for note in footnotes(results):
        lines += ["", note]
    return "\n".join(lines)


def machine_line(machine: Machine, roofline: Roofline) -> str:
    rates = f"{roofline.copy / 1e9:.1f} GB/s copy, {roofline.sgemm / 1e9:.0f} GFLOP/s sgemm"
    return f"Measured by `make bench` on {machine.line()}; {rates}."


def replace_section(readme: str, generated: str, name: str = "benchmarks") -> str:
    """`readme` with what stands between the markers of that name replaced."""
    begin, end = BEGIN.replace("benchmarks", name), END.replace("benchmarks", name)
    if readme.count(begin) != 1 or readme.count(end) != 1:
        raise ValueError(f"README must hold one line {begin} and one line {end}")
    before, rest = readme.split(begin)
    if end not in rest:
        raise ValueError(f"README must hold {begin} before {end}")
    after = rest.split(end)[1]
    return f"{before}{begin}\n{generated}\n{end}{after}"


def _position(entry: dict[str, Any]) -> int:
    """By operation; the cases of one keep the order they ran in, since sorting is stable."""
    names = [index for index, op in enumerate(ORDER) if f"bench_{op}" in entry["fullname"]]
    return names[0] if names else len(ORDER)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, nargs="?", default=LAST_RUN, help="default: %(default)s")
    parser.add_argument("--readme", type=Path, default=Path("README.md"))
    options = parser.parse_args(arguments)
    readme = options.readme.read_text(encoding="utf-8")
    run = json.loads(options.run.read_text(encoding="utf-8"))
    options.readme.write_text(replace_section(readme, section(run)), encoding="utf-8")
    print(f"{options.readme}: table replaced from {options.run}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
