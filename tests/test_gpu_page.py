"""docs/gpu.md says what it must, of every kernel there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.gpu_accesses import _ACCESS, _width
from benchmarks.gpu_steps import STEPS, count
from tests.cuda_emulator.module import why_not_built
from tests.documents import ROOT

PAGE = (ROOT / "docs/gpu.md").read_text()
FIRST_LINE = "No timing on this page was measured on a GPU: there was none."
ARCHITECTURES = 4


def _kernels() -> set[str]:
    """Names of the kernels in csrc/cuda."""
    sources = "".join(path.read_text() for path in sorted((ROOT / "csrc/cuda").glob("*.cu")))
    found = re.findall(r"__global__\s+void\s+__launch_bounds__\([^)]*\)\s+(\w+)_kernel\(", sources)
    assert len(found) == sources.count("__global__")
    return set(found)


def _rows(section: str) -> list[list[str]]:
    _, _, rest = PAGE.partition(f"## {section}\n")
    lines = [line for line in rest.partition("\n## ")[0].splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def test_the_first_line_says_that_nothing_was_timed() -> None:
    assert PAGE.splitlines()[0] == FIRST_LINE


def test_every_kernel_is_listed_and_none_spills() -> None:
    rows = _rows("Kernels")
    assert {row[0].split()[0] for row in rows} == _kernels()
    for name, *cells in rows:
        assert all(re.fullmatch(r"\d+ / \d+%", cell) for cell in cells[:ARCHITECTURES]), name
        assert cells[ARCHITECTURES] == "0", f"{name} spills"


def test_every_dtype_has_a_kernel_of_16_byte_accesses() -> None:
    widest: dict[tuple[str, str], int] = {}
    for name, *cells in _rows("Kernels"):
        kernel, *words = name.split()
        if words:
            key = kernel, words[0]
            width = min(int(cell.removesuffix(" bytes")) for cell in cells[-2:])
            widest[key] = max(widest.get(key, 0), width)
    exempt = {"sum", "finish"}  # of vectors and of partial sums, a thread a column
    narrow = {key for key, width in widest.items() if width != 16 and key[0] not in exempt}
    assert not narrow
    assert {dtype for _, dtype in widest} == {"f32", "f64", "bf16", "f16"}


def test_launches_are_fewer_than_eagers_operations() -> None:
    rows = _rows("Launches, bytes and bounds")
    assert len(rows) == 8
    for name, own, eager, *_ in rows:
        assert int(own) <= int(eager), name
    assert next(row[1] for row in rows if row[0].startswith("spectral norm forward")) == "4"
    assert next(row[1] for row in rows if row[0].startswith("spectral norm backward")) == "2"


def test_a_critic_step_takes_fewer_operations_than_eagers() -> None:
    rows = {name: tuple(map(int, cells)) for name, *cells in _rows("Whole steps")}
    assert set(rows) == {step.name for step in STEPS}
    for name, (launches, operations, eager) in rows.items():
        assert 2 * (launches + operations) < eager, name


@pytest.mark.skipif(why_not_built() is not None, reason=str(why_not_built()))
@pytest.mark.parametrize(("name", "most"), [("DCGAN-64", 50), ("MLP 784-1024-1024-1024-1", 45)])
def test_operations_of_a_step(name: str, most: int) -> None:
    """What is launched on a GPU, ours and torch's, views aside."""
    counted = count(next(step for step in STEPS if step.name == name))
    assert 0 < counted.launches + counted.operations <= most


@pytest.mark.skipif(why_not_built() is not None, reason=str(why_not_built()))
def test_the_launches_of_a_critic_step_are_those_of_the_page() -> None:
    """Torch's own operations are another number in another torch."""
    counted = count(STEPS[0])
    assert ["DCGAN-64", str(counted.launches)] in [row[:2] for row in _rows("Whole steps")]
    assert 2 * (counted.launches + counted.operations) < counted.eager


def test_widths_are_read_from_machine_code() -> None:
    found = {
        "LDG.E.128.CONSTANT R4, desc[UR4][R2.64]": 16,
        "LDG.E.EF.64 R2, [R4.64]": 8,
        "ST.E desc[UR4][R2.64], R5": 4,
        "STG.E.U16 [R2.64], R5": 2,
        "LDG.E.LTC128B R2, [R4.64]": 4,
    }
    for line, width in found.items():
        assert [_width(each) for each in _ACCESS.findall(f"  {line} ;")] == [width]
    assert not _ACCESS.findall("LDL.64 R2, [R1] ; STS.128 [R0], R4 ; LDC.64 R2, c[0x0][0x28] ;")


def test_the_readme_leads_here() -> None:
    assert "docs/gpu.md" in Path(ROOT / "README.md").read_text()
