"""Callbacks against Keras's: both are fed the same logs and must decide alike."""

from __future__ import annotations

import inspect
import types

import keras
import numpy as np
import pytest
import torch

from lamina.callbacks.checkpoint import ModelCheckpoint
from lamina.callbacks.logs import CSVLogger
from lamina.callbacks.monitors import direction
from lamina.callbacks.rates import LearningRateScheduler, ReduceLROnPlateau
from lamina.callbacks.stopping import EarlyStopping
from lamina.registry import CALLBACKS

# Arguments that differ on purpose: Keras takes a display's settings from `fit`, and swallows unknown arguments.
DIFFERENT = {"ModelCheckpoint": {"keep_last"}, "ProgbarLogger": {"file", "verbose"}, "ReduceLROnPlateau": {"kwargs"}}


class Model:
    """What either library's callbacks need of a model; its weight is the number of the epoch."""

    def __init__(self):
        self.weight = torch.zeros(1)
        self.optimizer = types.SimpleNamespace(learning_rate=0.1)
        self.stop_training = False
        self.saved = []

    def get_weights(self):
        return [self.weight.numpy().copy()]

    def set_weights(self, weights):
        self.weight = torch.from_numpy(weights[0])

    def state_dict(self):
        return {"weight": self.weight}

    def load_state_dict(self, state):
        self.weight = state["weight"].clone()

    def save(self, path, overwrite=True):
        self.saved.append(path)

    save_weights = save


def run(callback, sequence):
    """Feed a callback one value an epoch, until it stops training; gives all that it decided."""
    model = Model()
    callback.set_model(model)
    callback.set_params({"epochs": len(sequence), "steps": 3, "verbose": 0})
    callback.on_train_begin()
    rates = []
    for epoch, logs in enumerate(sequence):
        model.weight = torch.tensor([float(epoch)])
        callback.on_epoch_begin(epoch)
        for batch in range(3):
            callback.on_train_batch_end(batch, dict(logs))
        epoch_logs = dict(logs)
        callback.on_epoch_end(epoch, epoch_logs)
        rates.append((model.optimizer.learning_rate, epoch_logs.get("learning_rate")))
        if model.stop_training:
            break
    callback.on_train_end()
    return len(rates), rates, model.saved, model.weight.tolist(), model.stop_training


def sequences(name, count=20, length=25):
    """Values that fall, rise and stay, of two digits, so that equal ones come often, in float32 as metrics are."""
    for seed in range(count):
        steps = np.random.default_rng(seed).choice([-0.2, -0.1, -0.05, 0.0, 0.05, 0.1, 0.2], length)
        values = np.maximum(2 + np.cumsum(steps), 0.05).round(2).astype("float32")
        yield [{name: float(value), "loss": float(value)} for value in values]


def expect_same(ours, theirs, name):
    outcomes = []
    for sequence in sequences(name):
        found, expected = run(ours(), sequence), run(theirs(), sequence)
        assert found[0] == expected[0] and found[2:] == expected[2:]
        np.testing.assert_allclose(
            np.array(found[1], dtype=float), np.array(expected[1], dtype=float), rtol=1e-6, equal_nan=True
        )
        outcomes.append(found)
    # Decisions that never differ between sequences would show nothing.
    assert len({str(outcome) for outcome in outcomes}) > 1


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("patience", [0, 2, 4])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"min_delta": 0.1},
        {"restore_best_weights": True},
        {"start_from_epoch": 3, "restore_best_weights": True},
        {"baseline": 1.9, "restore_best_weights": True},
        {"baseline": 2.1, "min_delta": 0.05},
    ],
    ids=str,
)
def test_early_stopping_decides_like_keras(mode, patience, options):
    arguments = {"monitor": "val_x", "mode": mode, "patience": patience, **options}
    expect_same(lambda: EarlyStopping(**arguments), lambda: keras.callbacks.EarlyStopping(**arguments), "val_x")


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("patience", [1, 3])
@pytest.mark.parametrize("options", [{}, {"cooldown": 2}, {"min_delta": 0.1}, {"factor": 0.5, "min_lr": 0.02}], ids=str)
def test_reducing_the_rate_decides_like_keras(mode, patience, options):
    arguments = {"monitor": "val_x", "mode": mode, "patience": patience, **options}
    expect_same(lambda: ReduceLROnPlateau(**arguments), lambda: keras.callbacks.ReduceLROnPlateau(**arguments), "val_x")


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize(
    "options",
    [
        {"save_best_only": True},
        {"save_best_only": True, "initial_value_threshold": 1.9},
        {"save_best_only": True, "save_freq": 4},
        {"save_freq": 2, "filepath": "{epoch}-{batch}-{val_x:.2f}.keras"},
        {"save_weights_only": True, "filepath": "{epoch:03d}-{loss:.1f}.weights.h5"},
    ],
    ids=str,
)
def test_checkpoints_are_saved_like_keras_does(mode, options):
    arguments = {"filepath": "{epoch:02d}.keras", "monitor": "val_x", "mode": mode, **options}

    def theirs():
        callback = keras.callbacks.ModelCheckpoint(**arguments)
        callback._set_monitor_op()  # Keras does it at the end of an epoch, too late for single batches
        return callback

    expect_same(lambda: ModelCheckpoint(**arguments), theirs, "val_x")


@pytest.mark.parametrize("schedule", [lambda epoch: 0.1 * 0.9**epoch, lambda epoch, rate: rate * 0.8])
def test_schedules_are_followed_like_keras_does(schedule):
    sequence = next(sequences("loss"))
    assert (
        run(LearningRateScheduler(schedule), sequence)[1]
        == run(keras.callbacks.LearningRateScheduler(schedule), sequence)[1]
    )


@pytest.mark.parametrize("name", ["loss", "val_loss"])
@pytest.mark.parametrize("separator", [",", ";"])
def test_a_csv_file_reads_like_kerass(name, separator, tmp_path):
    texts = []
    for kind, path in ((CSVLogger, tmp_path / "ours.csv"), (keras.callbacks.CSVLogger, tmp_path / "theirs.csv")):
        for append in (False, True):
            callback = kind(str(path), separator=separator, append=append)
            run(callback, [{"b": 1.0, "a": 0.5, name: 2.5}, {"a": 1.5, "b": 2.0, name: 0.125}])
        texts.append(path.read_text().split())
    assert texts[0] == texts[1]


@pytest.mark.parametrize("name", [n for n in CALLBACKS if hasattr(keras.callbacks, n)])
def test_arguments_and_their_defaults_are_kerass(name):
    def parameters(cls):
        found = inspect.signature(cls.__init__).parameters.values()
        return {p.name: p.default for p in found if p.name not in DIFFERENT.get(name, ())}

    ours, theirs = parameters(CALLBACKS[name]), parameters(getattr(keras.callbacks, name))
    assert ours == theirs and list(ours) == list(theirs)


def test_every_hook_of_kerass_callback_is_there():
    from lamina.callbacks.base import HOOKS, Callback

    theirs = [n for n in dir(keras.callbacks.Callback) if n.startswith("on_")]
    assert sorted(HOOKS) == sorted(theirs)
    for hook in HOOKS:
        assert list(inspect.signature(getattr(Callback, hook)).parameters) == list(
            inspect.signature(getattr(keras.callbacks.Callback, hook)).parameters
        )


def test_metrics_that_keras_knows_a_direction_of_have_the_same_one_by_their_name():
    made = []
    for name in dir(keras.metrics):
        cls = getattr(keras.metrics, name)
        if not inspect.isclass(cls) or cls in (keras.metrics.Mean, keras.metrics.Sum):
            continue
        for arguments in ({}, {"num_classes": 2}, {"num_classes": 2, "target_class_ids": [0]}, {"precision": 0.5}):
            try:
                metric = cls(**arguments)
            except (TypeError, ValueError, NotImplementedError):
                continue
            made.append((metric.name, getattr(metric, "direction", None)))
            break
    wrong = {name: said for name, said in made if said and direction(name) != ("max" if said == "up" else "min")}
    assert len(made) > 30 and not wrong
