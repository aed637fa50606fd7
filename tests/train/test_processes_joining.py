"""What needs no second process: the environment's variables, refusals, who speaks, the overlap."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed import HashStore

from fastwgan.train import (
    ConfigError,
    Processes,
    ProcessesError,
    Trainer,
    checkpoint,
    join,
    last_words,
    plots,
)
from fastwgan.train.joining import Place, place
from fastwgan.train.last_words import LastWords
from fastwgan.train.process_group import SeveralProcesses
from fastwgan.train.synced_batch_norm import SyncedBatchNorm, refuse_unsynced, synced
from tests.documents import ROOT, python_blocks, run, text_of
from tests.train.settings import assert_same_state, load, small

SECOND = {
    "RANK": "1",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "localhost",
    "MASTER_PORT": "29500",
}


def _several(rank: int = 1, size: int = 4) -> SeveralProcesses:
    words = LastWords(HashStore(), rank, size)
    return SeveralProcesses(rank, size, local_rank=rank, local_size=size, words=words)


@pytest.mark.parametrize("environment", [{}, {"WORLD_SIZE": "1", "RANK": "0"}, {"HOME": "/"}])
def test_a_process_may_be_alone(environment: dict[str, str]) -> None:
    assert place(environment) is None


def test_torchruns_variables_say_who_a_process_is() -> None:
    assert place(SECOND) == Place(rank=1, size=4, local_rank=1, local_size=2)


@pytest.mark.parametrize("name", SECOND)
def test_a_missing_variable_is_named(name: str) -> None:
    environment = {key: value for key, value in SECOND.items() if key != name}
    with pytest.raises(ProcessesError, match=rf"^the environment variable {name} was not set, "):
        place(environment)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"RANK": "4"}, r"RANK was '4'; it must be a whole number from 0 to 3\.$"),
        ({"RANK": "one"}, r"RANK was 'one'; it must be a whole number from 0 to 3\.$"),
        ({"WORLD_SIZE": "0"}, r"WORLD_SIZE was '0'; it must be a whole number at least 1\.$"),
        ({"LOCAL_WORLD_SIZE": "5"}, r"LOCAL_WORLD_SIZE was '5'; .* from 1 to 4\.$"),
        ({"LOCAL_RANK": "2"}, r"LOCAL_RANK was '2'; it must be a whole number from 0 to 1\.$"),
    ],
)
def test_a_contradiction_is_one_sentence(changed: dict[str, str], sentence: str) -> None:
    with pytest.raises(ProcessesError, match=sentence):
        place(SECOND | changed)


def test_nobody_is_joined_without_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECOND:
        monkeypatch.delenv(name, raising=False)
    with join() as processes:
        assert type(processes) is Processes
    assert not torch.distributed.is_initialized()


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("size", [1, 2, 4])
def test_the_rows_of_all_processes_are_the_batch(size: int, parts: int) -> None:
    batch = torch.arange(32).view(16, 2)
    all_processes = [Processes()] if size == 1 else [_several(rank, size) for rank in range(size)]
    own = [each.own(batch, parts) for each in all_processes]
    for part, whole in enumerate(batch.chunk(parts)):
        assert torch.equal(torch.cat([rows.chunk(parts)[part] for rows in own]), whole)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("cuda:1", r"^device was 'cuda:1'; with 4 processes it must be cpu or cuda, of which each"),
        ("mps", r"^device was 'mps'; with 4 processes it must be cpu or cuda"),
        ("cuda", r"^device was 'cuda'; each of this machine's 4 processes must have a GPU of its"),
    ],
)
def test_a_device_for_one_process_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, sentence: str
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    with pytest.raises(ConfigError, match=sentence):
        _several().device(name)
    assert _several().device("cpu") == torch.device("cpu")


def test_a_penalty_of_a_whole_batch_is_refused() -> None:
    sentence = r"^method was 'dragan'; with 4 processes it must be one without dragan, which takes"
    with pytest.raises(ConfigError, match=sentence):
        _several().check(small("dragan"), "fingerprint")


def test_a_critic_with_batch_norm_is_for_one_process() -> None:
    critic = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    refuse_unsynced(critic, Processes())
    refuse_unsynced(critic[0], _several())
    with pytest.raises(ConfigError, match=r"^critic has BatchNorm; with 4 processes it must have"):
        refuse_unsynced(critic, _several())


def test_only_several_processes_need_another_batch_norm() -> None:
    build = lambda: nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.BatchNorm1d(4)))  # noqa: E731
    alone, processes = build(), _several()
    assert synced(alone, Processes()) is alone
    assert type(alone[1][0]) is nn.BatchNorm1d
    several = synced(build(), processes)
    layer = copy.deepcopy(several)[1][0]
    assert type(layer) is SyncedBatchNorm
    assert layer.processes is processes
    several.load_state_dict(alone.state_dict())
    assert_same_state(several.state_dict(), alone.state_dict())
    rows = torch.randn(5, 3)
    assert torch.equal(several.eval()(rows), alone.eval()(rows))


def test_only_the_first_process_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_words, "_SECONDS_TO_SPEAK", 0.0)
    store = HashStore()
    assert [LastWords(store, rank, 3).is_first() for rank in (2, 0, 1)] == [True, False, False]


@pytest.mark.parametrize(
    ("left", "sentence"),
    [
        ([0], "lost process 1 of 3 (counted from 0): Connection closed by peer [10.0.0.1]:29500"),
        ([], "lost process 0 and process 1 of 3 (counted from 0): Connection closed by peer "),
        ([0, 1], "lost another process of 3 (counted from 0): Connection closed by peer "),
    ],
)
def test_whoever_answers_is_not_lost(
    monkeypatch: pytest.MonkeyPatch, left: list[int], sentence: str
) -> None:
    monkeypatch.setattr(last_words, "_SECONDS_TO_ANSWER", 0.01)
    error = RuntimeError(
        "[/pytorch/gloo/transport/tcp/pair.cc:553] Connection closed by peer [10.0.0.1]:29500. "
        "This is typically caused by a remote worker crashing."
    )
    store = HashStore()
    for rank in left:
        LastWords(store, rank, 3).about_lost(error)
    assert LastWords(store, 2, 3).about_lost(error).startswith(sentence)


class _Late(Processes):
    """Whose means take as long to come as they may."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self._then: Callable[[], object] | None = None

    def average(self, tensors: Sequence[Tensor], then: Callable[[], object]) -> None:
        self.settle()
        self.events.append("sent")
        self._then = then

    def settle(self) -> None:
        then, self._then = self._then, None
        if then is not None:
            self.events.append("arrived")
            then()


@pytest.mark.parametrize("method", ["wgan", "wgan-gp", "sn-gan"])
def test_gradients_travel_during_the_next_forward_pass_and_change_no_bit(method: str) -> None:
    late, data = _Late(), load("digits")
    config = small(method, critic_steps=2)
    slow, plain = Trainer(config, data, late), Trainer(config, data)

    def noted(*_: Any) -> None:
        late.events.append("generated")

    slow.generator.register_forward_hook(noted)
    for trainer in (slow, plain):
        for _ in range(3):
            trainer.train_step()
    step = ["generated", "sent", "generated", "arrived", "sent", "generated", "arrived"]
    assert late.events == 3 * [*step, "sent", "arrived"]
    assert_same_state(slow.state_dict(), plain.state_dict())


def test_the_documents_example_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plots, "draw", lambda *arguments: None)
    (block,) = python_blocks("docs/processes.md")
    config = run(block, "docs/processes.md")["config"]
    (folder,) = (tmp_path / "runs").iterdir()
    assert checkpoint.load(folder / "checkpoint.pt")["step"] == config.steps


def test_the_documents_paths_lead_somewhere() -> None:
    paths = re.findall(r"`((?:fastwgan|tests|docs)/[\w./]*)`", text_of("docs/processes.md"))
    assert paths
    assert all((ROOT / path).exists() for path in paths)
