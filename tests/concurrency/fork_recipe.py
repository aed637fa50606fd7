"""What children of a process do whose kernels have run; `python -c` of test_forks.py runs it.

It is a process of its own, which has no threads but these and may fork as it likes.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import fastwgan
from fastwgan import optim
from fastwgan.engine import generic, holding
from fastwgan.ops.gradient_penalty import norm_penalty
from fastwgan.ops.spectral_norm import spectral_norm
from tests.concurrency.operations import OPERATIONS, calls, given, same_bits, smooth

PATIENCE = 60  # seconds, after which a child is stuck


def in_child(work: Callable[[], bool]) -> str:
    """What `work` returned in a forked child, or how that ended."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(PATIENCE)
        try:
            said = str(work())
        except BaseException:
            said = traceback.format_exc()
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        said = pipe.read().decode()
    status = os.waitpid(child, 0)[1]
    return said or f"ended by signal {os.WTERMSIG(status)}"


def kernels_alone() -> Callable[[], list[Tensor]]:
    """A call of kernels with teams, and of nothing of torch's that has a team of its own."""
    weights, rows = torch.randn(3, 300, 300), torch.randn(64, 2000)
    u, v = torch.ones(2, 3, 300)
    parameter, gradient = nn.Parameter(torch.randn(300, 300)), torch.randn(300, 300)
    parameter.grad = gradient
    optimizer = optim.RMSprop([parameter], weight_clip=0.5)
    optimizer.step()

    def call() -> list[Tensor]:
        with torch.no_grad():
            normalised, sigma = spectral_norm(
                list(weights), list(u.clone()), list(v.clone()), dims=[0, 0, 1]
            )
            penalised = norm_penalty(rows, "wgan-gp", 1.0, 10.0)
            optimizer.step()
            fastwgan.clip_weights_(parameter, 0.4)
        return [*normalised, sigma, *penalised, parameter.detach()]

    return call


def teams_go_on() -> str:
    torch.set_num_threads(2)
    torch.manual_seed(0)
    call = kernels_alone()
    torch.manual_seed(0)
    wanted = kernels_alone()()
    return in_child(lambda: same_bits(call(), wanted))


def every_operation() -> str:
    torch.set_num_threads(1)
    each = {name: calls(name, range(1))[0] for name in OPERATIONS}
    wanted = {name: call() for name, call in each.items()}
    torch.set_num_threads(2)
    for call in each.values():
        call()

    def work() -> bool:
        torch.set_num_threads(1)  # as in a worker of a DataLoader; torch's own teams are lost too
        return all(same_bits(call(), wanted[name]) for name, call in each.items())

    return in_child(work)


def child_of_a_child() -> str:
    torch.set_num_threads(2)
    torch.manual_seed(0)
    call = kernels_alone()
    torch.manual_seed(0)
    twin = kernels_alone()
    twin()
    wanted = twin()

    def work() -> bool:
        call()
        return in_child(lambda: same_bits(call(), wanted)) == "True"

    return in_child(work)


def _forked_inside(inside: Callable[[threading.Event, threading.Event], None], work: object) -> str:
    """A child that is forked while another thread is inside."""
    entered, leave = threading.Event(), threading.Event()
    thread = threading.Thread(target=inside, args=(entered, leave))
    thread.start()
    assert entered.wait(PATIENCE)
    threading.Timer(0.3, leave.set).start()
    said = in_child(work)  # type: ignore[arg-type]
    leave.set()
    thread.join()
    return said


def while_a_module_is_changed() -> str:
    def inside(entered: threading.Event, leave: threading.Event) -> None:
        with holding.LOCK:
            entered.set()
            leave.wait(PATIENCE)

    return _forked_inside(inside, lambda: holding.LOCK.acquire(timeout=5))


def while_a_critic_runs() -> str:
    torch.set_num_threads(1)
    one = given(smooth, 0)
    before = torch._dynamo.eval_frame._stance.stance

    def inside(entered: threading.Event, leave: threading.Event) -> None:
        with generic.eagerly():
            entered.set()
            leave.wait(PATIENCE)

    def work() -> bool:
        own = torch._dynamo.eval_frame._stance.stance
        fastwgan.critic_loss(one.critic, one.real, one.fake, engine="never").total.backward()
        return own == before == torch._dynamo.eval_frame._stance.stance

    return _forked_inside(inside, work)


class Samples(Dataset[Tensor]):
    """Each of them normalised, clipped and penalised by the library."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Tensor:
        generator = torch.Generator().manual_seed(index)
        weight = torch.randn(300, 300, generator=generator)
        ones = torch.ones(300)
        with torch.no_grad():
            ((normalised,), _) = spectral_norm([weight], [ones], [ones.clone()], dims=[0])
        fastwgan.clip_weights_(normalised, 0.05)
        return normalised


def collated(samples: list[Tensor]) -> Tensor:
    stacked = torch.stack(samples)
    critic = nn.Sequential(nn.Flatten(), nn.Linear(90000, 2), nn.ReLU(), nn.Linear(2, 1))
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.fill_(0.01)
    fastwgan.critic_loss(critic, stacked, stacked.flip(0), penalty="r1").total.backward()
    gradient = critic[1].weight.grad
    assert gradient is not None
    return torch.cat([stacked.flatten(), gradient.flatten()])


def loader(context: str, workers: int) -> str:
    torch.set_num_threads(1)  # as in a worker
    wanted = [collated([Samples()[i] for i in pair]) for pair in ((0, 1), (2, 3), (4, 5))]
    torch.set_num_threads(2)
    kernels_alone()()
    (torch.ones(300, 300) @ torch.ones(300, 300)).sum()
    batches = DataLoader(
        Samples(),
        batch_size=2,
        num_workers=workers,
        collate_fn=collated,
        multiprocessing_context=context,
        timeout=PATIENCE,
    )
    return str(same_bits(list(batches), wanted))


CASES: dict[str, Callable[[], str]] = {
    "kernels with teams": teams_go_on,
    "every operation": every_operation,
    "child of a child": child_of_a_child,
    "while a module is changed": while_a_module_is_changed,
    "while a critic runs": while_a_critic_runs,
    "loader, fork": lambda: loader("fork", 2),
    "loader, spawn": lambda: loader("spawn", 1),
}


def main(names: list[str]) -> None:
    print(json.dumps({name: CASES[name]() for name in names}))
    sys.stdout.flush()
