from __future__ import annotations

import numpy as np
import pytest
import torch

from lamina.errors import ArgumentError
from lamina.optimizers import SGD, schedules
from lamina.optimizers.arguments import as_rate


@pytest.mark.parametrize(
    "given", [0.5, np.float32(0.5), np.array(0.5), torch.tensor(0.5), torch.nn.Parameter(torch.tensor(0.5))], ids=repr
)
def test_numbers_of_every_kind_become_floats(given):
    rate = as_rate(given)
    assert type(rate) is float
    assert rate == 0.5


def test_an_integer_is_a_rate_too():
    assert as_rate(1) == 1.0


def test_schedules_and_functions_are_kept():
    schedule = schedules.CosineDecay(0.1, 10)
    assert as_rate(schedule) is schedule
    assert as_rate(schedules.serialize(schedule)).get_config() == schedule.get_config()
    assert SGD(lambda: 0.25).learning_rate == 0.25


@pytest.mark.parametrize("given", ["0.1", None, True, [0.1], torch.ones(2), schedules.CosineDecay])
def test_what_is_no_rate_is_refused(given):
    with pytest.raises(ArgumentError, match="cannot be a learning rate"):
        as_rate(given)


def test_two_ways_of_clipping_are_refused():
    with pytest.raises(ArgumentError, match="in one way only") as caught:
        SGD(clipnorm=1.0, global_clipnorm=2.0)
    assert "received: clipnorm=1.0, global_clipnorm=2.0" in str(caught.value)


@pytest.mark.parametrize("steps", [1, 2.5, -3])
def test_accumulation_of_less_than_two_steps_is_refused(steps):
    with pytest.raises(ArgumentError, match="gradient_accumulation_steps an integer >= 2"):
        SGD(gradient_accumulation_steps=steps)


def test_a_momentum_of_the_average_over_1_is_refused():
    with pytest.raises(ArgumentError, match="0 <= ema_momentum <= 1"):
        SGD(use_ema=True, ema_momentum=1.5)


@pytest.mark.parametrize("every", [-1, 0.5])
def test_overwriting_at_fractions_of_an_update_is_refused(every):
    with pytest.raises(ArgumentError, match="ema_overwrite_frequency an integer >= 1"):
        SGD(use_ema=True, ema_overwrite_frequency=every)
