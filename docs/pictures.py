"""Draws the pictures of docs/pictures.md again: `python docs/pictures.py` writes them to docs/pictures/."""

from __future__ import annotations

import sys
from pathlib import Path

from lamina import Input, Model
from lamina.inspection import plot_model
from lamina.layers import LSTM, Conv2D, Dense, Flatten, MaxPooling2D, TimeDistributed, concatenate

FOLDER = Path(__file__).parent / "pictures"


def multilayer_perceptron():
    x = Input((784,), name="input")
    hidden = Dense(512, activation="relu", name="hidden1")(x)
    hidden = Dense(216, activation="relu", name="hidden2")(hidden)
    hidden = Dense(128, activation="relu", name="hidden3")(hidden)
    return Model(x, Dense(10, activation="softmax", name="output")(hidden), name="multilayer_perceptron")


def convolutional_network():
    x = Input((28, 28, 1), name="input")
    h = Conv2D(128, 4, activation="relu", name="conv1")(x)
    h = MaxPooling2D(name="pool1")(h)
    h = Conv2D(64, 4, activation="relu", name="conv2")(h)
    h = MaxPooling2D(name="pool2")(h)
    h = Dense(64, activation="relu", name="hidden1")(h)
    return Model(x, Dense(10, activation="softmax", name="output")(h), name="convolutional_network")


def recurrent_network():
    x = Input((784, 1), name="input")
    h = Dense(128, activation="relu", name="hidden1")(LSTM(128, name="lstm1")(x))
    return Model(x, Dense(10, activation="softmax", name="output")(h), name="recurrent_network")


def shared_input():
    x = Input((28, 28, 1), name="input")
    one = MaxPooling2D(name="pool1")(Conv2D(32, 4, activation="relu", name="conv1")(x))
    other = MaxPooling2D(name="pool2")(Conv2D(16, 8, activation="relu", name="conv2")(x))
    merged = concatenate([Flatten(name="flat1")(one), Flatten(name="flat2")(other)], name="merge")
    hidden = Dense(64, activation="relu", name="hidden1")(merged)
    return Model(x, Dense(10, activation="softmax", name="output")(hidden), name="shared_input")


def shared_feature_extractor():
    x = Input((784, 1), name="input")
    extract = LSTM(128, name="lstm1")(x)
    one = Dense(10, activation="relu", name="interp1")(extract)
    other = Dense(64, activation="relu", name="interp21")(extract)
    other = Dense(32, activation="relu", name="interp22")(other)
    other = Dense(16, activation="relu", name="interp23")(other)
    merged = concatenate([one, other], name="merge")
    return Model(x, Dense(10, activation="softmax", name="output")(merged), name="shared_feature_extractor")


def several_inputs():
    def branch(h, number):
        for at, filters in ((1, 32), (2, 16)):
            h = Conv2D(filters, 4, activation="relu", name=f"conv{number}{at}")(h)
            h = MaxPooling2D(name=f"pool{number}{at}")(h)
        return Flatten(name=f"flat{number}")(h)

    gray, rgb = Input((64, 64, 1), name="img_gray_bigsize"), Input((32, 32, 3), name="img_rgb_smallsize")
    merged = concatenate([branch(gray, 1), branch(rgb, 2)], name="merge")
    hidden = Dense(64, activation="relu", name="hidden2")(Dense(128, activation="relu", name="hidden1")(merged))
    return Model([gray, rgb], Dense(10, activation="softmax", name="output")(hidden), name="several_inputs")


def several_outputs():
    x = Input((784, 1), name="input")
    extract = LSTM(64, return_sequences=True, name="extract")(x)
    hidden = Dense(32, activation="relu", name="class12")(LSTM(32, name="class11")(extract))
    one = Dense(10, activation="softmax", name="output1")(hidden)
    other = TimeDistributed(Dense(10, activation="softmax", name="step"), name="output2")(extract)
    return Model(x, [one, other], name="several_outputs")


NETWORKS = (
    multilayer_perceptron,
    convolutional_network,
    recurrent_network,
    shared_input,
    shared_feature_extractor,
    several_inputs,
    several_outputs,
)


def draw(folder: Path) -> None:
    """Draw all of them.

    Args:
        folder: where to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for network in NETWORKS:
        file = folder / f"{network.__name__}.svg"
        plot_model(network(), file, show_shapes=True, show_layer_names=True, show_layer_activations=True)


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
