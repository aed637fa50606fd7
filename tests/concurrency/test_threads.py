"""Eight Python threads get what one gets, bit for bit."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import fastwgan
from fastwgan.ops import spectral_norm as spectral_norm_op
from tests.concurrency.at_once import at_once, rounds_at_once
from tests.concurrency.long_calls import LONG_CALLS
from tests.concurrency.operations import OPERATIONS, calls, same_bits
from tests.processes import output_of

THREADS = 8
ROUNDS = 5


@pytest.mark.parametrize("name", OPERATIONS)
def test_different_tensors(name: str) -> None:
    wanted = [call() for call in calls(name, range(THREADS))]
    assert not same_bits(wanted[0], wanted[1])
    found = rounds_at_once(calls(name, range(THREADS)), ROUNDS)
    for one, turns in zip(wanted, found, strict=True):
        assert all(same_bits(turn, one) for turn in turns)


@pytest.mark.parametrize("name", OPERATIONS)
def test_shared_tensors(name: str) -> None:
    (call,) = calls(name, range(1))
    wanted = call()
    for turns in rounds_at_once([call] * THREADS, ROUNDS):
        assert all(same_bits(turn, wanted) for turn in turns)


@pytest.mark.parametrize("name", LONG_CALLS)
def test_all_inside_at_once(name: str) -> None:
    """Calls of milliseconds: what two of them shared would be written by both."""
    each = [LONG_CALLS[name](seed) for seed in range(THREADS)]
    wanted = [call() for call in each]
    assert not same_bits(wanted[0], wanted[1])
    for one, turns in zip(wanted, rounds_at_once(each, ROUNDS), strict=True):
        assert all(same_bits(turn, one) for turn in turns)


@pytest.mark.nightly
@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("name", OPERATIONS)
def test_for_long(name: str) -> None:
    """Teams of two threads included, which on few cores wait for each other."""
    wanted = [call() for call in calls(name, range(THREADS))]
    found = rounds_at_once(calls(name, range(THREADS)), 30)
    for one, turns in zip(wanted, found, strict=True):
        assert all(same_bits(turn, one) for turn in turns)


@pytest.mark.usefixtures("threads")
def test_all_operations_at_once() -> None:
    each = [calls(name, range(1))[0] for name in OPERATIONS]
    wanted = [call() for call in each]
    found = rounds_at_once(each, 3)
    for name, one, turns in zip(OPERATIONS, wanted, found, strict=True):
        assert all(same_bits(turn, one) for turn in turns), name


def test_each_thread_takes_its_own_backend() -> None:
    weight = torch.randn(50, 60, dtype=torch.float64)

    def sigma_by(backend: str) -> Tensor:
        with fastwgan.use_backend(backend):
            vectors = [torch.ones(50, dtype=torch.float64)], [torch.ones(60, dtype=torch.float64)]
            return spectral_norm_op.spectral_norm([weight], *vectors, dims=[0])[1]

    backends = ["cpu", "reference"] * 4
    wanted = {backend: sigma_by(backend) for backend in ("cpu", "reference")}
    found = at_once([lambda b=backend: sigma_by(b) for backend in backends])  # type: ignore[misc]
    for backend, one in zip(backends, found, strict=True):
        assert same_bits([one], [wanted[backend]])


# Everything that is found out once: torch's table of tensors, the classes of tensors, the pool, the
# rules of the engine. (The generic way would import torch's compiler, which takes seconds.)
FIRST_CALLS = """
import sys
import torch, fastwgan
from tests.concurrency.at_once import at_once
from tests.concurrency.operations import OPERATIONS, calls

torch.set_num_threads(1)
each = [calls(name, range(1))[0] for name in OPERATIONS if "generic" not in name]
sys.setswitchinterval(1e-6)
print(len(at_once(each)) == len(each))
"""


def test_the_first_call_of_each_operation_at_once(pytestconfig: pytest.Config) -> None:
    root = str(pytestconfig.rootpath)
    assert output_of(f"import sys; sys.path.append({root!r})\n{FIRST_CALLS}") == "True"


def test_calls_at_once_report_a_failure() -> None:
    def fail() -> None:
        raise ValueError("meant")

    with pytest.raises(ValueError, match="meant"):
        at_once([fail, lambda: None])


def test_same_bits_sees_what_equality_does_not() -> None:
    zero, one = torch.zeros(2), torch.ones(2)
    assert same_bits([zero], [torch.zeros(2)])
    assert same_bits([zero / 0], [zero / 0])
    assert not same_bits([zero], [-zero])
    assert not same_bits([one], [one.nextafter(zero)])
    assert not same_bits([one], [one.double()])
    assert not same_bits([one], [one, one])
