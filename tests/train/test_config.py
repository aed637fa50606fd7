from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest

from fastwgan.train import ConfigError, TrainConfig
from fastwgan.train.config import DATASETS, METHODS
from tests.train.settings import small


@pytest.mark.parametrize("data", DATASETS)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_defaults_on_every_data_set(method: str, data: str) -> None:
    config = TrainConfig.for_method(method, data)
    assert (config.method, config.data) == (method, data)
    assert TrainConfig.from_dict(config.to_dict()) == config


def test_the_defaults_of_each_method_are_its_papers() -> None:
    mnist = {method: TrainConfig.for_method(method, "mnist") for method in METHODS}
    assert (mnist["wgan"].weight_clip, mnist["wgan"].critic_steps) == (0.01, 5)
    assert (mnist["wgan-gp"].penalty_weight, mnist["wgan-gp"].critic_steps) == (10.0, 5)
    assert (mnist["wgan-gp"].beta1, mnist["wgan-gp"].beta2) == (0.0, 0.9)
    assert mnist["sn-gan"].loss == "hinge"


def test_it_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        small().steps = 7  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        (
            "loss",
            "hing",
            "loss was 'hing'; it must be one of wasserstein, hinge, logistic, relativistic.",
        ),
        ("steps", 0, "steps was 0; it must be a whole number of at least 1."),
        ("steps", 1.5, "steps was 1.5; it must be a whole number of at least 1."),
        ("steps", True, "steps was True; it must be a whole number of at least 1."),
        ("seed", -1, "seed was -1; it must be a whole number of at least 0."),
        ("seed", 1 << 32, "seed was 4294967296; it must be at most 4294967295."),
        ("batch_size", 1, "batch_size was 1; it must be a whole number of at least 2."),
        ("critic_lr", 0.0, "critic_lr was 0.0; it must be a number above 0."),
        ("critic_lr", math.nan, "critic_lr was nan; it must be a number above 0."),
        ("generator_lr", math.inf, "generator_lr was inf; it must be a number above 0."),
        ("generator_lr", "1", "generator_lr was '1'; it must be a number above 0."),
        ("ema_decay", 1.0, "ema_decay was 1.0; it must be a number at least 0 and below 1."),
        ("beta2", -0.1, "beta2 was -0.1; it must be a number at least 0 and below 1."),
        ("penalty_weight", 0, "penalty_weight was 0; it must be a number above 0."),
        (
            "weight_clip",
            0.1,
            "weight_clip was 0.1, but method wgan-gp has none; it belongs to wgan.",
        ),
        ("device", "gpu", "device was 'gpu'; it must be cpu, cuda, cuda:1, mps or alike."),
        ("device", "cuda:99", "device was 'cuda:99', which this machine or this torch lacks."),
        ("device", "meta", "device was 'meta', which this machine or this torch lacks."),
    ],
)
def test_a_wrong_setting_is_one_sentence(name: str, value: object, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        small(**{name: value})
    assert str(caught.value) == sentence
    assert caught.value.name == name


@pytest.mark.parametrize(("method", "data"), [("wgangp", "digits"), ("wgan", "mnist5k")])
def test_an_unknown_method_or_data_set_is_one_sentence(method: str, data: str) -> None:
    with pytest.raises(ConfigError, match=r"was '.*'.*; it must be one of .*\.$"):
        TrainConfig.for_method(method, data)


@pytest.mark.parametrize(
    ("given", "name", "parts"),
    [
        ("gp", "wgan-gp", ("gp",)),
        ("sn-gan+wgan-gp", "sn+gp", ("sn", "gp")),
        ("r2+r1", "r1+r2", ("r1", "r2")),
        ("lp+clip", "clip+lp", ("clip", "lp")),
    ],
)
def test_a_method_is_the_sum_of_its_parts(given: str, name: str, parts: tuple[str, ...]) -> None:
    config = TrainConfig.for_method(given, "digits")
    assert (config.method, config.parts) == (name, parts)
    assert (config.weight_clip is not None) == ("clip" in parts)
    assert (config.penalty_every == 1) == bool(config.penalties)


@pytest.mark.parametrize("method", ["", "gp+gp", "wgan-gp+gp", "gp+lp", "gp+", "gp,sn", "GP"])
def test_a_method_of_no_sense_is_one_sentence(method: str) -> None:
    with pytest.raises(ConfigError, match=r"^method was '.*'; it must be one .*\.$"):
        TrainConfig.for_method(method, "digits")


def test_a_file_is_named_by_its_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rows.csv").write_text("a\n1\n")
    monkeypatch.chdir(tmp_path)
    config = TrainConfig.for_method("wgan-gp", "rows.csv")
    assert config.data == str(tmp_path / "rows.csv")
    with pytest.raises(ConfigError, match=r"'digit': there is .* \(did you mean digits\?\); "):
        TrainConfig.for_method("wgan-gp", "digit")


def test_settings_from_a_file_are_complete_and_known() -> None:
    values = small().to_dict()
    with pytest.raises(
        ConfigError, match=r"^widht is no setting of a run \(did you mean width\?\)\.$"
    ):
        TrainConfig.from_dict(values | {"widht": 3})
    del values["width"]
    with pytest.raises(ConfigError, match=r"^width is missing\.$"):
        TrainConfig.from_dict(values)


def test_networks_too_small_to_share_take_one_thread(threads: int) -> None:
    found = {name: TrainConfig.for_method("wgan", name).threads for name in DATASETS}
    assert found == dict.fromkeys(DATASETS, 1) | {"mnist": threads}


@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet"])
def test_a_conditional_table_has_a_label_column_and_packs_nothing(
    tmp_path: Path, name: str
) -> None:
    data = str(tmp_path / name)
    Path(data).write_text("a,b\n1,2\n")
    assert TrainConfig.for_method("wgan-gp", data).pack == 10
    chosen = {"conditional": True, "label_column": "b"}
    config = TrainConfig.for_method("wgan-gp", data, **chosen)
    assert (config.pack, config.batch_size) == (1, 500)
    for pack in ({}, {"pack": 10}):
        with pytest.raises(ConfigError) as caught:
            TrainConfig.for_method("wgan-gp", data, conditional=True, **pack)
        assert str(caught.value) == (
            "label_column must name the column of labels, since conditional is true."
        )
    with pytest.raises(ConfigError, match=r"^pack was 10; it must be 1 where conditional is true"):
        TrainConfig.for_method("wgan-gp", data, **chosen, pack=10)
