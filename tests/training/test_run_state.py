"""Everything that a training is made of goes on as if nothing had happened; the oracle is the unbroken training."""

from __future__ import annotations

import functools
import os
from typing import Any

import numpy as np
import pytest
import torch
from interruption import DiesAt, fit, same

import lamina
from lamina import layers, optimizers
from lamina.callbacks import (
    CSVLogger,
    EarlyStopping,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
    TensorBoard,
)
from lamina.errors import LoadError
from lamina.training import Resume

RNG = np.random.RandomState(0)
X = RNG.randn(20, 4).astype("float32")
Y = (X.sum(1) > 0).astype("int64")
SERIES = RNG.randn(20, 5, 3).astype("float32")


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def network(*inside: Any, shape: Any = (4,)) -> Any:
    head = [] if shape is None else [layers.Input(shape)]
    return lamina.Sequential([*head, *inside, layers.Dense(2, activation="softmax")])


def training(model: Any, optimizer: Any = "adam", x: Any = X, **arguments: Any) -> Any:
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    return model, {"x": x, "y": Y, "batch_size": 4, "epochs": 4, **arguments}


class Net(lamina.Model):
    """A subclass whose layers are built by the first batch, with a loss and a metric of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = layers.Dense(5, activation="relu"), layers.Dense(2, activation="softmax")
        self.norm = lamina.metrics.Mean(name="norm")

    def call(self, x: Any) -> Any:
        hidden = self.first(x)
        self.norm.update_state(hidden.detach().norm())
        return self.last(hidden)

    def train_step(self, data: Any) -> Any:
        x, y = data
        loss = self.compute_loss(x, y, self(x, training=True))
        if not self.optimizer.built:
            self._build_optimizer(loss)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"mine": loss.detach(), "norm": self.norm.result()}


class Wandering(layers.Layer):
    """A layer that owns a generator of NumPy's inside an object, and one of torch's."""

    def __init__(self) -> None:
        super().__init__()
        self.source = type("Source", (), {})()
        self.source.random = np.random.default_rng(1)
        self.random = torch.Generator().manual_seed(2)

    def call(self, x: Any, training: Any = None) -> Any:
        if not training:
            return x
        return x + float(self.source.random.normal()) * 0.1 + torch.randn(x.shape, generator=self.random) * 0.1


def plateau() -> list[Any]:
    return [ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=0.2, cooldown=1)]


def schedule() -> Any:
    return optimizers.schedules.ExponentialDecay(0.1, decay_steps=3, decay_rate=0.7)


TRAININGS: dict[str, Any] = {
    "momentum": lambda: training(network(layers.Dense(6)), optimizers.SGD(0.1, momentum=0.9, nesterov=True)),
    "a schedule": lambda: training(network(), optimizers.Adam(schedule())),
    "averages": lambda: training(network(), optimizers.Adam(0.1, use_ema=True, ema_overwrite_frequency=3)),
    "averages at the end": lambda: training(network(), optimizers.Adam(0.1, use_ema=True)),
    "accumulation": lambda: training(network(), optimizers.Adam(0.1, gradient_accumulation_steps=3)),
    "a loss scale": lambda: training(
        network(), optimizers.LossScaleOptimizer(optimizers.Adam(0.1), initial_scale=1e38, dynamic_growth_steps=2)
    ),
    "torch's optimizer and schedule": lambda: torch_training(),
    "a rate of a callback's": lambda: training(network(), "sgd", callbacks=plateau()),
    "a rate and a schedule of callbacks'": lambda: training(
        network(), "sgd", callbacks=[LearningRateScheduler(lambda epoch, rate: rate * 0.9), *plateau()]
    ),
    "dropout": lambda: training(network(layers.Dropout(0.5), layers.Dropout(0.5, seed=1), layers.GaussianNoise(0.3))),
    "statistics": lambda: training(network(layers.Dense(6), layers.BatchNormalization(momentum=0.8))),
    "generators inside layers": lambda: training(network(Wandering())),
    "no input shape": lambda: training(network(layers.Dense(6), shape=None)),
    "a subclass with a step of its own": lambda: training(Net()),
    "a stateful layer": lambda: training(network(layers.LSTM(3, stateful=True), shape=(5, 3)), x=SERIES),
    "a stateful layer without a shape": lambda: training(network(layers.GRU(3, stateful=True), shape=None), x=SERIES),
    "constraints": lambda: training(network(layers.Dense(6, kernel_constraint="max_norm"))),
    "validation now and then": lambda: training(
        network(), validation_data=(X, Y), validation_freq=2, callbacks=[EarlyStopping("val_loss", patience=9)]
    ),
    "an early end": lambda: training(
        network(layers.Dense(9, activation="relu"), layers.Dropout(0.5)),
        optimizers.SGD(3.0),
        epochs=30,
        callbacks=[EarlyStopping("loss", patience=1, restore_best_weights=True)],
    ),
}


def torch_training() -> Any:
    model = network(layers.Dense(6))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1, amsgrad=True)
    return training(model, (optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.5)))


@pytest.mark.parametrize("kind", TRAININGS)
def test_a_training_ends_bit_for_bit_as_if_it_had_not_been_interrupted(kind, tmp_path):
    make = TRAININGS[kind]
    whole = fit(make, tmp_path / "whole")
    for batches in (1, 3, 5, 9, 16):
        folder = tmp_path / str(batches)
        fit(make, folder, DiesAt(batches))
        assert same(whole, fit(make, folder)), f"killed after batch {batches}"


@pytest.mark.parametrize("kind", ["dropout", "an early end", "averages at the end"])
def test_the_end_of_a_training_is_found_again(kind, tmp_path):
    """The same call once more trains nothing, and gives the same weights and history."""
    make = TRAININGS[kind]
    whole = fit(make, tmp_path)
    dies = DiesAt(1)
    assert same(whole, fit(make, tmp_path, dies)) and dies.seen == 0


def test_more_epochs_go_on_from_the_end(tmp_path):
    make = TRAININGS["dropout"]
    fit(make, tmp_path / "a", epochs=2)
    assert same(fit(make, tmp_path / "a", epochs=4), fit(make, tmp_path / "b", epochs=4))


def test_every_batch_of_an_epoch_may_be_the_last(tmp_path):
    """Also the last one, behind which only validation and the end of the epoch are left."""
    make = TRAININGS["validation now and then"]
    whole = fit(make, tmp_path / "whole")
    for batches in range(5, 12):
        folder = tmp_path / str(batches)
        fit(make, folder, DiesAt(batches + 1), resume=Resume(folder, every_batches=1))
        assert same(whole, fit(make, folder))


def test_it_makes_no_difference_that_the_state_is_kept(tmp_path):
    kept, free = fit(TRAININGS["dropout"], tmp_path), fit(TRAININGS["dropout"], tmp_path, resume=None)
    assert same(kept, free)


# ---------------------------------------------------------------------- callbacks
def test_logs_have_each_epoch_once(tmp_path):
    def make():
        return training(network(), callbacks=[CSVLogger(tmp_path / "log.csv")])

    fit(make, tmp_path / "whole")
    expected = (tmp_path / "log.csv").read_text()
    fit(make, tmp_path / "a", DiesAt(epoch=2))  # the row of epoch 2 is there, and the epoch is trained again
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 4
    with open(tmp_path / "log.csv", "a", encoding="utf-8") as file:
        file.write("3,0.2")  # and half of a row
    fit(make, tmp_path / "a")
    assert (tmp_path / "log.csv").read_text() == expected


def test_events_are_written_once(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def make():
        return training(network(), callbacks=[TensorBoard(tmp_path / "events", update_freq=1, write_graph=False)])

    fit(make, tmp_path / "a", DiesAt(4))
    fit(make, tmp_path / "a", DiesAt(1))
    fit(make, tmp_path / "a", DiesAt(6))
    fit(make, tmp_path / "a")
    events = EventAccumulator(str(tmp_path / "events" / "train"))
    events.Reload()
    assert [event.step for event in events.Scalars("batch_loss")] == list(range(1, 21))
    assert [event.step for event in events.Scalars("epoch_loss")] == [0, 1, 2, 3]


def test_the_newest_and_the_best_weights_stay(tmp_path):
    def make(folder):
        checkpoint = ModelCheckpoint(
            folder / "{epoch}.safetensors", "loss", save_weights_only=True, keep_last=2, mode="max"
        )
        return training(network(), optimizers.SGD(0.5), callbacks=[checkpoint], epochs=5)

    for name, deaths in (("whole", []), ("killed", [DiesAt(7), DiesAt(epoch=3)])):
        for dies in [*deaths, None]:
            fit(functools.partial(make, tmp_path / name), tmp_path / f"{name} state", dies)
            if dies is not None:
                (tmp_path / name / ".3.safetensors.0123abcd.part").write_bytes(b"half of it")
    found = [{file.name: file.read_bytes() for file in (tmp_path / n).iterdir()} for n in ("whole", "killed")]
    assert found[0] == found[1] and sorted(found[0]) == ["1.safetensors", "4.safetensors", "5.safetensors"]


# ---------------------------------------------------------------------- another training
OTHERS: dict[str, tuple[Any, str]] = {
    "shape": (lambda: training(network(layers.Dense(7))), r"dense.kernel is one of shape \(4, 6\)"),
    "layer": (lambda: training(network(layers.Dense(6), layers.BatchNormalization())), "no such weight"),
    "optimizer": (lambda: training(network(layers.Dense(6)), "sgd"), "the optimizer Adam(.|\n)*received: SGD"),
    "wrapper": (
        lambda: training(network(layers.Dense(6)), optimizers.LossScaleOptimizer("adam")),
        "the optimizer Adam(.|\n)*LossScaleOptimizer around Adam",
    ),
    "slots": (lambda: training(network(layers.Dense(6)), optimizers.Adam(amsgrad=True)), "state of an optimizer"),
    "length": (lambda: training(network(layers.Dense(6)), x=X[:12], y=Y[:12]), "number of samples: 20(.|\n)*: 12"),
    "batch size": (lambda: training(network(layers.Dense(6)), batch_size=5), "batch size: 4(.|\n)*batch size: 5"),
    "kind of data": (lambda: training(network(layers.Dense(6)), x=generator(), y=None), "kind of data: ArrayAdapter"),
}


def generator():
    yield X[:4], Y[:4]


@pytest.mark.parametrize("what", OTHERS)
def test_a_run_of_another_training_is_refused(what, tmp_path):
    fit(lambda: training(network(layers.Dense(6))), tmp_path, DiesAt(3))
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    make, words = OTHERS[what]
    with pytest.raises(LoadError, match=f"(?s)holds a run that this training cannot go on with.*{words}"):
        fit(make, tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_other_metrics_are_refused(tmp_path):
    fit(TRAININGS["momentum"], tmp_path, DiesAt(3))

    def make():
        model, given = TRAININGS["momentum"]()
        model.compile(model.optimizer, "sparse_categorical_crossentropy", metrics=["mse"])
        return model, given

    with pytest.raises(LoadError, match="the metrics loss, accuracy"):
        fit(make, tmp_path)
