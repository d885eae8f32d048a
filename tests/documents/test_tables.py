"""The networks of the first users' documents have the tables that were published with them.

`published/*.json` holds each table as rows `[class, output shape, parameters, [rows it takes its input from]]`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lamina
from lamina.layers import LSTM, Conv2D, Dense, Flatten, Input, MaxPooling2D, TimeDistributed, concatenate
from lamina.models import Model

PUBLISHED = Path(__file__).parent / "published"


def mlp() -> Any:
    x = inputs = Input((784,))
    for units in (512, 216, 128):
        x = Dense(units, activation="relu")(x)
    return Model(inputs, Dense(10, activation="softmax")(x))


def cnn() -> Any:
    inputs = Input((28, 28, 1))
    x = MaxPooling2D((2, 2))(Conv2D(128, kernel_size=4, activation="relu")(inputs))
    x = MaxPooling2D((2, 2))(Conv2D(64, kernel_size=4, activation="relu")(x))
    # The document forgets Flatten: Dense works on the last axis.
    return Model(inputs, Dense(10, activation="softmax")(Dense(64, activation="relu")(x)))


def rnn() -> Any:
    inputs = Input((784, 1))
    x = Dense(128, activation="relu")(LSTM(128)(inputs))
    return Model(inputs, Dense(10, activation="softmax")(x))


def shared_input() -> Any:
    inputs = Input((28, 28, 1))
    flat = [
        Flatten()(MaxPooling2D((2, 2))(Conv2D(filters, kernel_size=size, activation="relu")(inputs)))
        for filters, size in ((32, 4), (16, 8))
    ]
    return Model(inputs, Dense(10, activation="softmax")(Dense(64, activation="relu")(concatenate(flat))))


def shared_feature_extractor() -> Any:
    inputs = Input((784, 1))
    features = LSTM(128)(inputs)
    first = Dense(10, activation="relu")(features)
    second = features
    for units in (64, 32, 16):
        second = Dense(units, activation="relu")(second)
    return Model(inputs, Dense(10, activation="softmax")(concatenate([first, second])))


def multiple_inputs() -> Any:
    inputs, flat = [Input((64, 64, 1)), Input((32, 32, 3))], []
    for x in inputs:
        for filters in (32, 16):
            x = MaxPooling2D((2, 2))(Conv2D(filters, kernel_size=4, activation="relu")(x))
        flat.append(Flatten()(x))
    x = Dense(64, activation="relu")(Dense(128, activation="relu")(concatenate(flat)))
    return Model(inputs, Dense(10, activation="softmax")(x))


def multiple_outputs() -> Any:
    inputs = Input((784, 1))
    sequence = LSTM(64, return_sequences=True)(inputs)
    first = Dense(10, activation="softmax")(Dense(32, activation="relu")(LSTM(32)(sequence)))
    return Model(inputs, [first, TimeDistributed(Dense(10, activation="softmax"))(sequence)])


def keras_resnet() -> Any:
    return lamina.applications.CifarResNet(depths=(2, 2, 2), input_shape=(32, 32, 3), classes=10)


NETWORKS: dict[str, tuple[Callable[[], Any], int]] = {
    "mlp": (mlp, 541_794),
    "cnn": (cnn, 138_122),
    "rnn": (rnn, 84_362),
    "shared_input": (shared_input, 399_610),
    "shared_feature_extractor": (shared_feature_extractor, 78_984),
    "multiple_inputs": (multiple_inputs, 424_874),
    "multiple_outputs": (multiple_outputs, 31_348),
    "keras_resnet": (keras_resnet, 197_418),
}


def table(model: Any) -> list[list[Any]]:
    """The model's rows in the form of the published ones."""
    places = {layer.name: place for place, layer in enumerate(model.layers)}
    report = lamina.inspection.measure(model)
    return [
        [row.class_name, list(row.output_shape), row.num_params, sorted(places[name] for name in row.inputs)]
        for row in report.rows
    ]


def connected(rows: list[list[Any]]) -> list[Any]:
    """Rows with what they are connected to in place of its number, in an order that no numbering affects."""
    plain = [[row[0], row[1], row[2]] for row in rows]
    return sorted([*row[:3], sorted(plain[i] for i in row[3])] for row in rows)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_has_its_published_table(name):
    build, total = NETWORKS[name]
    published = json.loads((PUBLISHED / f"{name}.json").read_text())
    model = build()
    assert model.count_params() == total == published["total"]
    assert connected(table(model)) == connected(published["rows"])


def test_the_residual_network_trains_all_but_the_moving_statistics():
    published = json.loads((PUBLISHED / "keras_resnet.json").read_text())
    report = lamina.inspection.measure(keras_resnet())
    assert report.trainable_params == published["trainable"] == 196_298
    assert report.non_trainable_params == published["non_trainable"] == 1_120
