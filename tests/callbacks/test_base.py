"""Callbacks, who calls them, and the history."""

from __future__ import annotations

import pickle
import types

import numpy as np
import pytest
import torch

from lamina.callbacks.base import HOOKS, Callback, CallbackList, History
from lamina.callbacks.lazy_logs import LazyLogs
from lamina.callbacks.progress import ProgbarLogger


class Noting(Callback):
    """Writes down each call of every hook."""

    def __init__(self, name="", notes=None):
        super().__init__()
        self.name = name
        self.notes = [] if notes is None else notes


def _note(hook):
    def method(self, *args):
        self.notes.append((self.name, hook, args))

    return method


for _hook in HOOKS:
    setattr(Noting, _hook, _note(_hook))


def call(target, hook):
    args = (3, {"loss": 1.0}) if "epoch" in hook or "batch" in hook else ({"loss": 1.0},)
    getattr(target, hook)(*args)
    return args


@pytest.mark.parametrize("hook", [h for h in HOOKS if h not in ("on_batch_begin", "on_batch_end")])
def test_each_hook_reaches_each_callback_in_order(hook):
    notes = []
    args = call(CallbackList([Noting("a", notes), [Noting("b", notes)]]), hook)
    assert notes == [("a", hook, args), ("b", hook, args)]


@pytest.mark.parametrize("edge", ["begin", "end"])
def test_the_older_names_of_the_batch_hooks_are_called_for_training(edge):
    called = []
    older = type("Older", (Callback,), {f"on_batch_{edge}": lambda self, batch, logs=None: called.append(batch)})()
    callbacks = CallbackList(older)
    assert callbacks.has_batch_hooks("train") and not callbacks.has_batch_hooks("test")
    getattr(callbacks, f"on_train_batch_{edge}")(4)
    getattr(callbacks, f"on_batch_{edge}")(5)
    assert called == [4, 5]


def test_a_hook_that_nobody_overrides_is_not_called():
    callbacks = CallbackList([Callback(), History()])
    assert not any(callbacks.has_batch_hooks(mode) for mode in ("train", "test", "predict"))
    assert not callbacks._hooks["on_train_begin"][1:] and not callbacks._hooks["on_batch_end"]


def test_a_hook_set_on_the_object_is_called():
    called = []
    callback = Callback()
    callback.on_test_batch_end = lambda batch, logs=None: called.append(batch)
    callbacks = CallbackList(callback)
    callbacks.on_test_batch_end(1)
    assert called == [1] and callbacks.has_batch_hooks("test")


def test_a_hook_set_after_the_list_was_made_is_called_from_the_next_training_on():
    called = []
    callback = Callback()
    callbacks = CallbackList(callback)
    callback.on_epoch_end = lambda epoch, logs=None: called.append(epoch)
    callbacks.on_train_begin()
    callbacks.on_epoch_end(0)
    assert called == [0]


def test_objects_without_base_class_need_only_what_they_want():
    seen = []
    thing = types.SimpleNamespace(on_epoch_end=lambda epoch, logs: seen.append(epoch))
    callbacks = CallbackList([thing], model=object(), epochs=1)
    callbacks.on_train_begin()
    callbacks.on_epoch_end(0, {})
    callbacks.close()
    assert seen == [0]


def test_a_callback_that_comes_last_does_so_wherever_it_stands():
    notes = []
    last = Noting("last", notes)
    last.comes_last = True
    CallbackList([last, Noting("first", notes)]).on_epoch_end(0)
    assert [name for name, _, _ in notes] == ["first", "last"]


def test_history_and_bar_are_added_once_and_after_the_users():
    own = Callback()
    callbacks = CallbackList(own, add_history=True, add_progbar=True)
    assert [type(c) for c in callbacks] == [Callback, ProgbarLogger, History]
    again = CallbackList(callbacks, add_history=True, add_progbar=True)
    assert list(again) == list(callbacks) and again.history is callbacks.history


def test_model_and_parameters_reach_each_callback(model):
    callback = Callback()
    callbacks = CallbackList([callback], add_history=True, model=model, epochs=2, steps=5)
    assert callback.model is model and callback.params == {"epochs": 2, "steps": 5}
    assert model.history is callbacks.history
    late = Noting()
    callbacks.append(late)
    callbacks.on_epoch_begin(0)
    assert late.notes == [("", "on_epoch_begin", (0, None))]


def test_callbacks_are_closed_whatever_they_are():
    closed = []
    CallbackList([Callback(), types.SimpleNamespace(close=lambda: closed.append(1))]).close()
    assert closed == [1]


def test_the_first_epoch_is_the_one_that_a_callback_restored():
    assert CallbackList(Callback()).first_epoch(2) == 2
    assert CallbackList(types.SimpleNamespace(restored_epoch=5)).first_epoch(2) == 5
    assert CallbackList(types.SimpleNamespace(restored_epoch=None)).first_epoch(2) == 2


def test_a_subclass_that_never_called_the_constructor_works(model):
    class Careless(Callback):
        def __init__(self):
            pass

    callback = Careless()
    assert callback.model is None
    CallbackList(callback, model=model, epochs=1).on_train_begin()
    assert callback.model is model


def test_history_keeps_floats_of_every_epoch(model):
    history = History()
    history.set_model(model)
    history.on_train_begin()
    history.on_epoch_end(0, LazyLogs({"loss": torch.tensor(0.5), "matrix": torch.eye(2)}))
    history.on_epoch_end(1, {"loss": np.float32(0.25), "val_loss": 1})
    assert history.epoch == [0, 1] and model.history is history
    assert history.history["loss"] == [0.5, 0.25] and type(history.history["loss"][1]) is float
    assert history.history["val_loss"] == [1.0] and history.history["matrix"][0].tolist() == [[1, 0], [0, 1]]


def test_history_counts_epochs_anew_and_keeps_values():
    history = History()
    history.on_epoch_end(0, {"loss": 1.0})
    history.on_train_begin()
    history.on_epoch_end(0, {"loss": 2.0})
    assert (history.epoch, history.history) == ([0], {"loss": [1.0, 2.0]})


def test_history_goes_on_from_its_state():
    history, other = History(), History()
    history.on_epoch_end(0, {"loss": 1.0})
    other.set_state(history.get_state())
    other.on_epoch_end(1, {"loss": 0.5})
    assert (other.epoch, other.history, history.history) == ([0, 1], {"loss": [1.0, 0.5]}, {"loss": [1.0]})


def test_history_can_be_pickled_without_its_model(model):
    history = History()
    CallbackList([history], model=model)
    history.on_epoch_end(0, {"loss": 1.0})
    copy = pickle.loads(pickle.dumps(history))
    assert copy.history == {"loss": [1.0]} and copy.model is None
    assert Callback().get_state() == {} and Callback().set_state({}) is None
