"""The READMEs promise what is tested, no more and no less."""

from __future__ import annotations

import pytest

from tests.numerics.operations import CASES, OPERATIONS
from tests.numerics.tables import short, written
from tests.tolerances import ULPS


@pytest.mark.parametrize("name", OPERATIONS)
def test_readme_promises_what_is_tested(name: str) -> None:
    table = written(name)
    dtypes = {short(dtype): dtype for dtype in OPERATIONS[name].dtypes}
    assert {dtype for _, dtype in table} == set(dtypes)
    for (result, dtype), cell in table.items():
        promised = ULPS[name, result, dtypes[dtype]].value
        assert cell.promised == float(f"{promised:.2f}"), f"{result}, {dtype}"
        assert 0 <= cell.seen <= cell.promised, f"{result}, {dtype}"


def test_every_promise_stands_in_a_readme() -> None:
    listed = {(name, *key) for name in OPERATIONS for key in written(name)}
    cases = {(name, short(dtype)) for name, dtype in CASES}
    tested = {(name, result, short(dtype)) for name, result, dtype in ULPS}
    assert listed == {key for key in tested if (key[0], key[2]) in cases}
