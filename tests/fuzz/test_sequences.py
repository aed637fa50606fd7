"""fastwgan and torch agree after every step of random sequences; and what these once found."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.fuzz.machine import Sequence
from tests.fuzz.optimizers import Choice
from tests.fuzz.twins import FORMS
from tests.fuzz.world import World


def _run(sequences: int, steps: int, *, derandomize: bool) -> None:
    run_state_machine_as_test(
        Sequence,
        settings=settings(
            max_examples=sequences,
            stateful_step_count=steps,
            derandomize=derandomize,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_sequences() -> None:
    _run(50, 20, derandomize=True)


@pytest.mark.nightly
def test_many_sequences() -> None:
    _run(2000, 40, derandomize=False)


# Shrunk from failures; each is a difference that is meant, or one that was mended.


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("from_torch", [False, True])
def test_a_critic_loads_after_its_spectral_norm_is_gone(form: str, from_torch: bool) -> None:
    world = World("leaky", 0)
    world.normalise(form)
    world.remove()
    world.save()
    world.load(from_torch=from_torch)
    world.finish()


def test_rmsprop_leaves_a_parameter_without_gradient_alone_that_adams_clip_takes() -> None:
    for choice in (Choice(clip=0.05), Choice("adam", clip=0.05)):
        world = World("leaky", 0)
        world.new_optimizer(choice)
        world.toggle(0)
        world.critic_loss("wgan-gp", "wasserstein", groups=1, engine="auto", flows=False)
        world.step()
        frozen, *_, moved = world.ours.parameters()
        assert bool((frozen.abs() > 0.05).any()) == (choice.kind == "rmsprop")
        assert float(moved.detach().abs().max()) <= 0.05


@pytest.mark.parametrize("engine", ["auto", "never"])
def test_vectors_move_once_by_the_engine_and_once_a_set_without(engine: str) -> None:
    world = World("norm", 914)
    world.normalise("parametrization")
    for kind in ("dragan", "r1", None):
        world.critic_loss(kind, "relativistic", groups=1, engine=engine, flows=False)


def test_a_weight_of_zeros_in_every_form() -> None:
    for form in FORMS:
        world = World("tanh images", 1)
        world.normalise(form)
        for index in range(3):
            world.zero_weight(index)
            world.forward(calls=2, recording=True, backward=True, flows=True)
            world.critic_loss("wgan-lp", "hinge", groups=2, engine="auto", flows=True)
        world.remove()
