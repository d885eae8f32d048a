"""Epochs out of passes: with and without a number of steps, over data that last and data that do not."""

from __future__ import annotations

import pytest
import torch

from lamina.errors import ArgumentError, DataError
from lamina.training.epochs import DataAdapter, positive_integer

CPU = torch.device("cpu")


class Numbers(DataAdapter):
    """Passes over 0, 1, ..., each of which can be told from the others by its tens."""

    def __init__(self, count, steps=None, one_shot=False):
        super().__init__(steps)
        self.count = count
        self.one_shot = one_shot
        self.opened = 0
        self.closed = 0

    def passes(self, device):
        self.opened += 1
        start = 10 * (self.opened - 1)
        try:
            for i in range(0 if self.one_shot and self.opened > 1 else self.count):
                yield start + i, None, None
        finally:
            self.closed += 1


def drawn(adapter):
    return [x for x, _, _ in adapter.epoch(CPU)]


def test_an_epoch_without_steps_is_one_pass():
    adapter = Numbers(3)
    assert [drawn(adapter), drawn(adapter)] == [[0, 1, 2], [10, 11, 12]]


def test_the_number_of_batches_is_known_after_the_first_pass():
    adapter = Numbers(3)
    assert adapter.num_batches is None
    drawn(adapter)
    assert adapter.num_batches == 3


def test_epochs_of_steps_go_on_where_the_last_one_stopped():
    adapter = Numbers(5, steps=2)
    assert adapter.num_batches == 2
    assert [drawn(adapter) for _ in range(3)] == [[0, 1], [2, 3], [4, 10]]


def test_an_epoch_longer_than_a_pass_begins_the_next_one():
    assert drawn(Numbers(2, steps=5)) == [0, 1, 10, 11, 20]


def test_a_reset_begins_a_new_pass():
    adapter = Numbers(5, steps=2)
    drawn(adapter)
    adapter.reset()
    assert drawn(adapter) == [10, 11] and adapter.closed == 1


def test_data_that_can_be_gone_through_once_are_not_reset():
    adapter = Numbers(5, steps=2, one_shot=True)
    drawn(adapter)
    adapter.reset()
    assert drawn(adapter) == [2, 3]


def test_data_that_can_be_gone_through_once_run_dry():
    adapter = Numbers(10, steps=8, one_shot=True)
    drawn(adapter)
    with pytest.raises(DataError, match="The data ran out") as caught:
        drawn(adapter)
    assert "8 batches (steps=8)" in str(caught.value)
    assert "2 batches in this epoch, 10 in all" in str(caught.value)
    assert "fewer steps or epochs" in str(caught.value)


def test_a_second_pass_over_data_that_can_be_gone_through_once_is_an_error():
    adapter = Numbers(3, one_shot=True)
    assert drawn(adapter) == [0, 1, 2]
    with pytest.raises(DataError, match="0 batches in this epoch, 3 in all"):
        drawn(adapter)


@pytest.mark.parametrize("steps", [None, 4])
def test_data_without_batches_are_empty(steps):
    with pytest.raises(DataError, match="The data are empty"):
        drawn(Numbers(0, steps=steps))


def test_an_iterator_that_is_at_its_end_already_is_to_be_made_anew():
    with pytest.raises(DataError, match="pass a fresh generator"):
        drawn(Numbers(0, one_shot=True))


@pytest.mark.parametrize("steps", [None, 4])
def test_an_epoch_that_is_left_early_is_closed_with_the_adapter(steps):
    adapter = Numbers(5, steps=steps)
    next(adapter.epoch(CPU))
    assert adapter.closed == 0 or steps is None
    adapter.close()
    assert adapter.closed == 1


def test_an_epoch_that_was_left_early_does_not_disturb_the_next_one():
    adapter = Numbers(3)
    for _ in adapter.epoch(CPU):
        break
    assert drawn(adapter) == [10, 11, 12] and adapter.closed == 2


def test_a_subclass_must_give_passes():
    with pytest.raises(NotImplementedError):
        next(DataAdapter().epoch(CPU))


@pytest.mark.parametrize("value", [0, -1, 2.5, True, "3"])
def test_steps_are_a_positive_integer(value):
    with pytest.raises(ArgumentError, match="steps cannot be used"):
        DataAdapter(steps=value)
    with pytest.raises(ArgumentError, match="expected: a positive integer"):
        positive_integer("n", value)
