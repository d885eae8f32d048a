"""Whole training runs against real Keras: same weights and data in, same history, weights and evaluation out."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import lamina

RNG = np.random.RandomState(0)
X = RNG.randn(50, 6).astype("float32")
LABELS = RNG.randint(0, 3, 50)
TARGET = RNG.randn(50, 2).astype("float32")
WEIGHTS = RNG.rand(50).astype("float32")


def one_output(library: Any, activation: str = "softmax", units: int = 3, **dense: Any) -> Any:
    layers = library.layers
    inputs = layers.Input((6,))
    x = layers.Dense(8, activation="tanh", **dense)(inputs)
    return library.Model(inputs, layers.Dense(units, activation=activation, name="out")(x))


def two_outputs(library: Any) -> Any:
    layers = library.layers
    inputs = layers.Input((6,))
    x = layers.Dense(8, activation="tanh")(inputs)
    return library.Model(
        inputs, [layers.Dense(3, activation="softmax", name="kind")(x), layers.Dense(2, name="place")(x)]
    )


def both(build: Any, compile_arguments: dict[str, Any], **arguments: Any) -> tuple[Any, Any]:
    ours, theirs = build(lamina, **arguments), build(keras, **arguments)
    ours.set_weights([np.asarray(w) for w in theirs.get_weights()])
    ours.compile(**compile_arguments)
    theirs.compile(**compile_arguments)
    return ours, theirs


def compare_histories(ours: dict[str, list[float]], theirs: dict[str, list[float]]) -> None:
    assert set(ours) == set(theirs)
    for name, values in theirs.items():
        np.testing.assert_allclose(ours[name], values, rtol=2e-5, atol=2e-6, err_msg=name)


def compare_weights(ours: Any, theirs: Any) -> None:
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=2e-5)


RUNS: dict[str, tuple[Any, dict[str, Any], dict[str, Any], Any, dict[str, Any]]] = {
    "sparse labels": (
        one_output,
        {},
        {"optimizer": "adam", "loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]},
        LABELS,
        {},
    ),
    "labels as a column": (
        one_output,
        {},
        {"optimizer": "sgd", "loss": "sparse_categorical_crossentropy", "metrics": ["acc"]},
        LABELS[:, None],
        {},
    ),
    "one-hot labels": (
        one_output,
        {},
        {"optimizer": "rmsprop", "loss": "categorical_crossentropy", "metrics": ["accuracy", "mse"]},
        np.eye(3, dtype="float32")[LABELS],
        {},
    ),
    "binary": (
        one_output,
        {"activation": "sigmoid", "units": 1},
        {"optimizer": "adam", "loss": "binary_crossentropy", "metrics": ["accuracy"]},
        (LABELS > 0).astype("float32"),
        {},
    ),
    "regression, validation split": (
        one_output,
        {"activation": "linear", "units": 2},
        {"optimizer": "sgd", "loss": "mse", "metrics": ["mae"]},
        TARGET,
        {"validation_split": 0.3},
    ),
    "sample weights": (
        one_output,
        {},
        {
            "optimizer": "sgd",
            "loss": "sparse_categorical_crossentropy",
            "weighted_metrics": ["accuracy"],
        },
        LABELS,
        {"sample_weight": WEIGHTS},
    ),
    "class weights": (
        one_output,
        {},
        {"optimizer": "sgd", "loss": "sparse_categorical_crossentropy", "weighted_metrics": ["accuracy"]},
        LABELS,
        {"class_weight": {0: 1.0, 1: 0.5, 2: 3.0}},
    ),
    "regularizers": (
        one_output,
        {"kernel_regularizer": "l2", "activity_regularizer": "l1"},
        {"optimizer": "sgd", "loss": "sparse_categorical_crossentropy"},
        LABELS,
        {"validation_split": 0.2},
    ),
    "constraints": (
        one_output,
        {"kernel_constraint": "unit_norm"},
        {"optimizer": "sgd", "loss": "sparse_categorical_crossentropy"},
        LABELS,
        {},
    ),
    "several outputs by list": (
        two_outputs,
        {},
        {
            "optimizer": "adam",
            "loss": ["sparse_categorical_crossentropy", "mse"],
            "loss_weights": [1.0, 0.3],
            "metrics": [["accuracy"], ["mae"]],
        },
        [LABELS, TARGET],
        {"validation_split": 0.2},
    ),
    "several outputs by dict": (
        two_outputs,
        {},
        {
            "optimizer": "sgd",
            "loss": {"place": "mse", "kind": "sparse_categorical_crossentropy"},
            "metrics": {"kind": ["accuracy"]},
        },
        {"place": TARGET, "kind": LABELS},
        {},
    ),
    "one loss for several outputs": (two_outputs, {}, {"optimizer": "sgd", "loss": "mse"}, [X[:, :3], TARGET], {}),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_gives_the_history_and_weights_of_keras(name):
    build, model_arguments, compile_arguments, y, fit_arguments = RUNS[name]
    ours, theirs = both(build, compile_arguments, **model_arguments)
    arguments = {"batch_size": 16, "epochs": 3, "shuffle": False, "verbose": 0, **fit_arguments}
    compare_histories(ours.fit(X, y, **arguments).history, theirs.fit(X, y, **arguments).history)
    compare_weights(ours, theirs)
    ours_result = ours.evaluate(X, y, batch_size=16, verbose=0, return_dict=True)
    theirs_result = theirs.evaluate(X, y, batch_size=16, verbose=0, return_dict=True)
    compare_histories({k: [v] for k, v in ours_result.items()}, {k: [v] for k, v in theirs_result.items()})
    for one, other in zip(
        np.atleast_1d(ours.predict(X, verbose=0)) if not isinstance(y, (list, dict)) else ours.predict(X, verbose=0),
        theirs.predict(X, verbose=0),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=2e-5)


def test_frozen_layers_stay_as_they_are():
    def build(library: Any) -> Any:
        model = one_output(library)
        model.layers[1].trainable = False
        return model

    ours, theirs = both(build, {"optimizer": "adam", "loss": "sparse_categorical_crossentropy"})
    before = ours.layers[1].get_weights()
    arguments = {"batch_size": 16, "epochs": 2, "shuffle": False, "verbose": 0}
    compare_histories(ours.fit(X, LABELS, **arguments).history, theirs.fit(X, LABELS, **arguments).history)
    for one, other in zip(ours.layers[1].get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_batches_one_by_one_give_the_numbers_of_keras():
    ours, theirs = both(
        one_output, {"optimizer": "sgd", "loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}
    )
    for start in (0, 16, 32):
        x, y = X[start : start + 16], LABELS[start : start + 16]
        np.testing.assert_allclose(ours.train_on_batch(x, y), theirs.train_on_batch(x, y), rtol=2e-5)
    ours.reset_metrics()
    theirs.reset_metrics()
    np.testing.assert_allclose(ours.test_on_batch(X, LABELS), theirs.test_on_batch(X, LABELS), rtol=2e-5)
    np.testing.assert_allclose(ours.predict_on_batch(X), theirs.predict_on_batch(X), rtol=1e-4, atol=1e-6)
