"""Event files for TensorBoard."""

from __future__ import annotations

import sys
import types

import pytest
import torch

from lamina.callbacks.base import CallbackList
from lamina.callbacks.tensorboard import TensorBoard
from lamina.errors import ArgumentError, LaminaError


def scalars(folder):
    """Each scalar in a folder as `{tag: [(step, value)]}`."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload()
    return {tag: [(e.step, round(e.value, 4)) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def train(callback, model, epochs=2, batches=3):
    callbacks = CallbackList(callback, model=model)
    callbacks.on_train_begin()
    for epoch in range(epochs):
        callbacks.on_epoch_begin(epoch)
        for batch in range(batches):
            callbacks.on_train_batch_begin(batch)
            callbacks.on_train_batch_end(batch, {"loss": torch.tensor(batch + 0.5)})
        callbacks.on_test_begin()
        callbacks.on_test_end({"loss": 9.0})
        callbacks.on_epoch_end(epoch, {"loss": 1.0 - epoch / 2, "val_loss": 2.0})
    callbacks.on_train_end()


def test_values_of_epochs_are_written_with_those_of_validation_apart(model, tmp_path):
    train(TensorBoard(tmp_path), model)
    assert scalars(tmp_path / "train") == {
        "epoch_loss": [(0, 1.0), (1, 0.5)],
        "epoch_learning_rate": [(0, 0.1), (1, 0.1)],
    }
    assert scalars(tmp_path / "validation") == {"epoch_loss": [(0, 2.0), (1, 2.0)]}


@pytest.mark.parametrize(
    "frequency, steps", [("batch", [1, 2, 3, 4, 5, 6]), (1, [1, 2, 3, 4, 5, 6]), (2, [2, 4, 6]), ("epoch", None)]
)
def test_values_of_batches_are_written_so_often(model, tmp_path, frequency, steps):
    callback = TensorBoard(tmp_path, update_freq=frequency)
    assert CallbackList(callback).has_batch_hooks("train") is (steps is not None)
    train(callback, model)
    found = scalars(tmp_path / "train").get("batch_loss")
    assert (found and [step for step, _ in found]) == steps
    assert found is None or found[0][1] == steps[0] - 0.5


def test_logs_of_batches_in_between_are_not_read(model, tmp_path):
    class Unread(dict):
        def items(self):
            raise AssertionError("read")

    callback = TensorBoard(tmp_path, update_freq=3)
    callback.on_train_batch_end(0, Unread(loss=1))


def test_the_speed_is_written(model, tmp_path):
    train(TensorBoard(tmp_path, write_steps_per_second=True, update_freq="batch"), model)
    found = scalars(tmp_path / "train")
    assert len(found["batch_steps_per_second"]) == 6
    assert [value > 0 for _, value in found["epoch_steps_per_second"]] == [True, True]
    train(TensorBoard(tmp_path / "epochs", write_steps_per_second=True), model)
    assert [value > 0 for _, value in scalars(tmp_path / "epochs" / "train")["epoch_steps_per_second"]] == [True, True]


def test_an_evaluation_is_written_against_the_steps_of_training(tmp_path):
    model = types.SimpleNamespace(optimizer=types.SimpleNamespace(iterations=torch.tensor(40), learning_rate=0.1))
    callbacks = CallbackList(TensorBoard(tmp_path), model=model)
    callbacks.on_test_begin()
    callbacks.on_test_end({"loss": 0.25})
    assert scalars(tmp_path / "validation") == {"evaluation_loss_vs_iterations": [(40, 0.25)]}


def test_histograms_of_the_weights_are_written_so_often(model, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(TensorBoard(tmp_path, histogram_freq=2), model, epochs=3)
    events = EventAccumulator(str(tmp_path / "train"), size_guidance={"histograms": 0}).Reload()
    assert [e.step for e in events.Histograms("weight")] == [0, 2]


def test_the_graph_is_written_where_it_can_be_traced_and_the_model_is_left_as_it_was(tmp_path, capsys):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Dropout(0.5)).train()
    model[1].eval()
    model.inputs = [types.SimpleNamespace(shape=(None, 3), dtype="float32")]
    state = torch.get_rng_state()
    callback = TensorBoard(tmp_path)
    CallbackList(callback, model=model).on_train_begin()
    callback.close()
    assert EventAccumulator(str(tmp_path / "train")).Reload().Tags()["graph"]
    assert (model.training, model[0].training, model[1].training) == (True, True, False)
    assert torch.equal(state, torch.get_rng_state())

    model.inputs = [types.SimpleNamespace(shape=(None, 7), dtype="float32")]
    broken = TensorBoard(tmp_path / "broken")
    CallbackList(broken, model=model).on_train_begin()
    broken.close()
    assert not EventAccumulator(str(tmp_path / "broken" / "train")).Reload().Tags()["graph"]
    assert capsys.readouterr().out == ""


def test_batches_are_counted_on_from_the_state(model, tmp_path):
    first, second = TensorBoard(tmp_path / "a"), TensorBoard(tmp_path / "b", update_freq="batch")
    first.set_state({"train_batches": 7})
    second.on_train_begin()
    second.set_state(first.get_state())
    second.on_train_batch_end(0, {"loss": 1.0})
    second.close()
    assert scalars(tmp_path / "b" / "train") == {"batch_loss": [(8, 1.0)]}


def test_a_missing_package_is_noticed_before_training(model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(LaminaError, match="pip install tensorboard"):
        CallbackList(TensorBoard(tmp_path), model=model).on_train_begin()


@pytest.mark.parametrize(
    "argument",
    [{"write_images": True}, {"embeddings_freq": 1}, {"embeddings_metadata": {"a": "b"}}, {"profile_batch": 2}],
)
def test_arguments_that_would_do_nothing_are_refused(argument):
    with pytest.raises(ArgumentError, match=next(iter(argument))):
        TensorBoard("logs", **argument)


@pytest.mark.parametrize("value", [0, -1, "step", 1.5])
def test_a_time_to_write_is_an_epoch_or_a_number_of_batches(value):
    with pytest.raises(ArgumentError, match="There is no such time to write"):
        TensorBoard("logs", update_freq=value)
