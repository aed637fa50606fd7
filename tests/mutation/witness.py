"""A plugin of pytest, loaded into runs over a mutated tree: writes down the first test to fail."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

FILE = "FASTWGAN_MUTATION_WITNESS"
"""The environment's variable that names the file."""


def pytest_configure() -> None:
    """The mutated package is the one that is tested, and no installed one."""
    import fastwgan  # here, since who starts the runs reads this file too, without any package

    here = Path.cwd().resolve()
    if here not in Path(fastwgan.__file__).resolve().parents:
        raise pytest.UsageError(f"fastwgan was of {fastwgan.__file__}, not of {here}.")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    file = Path(os.environ[FILE])
    if report.failed and call.excinfo is not None and not file.exists():  # type: ignore[attr-defined]
        names = [kind.__name__ for kind in call.excinfo.type.__mro__]
        file.write_text(json.dumps({"test": item.nodeid, "when": call.when, "error": names}))
    return report
