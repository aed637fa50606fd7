"""Fixtures of the whole suite: the backends and instruction sets, the thread counts, the seed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, settings

from fastwgan import _gpu, backends

INSTRUCTION_SETS = ("baseline", "avx2", "avx512", "portable256", "portable512")
BACKENDS = (
    "reference",
    *(f"cpu-{name}" for name in INSTRUCTION_SETS),
    "cuda-emulated",
    "triton",
)

# The fixtures below hold for every example of a test alike, so sharing them is no hazard.
settings.register_profile(
    "suite",
    deadline=None,
    max_examples=30,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
settings.load_profile("suite")

_NOT_RUN = pytest.StashKey[dict[str, str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Few threads: OpenMP teams that share cores with another process wait for each other."""
    config.stash[_NOT_RUN] = {}
    if config.getoption("--only-backend") == "triton" and why_not_run("triton") is None:
        from tests import triton_interpreter

        triton_interpreter.prepare()
        settings.register_profile("interpreted", settings.get_profile("suite"), max_examples=4)
        settings.load_profile("interpreted")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started in a shell's background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hands what a worker of pytest-xdist left out to the process that reports."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["not_run"] = session.config.stash[_NOT_RUN]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Takes it over."""
    node.config.stash[_NOT_RUN].update(getattr(node, "workeroutput", {}).get("not_run", {}))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Says which backends and instruction sets this run proves nothing about."""
    for name, reason in sorted(config.stash[_NOT_RUN].items()):
        terminalreporter.write_line(f"not run: {name} ({reason})", yellow=True)
    if config.getoption("--only-backend") == "triton":
        from tests.triton_interpreter import LAUNCHES

        for kernel, launches in sorted(LAUNCHES.items()):
            terminalreporter.write_line(f"launched: {kernel} {launches}")


def pytest_addoption(parser: pytest.Parser) -> None:
    """One backend alone, for a process that was started for it."""
    parser.addoption("--only-backend", choices=BACKENDS, help="run its tests, and no others")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what another backend than the one asked for would run, and what takes long."""
    only = config.getoption("--only-backend")
    asked = config.getoption("-m")
    long = [mark for mark in ("nightly", "ahead", "sanitized", "wheel") if mark not in asked]
    parameters = [getattr(item, "callspec", None) for item in items]
    kept = [
        not any(item.get_closest_marker(mark) for mark in long)
        and (only is None or (p is not None and p.params.get("backend") == only))
        for item, p in zip(items, parameters, strict=True)
    ]
    config.hook.pytest_deselected(items=[i for i, k in zip(items, kept, strict=True) if not k])
    items[:] = [i for i, k in zip(items, kept, strict=True) if k]


def why_not_run(name: str) -> str | None:
    """Why the backend `name` of `BACKENDS` can't run here; None when it can."""
    if name == "triton":
        if "cpu" in _gpu.device_types("triton"):
            return backends.why_unavailable("triton")
        return "TRITON_INTERPRET is not 1; tests/ops/test_triton.py sets it in its own process"
    if name == "cuda-emulated":
        if not (Path(__file__).parent / "cuda_emulator" / "module.py").exists():
            return "tests/cuda_emulator is not here"
        from tests.cuda_emulator.module import why_not_built

        return why_not_built()
    instruction_set = name.removeprefix("cpu-")
    if name == "reference" or instruction_set in backends.instruction_sets():
        return None
    return f"this processor or build lacks {instruction_set}"


def contexts(name: str) -> list[AbstractContextManager[None]]:
    """What to enter for the backend `name` of `BACKENDS`."""
    if name in ("reference", "triton"):
        return [backends.use_backend(name)]
    if name == "cuda-emulated":
        from tests.cuda_emulator.module import load

        return [_gpu.emulated(load()), backends.use_backend("cuda")]
    return [
        backends.use_backend("cpu"),
        backends.use_instruction_set(name.removeprefix("cpu-")),
    ]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """Runs the test on every backend, on the CPU kernels with every instruction set."""
    name: str = request.param
    reason = why_not_run(name)
    if reason is not None:
        request.config.stash[_NOT_RUN][name] = reason
        pytest.skip(f"{name}: {reason}")
    with ExitStack() as stack:
        for context in contexts(name):
            stack.enter_context(context)
        yield name


@pytest.fixture(params=(1, 2), ids=("1-thread", "2-threads"))
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """Runs the test with one thread, then with two."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
