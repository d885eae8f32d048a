"""Learning rates that change between epochs."""

from __future__ import annotations

import types

import pytest
import torch

from lamina.callbacks.rates import LearningRateScheduler, ReduceLROnPlateau, get_rate, set_rate
from lamina.errors import ArgumentError, NotCompiledError


def rates(callback, model, values, name="loss"):
    """The rate after each epoch."""
    callback.set_model(model)
    callback.on_train_begin()
    found = []
    for epoch, value in enumerate(values):
        callback.on_epoch_begin(epoch)
        callback.on_epoch_end(epoch, {} if value is None else {name: value})
        found.append(round(get_rate(model), 10))
    return found


def test_the_rate_of_every_kind_of_optimizer_is_read_and_set(model):
    ours = types.SimpleNamespace(optimizer=types.SimpleNamespace(learning_rate=torch.tensor(0.5)))
    assert (get_rate(model), get_rate(ours)) == (0.1, 0.5)
    model.optimizer.add_param_group({"params": [torch.zeros(1)]})
    set_rate(model, 0.2)
    set_rate(ours, 0.3)
    assert [group["lr"] for group in model.optimizer.param_groups] == [0.2, 0.2] and get_rate(ours) == 0.3


@pytest.mark.parametrize("function", [get_rate, lambda model: set_rate(model, 1.0)])
def test_a_model_without_an_optimizer_is_to_be_compiled(function):
    with pytest.raises(NotCompiledError, match="The learning rate needs an optimizer"):
        function(types.SimpleNamespace(optimizer=None))


def test_a_schedule_may_take_the_present_rate_or_not(model, make_model):
    assert rates(LearningRateScheduler(lambda epoch: 1.0 / (epoch + 1)), model, [1, 1]) == [1.0, 0.5]
    assert rates(LearningRateScheduler(lambda epoch, rate: rate * 0.5), make_model(), [1, 1]) == [0.05, 0.025]


def test_an_error_in_a_schedule_is_not_hidden(model):
    def schedule(epoch, rate):
        raise TypeError("a mistake of the schedule's own")

    with pytest.raises(TypeError, match="a mistake of the schedule's own"):
        rates(LearningRateScheduler(schedule), model, [1])


def test_a_built_in_function_without_signature_is_called_with_both(model):
    assert rates(LearningRateScheduler(max), model, [1]) == [0.1]


def test_the_rate_is_put_into_the_logs_and_said(model, capsys):
    callback = LearningRateScheduler(lambda epoch: 0.25, verbose=1)
    callback.set_model(model)
    callback.on_epoch_begin(0)
    logs = {}
    callback.on_epoch_end(0, logs)
    assert logs == {"learning_rate": 0.25}
    assert capsys.readouterr().out == "Epoch 1: the learning rate is set to 0.25.\n"


@pytest.mark.parametrize("value", ["0.1", None, True, [0.1]])
def test_a_schedule_gives_a_number(model, value):
    with pytest.raises(ArgumentError, match="The schedule must give the learning rate as a number"):
        rates(LearningRateScheduler(lambda epoch: value), model, [1])


def test_a_schedule_is_a_function():
    with pytest.raises(ArgumentError, match="A learning-rate schedule is a function"):
        LearningRateScheduler(0.1)


def test_the_rate_falls_after_so_many_epochs_without_improvement(model):
    callback = ReduceLROnPlateau("loss", factor=0.5, patience=2)
    assert rates(callback, model, [3, 2, 2, 2, 2, 2]) == [0.1, 0.1, 0.1, 0.05, 0.05, 0.025]


def test_epochs_of_cooling_down_do_not_count(model):
    callback = ReduceLROnPlateau("loss", factor=0.5, patience=1, cooldown=2)
    assert rates(callback, model, [2, 2, 2, 2, 2, 2]) == [0.1, 0.05, 0.05, 0.025, 0.025, 0.0125]


def test_the_rate_does_not_fall_below_its_least(model):
    callback = ReduceLROnPlateau("loss", factor=0.1, patience=1, min_lr=0.05)
    assert rates(callback, model, [2, 2, 2, 2]) == [0.1, 0.05, 0.05, 0.05]


def test_a_small_gain_is_no_gain(model):
    callback = ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=0.1)
    assert rates(callback, model, [2, 1.95, 1.7]) == [0.1, 0.05, 0.05]


def test_a_score_is_to_grow(model):
    callback = ReduceLROnPlateau("val_auc", factor=0.5, patience=1)
    assert rates(callback, model, [0.5, 0.6, 0.7, 0.6], "val_auc") == [0.1, 0.1, 0.1, 0.05]


def test_epochs_without_the_value_are_passed_over(model):
    callback = ReduceLROnPlateau("val_loss", factor=0.5, patience=1)
    callback.logs_are_known = True
    assert rates(callback, model, [1, None, None, 1], "val_loss") == [0.1, 0.1, 0.1, 0.05]


def test_it_says_what_it_does(model, capsys):
    rates(ReduceLROnPlateau("loss", factor=0.5, patience=1, verbose=1), model, [1, 1])
    assert capsys.readouterr().out == "Epoch 2: the learning rate is reduced from 0.1 to 0.05.\n"


def test_the_wait_goes_on_from_its_state(model, make_model):
    first, second = (ReduceLROnPlateau("loss", factor=0.5, patience=3) for _ in range(2))
    rates(first, model, [1, 2, 2])
    second.set_model(make_model())
    second.on_train_begin()
    second.set_state(first.get_state())
    second.on_epoch_end(3, {"loss": 2})
    assert get_rate(second.model) == 0.05


@pytest.mark.parametrize("factor", [1.0, 2.0, float("nan")])
def test_a_factor_lowers(factor):
    with pytest.raises(ArgumentError, match="would not reduce the learning rate"):
        ReduceLROnPlateau(factor=factor)
