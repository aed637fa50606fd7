"""Children of a process whose kernels have run with teams: forked ones and spawned ones."""

from __future__ import annotations

import json
import sys

import pytest

from tests.concurrency.fork_recipe import CASES
from tests.processes import output_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks with threads running")


@pytest.fixture(scope="module")
def outcomes(pytestconfig: pytest.Config) -> dict[str, str]:
    """Of every case, in one process: each would take seconds to import torch."""
    root = str(pytestconfig.rootpath)
    code = (
        f"import sys; sys.path.append({root!r})\n"
        "from tests.concurrency.fork_recipe import CASES, main\n"
        "main(list(CASES))"
    )
    found: dict[str, str] = json.loads(output_of(code).splitlines()[-1])
    return found


@pytest.mark.parametrize("case", CASES)
def test_child(outcomes: dict[str, str], case: str) -> None:
    assert outcomes[case] == "True"
