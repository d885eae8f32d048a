"""The layers of a functional model stand in the order, and under the names, that Keras gives them."""

from __future__ import annotations

from types import SimpleNamespace

import keras
import pytest

from lamina import layers, models, naming

OURS = SimpleNamespace(layers=layers, Input=layers.Input, Model=models.Model, Sequential=models.Sequential)
THEIRS = SimpleNamespace(layers=keras.layers, Input=keras.Input, Model=keras.Model, Sequential=keras.Sequential)


def perceptron(k):
    x = k.Input((10,))
    h = k.layers.Dense(10, activation="relu")(x)
    h = k.layers.Dense(20, activation="relu")(h)
    return k.Model(x, k.layers.Dense(1, activation="sigmoid")(h))


def shared_input(k):
    x = k.Input((64, 64, 1))
    first = k.layers.Flatten()(k.layers.MaxPooling2D(2)(k.layers.Conv2D(4, 4, activation="relu")(x)))
    second = k.layers.Flatten()(k.layers.MaxPooling2D(2)(k.layers.Conv2D(4, 8, activation="relu")(x)))
    h = k.layers.Dense(10, activation="relu")(k.layers.concatenate([first, second]))
    return k.Model(x, k.layers.Dense(1, activation="sigmoid")(h))


def shared_features(k):
    x = k.Input((20, 1))
    features = k.layers.LSTM(10)(x)
    short = k.layers.Dense(10, activation="relu")(features)
    long = k.layers.Dense(10, activation="relu")(k.layers.Dense(20, activation="relu")(features))
    return k.Model(x, k.layers.Dense(1)(k.layers.concatenate([short, long])))


def several_inputs(k):
    a, b, c = k.Input((8, 8, 1)), k.Input((8, 8, 3)), k.Input((5,))
    first = k.layers.Flatten()(k.layers.MaxPooling2D(2)(k.layers.Conv2D(2, 3)(a)))
    second = k.layers.Flatten()(k.layers.Conv2D(2, 3)(b))
    merged = k.layers.concatenate([first, second, c])
    return k.Model([a, b, c], k.layers.Dense(1)(k.layers.Dense(10)(merged)))


def several_outputs(k):
    x = k.Input((10, 1))
    features = k.layers.LSTM(4, return_sequences=True)(x)
    label = k.layers.Dense(1)(k.layers.LSTM(4)(features))
    sequence = k.layers.TimeDistributed(k.layers.Dense(1))(features)
    return k.Model(x, [label, sequence])


def residual(k):
    x = k.Input((8, 8, 3))
    y = k.layers.Activation("relu")(k.layers.BatchNormalization()(k.layers.Conv2D(4, 3, padding="same")(x)))
    for strides in (1, 2):
        z = k.layers.Conv2D(4 * strides, 3, strides=strides, padding="same")(y)
        z = k.layers.BatchNormalization()(k.layers.Conv2D(4 * strides, 3, padding="same")(z))
        if strides > 1:
            y = k.layers.Conv2D(4 * strides, 1, strides=strides)(y)
        y = k.layers.Activation("relu")(k.layers.add([y, z]))
    return k.Model(x, k.layers.Dense(2)(k.layers.GlobalAveragePooling2D()(y)))


def residual_with_shortcut_first(k):
    x = k.Input((4,))
    y = k.layers.add([k.layers.Dense(4)(x), x])
    y = k.layers.add([y, k.layers.Dense(4)(k.layers.Dense(4)(y))])
    return k.Model(x, k.layers.add([x, y]))


def inception(k):
    x = k.Input((8, 8, 3))
    branches = [
        k.layers.Conv2D(2, 1)(x),
        k.layers.Conv2D(2, 3, padding="same")(k.layers.Conv2D(2, 1)(x)),
        k.layers.Conv2D(2, 5, padding="same")(k.layers.Conv2D(2, 1)(x)),
        k.layers.Conv2D(2, 1)(k.layers.MaxPooling2D(3, strides=1, padding="same")(x)),
    ]
    return k.Model(x, k.layers.concatenate(branches))


def outputs_of_unequal_depth(k):
    x = k.Input((4,))
    near = k.layers.Dense(2)(x)
    far = k.layers.Dense(2)(k.layers.Dense(3)(k.layers.Dense(4)(x)))
    return k.Model(x, {"far": far, "near": near})


def one_layer_at_two_depths(k):
    x, y = k.Input((4,)), k.Input((4,))
    shared = k.layers.Dense(4)
    deep = shared(k.layers.Dense(4)(shared(x)))
    return k.Model([x, y], k.layers.concatenate([shared(y), deep]))


def siamese(k):
    left, right = k.Input((4,)), k.Input((4,))
    encoder = k.Sequential([k.Input((4,)), k.layers.Dense(3), k.layers.Dense(2)])
    return k.Model([left, right], k.layers.Dense(1)(k.layers.subtract([encoder(left), encoder(right)])))


def nested_twice(k):
    x = k.Input((4,))
    inner = k.Model(x, k.layers.Dense(4)(k.layers.Dense(4)(x)))
    y = k.Input((4,))
    return k.Model(y, k.layers.add([inner(inner(y)), k.layers.Dense(4)(y)]))


def outputs_defined_last_to_first(k):
    x = k.Input((4,))
    a = k.layers.Dense(1)(x)
    b = k.layers.Dense(2)(a)
    c = k.layers.Dense(3)(b)
    return k.Model(x, [c, a, b])


def dicts(k):
    a, b, c = k.Input((2,), name="a"), k.Input((3,), name="b"), k.Input((4,), name="c")
    outputs = {"y": [k.layers.Dense(1)(c), k.layers.Dense(2)(a)], "z": k.layers.Dense(3)(k.layers.concatenate([a, b]))}
    return k.Model({"b": b, "a": a, "c": c}, outputs)


def chain_of_operators(k):
    x = k.Input((4,))
    y = k.layers.Dense(4)(x) + 1.0
    return k.Model(x, k.layers.Dense(2)(y * k.layers.Dense(4)(x)))


GRAPHS = [
    perceptron, shared_input, shared_features, several_inputs, several_outputs, residual, residual_with_shortcut_first,
    inception, outputs_of_unequal_depth, one_layer_at_two_depths, siamese, nested_twice, outputs_defined_last_to_first,
    dicts, chain_of_operators,
]  # fmt: skip


@pytest.mark.parametrize("graph", GRAPHS, ids=lambda graph: graph.__name__)
def test_layers_stand_in_the_order_of_keras(graph):
    keras.backend.clear_session()
    naming.reset_names()
    theirs, ours = graph(THEIRS), graph(OURS)
    assert [layer.name for layer in ours.layers] == [layer.name for layer in theirs.layers]
    # Operators are named by Python here, and by Keras's own classes there.
    wanted = [operation.name.replace("multiply", "mul") for operation in theirs.operations]
    assert [operation.name for operation in ours.operations] == wanted
    assert [tuple(w.shape) for w in ours.weights] == [tuple(w.shape) for w in theirs.weights]
    assert ours.count_params() == theirs.count_params()
