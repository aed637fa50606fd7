"""Random calls of every entry of the C ABI, hostile ones among them, under sanitizers.

Every call gets the status that its contract gives it, and writes where it may: nowhere when it is
refused. `fuzz.h` says what is random; `fuzz SEED FIRST COUNT -v` makes calls again, one by one.
"""

from __future__ import annotations

import sys

import pytest

from tests.native.programs import assert_clean, run
from tests.native.toolchain import ADDRESS, COMPILER, Toolchain

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="uses gcc's sanitizers on Linux"),
    pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler here"),
]


def _fuzz(toolchain: Toolchain, seed: int, calls: int, timeout: float) -> None:
    done = run(toolchain.fuzz(ADDRESS), str(seed), "0", str(calls), timeout=timeout)
    assert_clean(done)
    made, valid, checks = (int(word) for word in done.stdout.split() if word.isdigit())
    assert made > 0.8 * calls
    assert 0.4 * made < valid < 0.9 * made  # of both kinds many
    assert checks > 4 * made


@pytest.mark.sanitized
def test_random_calls(toolchain: Toolchain) -> None:
    _fuzz(toolchain, 1, 4000, timeout=300)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(2, 12))
def test_many_random_calls(toolchain: Toolchain, seed: int) -> None:
    _fuzz(toolchain, seed, 100_000, timeout=3600)
