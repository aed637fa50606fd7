"""Both public functions with critics that are spread over processes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Shard, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from fastwgan import critic_loss, gradient_penalty
from fastwgan.spectral import spectral_norm
from tests.compare import assert_gradients_match

MODES: dict[str, dict[str, bool]] = {
    "plain": {},
    "find_unused_parameters": {"find_unused_parameters": True},
    "static_graph": {"static_graph": True},
    "gradient_as_bucket_view": {"gradient_as_bucket_view": True},
}
TWICE = [name for name in MODES if name != "static_graph"]


class Critic(nn.Module):
    """With a parameter that nothing uses, which each mode but the plain one allows."""

    def __init__(self, unused: bool) -> None:
        super().__init__()
        torch.manual_seed(4)
        first = spectral_norm(nn.Linear(6, 16)).eval()
        self.body = nn.Sequential(first, nn.Tanh(), nn.Linear(16, 1))
        if unused:
            self.unused = nn.Linear(2, 2)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)  # type: ignore[no-any-return]


def _samples(rank: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(10 + rank)
    shapes = {"real": (4, 6), "fake": (4, 6), "alpha": (4,)}
    return {
        name: torch.rand(shape, generator=generator, dtype=torch.float64)
        for name, shape in shapes.items()
    }


def _start(rank: int, folder: str, world: int) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world
    )


def _gradients(critic: nn.Module) -> list[Tensor]:
    return [p.grad.clone() for p in critic.parameters() if p.grad is not None]


def _steps(name: str, samples: dict[str, Tensor]) -> list[list[Tensor]]:
    """The gradients of three whole steps, and of one of two micro-batches, the first not synced."""
    critic = Critic(unused=name in ("find_unused_parameters", "static_graph"))
    parallel = DistributedDataParallel(critic, **MODES[name])
    found = []
    for micro_batches in (1, 1, 2):
        critic.zero_grad()
        for index in range(micro_batches):
            is_last = index == micro_batches - 1
            with contextlib.nullcontext() if is_last else parallel.no_sync():
                critic_loss(parallel, **samples).total.backward()
        found.append([gradient / micro_batches for gradient in _gradients(critic)])
    critic.zero_grad()
    critic_loss(parallel, **samples, backward=True)
    return [*found, _gradients(critic)]


def _penalties(
    name: str, samples: dict[str, Tensor], run: Callable[..., Tensor] = gradient_penalty
) -> list[list[Tensor]]:
    """The gradients of two penalties alone."""
    critic = Critic(unused=False)
    parallel = DistributedDataParallel(critic, **MODES[name])
    found = []
    for _ in range(2):
        critic.zero_grad()
        run(parallel, **samples).backward()
        found.append(_gradients(critic))
    return found


def _penalty_and_scores(critic: nn.Module, **samples: Tensor) -> Tensor:
    penalty, scores = gradient_penalty(critic, return_scores=True, **samples)
    return penalty + scores.square().mean()


def _inner_modules() -> list[str]:
    """What is said of inner modules, after they were used before they were any."""
    critic, samples = Critic(unused=False), _samples(0)
    critic_loss(critic, **samples)
    parallel = DistributedDataParallel(critic)
    said = []
    for each in (critic, critic.body, lambda x: critic(x)):
        try:
            critic_loss(each, **samples)
        except RuntimeError as error:
            said.append(str(error))
    critic_loss(parallel.forward, **samples)
    del parallel
    critic_loss(critic, **samples)
    return said


def _run_all(rank: int, folder: str) -> None:
    _start(rank, folder, 2)
    results: dict[str, Any] = {name: _steps(name, _samples(rank)) for name in MODES}
    results |= {f"penalty, {name}": _penalties(name, _samples(rank)) for name in TWICE}
    results |= {
        f"scores, {name}": _penalties(name, _samples(rank), _penalty_and_scores) for name in TWICE
    }
    results["inner"] = _inner_modules()
    torch.save(results, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("ranks")
    torch.multiprocessing.spawn(_run_all, (str(folder),), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def _expected(run: Any) -> list[Tensor]:
    """One process, with the batches of both."""
    critic = Critic(unused=False)
    both = zip(_samples(0).items(), _samples(1).values(), strict=True)
    run(critic, **{name: torch.cat([one, two]) for (name, one), two in both}).backward()
    return _gradients(critic)


@pytest.mark.parametrize("name", MODES)
def test_gradients_are_those_of_the_joint_batch(name: str, ranks: list[dict[str, Any]]) -> None:
    expected = _expected(lambda *pair, **options: critic_loss(*pair, **options).total)
    for rank in ranks:
        for gradients in rank[name]:
            assert_gradients_match(gradients[:4], expected, op="penalty", order=1, context=name)
            assert not any(bool(gradient.any()) for gradient in gradients[4:])


@pytest.mark.parametrize("name", TWICE)
def test_a_penalty_alone_too(name: str, ranks: list[dict[str, Any]]) -> None:
    for rank in ranks:
        for gradients in rank[f"penalty, {name}"]:
            assert_gradients_match(gradients, _expected(gradient_penalty), op="penalty", order=1)


@pytest.mark.parametrize("name", TWICE)
def test_a_penalty_with_scores_too(name: str, ranks: list[dict[str, Any]]) -> None:
    expected = _expected(_penalty_and_scores)
    for rank in ranks:
        for gradients in rank[f"scores, {name}"]:
            assert_gradients_match(gradients, expected, op="penalty", order=1)


def test_inner_modules_are_refused(ranks: list[dict[str, Any]]) -> None:
    for rank in ranks:
        assert len(rank["inner"]) == 3
        assert all(
            "it must be that object itself: critic_loss(ddp" in each for each in rank["inner"]
        )


@pytest.fixture
def process_group(tmp_path: Path) -> Iterator[None]:
    _start(0, str(tmp_path), 1)
    yield
    distributed.destroy_process_group()


@pytest.mark.usefixtures("process_group")
def test_a_penalty_with_static_graph_is_refused() -> None:
    parallel = DistributedDataParallel(Critic(unused=False), static_graph=True)
    with pytest.raises(RuntimeError, match=r"static_graph=True, .* use critic_loss"):
        gradient_penalty(parallel, **_samples(0))


@pytest.mark.usefixtures("process_group")
@pytest.mark.parametrize("form", ["tensor parallel", "fsdp", "function of fsdp"])
def test_sharded_weights_are_refused(form: str) -> None:
    mesh = init_device_mesh("cpu", (1,))
    critic: Any = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    if form == "tensor parallel":
        weight = distribute_tensor(critic[0].weight.detach(), mesh, [Shard(0)])
        critic[0].weight = nn.Parameter(weight)
    else:
        fully_shard(critic, mesh=mesh)
    sharded = critic
    run = critic if form != "function of fsdp" else (lambda x: sharded(x))
    for function in (critic_loss, gradient_penalty):
        with pytest.raises(TypeError, match=r"critic had DTensor parameters .* must be plain"):
            function(run, **_samples(0))
