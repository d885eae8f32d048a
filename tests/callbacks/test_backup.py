"""Going on after an interruption."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from lamina.callbacks.backup import BackupAndRestore, plain, random_states, set_random_states
from lamina.callbacks.base import Callback, CallbackList, History
from lamina.callbacks.rates import ReduceLROnPlateau
from lamina.callbacks.stopping import EarlyStopping
from lamina.errors import ArgumentError, DtypeError, LoadError

EPOCHS = 6


class Interrupted(Exception):
    pass


def train(model, folder, until=None, epochs=EPOCHS, **options):
    """A run whose loss hangs on its random numbers, its momentum, its rate and its callbacks."""
    callbacks = CallbackList(
        [
            BackupAndRestore(folder, **options),
            ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=1.0),
            EarlyStopping("loss", patience=100, restore_best_weights=True),
        ],
        add_history=True,
        model=model,
        epochs=epochs,
    )
    try:
        callbacks.on_train_begin()
        for epoch in range(callbacks.first_epoch(), epochs):
            callbacks.on_epoch_begin(epoch)
            for batch in range(3):
                if until == (epoch, batch):
                    raise Interrupted
                target = torch.rand(2) + float(np.random.rand()) + random.random()
                loss = model.train_on(target)
                callbacks.on_train_batch_end(batch, {"loss": loss})
            callbacks.on_epoch_end(epoch, {"loss": float(loss)})
        callbacks.on_train_end()
    except Interrupted:
        pass
    finally:
        callbacks.close()
    return callbacks.history


def seed():
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)


@pytest.mark.parametrize("until", [(2, 0), (3, 2), (5, 1)])
def test_a_run_that_was_interrupted_ends_bit_for_bit_like_one_that_was_not(make_model, tmp_path, until):
    seed()
    straight = make_model()
    expected = train(straight, tmp_path / "a")
    seed()
    train(make_model(), tmp_path / "b", until=until)
    seed()
    torch.rand(17)
    resumed = make_model()
    history = train(resumed, tmp_path / "b")
    assert torch.equal(straight.weight, resumed.weight)
    assert history.history == expected.history and history.epoch == list(range(EPOCHS))
    assert len(set(expected.history["learning_rate"])) > 2


def test_the_files_are_removed_at_the_end_and_only_then(make_model, tmp_path):
    train(make_model(), tmp_path / "b", until=(1, 0))
    assert [f.name for f in (tmp_path / "b").iterdir()] == ["training_state.pt"]
    train(make_model(), tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_a_run_that_was_ended_by_ctrl_c_can_be_gone_on_with(make_model, tmp_path):
    model = make_model()
    backup = BackupAndRestore(tmp_path)
    callbacks = CallbackList(backup, model=model, epochs=5)
    callbacks.on_train_begin()
    callbacks.on_epoch_end(1)
    callbacks.on_train_end()
    assert list(tmp_path.iterdir())
    model.stop_training = True
    callbacks.on_train_end()
    assert not tmp_path.exists()


def test_the_files_stay_if_that_is_asked_and_a_finished_run_does_nothing_more(make_model, tmp_path):
    train(make_model(), tmp_path, delete_checkpoint=False)
    model = make_model()
    history = train(model, tmp_path, delete_checkpoint=False)
    assert history.epoch == list(range(EPOCHS)) and model.weight.abs().sum() > 0


def test_a_run_saved_within_an_epoch_goes_on_at_its_beginning(make_model, tmp_path):
    first, second = make_model(), make_model()
    train(first, tmp_path, until=(1, 1), save_freq=2)
    backup = BackupAndRestore(tmp_path)
    CallbackList(backup, model=second).on_train_begin()
    assert backup.restored_epoch == 1 and torch.equal(first.weight, second.weight)


def test_single_batches_are_listened_to_only_when_they_are_counted(tmp_path):
    assert not CallbackList(BackupAndRestore(tmp_path)).has_batch_hooks("train")
    assert CallbackList(BackupAndRestore(tmp_path, save_freq=2)).has_batch_hooks("train")


def test_without_a_file_training_starts_anew(make_model, tmp_path):
    backup = BackupAndRestore(tmp_path / "nothing")
    callbacks = CallbackList(backup, model=make_model())
    callbacks.on_train_begin()
    assert backup.restored_epoch is None and callbacks.first_epoch(3) == 3


def test_the_file_before_the_last_is_read_if_the_last_is_broken(make_model, tmp_path):
    train(make_model(), tmp_path, until=(3, 0), double_checkpoint=True)
    (tmp_path / "training_state.pt").write_bytes(b"half a file")
    backup = BackupAndRestore(tmp_path)
    CallbackList(backup, model=make_model()).on_train_begin()
    assert backup.restored_epoch == 2


def test_a_broken_file_is_an_error(make_model, tmp_path):
    (tmp_path / "training_state.pt").write_bytes(b"half a file")
    with pytest.raises(LoadError, match="The backup cannot be read"):
        CallbackList(BackupAndRestore(tmp_path), model=make_model()).on_train_begin()


def test_a_file_that_would_run_code_is_refused(make_model, tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("code from a file",))

    torch.save({"epoch": Evil()}, tmp_path / "training_state.pt")
    with pytest.raises(LoadError, match="The backup cannot be read"):
        CallbackList(BackupAndRestore(tmp_path), model=make_model()).on_train_begin()


def test_a_backup_of_another_model_is_an_error(make_model, tmp_path):
    train(make_model(), tmp_path, until=(1, 0))
    other = torch.nn.Linear(3, 3)
    with pytest.raises(LoadError, match="The backup does not fit this model"):
        CallbackList(BackupAndRestore(tmp_path), model=other).on_train_begin()


def test_a_write_that_fails_leaves_the_last_file_whole(make_model, tmp_path, monkeypatch):
    train(make_model(), tmp_path, until=(2, 0))
    before = (tmp_path / "training_state.pt").read_bytes()

    def failing(state, file):
        file.write(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", failing)
    with pytest.raises(OSError, match="no space left"):
        BackupAndRestore(tmp_path).write({})
    assert [f.name for f in tmp_path.iterdir()] == ["training_state.pt"]
    assert (tmp_path / "training_state.pt").read_bytes() == before


def test_states_go_back_to_callbacks_by_class_and_place(make_model, tmp_path):
    first, second = History(), History()
    first.on_epoch_end(0, {"a": 1.0})
    second.on_epoch_end(0, {"b": 2.0})
    backup = BackupAndRestore(tmp_path, delete_checkpoint=False)
    CallbackList([first, backup, second], model=make_model()).on_epoch_end(0, {})
    third, fourth = History(), History()
    CallbackList([Callback(), third, fourth, BackupAndRestore(tmp_path)], model=make_model()).on_train_begin()
    assert third.history == {"a": [1.0]} and fourth.history == {"b": [2.0]}


def test_a_state_that_no_file_can_hold_is_named(make_model, tmp_path):
    class Careless(Callback):
        def get_state(self):
            return {"things": [object()]}

    with pytest.raises(DtypeError, match=r"the state of Careless 1\['things'\]\[0\] cannot be written"):
        CallbackList([Careless(), BackupAndRestore(tmp_path)], model=make_model()).on_epoch_end(0, {})


def test_numpys_numbers_and_arrays_become_plain_data():
    found = plain({"a": (np.float64(0.5), np.int32(3)), "b": np.arange(2)}, "x")
    assert found["a"] == (0.5, 3) and type(found["a"][0]) is float and found["b"].tolist() == [0, 1]


def test_random_generators_go_on_where_they_were():
    states = plain(random_states(), "random")

    def draw():
        return random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn(), torch.rand(()).item()

    first = draw()
    set_random_states(states)
    assert draw() == first


def test_a_backup_needs_a_folder_and_a_time():
    with pytest.raises(ArgumentError, match="The backup needs a folder"):
        BackupAndRestore("")
    with pytest.raises(ArgumentError, match="There is no such time to save"):
        BackupAndRestore("x", save_freq=0)
