from __future__ import annotations

import pytest

from lamina.errors import ArgumentError, DtypeError, UnknownNameError
from lamina.optimizers import schedules


def test_a_schedule_comes_back_from_its_description():
    schedule = schedules.ExponentialDecay(0.1, 10, 0.5, staircase=True)
    data = schedules.serialize(schedule)
    assert data["class_name"] == "ExponentialDecay"
    again = schedules.deserialize(data)
    assert again.get_config() == schedule.get_config()
    assert again(25) == schedule(25) == 0.025


def test_a_schedule_without_call_says_what_it_lacks():
    with pytest.raises(NotImplementedError, match=r"LearningRateSchedule must define __call__\(self, step\)"):
        schedules.LearningRateSchedule()(0)


def test_an_unknown_schedule_is_answered_with_the_nearest_name():
    with pytest.raises(UnknownNameError, match="did you mean 'CosineDecay'"):
        schedules.deserialize({"class_name": "CosinDecay", "config": {}})


def test_a_dict_that_describes_nothing_is_refused():
    with pytest.raises(DtypeError, match="does not describe a learning-rate schedule"):
        schedules.deserialize({"decay_steps": 3})


@pytest.mark.parametrize(
    "make",
    [
        lambda: schedules.ExponentialDecay(0.1, 0, 0.5),
        lambda: schedules.InverseTimeDecay(0.1, -1, 0.5),
        lambda: schedules.PolynomialDecay(0.1, 0),
        lambda: schedules.CosineDecay(0.1, 0),
    ],
)
def test_a_decay_without_steps_is_refused(make):
    with pytest.raises(ArgumentError, match="decay_steps > 0"):
        make()


def test_a_schedule_shows_its_arguments():
    shown = repr(schedules.CosineDecay(0.1, 5))
    assert (
        shown == "CosineDecay(initial_learning_rate=0.1, decay_steps=5, alpha=0.0, warmup_target=None, warmup_steps=0)"
    )
