"""Conversions, copies, pickles and processes: who owns u and v, and in which precision."""

from __future__ import annotations

import copy
import io
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from fastwgan import remove_spectral_norm, spectral_norm
from tests.spectral.nets import FORMS, TORCH_FORMS, Critic, inputs, states, weighted

HALVES = (torch.float16, torch.bfloat16)


def _vectors(net: nn.Module) -> dict[str, torch.Tensor]:
    return {name: buffer for name, buffer in net.named_buffers() if name.endswith(("_u", "_v"))}


def _half(dtype: torch.dtype, net: nn.Module) -> nn.Module:
    return net.half() if dtype is torch.float16 else net.bfloat16()


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_half_leaves_u_and_v_in_float32(backend: str, form: str, dtype: torch.dtype) -> None:
    for convert in (_half, lambda dtype, net: net.to(dtype), lambda dtype, net: net.type(dtype)):
        net = FORMS[form](Critic())
        before = {name: vector.clone() for name, vector in _vectors(net).items()}
        assert convert(dtype, net) is net
        assert all(parameter.dtype is dtype for parameter in net.parameters())
        for name, vector in _vectors(net).items():
            assert torch.equal(vector, before[name])
            assert vector.dtype is torch.float32
        images, labels = inputs(dtype)
        net(images, labels).sum().backward()
        assert all(parameter.grad.dtype is dtype for parameter in net.parameters())
        assert all(vector.dtype is torch.float32 for vector in _vectors(net).values())


@pytest.mark.parametrize("form", FORMS)
def test_other_conversions_reach_u_and_v(form: str) -> None:
    net = FORMS[form](Critic())
    for convert, dtype in (
        (lambda: net.double(), torch.float64),
        (lambda: net.half(), torch.float32),
        (lambda: net.double(), torch.float64),
        (lambda: net.float(), torch.float32),
        (lambda: net.bfloat16(), torch.float32),
        (lambda: net.float(), torch.float32),
    ):
        convert()
        assert {vector.dtype for vector in _vectors(net).values()} == {dtype}
    net.half().to("meta")
    assert all(value.is_meta for value in net.state_dict().values())
    assert {vector.dtype for vector in _vectors(net).values()} == {torch.float32}
    net.to_empty(device="cpu")
    assert {vector.dtype for vector in _vectors(net).values()} == {torch.float32}
    assert all(value.is_cpu for value in net.state_dict().values())


def test_a_copy_is_converted_by_itself() -> None:
    net = spectral_norm(nn.Linear(3, 4))
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert other.half() is other
        assert other.weight_orig.dtype is torch.float16
        assert other.weight_u.dtype is torch.float32
        assert net.weight_orig.dtype is torch.float32


def test_a_conversion_of_the_modules_own_is_kept() -> None:
    class Counted(nn.Linear):
        applied = 0

        def _apply(self, fn: Any, recurse: bool = True) -> Counted:
            self.applied += 1
            return super()._apply(fn, recurse)

    net = spectral_norm(Counted(3, 4)).half()
    assert net.applied == 1
    assert net.weight_u.dtype is torch.float32


@pytest.mark.parametrize("when", ["fresh", "after a forward", "after a backward"])
@pytest.mark.parametrize("form", FORMS)
def test_deep_copies_share_nothing(backend: str, form: str, when: str) -> None:
    net = FORMS[form](Critic())
    if when != "fresh":
        output = net(*inputs())
        if when == "after a backward":
            output.sum().backward()
    other = copy.deepcopy(net)
    batch = inputs()
    before = states(net)
    memory = {value.data_ptr() for value in net.state_dict().values()}
    assert memory.isdisjoint(value.data_ptr() for value in other.state_dict().values())
    for mine, copied in zip(weighted(net), weighted(other), strict=True):
        if form != "parametrization":
            assert torch.equal(mine.weight, copied.weight)
            assert mine.weight.data_ptr() != copied.weight.data_ptr()
            assert copied.weight.grad_fn is None
    first = other(*batch)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert torch.equal(net(*batch), first)
    first.sum().backward()
    net.half()
    assert all(parameter.dtype is torch.float32 for parameter in other.parameters())


def test_a_deep_copy_of_the_modules_own_is_used() -> None:
    class Counted(nn.Linear):
        copies = 0

        def __deepcopy__(self, memo: dict[int, Any]) -> Counted:
            replica = Counted(self.in_features, self.out_features)
            spectral_norm(replica).load_state_dict(self.state_dict())
            replica.copies = self.copies + 1
            return replica

    net = spectral_norm(Counted(3, 4))
    net(torch.randn(2, 3))
    assert copy.deepcopy(copy.deepcopy(net)).copies == 2


@pytest.mark.parametrize("form", FORMS)
def test_averaged_model(backend: str, form: str) -> None:
    net = FORMS[form](Critic())
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    net(*inputs())
    average = AveragedModel(net)
    for _ in range(3):
        before = states(average)
        net(*inputs()).square().sum().backward()
        optimizer.step()
        assert all(torch.equal(value, before[name]) for name, value in states(average).items())
        average.update_parameters(net)
        before = states(net)
        average(*inputs())
        assert all(torch.equal(value, before[name]) for name, value in states(net).items())


@pytest.mark.parametrize("form", ["hook", "group"])
def test_whole_modules_are_saved_and_loaded(backend: str, form: str) -> None:
    net = FORMS[form](Critic())
    net(*inputs()).sum().backward()
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    other = torch.load(file, weights_only=False)
    for _ in range(2):
        batch = inputs()
        assert torch.equal(other(*batch), net(*batch))
    (remove_spectral_norm(other.again))
    other.half()
    assert other.score.weight_u.dtype is torch.float32


def _train(critic: nn.Module, rank: int) -> dict[str, torch.Tensor]:
    """Steps on D(real) - D(fake), each rank on data of its own."""
    parallel = DistributedDataParallel(critic)
    optimizer = torch.optim.SGD(parallel.parameters(), lr=0.01)
    torch.manual_seed(rank)
    for _ in range(3):
        real, fake = inputs(), inputs()
        optimizer.zero_grad()
        (parallel(*real) - parallel(*fake)).square().sum().backward()
        optimizer.step()
    return states(critic)


def _train_all_forms(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2
    )
    results = {}
    for form in FORMS:
        for owner, forms in (("ours", FORMS), ("torch", TORCH_FORMS)):
            torch.manual_seed(7)
            results[owner, form] = _train(forms[form](Critic()), rank)
    torch.save(results, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


def test_distributed_data_parallel(tmp_path: Path) -> None:
    """D(real), D(fake), one backward, on two processes: the ranks agree, and agree with torch."""
    torch.multiprocessing.spawn(_train_all_forms, (str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    for form in FORMS:
        for name, value in first["ours", form].items():
            assert torch.equal(value, second["ours", form][name]), name
            expected = first["torch", form][name]
            torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-6)
