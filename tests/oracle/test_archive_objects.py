"""Losses, metrics, optimizers, schedules, initializers, regularizers, constraints and activations in `.keras` files.

Each registered one is written here and read by real Keras, and the reverse; training goes on with the same numbers.
"""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import torch

import lamina
from lamina import constraints, initializers, regularizers
from lamina.layers import Dense, Input
from lamina.models import Sequential
from lamina.optimizers import schedules
from lamina.registry import (
    ACTIVATIONS,
    CONSTRAINTS,
    INITIALIZERS,
    LOSSES,
    METRICS,
    OPTIMIZERS,
    REGULARIZERS,
    SCHEDULES,
)
from lamina.saving import deserialize_keras_object, load_model, serialize_keras_object
from lamina.serialized import NOT_IN_KERAS

rng = np.random.default_rng(0)
X = rng.normal(size=(8, 3)).astype("float32")
Y = rng.normal(size=(8, 4)).astype("float32")
CLOSE: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-5}

# Arguments that are not the defaults.
METRIC_ARGUMENTS: dict[str, dict[str, Any]] = {
    "IoU": {"num_classes": 4, "target_class_ids": [0, 2]},
    "MeanIoU": {"num_classes": 4, "ignore_class": 1},
    "OneHotIoU": {"num_classes": 4, "target_class_ids": [0, 2]},
    "OneHotMeanIoU": {"num_classes": 4},
    "BinaryIoU": {"threshold": 0.3},
    "PrecisionAtRecall": {"recall": 0.4},
    "RecallAtPrecision": {"precision": 0.4},
    "SensitivityAtSpecificity": {"specificity": 0.4, "num_thresholds": 50},
    "SpecificityAtSensitivity": {"sensitivity": 0.4},
    "SparseTopKCategoricalAccuracy": {"k": 2},
    "TopKCategoricalAccuracy": {"k": 2},
    "AUC": {"num_thresholds": 30, "curve": "PR"},
    "Precision": {"thresholds": [0.2, 0.7]},
    "TruePositives": {"thresholds": 0.3},
    "BinaryAccuracy": {"threshold": 0.3},
    "F1Score": {"average": "macro", "threshold": 0.4},
    "BinaryCrossentropy": {"from_logits": True, "label_smoothing": 0.1},
}
LOSS_ARGUMENTS: dict[str, dict[str, Any]] = {
    "BinaryCrossentropy": {"from_logits": True, "label_smoothing": 0.1},
    "CategoricalCrossentropy": {"label_smoothing": 0.1, "from_logits": True},
    "SparseCategoricalCrossentropy": {"ignore_class": 1, "from_logits": True},
    "BinaryFocalCrossentropy": {"gamma": 3.0, "apply_class_balancing": True},
    "CategoricalFocalCrossentropy": {"alpha": 0.3},
    "Huber": {"delta": 0.5},
    "CosineSimilarity": {"axis": 1},
    "Tversky": {"alpha": 0.3, "beta": 0.6},
}
SCHEDULE_ARGUMENTS: dict[str, dict[str, Any]] = {
    "ExponentialDecay": {"initial_learning_rate": 0.1, "decay_steps": 3, "decay_rate": 0.5, "staircase": True},
    "InverseTimeDecay": {"initial_learning_rate": 0.1, "decay_steps": 3, "decay_rate": 0.5},
    "PolynomialDecay": {"initial_learning_rate": 0.1, "decay_steps": 5, "power": 2.0, "cycle": True},
    "PiecewiseConstantDecay": {"boundaries": [1, 3], "values": [0.1, 0.05, 0.01]},
    "CosineDecay": {"initial_learning_rate": 0.1, "decay_steps": 7, "warmup_steps": 2, "warmup_target": 0.2},
    "CosineDecayRestarts": {"initial_learning_rate": 0.1, "first_decay_steps": 3},
}
OPTIMIZER_ARGUMENTS: dict[str, list[dict[str, Any]]] = {
    "SGD": [{"learning_rate": 0.05, "momentum": 0.9, "nesterov": True}, {"clipnorm": 0.5, "weight_decay": 0.01}],
    "Adam": [{"amsgrad": True, "learning_rate": 0.01}, {"use_ema": True, "ema_momentum": 0.9}],
    "AdamW": [{"weight_decay": 0.02, "learning_rate": 0.01}],
    "RMSprop": [{"momentum": 0.9, "centered": True, "learning_rate": 0.01}],
    "Nadam": [{"learning_rate": 0.01}, {"use_ema": True}],
    "Adagrad": [{"initial_accumulator_value": 0.2, "learning_rate": 0.1}],
    "Ftrl": [{"learning_rate": 0.1, "l1_regularization_strength": 0.01}],
    "Adadelta": [{"learning_rate": 1.0}],
}
INITIALIZER_ARGUMENTS: dict[str, dict[str, Any]] = {
    "Constant": {"value": 0.5},
    "RandomNormal": {"mean": 0.1, "stddev": 0.2, "seed": 3},
    "VarianceScaling": {"scale": 2.0, "mode": "fan_avg", "distribution": "uniform"},
    "Orthogonal": {"gain": 0.5},
    "IdentityInitializer": {"gain": 0.5},
    "Identity": {"gain": 0.5},
}

LOST_BY_KERAS: dict[str, set[str]] = {
    "losses.Huber": {"delta"},
    "losses.CosineSimilarity": {"axis"},
    "losses.SparseCategoricalCrossentropy": {"axis"},
    "metrics.SparseTopKCategoricalAccuracy": {"from_sorted_ids"},
    "metrics.AUC": {"thresholds"},
    "metrics.CosineSimilarity": {"axis"},
    "initializers.Identity": {"gain"},
}
"""Arguments that real Keras takes, and leaves out of the configs that it writes."""


def shared(registry: Any) -> list[str]:
    return [name for name in registry if name not in NOT_IN_KERAS]


def plain(config: dict[str, Any]) -> dict[str, Any]:
    """A config as JSON gives it, without the name of the process's counter."""
    return json.loads(json.dumps(config, default=str))


def same_config(mine: dict[str, Any], theirs: dict[str, Any]) -> None:
    """The same values wherever both have a key."""
    mine, theirs = plain(mine), plain(theirs)
    for key in mine.keys() & theirs.keys():
        if isinstance(mine[key], dict):
            assert mine[key]["class_name"] == theirs[key]["class_name"]
            same_config(mine[key]["config"], theirs[key]["config"])
        elif isinstance(mine[key], float):
            assert mine[key] == pytest.approx(theirs[key], rel=1e-6)
        else:
            assert mine[key] == theirs[key], key


def there_and_back(obj: Any) -> None:
    """Real Keras reads what we wrote, and we read what it writes of that."""
    data = json.loads(json.dumps(serialize_keras_object(obj)))
    other = keras.saving.deserialize_keras_object(data)
    assert type(other).__name__ == type(obj).__name__
    same_config(obj.get_config(), other.get_config())
    written = json.loads(json.dumps(keras.saving.serialize_keras_object(other)))
    again = deserialize_keras_object(written)
    assert type(again) is type(obj)
    same_config(again.get_config(), other.get_config())
    lost = {key for key in obj.get_config() if key not in other.get_config() and key != "dtype"}
    assert lost == LOST_BY_KERAS.get(".".join([type(obj).__module__.split(".")[1], type(obj).__name__]), set())
    same_config(deserialize_keras_object(data).get_config(), obj.get_config())


@pytest.mark.parametrize("name", shared(LOSSES))
def test_a_loss(name):
    for arguments in ({}, {"reduction": "sum", "name": "mine", **LOSS_ARGUMENTS.get(name, {})}):
        there_and_back(LOSSES[name](**arguments))


@pytest.mark.parametrize("name", [n for n in shared(METRICS) if n != "MeanMetricWrapper"])
def test_a_metric(name):
    there_and_back(METRICS[name](name="mine", **METRIC_ARGUMENTS.get(name, {})))


@pytest.mark.parametrize("name", shared(SCHEDULES))
def test_a_schedule(name):
    schedule = SCHEDULES[name](**SCHEDULE_ARGUMENTS[name])
    there_and_back(schedule)
    other = keras.saving.deserialize_keras_object(serialize_keras_object(schedule))
    for step in range(8):
        assert float(other(step)) == pytest.approx(schedule(step), rel=1e-5)


@pytest.mark.parametrize("name", shared(INITIALIZERS))
def test_an_initializer(name):
    there_and_back(INITIALIZERS[name](**INITIALIZER_ARGUMENTS.get(name, {})))


@pytest.mark.parametrize("name", shared(REGULARIZERS))
def test_a_regularizer(name):
    arguments = {"L1": {"l1": 0.2}, "L2": {"l2": 0.2}, "L1L2": {"l1": 0.1, "l2": 0.3}}.get(name, {"factor": 0.2})
    there_and_back(REGULARIZERS[name](**arguments))


@pytest.mark.parametrize("name", shared(CONSTRAINTS))
def test_a_constraint(name):
    arguments = {"MaxNorm": {"max_value": 1.5, "axis": 1}, "MinMaxNorm": {"min_value": 0.2, "rate": 0.5}}
    there_and_back(CONSTRAINTS[name](**arguments.get(name, {})))


ALONE = {
    "glu": "halves its axis, so that a Dense layer with it says another shape than it gives, here and in Keras",
    "threshold": "has arguments without defaults",
    "sparsemax": "Keras's numbers are others where several scores win",
}


@pytest.mark.parametrize("name", shared(ACTIVATIONS))
def test_an_activation_in_a_layer(name, tmp_path):
    if name in ALONE:
        pytest.skip(ALONE[name])
    model = Sequential([Input((3,)), Dense(4, activation=name)])
    wanted = model(torch.from_numpy(X)).detach().numpy()
    model.save(tmp_path / "m.keras")
    other = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(keras.ops.convert_to_numpy(other(X)), wanted, **CLOSE)
    other.save(tmp_path / "k.keras")
    np.testing.assert_allclose(load_model(tmp_path / "k.keras")(torch.from_numpy(X)).detach().numpy(), wanted, **CLOSE)


def test_objects_around_weights_travel(tmp_path):
    layer = Dense(
        4,
        kernel_initializer=initializers.RandomNormal(0.1, seed=3),
        bias_initializer=initializers.Constant(0.5),
        kernel_regularizer=regularizers.L1L2(0.1, 0.2),
        activity_regularizer="l2",
        kernel_constraint=constraints.MaxNorm(1.5),
    )
    model = Sequential([Input((3,)), layer])
    model.compile("sgd", "mse")
    model.save(tmp_path / "m.keras")
    other = keras.models.load_model(tmp_path / "m.keras")
    assert other.evaluate(X, Y, verbose=0) == pytest.approx(model.evaluate(X, Y, verbose=0), rel=1e-5)
    other.save(tmp_path / "k.keras")
    again = load_model(tmp_path / "k.keras")
    assert again.evaluate(X, Y, verbose=0) == pytest.approx(model.evaluate(X, Y, verbose=0), rel=1e-5)
    assert again.layers[0].kernel_constraint.max_value == 1.5 and again.layers[0].kernel_initializer.seed == 3


# ---------------------------------------------------------------------- training that goes on
def model_of(library: Any, optimizer: Any) -> Any:
    model = library.Sequential([library.Input((3,)), library.layers.Dense(5, "tanh"), library.layers.Dense(4)])
    model.set_weights([np.linspace(-1, 1, w.size).reshape(w.shape).astype("float32") for w in model.get_weights()])
    model.compile(optimizer, "mse", metrics=["mae"])
    return model


def train(model: Any, steps: int) -> None:
    for _ in range(steps):
        model.train_on_batch(X, Y)


CASES = [(name, arguments) for name in OPTIMIZERS for arguments in OPTIMIZER_ARGUMENTS.get(name, [{}])]


@pytest.mark.parametrize(("name", "arguments"), CASES, ids=lambda v: v if isinstance(v, str) else str(list(v)))
def test_training_goes_on_where_it_stopped(name, arguments, tmp_path):
    if name in NOT_IN_KERAS:
        pytest.skip("Keras has no such optimizer")
    wrapped = name == "LossScaleOptimizer"

    def made(library: Any) -> Any:
        if wrapped:
            inner = library.optimizers.Adam(0.01)
            return library.optimizers.LossScaleOptimizer(inner, initial_scale=16.0, dynamic_growth_steps=3)
        return getattr(library.optimizers, name)(**arguments)

    straight, split, other = (model_of(library, made(library)) for library in (lamina, lamina, keras))
    train(straight, 4)
    wanted = straight.get_weights()

    train(split, 2)
    split.save(tmp_path / "ours.keras")
    resumed = keras.models.load_model(tmp_path / "ours.keras")
    assert int(resumed.optimizer.iterations) == 2
    train(resumed, 2)
    compare(resumed.get_weights(), wanted)
    again = load_model(tmp_path / "ours.keras")
    train(again, 2)
    compare(again.get_weights(), wanted)

    train(other, 2)
    other.save(tmp_path / "theirs.keras")
    back = load_model(tmp_path / "theirs.keras")
    assert type(back.optimizer).__name__ == name and back.optimizer.iterations == 2
    train(back, 2)
    compare(back.get_weights(), wanted)


def compare(found: list[np.ndarray], wanted: list[np.ndarray]) -> None:
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, **CLOSE)


@pytest.mark.parametrize("name", shared(SCHEDULES))
def test_training_goes_on_along_a_schedule(name, tmp_path):
    def made(library: Any) -> Any:
        where = library.optimizers.schedules
        return library.optimizers.SGD(getattr(where, name)(**SCHEDULE_ARGUMENTS[name]), momentum=0.9)

    straight, split = model_of(lamina, made(lamina)), model_of(lamina, made(lamina))
    train(straight, 4)
    train(split, 2)
    split.save(tmp_path / "ours.keras")
    resumed = keras.models.load_model(tmp_path / "ours.keras")
    train(resumed, 1)
    resumed.save(tmp_path / "theirs.keras")
    back = load_model(tmp_path / "theirs.keras")
    train(back, 1)
    compare(back.get_weights(), straight.get_weights())
    assert type(back.optimizer._learning_rate) is getattr(schedules, name)


def test_a_learning_rate_that_was_changed_travels(tmp_path):
    model = model_of(lamina, lamina.optimizers.Adam(0.01))
    train(model, 1)
    model.optimizer.learning_rate = 0.25
    model.save(tmp_path / "m.keras")
    assert load_model(tmp_path / "m.keras").optimizer.learning_rate == 0.25
    other = keras.models.load_model(tmp_path / "m.keras")
    assert float(other.optimizer.learning_rate) == 0.25
    other.optimizer.learning_rate = 0.125
    other.save(tmp_path / "k.keras")
    assert load_model(tmp_path / "k.keras").optimizer.learning_rate == 0.125


def test_the_file_of_weights_has_the_arrays_of_keras(tmp_path):
    """Names, shapes and dtypes of everything, optimizer included, as Keras itself lays them out."""
    mine, other = model_of(lamina, "adam"), model_of(keras, "adam")
    for model in (mine, other):
        train(model, 1)
    listings = []
    for model, name in ((mine, "m.keras"), (other, "k.keras")):
        model.save(tmp_path / name)
        with zipfile.ZipFile(tmp_path / name) as archive:
            listing: dict[str, Any] = {}
            with h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
                file.visititems(
                    lambda path, found, listing=listing: listing.update(
                        {path: (found.shape, found.dtype) if isinstance(found, h5py.Dataset) else sorted(found.attrs)}
                    )
                )
            listings.append(listing)
    assert listings[0] == listings[1]


# ---------------------------------------------------------------------- compile state
def test_compile_state_travels(tmp_path):
    def two_heads(library: Any) -> Any:
        x = library.Input((3,), name="x")
        h = library.layers.Dense(4, name="h")(x)
        a, b = library.layers.Dense(4, name="a")(h), library.layers.Dense(1, "sigmoid", name="b")(h)
        model = library.Model(x, {"a": a, "b": b})
        model.compile(
            library.optimizers.AdamW(0.01, weight_decay=0.02),
            loss={"a": "mse", "b": library.losses.BinaryCrossentropy(label_smoothing=0.1)},
            loss_weights={"a": 0.5, "b": 2.0},
            metrics={"a": ["mae", library.metrics.RootMeanSquaredError(name="rms")], "b": ["accuracy"]},
            weighted_metrics={"b": [library.metrics.AUC(num_thresholds=20)]},
        )
        model.set_weights([np.linspace(-1, 1, w.size).reshape(w.shape).astype("float32") for w in model.get_weights()])
        return model

    targets = {"a": Y, "b": (Y[:, :1] > 0).astype("float32")}
    for source, target in ((lamina, keras), (keras, lamina)):
        model = two_heads(source)
        model.fit(X, targets, verbose=0, shuffle=False)
        model.save(tmp_path / "m.keras")
        loader = keras.models.load_model if target is keras else load_model
        other = loader(tmp_path / "m.keras")
        wanted, found = (m.evaluate(X, targets, verbose=0, return_dict=True) for m in (model, other))
        assert len(wanted) >= 6
        for name in wanted.keys() & found.keys():
            assert found[name] == pytest.approx(wanted[name], rel=1e-4, abs=1e-5), name
        assert {"loss", "a_mae", "a_rms"} <= wanted.keys() & found.keys()
        bare = loader(tmp_path / "m.keras", compile=False)
        assert getattr(bare, "optimizer", None) is None and not bare.compiled


KNOWN_ABSENT = {
    "FromTensor": "made of a tensor",
    "LossFunctionWrapper": "a class behind a function",
    "LossMetric": "a class behind a loss",
    "TorchLoss": "a module of torch",
    "TorchMetric": "a metric of torchmetrics",
    "TorchModule": "a module of torch",
    "TorchOptimizer": "an optimizer of torch",
}


def test_the_list_of_what_keras_lacks_is_right():
    """Everything registered is public in Keras under the module that we write, or on the list."""
    assert set(KNOWN_ABSENT) == set(NOT_IN_KERAS)
    places = {
        "keras.losses": LOSSES, "keras.metrics": METRICS, "keras.optimizers": OPTIMIZERS,
        "keras.optimizers.schedules": SCHEDULES, "keras.initializers": INITIALIZERS,
        "keras.regularizers": REGULARIZERS, "keras.constraints": CONSTRAINTS, "keras.activations": ACTIVATIONS,
    }  # fmt: skip
    for path, registry in places.items():
        module: Any = keras
        for part in path.split(".")[1:]:
            module = getattr(module, part)
        lacking = [
            name for name in registry if not hasattr(module, name) and registry[name].__module__[:7] == "lamina."
        ]
        assert set(lacking) <= set(KNOWN_ABSENT), path
