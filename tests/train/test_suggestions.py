from __future__ import annotations

from pathlib import Path

import pytest

from fastwgan.train.suggestions import nearest, no_such_path

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


@pytest.mark.parametrize(
    ("name", "meant"),
    [("rows.cvs", "rows.csv"), ("digts", None), ("cat", None), ("none/rows.csv", None)],
)
def test_a_path_beside_it_is_named(tmp_path: Path, name: str, meant: str | None) -> None:
    for there in ("rows.csv", ".hidden", "dogs"):
        (tmp_path / there).touch()
    said = no_such_path(str(tmp_path / name))
    hint = f" (did you mean {tmp_path / meant}?)" if meant else ""
    if name == "digts":
        hint = " (did you mean digits?)"
    assert said == f"there is no such file or folder{hint}"


def test_nothing_is_near_among_none() -> None:
    assert nearest("seed", ()) == ""
