from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fastwgan.train import ConfigError, Data, Trainer
from fastwgan.train.models import build_critic
from fastwgan.train.restored import restore
from fastwgan.train.run import Run
from tests.train.settings import load, small

SOURCE = """
import math
import torch
from torch import nn

class Column(nn.Sequential):
    def __init__(self, shape):
        super().__init__(nn.Flatten(), nn.Linear(math.prod(shape), 4), nn.ReLU(), nn.Linear(4, 1))

class Flat(Column):
    def forward(self, samples):
        return super().forward(samples).squeeze(1)

class Labelled(nn.Module):
    def __init__(self, shape, classes):
        super().__init__()
        self.score = nn.Linear(math.prod(shape), classes)

    def forward(self, samples, labels):
        return self.score(samples.flatten(1)).gather(1, labels[:, None])

class Patches(nn.Conv2d):
    def __init__(self, shape):
        super().__init__(shape[0], 1, 3)

class Pair(Column):
    def forward(self, samples):
        return super().forward(samples), None

class Whole(Column):
    def forward(self, samples):
        return super().forward(samples) > 0

class Normed(nn.Sequential):
    def __init__(self, shape):
        size = math.prod(shape)
        super().__init__(nn.Flatten(), nn.BatchNorm1d(size), nn.Linear(size, 1))

class Normalised(nn.Sequential):
    def __init__(self, shape):
        layer = nn.utils.spectral_norm(nn.Linear(math.prod(shape), 1))
        super().__init__(nn.Flatten(), layer)

class Bare(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(()))

    def forward(self, samples):
        return self.factor * samples.flatten(1).sum(1)

class Drawing(Column):
    def forward(self, samples):
        return super().forward(samples) + torch.rand(())

class Failing(Column):
    def __init__(self, shape):
        raise RuntimeError("the user's own error")

def function(shape):
    return Column(shape)
"""


@pytest.fixture(autouse=True)
def _users_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "of_the_user"
    folder.mkdir()
    (folder / "users_critics.py").write_text(SOURCE)
    (folder / "users_broken.py").write_text("import no_such_package_anywhere\n")
    monkeypatch.syspath_prepend(str(folder))
    for name in ("users_critics", "users_broken"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def _built(name: str, method: str = "wgan-gp", classes: int = 0) -> nn.Module:
    return build_critic(small(method, critic=name), (1, 8, 8), classes)


def test_a_column_of_scores_is_the_users_module_itself() -> None:
    critic = _built("users_critics:Column")
    assert type(critic).__name__ == "Column"
    assert critic(torch.randn(3, 1, 8, 8)).shape == (3, 1)


def test_a_row_of_scores_becomes_a_column() -> None:
    critic, samples = _built("users_critics:Flat"), torch.randn(3, 1, 8, 8)
    inner = critic.get_submodule("critic")
    assert type(inner).__name__ == "Flat"
    assert torch.equal(critic(samples), inner(samples)[:, None])


def test_labels_are_passed_on() -> None:
    critic, samples = _built("users_critics:Labelled", classes=5), torch.randn(3, 1, 8, 8)
    first, second = (critic(samples, torch.full((3,), label)) for label in (0, 4))
    assert first.shape == (3, 1)
    assert not torch.allclose(first, second)


@pytest.mark.parametrize("name", ["Column", "Drawing", "Normed"])
def test_checking_a_critic_changes_nothing(name: str) -> None:
    torch.manual_seed(3)
    kind: Callable[..., nn.Module] = getattr(__import__("users_critics"), name)
    expected = kind((1, 8, 8))
    after = torch.rand(4)
    torch.manual_seed(3)
    built = _built(f"users_critics:{name}", "sn-gan")
    assert torch.equal(torch.rand(4), after)
    assert built.training
    for key, value in expected.state_dict().items():
        assert torch.equal(built.state_dict()[key], value), key


@pytest.mark.parametrize(
    ("name", "rest"),
    [
        ("users_critics", "it must be package.module:Class."),
        ("users_critics:", "it must be package.module:Class."),
        (":Column", "it must be package.module:Class."),
        ("..users_critics:Column", "it must be package.module:Class."),
        ("./users_critics.py:Column", "it must be package.module:Class."),
        (
            "no_such_module:Column",
            "there is no module no_such_module where Python looks; PYTHONPATH=. lets it look in "
            "the current folder.",
        ),
        (
            "users_critics.deeper:Column",
            "there is no module users_critics.deeper where Python looks; PYTHONPATH=. lets it look "
            "in the current folder.",
        ),
        ("users_critics:Colum", "module users_critics has no Colum."),
        ("users_critics:function", "function must be a class derived from torch.nn.Module."),
        ("users_critics:math", "math must be a class derived from torch.nn.Module."),
        ("subprocess:Popen", "Popen must be a class derived from torch.nn.Module."),
        (
            "users_critics:Labelled",
            "it must be constructed with shape: missing a required argument: 'classes'.",
        ),
        (
            "users_critics:Patches",
            "for 2 samples it returned torch.float32 of shape [2, 1, 6, 6], but it must return "
            "real scores, [2] or [2, 1].",
        ),
        (
            "users_critics:Pair",
            "for 2 samples it returned a tuple, but it must return real scores, [2] or [2, 1].",
        ),
        (
            "users_critics:Whole",
            "for 2 samples it returned torch.bool of shape [2, 1], but it must return real "
            "scores, [2] or [2, 1].",
        ),
        (
            "users_critics:Normed",
            "its layer 1 is BatchNorm, which a gradient penalty does not go with: every score must "
            "depend on its own sample alone; take LayerNorm or none.",
        ),
    ],
)
def test_a_wrong_critic_is_one_sentence(name: str, rest: str) -> None:
    with pytest.raises(ConfigError) as caught:
        _built(name)
    assert str(caught.value) == f"critic was {name!r}; {rest}"
    assert caught.value.name == "critic"


def test_a_critic_without_labels_is_refused_where_there_are_some() -> None:
    with pytest.raises(ConfigError, match="constructed with shape and classes: too many pos"):
        _built("users_critics:Column", classes=3)


@pytest.mark.parametrize("name", ["Normalised", "Bare"])
def test_spectral_norm_must_go_on_it(name: str) -> None:
    assert _built(f"users_critics:{name}")(torch.randn(3, 1, 8, 8)).shape == (3, 1)
    with pytest.raises(ConfigError, match=r"; spectral norm cannot go on it: [^\n]+\.$"):
        _built(f"users_critics:{name}", "sn-gan")


@pytest.mark.parametrize("method", ["wgan-gp", "wgan-lp", "dragan", "r1", "r1+r2", "sn+gp"])
def test_batch_norm_is_refused_under_every_penalty(method: str) -> None:
    with pytest.raises(ConfigError, match="BatchNorm"):
        _built("users_critics:Normed", method)
    assert _built("users_critics:Normed", "wgan").training


def test_errors_of_the_users_own_code_are_passed_on() -> None:
    with pytest.raises(RuntimeError, match="the user's own error"):
        _built("users_critics:Failing")
    with pytest.raises(ModuleNotFoundError, match="no_such_package_anywhere"):
        _built("users_broken:Column")


def test_a_run_with_it_can_be_opened_again(tmp_path: Path) -> None:
    config = small("sn-gan", critic="users_critics:Flat", steps=1)
    run = Run.begin(config, load("digits"), out=tmp_path / "run")
    run.go()
    samples = load("digits").values[:5]
    with torch.no_grad():
        critic = restore(run.folder.path, critic="users_critics:Flat").critic
        assert critic is not None
        torch.testing.assert_close(critic(samples), run.trainer.score(samples))
    again = Run.reopen(run.folder.path, chosen={"critic": "users_critics:Flat", "steps": 2})
    assert again.go().finished


def test_a_trainer_trains_it_on_labels() -> None:
    values, labels = torch.randn(24, 1, 8, 8), torch.arange(24) % 3
    data = Data("noise", values, labels=labels, classes=("a", "b", "c"))
    config = small(critic="users_critics:Labelled", conditional=True)
    trainer = Trainer(config, data)
    before = _weights(trainer.critic)
    trainer.train_step()
    assert not torch.equal(_weights(trainer.critic), before)


def _weights(module: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])
