"""The kernels' C ABI driven from C++ under sanitizers, which see what no comparison of numbers can.

ThreadSanitizer, and AddressSanitizer with UndefinedBehaviorSanitizer, run them over std::thread.
The C++ files in this folder are the driver, and the faults that prove the tools awake.
"""

from __future__ import annotations

import sys

import pytest

from fastwgan import backends
from tests.native.programs import assert_clean, run
from tests.native.toolchain import ADDRESS, COMPILER, SANITIZERS, THREAD, Sanitizer, Toolchain

pytestmark = [
    pytest.mark.sanitized,
    pytest.mark.skipif(sys.platform != "linux", reason="uses gcc's sanitizers on Linux"),
    pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler here"),
]


@pytest.mark.parametrize("instruction_set", backends.instruction_sets())
@pytest.mark.parametrize("sanitizer", SANITIZERS, ids=lambda s: s.name)
def test_every_kernel_is_clean(
    toolchain: Toolchain, sanitizer: Sanitizer, instruction_set: str
) -> None:
    threads = ["1", "3"] if sanitizer is ADDRESS else ["3"]
    if sanitizer is THREAD and instruction_set == backends.instruction_sets()[0]:
        threads = ["2", "4"]
    done = run(toolchain.driver(sanitizer), instruction_set, *threads)
    assert_clean(done)
    checks = int(done.stdout.split()[0])
    assert checks > 1_000_000


def test_the_driver_knows_the_same_instruction_sets(toolchain: Toolchain) -> None:
    done = run(toolchain.driver(ADDRESS))
    assert_clean(done)
    assert done.stdout.split() == backends.instruction_sets()


@pytest.mark.parametrize(
    ("sanitizer", "fault", "said"),
    [
        (THREAD, "race", "WARNING: ThreadSanitizer: data race"),
        (ADDRESS, "overflow", "ERROR: AddressSanitizer: heap-buffer-overflow"),
        (ADDRESS, "null-copy", "runtime error: null pointer passed as argument 2"),
    ],
    ids=["race", "overflow", "null-copy"],
)
def test_the_sanitizers_see_what_they_are_trusted_to_see(
    toolchain: Toolchain, sanitizer: Sanitizer, fault: str, said: str
) -> None:
    done = run(toolchain.faults(sanitizer), fault)
    assert done.returncode != 0
    assert said in done.stderr


@pytest.mark.parametrize(
    ("sanitizer", "program"), [(THREAD, "no-race"), (ADDRESS, "no-overflow")], ids=["tsan", "asan"]
)
def test_they_say_nothing_of_right_programs(
    toolchain: Toolchain, sanitizer: Sanitizer, program: str
) -> None:
    assert_clean(run(toolchain.faults(sanitizer), program))
