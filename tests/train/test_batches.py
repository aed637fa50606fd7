from __future__ import annotations

import pytest
import torch

from fastwgan.train import ConfigError
from fastwgan.train.batches import Batches


def _rows(batches: Batches, count: int) -> list[float]:
    return [row for _ in range(count) for row in batches.next()[0].tolist()]


def test_an_epoch_shows_every_row_once() -> None:
    batches = Batches(torch.arange(12.0), batch_size=4, seed=0)
    first, second = (sorted(_rows(batches, 3)) for _ in range(2))
    assert first == second == list(range(12))


def test_a_short_last_batch_is_left_out() -> None:
    batches = Batches(torch.arange(11.0), batch_size=4, seed=0)
    epoch = _rows(batches, 2)
    assert len(epoch) == len(set(epoch)) == 8


def test_the_order_is_the_seeds_and_changes_with_the_epoch() -> None:
    values = torch.arange(64.0)
    one, same, other = (_rows(Batches(values, 32, seed), 4) for seed in (1, 1, 2))
    assert one == same
    assert one != other
    assert one[:64] != one[64:]


@pytest.mark.parametrize("done", [0, 1, 2, 3, 7])
def test_the_order_goes_on_from_its_state(done: int) -> None:
    values = torch.arange(12.0)
    batches = Batches(values, 4, seed=5)
    _rows(batches, done)
    resumed = Batches(values, 4, seed=99)
    resumed.load_state_dict(batches.state_dict())
    assert _rows(resumed, 8) == _rows(batches, 8)


def test_more_rows_than_there_are_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match=r"^batch_size was 5; it must be at most 4, the training"):
        Batches(torch.zeros(4), 5, seed=0)


def test_labels_go_with_their_rows() -> None:
    values = torch.arange(40.0)
    batches = Batches(values, 8, 0, labels=torch.arange(40))
    for _ in range(7):
        rows, labels = batches.next()
        assert labels is not None
        assert torch.equal(rows, labels.float())
