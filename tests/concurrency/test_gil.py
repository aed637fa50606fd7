"""Long kernels let other Python threads run.

The interpreter takes the lock from nobody here: its switch interval is longer than any test. So
another thread runs while a call is under way only where the call itself has let go of the lock.
"""

from __future__ import annotations

import ctypes
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from fastwgan import _cpu
from fastwgan.ops.feedforward_critic import Layer, score

SIDE = 2500
TICKS = 8  # more than making a call's outputs lets in, which is one each time that torch lets go
TRIES = 200  # of a busy machine, on which no other thread may get a core during one call


class Ticking:
    """Another Python thread, counting the moments at which it held the lock."""

    def __init__(self) -> None:
        self.ticks = 0
        self._stopped = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._stopped:
            self.ticks += 1
            time.sleep(1e-4)  # which lets go of the lock

    def __enter__(self) -> Ticking:
        self._before = sys.getswitchinterval()
        sys.setswitchinterval(1000.0)
        self._thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self._stopped = True
        self._thread.join()
        sys.setswitchinterval(self._before)

    def during(self, call: Callable[[], object]) -> int:
        time.sleep(1e-3)
        before = self.ticks
        result = call()
        found = self.ticks - before
        del result  # not before: large memory is freed without the lock
        return found


@pytest.fixture
def ticking() -> Iterator[Ticking]:
    with Ticking() as found:
        yield found


def _spectral(u_first: bool) -> Callable[[], object]:
    weight, u, v = torch.randn(600, 600), torch.ones(600), torch.ones(600)
    return lambda: _cpu.plain_spectral_norm([weight], [u], [v], [0], 2000, 1e-12, u_first, 1)


def _spectral_backward() -> Callable[[], object]:
    weight, u, v = torch.randn(SIDE, SIDE), torch.ones(SIDE), torch.ones(SIDE)
    found = _cpu.plain_spectral_norm([weight], [u], [v], [0], 1, 1e-12, False, 1)
    assert found is not None
    return lambda: _cpu.plain_spectral_norm_backward([weight], *found, [0], None, 1)


def _clip() -> Callable[[], object]:
    weights: list[Tensor] = list(torch.randn(4, SIDE, SIDE))
    return lambda: _cpu.plain_weight_clip(weights, 1.0, 1)


def _rmsprop() -> Callable[[], object]:
    parameter = nn.Parameter(torch.randn(SIDE, SIDE))
    optimizer = torch.optim.RMSprop([parameter])
    parameter.grad = torch.randn(SIDE, SIDE)
    optimizer.step()
    numbers = 1e-3, 0.9, 1e-8, 0.0, 0.0, 0.5, False, False, 1
    return lambda: _cpu.plain_rmsprop([parameter], optimizer.state, *numbers)


def _norm() -> Callable[[], object]:
    rows, cotangent = torch.randn(2, SIDE, SIDE)
    penalty, norms = torch.empty(()), torch.empty(SIDE)
    numbers = SIDE, SIDE, 0, 1.0, 10.0
    outputs = penalty, norms, cotangent
    return lambda: _cpu.gradient_penalty_norm_f32(
        rows.data_ptr(), *numbers, *(each.data_ptr() for each in outputs), 1
    )


def _interpolate() -> Callable[[], object]:
    real, fake, results = torch.randn(3, SIDE, SIDE)
    tensors = real, fake, torch.rand(SIDE), results
    sizes = SIDE, SIDE, SIDE
    return lambda: _cpu.gradient_penalty_interpolate_f32(
        *(each.data_ptr() for each in tensors), *sizes, 1
    )


def _feedforward() -> Callable[[], object]:
    layers = [
        Layer(torch.randn(1500, 64, 1, 1), torch.zeros(1500), 0.2),
        Layer(torch.randn(1, 1500, 1, 1), torch.zeros(1), 1.0),
    ]
    rows = torch.randn(5000, 64, 1, 1)
    return lambda: score(rows, layers, 5000)


# Each with the ticks that prove it: calls that make no outputs let nobody in before their kernel.
KERNELS = {
    "spectral norm, v first": (lambda: _spectral(False), TICKS),
    "spectral norm, u first": (lambda: _spectral(True), TICKS),
    "spectral norm's backward": (_spectral_backward, TICKS),
    "weight clipping": (_clip, 1),
    "RMSprop": (_rmsprop, 1),
    "norm, penalty and cotangent": (_norm, 1),
    "interpolation": (_interpolate, 1),
    "feed-forward critic": (_feedforward, TICKS),
}


@pytest.mark.parametrize("name", KERNELS)
def test_other_threads_run(ticking: Ticking, name: str) -> None:
    make, enough = KERNELS[name]
    call = make()
    assert any(ticking.during(call) >= enough for _ in range(TRIES))


def test_a_call_that_keeps_the_lock_is_seen(ticking: Ticking) -> None:
    sleep = ctypes.PyDLL(None).usleep  # PyDLL's functions keep the lock
    assert not any(ticking.during(lambda: sleep(50_000)) for _ in range(3))
