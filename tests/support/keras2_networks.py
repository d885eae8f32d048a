"""Networks in Keras's words, to be built by Keras 2 and by lamina, with the names that the first users' documents show.

Each takes the library: something with `layers`, `Model` and `Sequential`.
"""

from __future__ import annotations

from itertools import count
from typing import Any


def mlp(k: Any) -> Any:
    x = inputs = k.layers.Input((784,), name="input")
    for place, units in enumerate((512, 216, 128), 1):
        x = k.layers.Dense(units, name=f"hidden{place}")(x)
    return k.Model(inputs, k.layers.Dense(10, name="output")(x))


def cnn(k: Any) -> Any:
    x = inputs = k.layers.Input((28, 28, 1), name="input")
    for place, filters in enumerate((128, 64), 1):
        x = k.layers.Conv2D(filters, kernel_size=4, name=f"conv{place}")(x)
        x = k.layers.MaxPooling2D((2, 2), name=f"pool{place}")(x)
    return k.Model(inputs, k.layers.Dense(10, name="output")(k.layers.Dense(64, name="hidden1")(x)))


def rnn(k: Any) -> Any:
    inputs = k.layers.Input((784, 1), name="input")
    x = k.layers.Dense(128, name="hidden1")(k.layers.LSTM(128, name="lstm1")(inputs))
    return k.Model(inputs, k.layers.Dense(10, name="output")(x))


def shared_input(k: Any) -> Any:
    inputs, flat = k.layers.Input((28, 28, 1), name="input"), []
    for place, filters, size in ((1, 32, 4), (2, 16, 8)):
        x = k.layers.Conv2D(filters, kernel_size=size, name=f"conv{place}")(inputs)
        x = k.layers.MaxPooling2D((2, 2), name=f"pool{place}")(x)
        flat.append(k.layers.Flatten(name=f"flatten_{place + 8}")(x))
    x = k.layers.Dense(64, name="hidden1")(k.layers.concatenate(flat, name="concatenate_5"))
    return k.Model(inputs, k.layers.Dense(10, name="output")(x))


def shared_feature_extractor(k: Any) -> Any:
    inputs = k.layers.Input((784, 1), name="input")
    features = k.layers.LSTM(128, name="lstm1")(inputs)
    first = k.layers.Dense(10, name="interp1")(features)
    x = features
    for place, units in enumerate((64, 32, 16), 21):
        x = k.layers.Dense(units, name=f"interp{place}")(x)
    x = k.layers.concatenate([first, x], name="merge")
    return k.Model(inputs, k.layers.Dense(10, name="output")(x))


def multiple_inputs(k: Any) -> Any:
    inputs, flat = [], []
    for place, name, shape in ((1, "img_gray_bigsize", (64, 64, 1)), (2, "img_rgb_smallsize", (32, 32, 3))):
        x = k.layers.Input(shape, name=name)
        inputs.append(x)
        for stage, filters in enumerate((32, 16), 1):
            x = k.layers.Conv2D(filters, kernel_size=4, name=f"conv{place}{stage}")(x)
            x = k.layers.MaxPooling2D((2, 2), name=f"pool{place}{stage}")(x)
        flat.append(k.layers.Flatten(name=f"flatten_{place + 10}")(x))
    x = k.layers.concatenate(flat, name="concatenate_6")
    x = k.layers.Dense(64, name="hidden2")(k.layers.Dense(128, name="hidden1")(x))
    return k.Model(inputs, k.layers.Dense(10, name="output")(x))


def multiple_outputs(k: Any) -> Any:
    inputs = k.layers.Input((784, 1), name="input")
    sequence = k.layers.LSTM(64, return_sequences=True, name="extract")(inputs)
    x = k.layers.Dense(32, name="class12")(k.layers.LSTM(32, name="class11")(sequence))
    every = k.layers.TimeDistributed(k.layers.Dense(10), name="output2")(sequence)
    return k.Model(inputs, [k.layers.Dense(10, name="output1")(x), every])


def residual(k: Any) -> Any:
    """The network of the first document, whose author had built others before in the same process."""
    convs, norms, acts, adds = count(103), count(99), count(87), count(34)

    def conv(x: Any, filters: int, strides: int = 1) -> Any:
        return k.layers.Conv2D(filters, 3, strides=strides, padding="same", name=f"conv2d_{next(convs)}")(x)

    def norm(x: Any) -> Any:
        return k.layers.BatchNormalization(name=f"batch_normalization_{next(norms)}")(x)

    def relu(x: Any) -> Any:
        return k.layers.Activation("relu", name=f"activation_{next(acts)}")(x)

    inputs = k.layers.Input((32, 32, 3), name="input_26")
    x, width = relu(norm(conv(inputs, 16))), 16
    for filters in (16, 32, 64):
        for _ in range(2):
            strides = 1 if filters == width else 2
            y = relu(norm(conv(x, filters, strides)))
            y = norm(conv(y, filters))
            if filters != width:
                x = norm(conv(x, filters, strides))
            x, width = relu(k.layers.add([x, y], name=f"add_{next(adds)}")), filters
    x = k.layers.AveragePooling2D((8, 8), name="average_pooling2d_2")(x)
    return k.Model(inputs, k.layers.Dense(10, name="dense_2")(k.layers.Flatten(name="flatten_2")(x)))


def sequential(k: Any) -> Any:
    layers = [k.layers.Dense(4, name="first", trainable=False), k.layers.BatchNormalization(name="norm")]
    return k.Sequential([k.layers.Input((3,)), *layers, k.layers.Dense(1, name="last")], name="stack")


def called_twice(k: Any) -> Any:
    x, shared = k.layers.Input((4,), name="x"), k.layers.Dense(4, name="shared")
    return k.Model(x, k.layers.add([shared(x), shared(shared(x))], name="sum"))


def called_on_two_shapes(k: Any) -> Any:
    a, b = k.layers.Input((4,), name="a"), k.layers.Input((7, 4), name="b")
    shared = k.layers.Dense(3, name="shared")
    return k.Model([a, b], [shared(a), shared(b)])


def nested(k: Any) -> Any:
    """A chain and a graph in a graph, and in that graph another model."""
    dense = [k.layers.Dense(8, name="up"), k.layers.Dense(4, name="down")]
    chain = k.Sequential([k.layers.Input((4,)), *dense], name="chain")
    y = k.layers.Input((4,), name="y")
    core = k.Sequential([k.layers.Input((4,)), k.layers.Dense(4, name="core_dense")], name="core")
    inner = k.Model(y, k.layers.add([core(y), y], name="inner_sum"), name="inner")
    inner.trainable = False
    x = k.layers.Input((4,), name="x")
    return k.Model(x, k.layers.add([chain(x), inner(x)], name="outer_sum"))


def nested_last(k: Any) -> Any:
    """A chain that ends with a model in a model, so that three borders close at once."""
    core = k.Sequential([k.layers.Input((4,)), k.layers.Dense(2, name="deep")], name="core")
    middle = k.Sequential([k.layers.Input((4,)), k.layers.Dense(4, name="wide"), core], name="middle")
    return k.Sequential([k.layers.Input((4,)), k.layers.Dense(4, name="first"), middle], name="outer")


def several_results(k: Any) -> Any:
    x = k.layers.Input((5, 3), name="x")
    y, *states = k.layers.LSTM(4, return_state=True, name="lstm")(x)
    return k.Model(x, [y, k.layers.concatenate(states, name="states")])


def long_names(k: Any) -> Any:
    x = k.layers.Input((4,), name="the_input_of_this_model_has_quite_a_long_name")
    y = k.layers.Dense(4, name="and_so_has_the_first_dense_layer_of_the_model")(x)
    return k.Model(x, k.layers.add([x, y], name="sum"))


NETWORKS = {
    make.__name__: make
    for make in (
        mlp, cnn, rnn, shared_input, shared_feature_extractor, multiple_inputs, multiple_outputs, residual, sequential,
        called_twice, called_on_two_shapes, nested, nested_last, several_results, long_names,
    )
}  # fmt: skip

CHAINS = ("mlp", "cnn", "rnn", "sequential", "nested_last")
"""Those whose table has no column of connections."""

# A table's name -> the network and the options that Keras 2.1.1 knows.
TABLES: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in NETWORKS},
    "mlp_80": ("mlp", {"line_length": 80}),
    "mlp_40": ("mlp", {"line_length": 40}),
    "shared_input_120": ("shared_input", {"line_length": 120, "positions": [0.25, 0.5, 0.6, 1.0]}),
    "long_names_absolute": ("long_names", {"line_length": 90, "positions": [20, 40, 50, 90]}),
    "sequential_absolute": ("sequential", {"line_length": 50, "positions": [20, 40, 50]}),
}
