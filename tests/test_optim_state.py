from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import nn

from fastwgan.optim import RMSprop
from tests.small_critic import assert_same_parameters, critic_of, train


def _trained(optimizer_type: type[torch.optim.Optimizer], **options: Any) -> tuple[nn.Module, Any]:
    critic = critic_of()
    optimizer = optimizer_type(critic.parameters(), **options)
    train(critic, optimizer, 2)
    return critic, optimizer


class TestStateDict:
    FORMS = ({"lr": 1e-2, "momentum": 0.9, "centered": True}, {"lr": 1e-2})

    @pytest.mark.parametrize("options", FORMS, ids=["momentum-centered", "plain"])
    def test_torchs_state_goes_on_here_and_keeps_the_clip(
        self, backend: str, options: dict[str, Any]
    ) -> None:
        theirs, torchs = _trained(torch.optim.RMSprop, **options)
        ours = copy.deepcopy(theirs)
        mine = RMSprop(ours.parameters(), lr=7.0, weight_clip=100.0)
        mine.load_state_dict(copy.deepcopy(torchs.state_dict()))
        assert mine.param_groups[0]["weight_clip"] == 100.0
        assert mine.param_groups[0]["lr"] == 1e-2
        train(theirs, torchs)
        train(ours, mine)
        assert_same_parameters(ours, theirs)

    @pytest.mark.parametrize("options", FORMS, ids=["momentum-centered", "plain"])
    def test_our_state_goes_on_in_torch(self, backend: str, options: dict[str, Any]) -> None:
        ours, mine = _trained(RMSprop, **options, weight_clip=100.0)
        theirs = copy.deepcopy(ours)
        torchs = torch.optim.RMSprop(theirs.parameters(), lr=7.0)
        torchs.load_state_dict(copy.deepcopy(mine.state_dict()))
        train(theirs, torchs)
        train(ours, mine)
        assert_same_parameters(ours, theirs)

    def test_our_state_through_a_file(self, backend: str, tmp_path: Any) -> None:
        critic, optimizer = _trained(RMSprop, lr=1e-2, weight_clip=0.1)
        torch.save(optimizer.state_dict(), tmp_path / "state.pt")
        loaded = RMSprop(critic.parameters(), weight_clip=0.7)
        loaded.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
        assert loaded.param_groups[0]["weight_clip"] == 0.1

    def test_each_group_keeps_its_own_clip(self) -> None:
        parameters = [nn.Parameter(torch.ones(1)) for _ in range(2)]
        groups = [{"params": [p]} for p in parameters]
        torchs = torch.optim.RMSprop(groups)
        bounds = [{"params": [p], "weight_clip": c} for p, c in zip(parameters, (0.1, None))]  # noqa: B905
        mine = RMSprop(bounds)
        mine.load_state_dict(torchs.state_dict())
        assert [g["weight_clip"] for g in mine.param_groups] == [0.1, None]

    def test_other_number_of_groups_raises_as_torch_does(self) -> None:
        parameters = [nn.Parameter(torch.ones(1)) for _ in range(2)]
        two = torch.optim.RMSprop([{"params": [p]} for p in parameters]).state_dict()
        for optimizer in (RMSprop, torch.optim.RMSprop):
            with pytest.raises(ValueError, match="different number of parameter groups"):
                optimizer(parameters).load_state_dict(two)

    def test_loading_leaves_the_dict_alone(self) -> None:
        parameters = [nn.Parameter(torch.ones(1))]
        state = torch.optim.RMSprop(parameters).state_dict()
        before = copy.deepcopy(state)
        RMSprop(parameters, weight_clip=0.1).load_state_dict(state)
        assert state == before

    def test_state_of_another_shape_is_named_and_writes_nothing(self, backend: str) -> None:
        small, large = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(4096))
        donor = torch.optim.RMSprop([small])
        small.grad = torch.ones(3)
        donor.step()
        optimizer = RMSprop([large])
        optimizer.load_state_dict(donor.state_dict())
        large.grad = torch.ones(4096)
        with pytest.raises(ValueError, match=r"square_averages\[0\] had shape \(3,\)"):
            optimizer.step()
        assert bool((large == 1).all())
        assert optimizer.state[large]["step"].item() == 1.0


class TestBadWeightClip:
    @pytest.mark.parametrize("clip", [0, 0.0, -0.1, math.nan, math.inf, -math.inf, 10**400])
    def test_values(self, clip: float) -> None:
        p = nn.Parameter(torch.ones(1))
        with pytest.raises(ValueError, match=r"weight_clip was .*; it must be above zero"):
            RMSprop([p], weight_clip=clip)
        optimizer = RMSprop([p])
        group = {"params": [nn.Parameter(torch.ones(1))], "weight_clip": clip}
        with pytest.raises(ValueError, match=r"weight_clip was .*; it must be above zero"):
            optimizer.add_param_group(group)
        assert len(optimizer.param_groups) == 1

    @pytest.mark.parametrize("clip", ["0.1", True, [0.1], torch.tensor(0.1)])
    def test_types(self, clip: Any) -> None:
        with pytest.raises(TypeError, match=r"weight_clip was .*; it must be a number"):
            RMSprop([nn.Parameter(torch.ones(1))], weight_clip=clip)

    def test_with_differentiable(self) -> None:
        with pytest.raises(ValueError, match="differentiable was True with a weight_clip"):
            RMSprop([nn.Parameter(torch.ones(1))], differentiable=True, weight_clip=0.1)

    def test_with_complex_parameters(self) -> None:
        real, imaginary = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1) * 1j)
        with pytest.raises(TypeError, match="complex"):
            RMSprop([real, imaginary], weight_clip=0.1)
        optimizer = RMSprop([real])
        with pytest.raises(TypeError, match="complex"):
            optimizer.add_param_group({"params": [imaginary], "weight_clip": 0.1})
        assert len(optimizer.param_groups) == 1

    def test_group_that_is_no_dict(self) -> None:
        with pytest.raises(TypeError, match="param_group was list; it must be a dict"):
            RMSprop([nn.Parameter(torch.ones(1))]).add_param_group([1])  # type: ignore[arg-type]
