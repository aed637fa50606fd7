from __future__ import annotations

import pytest

from fastwgan.train.suggestions import nearest

NAMES = ("critic_lr", "critic_steps", "generator_lr", "seed", "wgan-gp")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("critc_lr", "critic_lr"),
        ("critic-lr", "critic_lr"),
        ("Critic_LR", "critic_lr"),
        ("critic_step", "critic_steps"),
        ("lr_generator", "generator_lr"),
        ("sede", "seed"),
        ("WGAN_GP", "wgan-gp"),
    ],
)
def test_the_nearest_is_named(name: str, meant: str) -> None:
    assert nearest(name, NAMES) == f" (did you mean {meant}?)"


@pytest.mark.parametrize("name", ["", "colour", "x"])
def test_nothing_is_said_where_none_is_near(name: str) -> None:
    assert nearest(name, NAMES) == ""


def test_nothing_is_near_among_none() -> None:
    assert nearest("seed", ()) == ""
