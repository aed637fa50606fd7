"""Random sequences of everything that can be done to a critic, step by step held against torch."""

from __future__ import annotations

import torch
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.critic_loss_recipe import LOSSES
from tests.fuzz.optimizers import Choice
from tests.fuzz.twins import CRITICS, FORMS
from tests.fuzz.world import HALVES, World
from tests.penalty_recipe import KINDS

ENGINES = st.sampled_from(["auto", "auto", "never"])
DTYPES = st.sampled_from([torch.float64, torch.float32, torch.float64, *HALVES])
CHOICES = st.builds(
    Choice,
    kind=st.sampled_from(["rmsprop", "rmsprop", "adam"]),
    clip=st.sampled_from([None, 0.05, 0.3]),
    momentum=st.sampled_from([0.0, 0.5]),
    centered=st.booleans(),
    weight_decay=st.sampled_from([0.0, 0.1]),
)


class Sequence(RuleBasedStateMachine):
    world: World

    @initialize(kind=st.sampled_from(sorted(CRITICS)), seed=st.integers(0, 999))
    def begin(self, kind: str, seed: int) -> None:
        self.world = World(kind, seed)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.finish()

    def can_step(self) -> bool:
        """In half precision Adam steps in half, and the centered average of squares is lost.

        Nor does Adam step with a state of another dtype than the parameter's.
        """
        pair = self.world.optimizers
        plain = pair.choice.kind == "rmsprop" and not pair.choice.centered
        half = not pair.dtypes().isdisjoint(HALVES)  # of parameters that the critic let go too
        return plain or (not half and (pair.choice.kind == "rmsprop" or pair.is_of_one_dtype()))

    @rule(
        calls=st.integers(1, 2),
        recording=st.booleans(),
        backward=st.booleans(),
        flows=st.booleans(),
    )
    def forward(self, calls: int, recording: bool, backward: bool, flows: bool) -> None:
        self.world.forward(calls=calls, recording=recording, backward=backward, flows=flows)

    @rule(
        kind=st.sampled_from(KINDS),
        groups=st.sampled_from([1, 2]),
        engine=ENGINES,
        flows=st.booleans(),
    )
    def penalty(self, kind: str, groups: int, engine: str, flows: bool) -> None:
        self.world.penalty(kind, groups=groups, engine=engine, flows=flows)

    @rule(
        kind=st.sampled_from([*KINDS, None]),
        loss=st.sampled_from(sorted(LOSSES)),
        groups=st.sampled_from([1, 2]),
        engine=ENGINES,
        flows=st.booleans(),
        at_once=st.booleans(),
    )
    def critic_loss(
        self, kind: str | None, loss: str, groups: int, engine: str, flows: bool, at_once: bool
    ) -> None:
        self.world.critic_loss(
            kind, loss, groups=groups, engine=engine, flows=flows, at_once=at_once
        )

    @rule(bound=st.sampled_from([0.01, 0.2]), exclude=st.sampled_from([None, "norm"]))
    def clip(self, bound: float, exclude: str | None) -> None:
        self.world.clip(bound, exclude)

    @rule(choice=CHOICES)
    def new_optimizer(self, choice: Choice) -> None:
        self.world.new_optimizer(choice)

    @precondition(can_step)
    @rule(times=st.integers(1, 3))
    def step(self, times: int) -> None:
        for _ in range(times):
            self.world.step()

    @rule(to_none=st.booleans())
    def zero_grad(self, to_none: bool) -> None:
        self.world.zero_grad(to_none=to_none)

    @rule()
    def save(self) -> None:
        self.world.save()

    @precondition(lambda self: self.world.saved is not None)
    @rule(from_torch=st.booleans())
    def load(self, from_torch: bool) -> None:
        self.world.load(from_torch=from_torch)

    @rule()
    def deepcopy(self) -> None:
        self.world.deepcopy()

    @rule(mode=st.booleans())
    def train(self, mode: bool) -> None:
        self.world.train(mode)

    @rule(dtype=DTYPES, with_state=st.booleans())
    def convert(self, dtype: torch.dtype, with_state: bool) -> None:
        self.world.convert(dtype, with_state=with_state)

    @rule(index=st.integers(0, 9))
    def toggle(self, index: int) -> None:
        self.world.toggle(index)

    @precondition(lambda self: self.world.form is None)
    @rule(form=st.sampled_from(FORMS))
    def normalise(self, form: str) -> None:
        self.world.normalise(form)

    @precondition(lambda self: self.world.form is not None)
    @rule()
    def remove(self) -> None:
        self.world.remove()

    @rule(index=st.integers(0, 2))
    def zero_weight(self, index: int) -> None:
        self.world.zero_weight(index)
