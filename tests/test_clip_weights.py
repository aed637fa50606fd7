from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import fastwgan
from fastwgan import clip_after_step, clip_weights_
from fastwgan.optim import RMSprop
from tests.guarded import assert_same_bits
from tests.small_critic import critic_of


def _normed() -> nn.Module:
    module = nn.Sequential(
        nn.Linear(3, 4), nn.LayerNorm(4), nn.BatchNorm1d(4), nn.GroupNorm(2, 4), nn.RMSNorm(4)
    )
    module.append(nn.InstanceNorm1d(4, affine=True))
    for p in module.parameters():
        p.data.fill_(5.0)
    return module


class TestClipWeights:
    def test_module(self, backend: str) -> None:
        critic = critic_of()
        expected = [p.detach().clamp(-0.05, 0.05) for p in critic.parameters()]
        clip_weights_(critic, 0.05)
        for p, q in zip(critic.parameters(), expected, strict=True):
            assert_same_bits(p, q)

    def test_buffers_and_gradients_are_left_alone(self, backend: str) -> None:
        module = nn.BatchNorm1d(3)
        module.running_var.fill_(9.0)
        module.weight.grad = torch.full((3,), 9.0)
        clip_weights_(module, 0.5)
        assert module.running_var.tolist() == [9.0] * 3
        assert module.weight.grad.tolist() == [9.0] * 3
        assert module.weight.tolist() == [0.5] * 3

    def test_iterables_and_single_tensors(self, backend: str) -> None:
        containers: list[Callable[[list[Tensor]], Any]] = [
            list,
            tuple,
            set,
            iter,
            lambda made: dict(enumerate(made)).values(),
        ]
        for contained in containers:
            made = [torch.ones(3), torch.full((2, 2), -2.0)]
            clip_weights_(contained(made), 0.5)
            assert [t.abs().max().item() for t in made] == [0.5, 0.5]
        tensor = torch.ones(3)
        clip_weights_(tensor, 0.5)
        assert tensor.tolist() == [0.5] * 3

    def test_nothing(self, backend: str) -> None:
        clip_weights_([], 0.5)
        clip_weights_(nn.ReLU(), 0.5)

    def test_duplicates_and_tied_weights(self, backend: str) -> None:
        tensor, tied = torch.ones(3), nn.Linear(3, 3)
        clip_weights_([tensor, tensor, torch.ones(2)], 0.5)
        assert tensor.tolist() == [0.5] * 3
        module = nn.Sequential(tied, tied)
        clip_weights_(module, 0.01)
        assert tied.weight.abs().max().item() == pytest.approx(0.01)

    def test_excluding_norm_layers(self, backend: str) -> None:
        module = _normed()
        clip_weights_(module, 0.5, exclude="norm")
        assert {p.abs().max().item() for p in module[0].parameters()} == {0.5}
        kept = [p for layer in list(module)[1:] for p in layer.parameters()]
        assert len(kept) == 9
        assert {p.abs().max().item() for p in kept} == {5.0}

    def test_excluding_norm_when_the_module_is_one(self, backend: str) -> None:
        layer = nn.LayerNorm(3)
        clip_weights_(layer, 0.5, exclude="norm")
        assert layer.weight.tolist() == [1.0] * 3

    def test_excluding_by_predicate(self, backend: str) -> None:
        module = _normed()
        seen: list[str] = []

        def exclude(name: str, parameter: Tensor) -> bool:
            seen.append(name)
            return name.endswith("bias")

        clip_weights_(module, 0.5, exclude=exclude)
        assert seen == [name for name, _ in module.named_parameters()]
        for name, p in module.named_parameters():
            assert p.abs().max().item() == (5.0 if name.endswith("bias") else 0.5)

    def test_returns_none(self) -> None:
        assert clip_weights_([torch.ones(1)], 0.5) is None  # type: ignore[func-returns-value]

    @pytest.mark.parametrize("bound", [0, 0.0, -1, math.nan, math.inf, -math.inf, 10**400])
    def test_bad_bound(self, bound: float) -> None:
        tensor = torch.ones(1)
        with pytest.raises(ValueError, match=r"^bound was .*; it must be above zero and finite\.$"):
            clip_weights_(tensor, bound)
        assert tensor.item() == 1.0

    @pytest.mark.parametrize("bound", ["1", True, None, [1.0], 1j, torch.tensor(1.0)])
    def test_bound_of_another_type(self, bound: Any) -> None:
        tensor = torch.ones(1)
        with pytest.raises(TypeError, match=r"^bound was .*; it must be a number above zero\.$"):
            clip_weights_(tensor, bound)
        assert tensor.item() == 1.0

    @pytest.mark.parametrize(
        "source", [None, 3, 2.5, object()], ids=["None", "int", "float", "object"]
    )
    def test_no_container(self, source: Any) -> None:
        with pytest.raises(TypeError, match=r"^parameters_or_module was \w+; it must be a module"):
            clip_weights_(source, 0.5)

    @pytest.mark.parametrize(
        ("source", "said"),
        [
            ("weights", "str"),
            ({"weight": torch.ones(1)}, "str"),
            (critic_of().named_parameters(), "tuple"),
            ([torch.ones(1), None], "NoneType"),
            ([[torch.ones(1)]], "list"),
            ([nn.Linear(1, 1)], "Linear"),
        ],
        ids=["string", "dict", "named", "none", "nested", "modules"],
    )
    def test_containers_of_other_things(self, source: Any, said: str) -> None:
        with pytest.raises(TypeError, match=rf"parameters\[\d\] was {said}; it must be a torch.T"):
            clip_weights_(source, 0.5)

    def test_lazy_modules(self) -> None:
        with pytest.raises(ValueError, match=r"parameters\[0\] was uninitialized"):
            clip_weights_(nn.LazyLinear(3), 0.5)

    def test_exclude_misused(self) -> None:
        layer = nn.Linear(2, 2)
        before = layer.weight.clone()
        with pytest.raises(ValueError, match="exclude was given with bare parameters"):
            clip_weights_(layer.parameters(), 0.01, exclude="norm")
        with pytest.raises(ValueError, match="exclude was 'nrom'"):
            clip_weights_(layer, 0.01, exclude="nrom")
        with pytest.raises(TypeError, match="exclude was 3"):
            clip_weights_(layer, 0.01, exclude=3)  # type: ignore[arg-type]
        assert_same_bits(layer.weight, before)

    def test_a_predicate_that_raises_writes_nothing(self) -> None:
        module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        before = [p.clone() for p in module.parameters()]

        def exclude(name: str, parameter: Tensor) -> bool:
            return {"0.weight": False}[name]

        with pytest.raises(KeyError):
            clip_weights_(module, 0.01, exclude=exclude)
        for p, q in zip(module.parameters(), before, strict=True):
            assert_same_bits(p, q)


def test_public_names() -> None:
    assert fastwgan.clip_weights_ is clip_weights_
    assert fastwgan.clip_after_step is clip_after_step
    assert fastwgan.optim.RMSprop is RMSprop
