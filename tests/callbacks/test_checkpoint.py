"""Saving the model while it trains."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from lamina.callbacks.base import CallbackList
from lamina.callbacks.checkpoint import BatchCounter, ModelCheckpoint, checked_frequency
from lamina.errors import ArgumentError


def train(callback, model, values, name="val_loss", batches=0):
    callbacks = CallbackList(callback, model=model)
    callbacks.on_train_begin()
    for epoch, value in enumerate(values):
        callbacks.on_epoch_begin(epoch)
        for batch in range(batches):
            callbacks.on_train_batch_end(batch, {"loss": float(batch)})
        callbacks.on_epoch_end(epoch, {name: value})
    callbacks.on_train_end()
    return [path for _, path in model.saved]


def test_the_model_is_saved_after_each_epoch(model):
    assert train(ModelCheckpoint("m{epoch:02d}.keras"), model, [3, 4]) == ["m01.keras", "m02.keras"]
    assert model.saved[0][0] == "model"


def test_only_the_weights_are_saved_if_that_is_asked(model):
    train(ModelCheckpoint(Path("w.weights.h5"), save_weights_only=True), model, [3])
    assert model.saved == [("weights", "w.weights.h5")]


def test_only_the_best_is_saved_if_that_is_asked(model):
    callback = ModelCheckpoint("{epoch}.keras", save_best_only=True)
    assert train(callback, model, [3, 4, 2, math.nan, 2, 1]) == ["1.keras", "3.keras", "6.keras"]
    assert callback.best == 1


def test_a_score_is_to_grow(model):
    callback = ModelCheckpoint("{epoch}.keras", monitor="val_accuracy", save_best_only=True)
    assert train(callback, model, [0.5, 0.4, 0.6], "val_accuracy") == ["1.keras", "3.keras"]


def test_a_first_value_to_beat_can_be_given(model):
    callback = ModelCheckpoint("{epoch}.keras", save_best_only=True, initial_value_threshold=2.5)
    assert train(callback, model, [3, 2]) == ["2.keras"]


def test_an_epoch_without_validation_saves_nothing(model):
    callback = ModelCheckpoint("{epoch}.keras", save_best_only=True)
    callback.logs_are_known = True
    assert train(callback, model, [3, None, 2]) == ["1.keras", "3.keras"]


def test_batches_are_counted_across_epochs(model):
    callback = ModelCheckpoint("{epoch}-{batch}-{loss:.0f}.keras", save_freq=3)
    assert train(callback, model, [1, 1], batches=4) == ["1-3-2.keras", "2-2-1.keras"]


def test_single_batches_are_listened_to_only_when_they_are_counted():
    assert not CallbackList(ModelCheckpoint("m.keras")).has_batch_hooks("train")
    assert CallbackList(ModelCheckpoint("m.keras", save_freq=2)).has_batch_hooks("train")


def test_a_call_that_stands_for_several_batches_counts_them_all():
    counter = BatchCounter(4)
    assert [counter.is_due(batch) for batch in (2, 5, 8, 2)] == [False, True, False, True]
    assert not BatchCounter("epoch").is_due(99)


def test_folders_are_made(model, tmp_path):
    train(ModelCheckpoint(tmp_path / "deep" / "er" / "m.keras"), model, [1])
    assert (tmp_path / "deep" / "er").is_dir()


def test_it_says_what_it_does(model, capsys):
    train(ModelCheckpoint("m.keras", save_best_only=True, verbose=1), model, [2, 3])
    assert capsys.readouterr().out.splitlines() == [
        "Epoch 1: val_loss improved from nothing to 2.00000.",
        "Epoch 1: saved to m.keras.",
        "Epoch 2: val_loss is not better than 2.00000.",
    ]


def test_the_best_goes_on_from_its_state(model):
    first, second = (ModelCheckpoint("{epoch}.keras", save_best_only=True) for _ in range(2))
    train(first, model, [2])
    second.set_state(first.get_state())
    model.saved.clear()
    assert train(second, model, [3, 1]) == ["2.keras"]


def test_a_folder_is_not_written_over(model, tmp_path):
    with pytest.raises(ArgumentError, match="ModelCheckpoint cannot write over a folder"):
        train(ModelCheckpoint(tmp_path), model, [1])


def test_a_blank_in_the_path_that_no_log_fills_is_an_error(model):
    with pytest.raises(ArgumentError, match="'accuracy'"):
        train(ModelCheckpoint("{accuracy}.keras"), model, [1])


def test_a_path_with_open_braces_is_an_error():
    with pytest.raises(ArgumentError, match="braces that do not match"):
        ModelCheckpoint("m{epoch.keras")


@pytest.mark.parametrize("value", [0, -1, 1.5, "batch", True, None])
def test_a_time_to_save_is_an_epoch_or_a_number_of_batches(value):
    assert checked_frequency("epoch") == "epoch" and checked_frequency(3) == 3
    with pytest.raises(ArgumentError, match="There is no such time to save"):
        ModelCheckpoint("m.keras", save_freq=value)


def test_a_model_whose_files_cannot_be_written_is_refused_before_an_epoch_is_spent():
    checkpoint = ModelCheckpoint("model.keras")
    checkpoint.set_model(object())
    with pytest.raises(ArgumentError, match=r"cannot save whole models(.|\n)*save_weights_only=True"):
        checkpoint.on_train_begin()


# ---------------------------------------------------------------------- keep_last
class Writes(torch.nn.Module):
    """A model whose files hold nothing, and which notes what stood in the folder when each was written."""

    metrics = ()

    def __init__(self, folder):
        super().__init__()
        self.folder, self.seen = folder, []

    def save_weights(self, path):
        Path(path).write_text("")
        self.seen.append(names(self.folder))


def names(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def kept(tmp_path, values, name="val_loss", **options):
    model = Writes(tmp_path)
    callback = ModelCheckpoint(tmp_path / "{epoch}.pt", save_weights_only=True, **options)
    train(callback, CallbackModel(model), values, name)
    return names(tmp_path), model


def CallbackModel(model):
    model.saved = []
    return model


def test_the_last_files_stay(tmp_path):
    found, _ = kept(tmp_path, [1, 2, 3, 4, 5], name="accuracy", keep_last=2)
    assert found == ["4.pt", "5.pt"]


def test_the_best_stays_besides(tmp_path):
    assert kept(tmp_path, [5, 1, 3, 4, 5], keep_last=2)[0] == ["2.pt", "4.pt", "5.pt"]


def test_a_better_one_takes_the_place_of_the_best(tmp_path):
    assert kept(tmp_path, [2, 5, 4, 1, 5, 6], keep_last=1)[0] == ["4.pt", "6.pt"]


def test_a_score_is_best_where_it_is_greatest(tmp_path):
    found, _ = kept(tmp_path, [0.1, 0.9, 0.2, 0.3], "val_accuracy", keep_last=1, monitor="val_accuracy")
    assert found == ["2.pt", "4.pt"]


def test_of_the_best_ones_the_last_stay(tmp_path):
    assert kept(tmp_path, [5, 4, 6, 3, 7, 2], keep_last=2, save_best_only=True)[0] == ["4.pt", "6.pt"]


def test_without_a_number_all_stay(tmp_path):
    assert len(kept(tmp_path, [5, 4, 6, 3])[0]) == 4


def test_an_older_file_is_removed_behind_the_new_one(tmp_path):
    _, model = kept(tmp_path, [1, 2, 3, 4], name="accuracy", keep_last=1)
    assert model.seen == [["1.pt"], ["1.pt", "2.pt"], ["2.pt", "3.pt"], ["3.pt", "4.pt"]]


def test_a_file_that_could_not_be_written_removes_none(tmp_path):
    callback = ModelCheckpoint(tmp_path / "{epoch}.pt", "loss", save_weights_only=True, keep_last=1)
    model = Writes(tmp_path)
    callbacks = CallbackList(callback, model=model)
    callbacks.on_epoch_end(0, {"loss": 2.0})

    def full(path):
        raise OSError(28, "No space left on device")

    model.save_weights = full
    with pytest.raises(OSError, match="No space left"):
        callbacks.on_epoch_end(1, {"loss": 1.0})
    assert names(tmp_path) == ["1.pt"]


def test_a_path_without_blanks_is_one_file(tmp_path):
    model = Writes(tmp_path)
    callback = ModelCheckpoint(tmp_path / "w.pt", save_weights_only=True, keep_last=2)
    train(callback, CallbackModel(model), [3, 2, 1])
    assert names(tmp_path) == ["w.pt"]


def test_what_the_user_removed_is_no_error(tmp_path):
    callback = ModelCheckpoint(tmp_path / "{epoch}.pt", "loss", save_weights_only=True, keep_last=1)
    callbacks = CallbackList(callback, model=Writes(tmp_path))
    callbacks.on_epoch_end(0, {"loss": 1.0})
    (tmp_path / "1.pt").unlink()
    callbacks.on_epoch_end(1, {"loss": 0.5})
    assert names(tmp_path) == ["2.pt"]


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "all"])
def test_a_number_of_files_is_a_positive_integer(value):
    with pytest.raises(ArgumentError, match="cannot keep so many files"):
        ModelCheckpoint("m.keras", keep_last=value)


def test_batches_are_counted_on_from_the_state(model):
    """Also over the end of an epoch: the fourth batch is the first of the second epoch."""
    first, second = (ModelCheckpoint("{batch}.keras", save_freq=4) for _ in range(2))
    for batch in range(3):
        first.on_train_batch_end(batch, {})
    second.set_model(model)
    second.set_state(first.get_state())
    second.on_train_batch_end(0, {})
    assert model.saved == [("model", "1.keras")]
