"""The mistakes that users make most, each with the message that it gets.

The messages are kept in `mistakes.txt`, to be read as a text. After a deliberate change:

    python tests/mistakes/test_mistakes.py --overwrite
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lamina
from lamina import callbacks, layers, losses, naming
from lamina.errors import LaminaError

GOLDEN = Path(__file__).with_name("mistakes.txt")
MISTAKES: dict[str, Callable[[], Any]] = {}

Mistake = Callable[[], Any]


def mistake(function: Mistake) -> Mistake:
    """Enter a function that makes a mistake under its own name."""
    MISTAKES[function.__name__.replace("_", " ")] = function
    return function


def images(*shape: int) -> np.ndarray:
    return np.zeros(shape, dtype="float32")


def classifier(classes: int = 3, loss: Any = "sparse_categorical_crossentropy", **arguments: Any) -> Any:
    model = lamina.Sequential([layers.Input((4,)), layers.Dense(classes, activation="softmax")], name="classifier")
    model.compile("sgd", loss, **arguments)
    return model


def regressor(**arguments: Any) -> Any:
    model = lamina.Sequential([layers.Input((4,)), layers.Dense(1)], name="regressor")
    model.compile("sgd", "mse", **arguments)
    return model


@mistake
def wrong_number_of_channels():
    model = lamina.Sequential([layers.Input((28, 28, 1)), layers.Conv2D(8, 3), layers.Flatten()], name="net")
    model(images(2, 28, 28, 3))


@mistake
def wrong_number_of_channels_for_a_layer_alone():
    layer = layers.Conv2D(8, 3)
    layer(torch.zeros(2, 8, 8, 3))
    layer(torch.zeros(2, 8, 8, 4))


@mistake
def missing_channel_axis():
    model = lamina.Sequential([layers.Input((28, 28, 1)), layers.Conv2D(8, 3), layers.Flatten()], name="net")
    model.predict(images(2, 28, 28), verbose=0)


@mistake
def channels_first_data_for_a_channels_last_model():
    lamina.Sequential([layers.Input((32, 32, 3)), layers.Flatten()], name="net")(images(2, 3, 32, 32))


@mistake
def wrong_rank():
    layers.Conv2D(8, 3)(layers.Input((28, 28)))


@mistake
def image_larger_than_it_is():
    layers.Conv2D(8, 5)(layers.Input((4, 4, 1)))


@mistake
def wrong_features_deep_inside():
    inner = lamina.Sequential([layers.Input((4,)), layers.Dense(2, name="head")], name="inner")

    class Outer(lamina.Model):
        def __init__(self):
            super().__init__(name="outer")
            self.inner = inner

        def call(self, x):
            return self.inner(torch.cat([x, x], dim=-1))

    Outer()(torch.zeros(2, 3))


@mistake
def one_hot_labels_with_a_sparse_loss():
    classifier().fit(images(8, 4), np.eye(3, dtype="float32")[[0, 1, 2, 0, 1, 2, 0, 1]], verbose=0)


@mistake
def whole_number_labels_with_a_categorical_loss():
    classifier(loss="categorical_crossentropy").fit(images(8, 4), np.arange(8) % 3, verbose=0)


@mistake
def labels_out_of_range():
    classifier().fit(images(8, 4), np.array([0, 1, 2, 3, 0, 1, 2, 0]), verbose=0)


@mistake
def labels_that_count_from_one_below():
    classifier().fit(images(4, 4), np.array([0, 1, 2, -1]), verbose=0)


@mistake
def targets_of_another_width():
    regressor().fit(images(8, 4), images(8, 2), verbose=0)


@mistake
def a_loss_that_broadcasts_n_against_n_1():
    model = regressor()
    model.compile("sgd", lambda y_true, y_pred: (y_true[:, None] - y_pred[None, :, 0]) ** 2)
    model.fit(images(8, 4), images(8), verbose=0)


@mistake
def inputs_of_different_lengths():
    regressor().fit(images(8, 4), images(7, 1), verbose=0)


@mistake
def two_inputs_of_different_lengths():
    a, b = layers.Input((2,), name="a"), layers.Input((2,), name="b")
    model = lamina.Model([a, b], layers.Dense(1)(layers.concatenate([a, b])))
    model.predict([images(3, 2), images(4, 2)], verbose=0)


@mistake
def too_few_inputs():
    a, b = layers.Input((2,), name="a"), layers.Input((2,), name="b")
    lamina.Model([a, b], layers.add([a, b]), name="sum")([images(3, 2)])


@mistake
def unknown_optimizer():
    regressor().compile("adm", "mse")


@mistake
def unknown_loss():
    regressor().compile("adam", "mean_square_error")


@mistake
def unknown_metric():
    regressor().compile("adam", "mse", metrics=["acuracy"])


@mistake
def unknown_activation():
    layers.Dense(3, activation="rleu")


@mistake
def unknown_initializer():
    layers.Dense(3, kernel_initializer="glorot_unifrom")


@mistake
def unknown_argument():
    layers.Dense(3, activaton="relu")


@mistake
def no_units():
    layers.Dense(0)


@mistake
def fit_before_compile():
    lamina.Sequential([layers.Input((4,)), layers.Dense(1)], name="net").fit(images(8, 4), images(8, 1))


@mistake
def an_iterator_that_runs_dry():
    def batches():
        for _ in range(3):
            yield images(8, 4), images(8, 1)

    regressor().fit(batches(), steps_per_epoch=10, epochs=2, verbose=0)


@mistake
def unknown_monitor():
    stopping = callbacks.EarlyStopping(monitor="val_acc")
    classifier(metrics=["accuracy"]).fit(images(8, 4), np.zeros(8, int), callbacks=[stopping], verbose=0)


@mistake
def monitor_of_a_validation_that_does_not_happen():
    stopping = callbacks.EarlyStopping(monitor="val_loss")
    regressor().fit(images(8, 4), images(8, 1), callbacks=[stopping], verbose=0)


@mistake
def weights_of_the_wrong_shape():
    regressor().set_weights([images(5, 1), images(1)])


@mistake
def too_few_weights():
    regressor().set_weights([images(4, 1)])


@mistake
def a_disconnected_graph():
    a, b = layers.Input((2,), name="a"), layers.Input((2,), name="b")
    lamina.Model(a, layers.add([a, b]))


@mistake
def a_model_that_contains_itself():
    model = lamina.Sequential(name="ouroboros")
    model.add(model)


@mistake
def a_circle_in_a_config():
    x = layers.Input((2,), name="x")
    config = lamina.Model(x, layers.Dense(2, name="second")(layers.Dense(2, name="first")(x))).get_config()
    first = next(entry for entry in config["layers"] if entry["name"] == "first")
    first["inbound_nodes"][0]["args"][0]["config"]["keras_history"] = ["second", 0, 0]
    type(lamina.Model(x, layers.Dense(2)(x))).from_config(config)


@mistake
def two_layers_of_one_name():
    x = layers.Input((2,))
    lamina.Model(x, layers.Dense(2, name="same")(layers.Dense(2, name="same")(x)))


@mistake
def one_layer_twice_in_a_sequential():
    dense = layers.Dense(2, name="dense")
    lamina.Sequential([dense, dense], name="net")


@mistake
def a_summary_before_build():
    lamina.Sequential([layers.Dense(3), layers.Dense(1)], name="net").summary()


@mistake
def a_summary_of_an_unbuilt_subclass():
    class Net(lamina.Model):
        def __init__(self):
            super().__init__(name="net")
            self.dense = layers.Dense(3)

        def call(self, x):
            return self.dense(x)

    Net().summary()


@mistake
def a_loss_that_is_not_a_number():
    model = lamina.Sequential(
        [layers.Input((4,)), layers.Dense(3, name="first"), layers.Lambda(lambda x: torch.log(x * 0 - 1), name="log")],
        name="net",
    )
    model.compile("sgd", "mse", debug_nans=True)
    model.fit(images(8, 4), images(8, 3), verbose=0)


@mistake
def a_tensor_used_as_a_number():
    x = layers.Input((2,), name="x")
    if x.sum() > 0:
        pass


@mistake
def a_numpy_function_on_a_symbolic_tensor():
    np.log(layers.Input((2,), name="x"))


@mistake
def a_class_in_place_of_a_layer():
    lamina.Sequential([layers.Dense])


@mistake
def shapes_that_cannot_be_added():
    layers.add([layers.Input((3,), name="a"), layers.Input((4,), name="b")])


@mistake
def nothing_to_train():
    model = regressor()
    model.trainable = False
    model.fit(images(8, 4), images(8, 1), verbose=0)


@mistake
def a_validation_split_that_takes_everything():
    regressor().fit(images(8, 4), images(8, 1), validation_split=1.0, verbose=0)


@mistake
def strings_as_data():
    regressor().fit(np.array([["a", "b", "c", "d"]]), images(1, 1), verbose=0)


@mistake
def class_weights_for_a_class_that_is_not_there():
    one_hot = np.eye(3, dtype="float32")[[0, 1, 2, 0]]
    classifier(loss="categorical_crossentropy").fit(images(4, 4), one_hot, class_weight={0: 1.0, 7: 2.0}, verbose=0)


@mistake
def an_unknown_output_in_a_loss_dict():
    x = layers.Input((4,))
    model = lamina.Model(x, [layers.Dense(1, name="age")(x), layers.Dense(1, name="height")(x)])
    model.compile("sgd", {"age": "mse", "hight": "mse"})
    model.fit(images(8, 4), [images(8, 1), images(8, 1)], verbose=0)


@mistake
def sparse_labels_of_the_wrong_rank():
    losses.SparseCategoricalCrossentropy()(torch.zeros(4, 2, dtype=torch.int64), torch.full((4, 3), 1 / 3))


@mistake
def weights_from_a_file_that_is_not_there():
    regressor().load_weights("no/such/file.safetensors")


@mistake
def a_dtype_that_does_not_exist():
    layers.Dense(3, dtype="mixed_float8")


def message(make: Mistake) -> str:
    """What a mistake is answered with, numbers that vary left out."""
    naming.reset_names()
    torch.manual_seed(0)
    try:
        make()
    except LaminaError as error:
        return f"{type(error).__name__}: {error}"
    raise AssertionError("nothing was raised")


def read_golden() -> dict[str, str]:
    """The messages in the golden file by title."""
    parts = re.split(r"^## (.+)\n", GOLDEN.read_text(), flags=re.MULTILINE)[1:]
    return {title: text.strip() for title, text in zip(parts[::2], parts[1::2], strict=True)}


@pytest.mark.parametrize("title", MISTAKES)
def test_each_mistake_gets_the_message_that_is_written_down(title):
    assert message(MISTAKES[title]) == read_golden()[title]


@pytest.mark.parametrize("title", MISTAKES)
def test_each_message_says_one_thing_to_do(title):
    naming.reset_names()
    with pytest.raises(LaminaError) as caught:
        MISTAKES[title]()
    assert caught.value.fix, "no fix"
    assert caught.value.expected or caught.value.received, "neither expected nor received"


def test_the_golden_file_has_no_message_that_nobody_makes():
    assert set(read_golden()) == set(MISTAKES)


if __name__ == "__main__":
    if "--overwrite" in sys.argv:
        texts = [f"## {title}\n{message(make)}\n" for title, make in MISTAKES.items()]
        GOLDEN.write_text("\n".join(texts))
