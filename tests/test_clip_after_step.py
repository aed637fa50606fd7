from __future__ import annotations

import math
import pickle
from typing import Any

import pytest
import torch
from torch import nn

from fastwgan import clip_after_step
from tests.guarded import assert_same_bits
from tests.small_critic import backward, critic_of


def _adam(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=0.1)


def _sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9)


class TestClipAfterStep:
    @pytest.mark.parametrize("make", [_adam, _sgd], ids=["adam", "sgd"])
    def test_equals_the_step_and_a_clamp(self, backend: str, make: Any) -> None:
        ours, theirs = critic_of(), critic_of()
        mine, torchs = make(ours.parameters()), make(theirs.parameters())
        clip_after_step(mine, 0.05)
        for step in range(3):
            for critic, optimizer in ((ours, mine), (theirs, torchs)):
                optimizer.zero_grad()
                backward(critic, step)
                optimizer.step()
            with torch.no_grad():
                for p in theirs.parameters():
                    p.clamp_(-0.05, 0.05)
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert_same_bits(p, q)

    def test_removal(self) -> None:
        p = nn.Parameter(torch.ones(3))
        optimizer = _sgd([p])
        handle = clip_after_step(optimizer, 0.5)
        optimizer.step()
        assert p.tolist() == [0.5] * 3
        handle.remove()
        p.data.fill_(1.0)
        optimizer.step()
        assert p.tolist() == [1.0] * 3

    def test_groups_added_later(self) -> None:
        first, later = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
        optimizer = _adam([first])
        clip_after_step(optimizer, 0.5)
        optimizer.add_param_group({"params": [later]})
        optimizer.step()
        assert later.tolist() == [0.5] * 3

    def test_exclude(self) -> None:
        vector, matrix = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3, 3))
        optimizer = _sgd([vector, matrix])
        clip_after_step(optimizer, 0.5, exclude=lambda p: p.dim() == 1)
        optimizer.step()
        assert vector.tolist() == [1.0] * 3
        assert matrix.unique().tolist() == [0.5]

    def test_two_hooks_and_a_closure(self) -> None:
        p = nn.Parameter(torch.ones(3))
        optimizer = torch.optim.SGD([p], lr=1.0)
        clip_after_step(optimizer, 0.5)
        clip_after_step(optimizer, 0.25)

        def closure() -> float:
            p.grad = -torch.ones(3)
            return 3.0

        assert optimizer.step(closure) == 3.0
        assert p.tolist() == [0.25] * 3

    def test_state_dicts_and_pickles_stay_torchs(self) -> None:
        p = nn.Parameter(torch.ones(3))
        hooked, plain = _adam([p]), _adam([p])
        clip_after_step(hooked, 0.5)
        assert hooked.state_dict() == plain.state_dict()
        twin = pickle.loads(pickle.dumps(hooked))
        # torch pickles no hook: the copy steps without clipping, until it is asked for again.
        twin.step()
        (copied,) = twin.param_groups[0]["params"]
        assert copied.tolist() == [1.0] * 3
        clip_after_step(twin, 0.5)
        twin.step()
        assert copied.tolist() == [0.5] * 3

    @pytest.mark.parametrize("bound", [0.0, -1.0, math.nan, math.inf])
    def test_bad_bound(self, bound: float) -> None:
        with pytest.raises(ValueError, match="bound was"):
            clip_after_step(_adam([nn.Parameter(torch.ones(1))]), bound)

    @pytest.mark.parametrize("bound", ["0.1", True, None])
    def test_bound_of_another_type(self, bound: Any) -> None:
        with pytest.raises(TypeError, match="bound was"):
            clip_after_step(_adam([nn.Parameter(torch.ones(1))]), bound)

    def test_no_optimizer(self) -> None:
        with pytest.raises(TypeError, match="optimizer was Linear; it must be a"):
            clip_after_step(nn.Linear(1, 1), 0.5)  # type: ignore[arg-type]

    @pytest.mark.parametrize("exclude", ["norm", 3])
    def test_exclude_misused(self, exclude: Any) -> None:
        with pytest.raises(TypeError, match=r"exclude was .*; it must be a predicate"):
            clip_after_step(_adam([nn.Parameter(torch.ones(1))]), 0.5, exclude=exclude)

    def test_parameters_that_cannot_be_clipped_are_refused_before_any_step(self) -> None:
        optimizer = _sgd([nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1) * 1j)])
        with pytest.raises(TypeError, match=r"parameters\[1\] was a torch.complex64 tensor"):
            clip_after_step(optimizer, 0.5)
        clip_after_step(optimizer, 0.5, exclude=torch.is_complex)
        optimizer.step()
