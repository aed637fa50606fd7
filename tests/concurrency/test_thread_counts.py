"""What csrc/README.md says of numbers of threads: results repeat for each, some are of any."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from tests.concurrency.operations import OPERATIONS, calls, same_bits


@pytest.fixture(autouse=True)
def _one_thread_afterwards() -> Iterator[None]:
    yield
    torch.set_num_threads(1)


@pytest.mark.parametrize("name", OPERATIONS)
def test_changed_between_calls(name: str) -> None:
    (call,) = calls(name, range(1))
    found = {}
    for threads in (1, 2, 1, 3, 2, 3):
        torch.set_num_threads(threads)
        now = call()
        assert same_bits(now, found.setdefault(threads, now))
    if OPERATIONS[name].any_threads:
        assert same_bits(found[2], found[1])
        assert same_bits(found[3], found[1])


@pytest.mark.parametrize("name", ["spectral norm", "activation's derivative"])
def test_some_results_do_depend_on_the_number(name: str) -> None:
    """Else the cases were too small for a team, and would show nothing above."""
    (call,) = calls(name, range(1))
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found.append(call())
    assert not same_bits(*found)
