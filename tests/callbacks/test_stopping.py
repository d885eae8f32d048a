"""Ending training early."""

from __future__ import annotations

import math

import pytest
import torch

from lamina.callbacks.base import CallbackList
from lamina.callbacks.lazy_logs import LazyLogs
from lamina.callbacks.stopping import EarlyStopping, TerminateOnNaN
from lamina.errors import ArgumentError, NonFiniteError


def run(callback, model, values, name="loss"):
    """Train with these values; gives the number of epochs."""
    callback.set_model(model)
    callback.on_train_begin()
    epochs = 0
    for epoch, value in enumerate(values):
        with torch.no_grad():
            model.weight.fill_(epoch)
        epochs += 1
        callback.on_epoch_end(epoch, {} if value is None else {name: value})
        if model.stop_training:
            break
    callback.on_train_end()
    return epochs


@pytest.mark.parametrize("patience, epochs", [(0, 3), (1, 3), (2, 4), (3, 5)])
def test_training_ends_after_so_many_epochs_without_improvement(model, patience, epochs):
    assert run(EarlyStopping("loss", patience=patience), model, [3, 2, 2, 2, 2]) == epochs


def test_a_score_is_to_grow(model):
    assert run(EarlyStopping("val_auc", patience=1), model, [0.5, 0.6, 0.7, 0.7], "val_auc") == 4


def test_the_weights_of_the_best_epoch_come_back(model):
    callback = EarlyStopping("loss", patience=2, restore_best_weights=True)
    run(callback, model, [3, 1, 2, 2, 2])
    assert callback.best_epoch == 1 and model.weight.tolist() == [1, 1]


def test_the_best_weights_come_back_also_when_training_ends_by_itself(model):
    run(EarlyStopping("loss", patience=9, restore_best_weights=True), model, [3, 1, 2])
    assert model.weight.tolist() == [1, 1]


def test_the_weights_stay_if_that_was_not_asked_for(model):
    run(EarlyStopping("loss", patience=1), model, [3, 1, 2, 2])
    assert model.weight.tolist() == [2, 2]


def test_kept_weights_do_not_follow_the_model(model):
    callback = EarlyStopping("loss", restore_best_weights=True)
    callback.set_model(model)
    callback.on_train_begin()
    callback.on_epoch_end(0, {"loss": 1.0})
    with torch.no_grad():
        model.weight.fill_(8)
    assert callback.best_weights["weight"].tolist() == [0, 0]


def test_a_baseline_that_is_not_beaten_runs_patience_out(model):
    assert run(EarlyStopping("loss", patience=2, baseline=1.0), model, [3, 2.9, 2.8, 2.9, 2.9]) == 4
    model.stop_training = False
    assert run(EarlyStopping("loss", patience=2, baseline=5.0), model, [3, 2.9, 2.8, 2.7]) == 4


def test_epochs_of_warming_up_do_not_count(model):
    callback = EarlyStopping("loss", start_from_epoch=2)
    assert run(callback, model, [1, 2, 3, 4, 5]) == 4 and callback.best == 3


def test_epochs_without_the_value_are_passed_over(model):
    callback = EarlyStopping("val_loss", patience=1)
    callback.logs_are_known = True
    assert run(callback, model, [1, None, 2, None, 0.5], "val_loss") == 3


def test_nan_never_is_the_best(model):
    callback = EarlyStopping("loss", patience=3)
    run(callback, model, [math.nan, 2.0, math.nan])
    assert callback.best == 2.0 and callback.best_epoch == 1


def test_an_object_can_be_used_again(model):
    callback = EarlyStopping("loss", patience=1)
    run(callback, model, [1, 2])
    model.stop_training = False
    assert run(callback, model, [5, 4, 3]) == 3 and callback.stopped_epoch == 0


def test_it_says_what_it_does(model, capsys):
    run(EarlyStopping("loss", verbose=1, restore_best_weights=True), model, [1, 2])
    assert capsys.readouterr().out == (
        "Epoch 2: stopped early, loss no longer gets better.\nThe weights of epoch 1, the best one, are restored.\n"
    )


def test_the_wait_goes_on_from_its_state(model, make_model):
    first, second = EarlyStopping("loss", patience=3, restore_best_weights=True), EarlyStopping("loss", patience=3)
    run(first, model, [1, 2, 2])
    second.set_model(make_model())
    second.on_train_begin()
    second.set_state(first.get_state())
    second.on_epoch_end(3, {"loss": 2})
    assert second.model.stop_training and second.best_weights["weight"].tolist() == [0, 0]


def test_a_value_that_no_log_has_is_an_error_at_the_first_epoch(model):
    with pytest.raises(ArgumentError, match="EarlyStopping waits for a value that training does not give"):
        run(EarlyStopping("val_loss"), model, [1.0])


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_ends_training(model, loss, capsys):
    callbacks = CallbackList(TerminateOnNaN(), model=model)
    callbacks.on_train_batch_end(0, LazyLogs({"loss": torch.tensor(1.0)}))
    assert not model.stop_training
    callbacks.on_train_batch_end(1, LazyLogs({"loss": torch.tensor(loss)}))
    assert model.stop_training and capsys.readouterr().out == f"Batch 1: the loss is {loss}; training ends.\n"


def test_a_loss_that_is_not_finite_can_be_an_error(model):
    with pytest.raises(NonFiniteError, match="loss = nan at batch 2"):
        CallbackList(TerminateOnNaN(raise_error=True), model=model).on_train_batch_end(2, {"loss": math.nan})


def test_logs_without_a_loss_are_passed_over(model):
    CallbackList(TerminateOnNaN(), model=model).on_train_batch_end(0, {})
    assert not model.stop_training
