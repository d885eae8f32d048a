"""What every registered callback must do, whatever it is for."""

from __future__ import annotations

import gc
import inspect
import io
import pickle
import weakref

import pytest
import torch

import lamina.callbacks
from lamina.callbacks.base import HOOKS, Callback, CallbackList, History
from lamina.callbacks.lazy_logs import LazyLogs
from lamina.registry import CALLBACKS, snake_case
from lamina.saving.states import plain

# How to make one of each; a callback that is registered and not named here is made without arguments.
ARGUMENTS = {
    "BackupAndRestore": lambda folder: {"backup_dir": folder / "backup"},
    "CSVLogger": lambda folder: {"filename": folder / "log.csv"},
    "EarlyStopping": lambda folder: {"monitor": "loss", "patience": 2, "restore_best_weights": True},
    "LambdaCallback": lambda folder: {"on_test_end": lambda logs: None},
    "LearningRateScheduler": lambda folder: {"schedule": lambda epoch, rate: rate * 0.9},
    "ModelCheckpoint": lambda folder: {"filepath": folder / "{epoch}-{loss:.2f}.pt", "save_freq": 2},
    "ProgbarLogger": lambda folder: {"file": io.StringIO()},
    "ReduceLROnPlateau": lambda folder: {"monitor": "loss", "patience": 1},
    "TensorBoard": lambda folder: {"log_dir": folder / "events", "update_freq": "batch", "histogram_freq": 1},
}


class Model(torch.nn.Linear):
    def __init__(self):
        super().__init__(2, 1)
        self.optimizer = torch.optim.Adam(self.parameters(), lr=0.1)
        self.stop_training = False
        self.metrics = []

    def save(self, path):
        torch.save(self.state_dict(), path)

    save_weights = save

    def train_on(self):
        self.optimizer.zero_grad()
        loss = (self(torch.ones(3, 2)) - torch.rand(3, 1)).square().mean()
        loss.backward()
        self.optimizer.step()
        return loss.detach()


@pytest.fixture(params=list(CALLBACKS))
def make(request, tmp_path):
    """Makes a callback of each registered class."""
    arguments = ARGUMENTS.get(request.param, lambda folder: {})
    return lambda: CALLBACKS[request.param](**arguments(tmp_path))


def logs_of(loss):
    return LazyLogs.from_provider({"loss": None, "accuracy": None}, lambda: [loss, torch.tensor(0.5)])


def train(callback, model, epochs=3):
    """Everything that a training loop calls, in its order; gives the number of epochs that were trained."""
    callbacks = CallbackList([callback], add_history=True, model=model, epochs=epochs, steps=3, verbose=1)
    trained = 0
    callbacks.on_train_begin()
    for epoch in range(callbacks.first_epoch(), epochs):
        trained += 1
        callbacks.on_epoch_begin(epoch)
        for batch in range(3):
            callbacks.on_train_batch_begin(batch)
            callbacks.on_train_batch_end(batch, logs_of(model.train_on()))
        callbacks.on_test_begin()
        for batch in range(2):
            callbacks.on_test_batch_begin(batch)
            callbacks.on_test_batch_end(batch, logs_of(torch.tensor(0.5)))
        callbacks.on_test_end({"loss": 0.5})
        callbacks.on_epoch_end(epoch, {"loss": 0.25, "accuracy": 0.5, "val_loss": 0.5})
        if model.stop_training:
            break
    callbacks.on_train_end({"loss": 0.25})
    callbacks.close()
    return trained


def test_a_whole_training_goes_through(make):
    model = Model()
    before = [p.detach().clone() for p in model.parameters()]
    assert train(make(), model) >= 1
    assert not all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_evaluation_and_prediction_go_through_by_themselves(make):
    callbacks = CallbackList([make()], model=Model(), epochs=1, steps=None, verbose=1)
    for mode in ("test", "predict"):
        getattr(callbacks, f"on_{mode}_begin")()
        for batch in range(2):
            getattr(callbacks, f"on_{mode}_batch_begin")(batch)
            getattr(callbacks, f"on_{mode}_batch_end")(batch, {"outputs": torch.zeros(2), "loss": 1.0})
        getattr(callbacks, f"on_{mode}_end")({"loss": 1.0})
    callbacks.close()


@pytest.mark.parametrize("hook", HOOKS)
def test_hooks_take_the_arguments_of_their_base(make, hook):
    method = getattr(make(), hook)
    expected = inspect.signature(getattr(Callback, hook)).parameters
    if getattr(method, "__self__", None) is not None:
        assert [p.replace(annotation=p.empty) for p in inspect.signature(method).parameters.values()] == [
            p.replace(annotation=p.empty) for name, p in expected.items() if name != "self"
        ]


def test_one_object_serves_two_trainings(make):
    callback = make()
    trained = [train(callback, Model()) for _ in range(2)]
    assert trained[0] == trained[1]


def test_an_interruption_at_any_hook_can_be_cleaned_up_after(make):
    for reached in range(4):
        callbacks = CallbackList([make()], model=Model(), epochs=2, steps=3, verbose=1)
        steps = [
            (callbacks.on_train_begin,),
            (callbacks.on_epoch_begin, 0),
            (callbacks.on_train_batch_end, 0, {"loss": 1.0}),
        ]
        for hook, *args in steps[:reached]:
            hook(*args)
        callbacks.close()
        callbacks.close()


def test_states_are_plain_data_and_come_back(make):
    model = Model()
    callback = make()
    train(callback, model)
    state = callback.get_state()
    stored = io.BytesIO()
    torch.save(plain(state, "state"), stored)
    stored.seek(0)
    other = make()
    other.set_state(torch.load(stored, weights_only=True))
    assert str(other.get_state()) == str(state)


def test_a_model_is_freed_although_its_callback_was_used(make):
    model = Model()
    train(make(), model)
    gone = weakref.ref(model.weight)
    del model
    gc.collect()
    assert gone() is None


def test_every_callback_is_exported_registered_and_found_by_its_snake_case_name():
    for name in CALLBACKS:
        assert getattr(lamina.callbacks, name) is CALLBACKS[name] is CALLBACKS[snake_case(name)]
    exported = {
        n
        for n, o in vars(lamina.callbacks).items()
        if inspect.isclass(o) and issubclass(o, Callback) and o is not Callback
    }
    assert exported == set(CALLBACKS)


def test_everything_is_pickled_with_history_and_without_the_model():
    history = History()
    train(history, Model())
    assert pickle.loads(pickle.dumps(history)).history["loss"] == [0.25] * 3
