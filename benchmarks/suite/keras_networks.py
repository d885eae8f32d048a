"""The networks in Keras's words, for lamina and for Keras: each function takes the library and gives the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from suite.workloads import CLASSES, WORKLOADS


def inputs(library: Any, network: str) -> list[Any]:
    """The symbolic inputs of a network."""
    return [library.Input(shape) for shape in WORKLOADS[network].inputs]


def classified(layers: Any, x: Any, *units: int, activation: str = "relu") -> Any:
    """Dense layers of `units`, then the probabilities of the classes."""
    for count in units:
        x = layers.Dense(count, activation=activation)(x)
    return layers.Dense(CLASSES, activation="softmax")(x)


def convolved_and_pooled(layers: Any, x: Any, filters: tuple[int, ...], size: int, activation: str) -> Any:
    """Convolutions with pooling behind each, flattened."""
    for count in filters:
        x = layers.MaxPooling2D(2)(layers.Conv2D(count, size, activation=activation)(x))
    return layers.Flatten()(x)


def mlp(library: Any) -> Any:
    """Four Dense layers."""
    (x,) = inputs(library, "mlp")
    return library.Model(x, classified(library.layers, x, 512, 216, 128))


def lenet(library: Any) -> Any:
    """LeNet-5 with sigmoids and max pooling."""
    (x,) = inputs(library, "lenet")
    y = convolved_and_pooled(library.layers, x, (6, 16), 5, "sigmoid")
    return library.Model(x, classified(library.layers, y, 120, 84, activation="sigmoid"))


def cnn(library: Any) -> Any:
    """Two wide convolutions."""
    (x,) = inputs(library, "cnn")
    y = convolved_and_pooled(library.layers, x, (128, 64), 4, "relu")
    return library.Model(x, classified(library.layers, y, 64))


def resnet(library: Any) -> Any:
    """Six residual blocks of three widths."""
    layers = library.layers

    def normalized(x: Any, filters: int, strides: int = 1) -> Any:
        return layers.BatchNormalization()(layers.Conv2D(filters, 3, strides=strides, padding="same")(x))

    def block(x: Any, filters: int, strides: int) -> Any:
        y = layers.Activation("relu")(normalized(x, filters, strides))
        y = normalized(y, filters)
        beside = x if strides == 1 else normalized(x, filters, strides)
        return layers.Activation("relu")(layers.add([beside, y]))

    (x,) = inputs(library, "resnet")
    y = layers.Activation("relu")(normalized(x, 16))
    for filters, strides in ((16, 1), (16, 1), (32, 2), (32, 1), (64, 2), (64, 1)):
        y = block(y, filters, strides)
    return library.Model(x, classified(layers, layers.Flatten()(layers.AveragePooling2D(8)(y))))


def lstm(library: Any) -> Any:
    """An image read pixel by pixel."""
    (x,) = inputs(library, "lstm")
    return library.Model(x, classified(library.layers, library.layers.LSTM(128)(x), 128))


def two_towers(library: Any) -> Any:
    """Two images of different sizes, one answer."""
    given = inputs(library, "two_towers")
    towers = [convolved_and_pooled(library.layers, x, (32, 16), 4, "relu") for x in given]
    return library.Model(given, classified(library.layers, library.layers.concatenate(towers), 128, 64))


def two_heads(library: Any) -> Any:
    """One answer for the sequence and one for each of its steps."""
    layers = library.layers
    (x,) = inputs(library, "two_heads")
    states = layers.LSTM(64, return_sequences=True)(x)
    whole = classified(layers, layers.LSTM(32)(states), 32)
    return library.Model(x, [whole, layers.TimeDistributed(layers.Dense(CLASSES, activation="softmax"))(states)])


def resnext50(library: Any) -> Any:
    """ResNeXt-50, its grouped convolutions written as 32 slices side by side, as its document has them."""
    layers, groups = library.layers, 32

    def normalized(x: Any, relu: bool = True) -> Any:
        y = layers.BatchNormalization()(x)
        return layers.ReLU()(y) if relu else y

    def pointwise(x: Any, filters: int, strides: int = 1) -> Any:
        return layers.Conv2D(filters, 1, strides=strides, use_bias=False)(x)

    def grouped(x: Any, filters: int, strides: int) -> Any:
        width, parts = filters // groups, []
        for first in range(0, filters, width):
            part = layers.Lambda(lambda t, first=first: t[:, :, :, first : first + width])(x)
            parts.append(layers.Conv2D(width, 3, strides=strides, padding="same", use_bias=False)(part))
        return layers.concatenate(parts)

    def block(x: Any, filters: int, strides: int, widens: bool) -> Any:
        y = normalized(pointwise(x, filters))
        y = normalized(grouped(y, filters, strides))
        y = normalized(pointwise(y, 2 * filters), relu=False)
        beside = normalized(pointwise(x, 2 * filters, strides), relu=False) if widens else x
        return layers.ReLU()(layers.add([y, beside]))

    (x,) = inputs(library, "resnext50")
    y = normalized(layers.Conv2D(64, 7, strides=2)(layers.ZeroPadding2D(3)(x)))
    y = layers.MaxPooling2D(3, strides=2)(layers.ZeroPadding2D(1)(y))
    for filters, blocks, strides in ((128, 3, 1), (256, 4, 2), (512, 6, 2), (1024, 3, 2)):
        for number in range(blocks):
            y = block(y, filters, strides if number == 0 else 1, number == 0)
    return library.Model(x, classified(layers, layers.GlobalAveragePooling2D()(y)))


NETWORKS: dict[str, Callable[[Any], Any]] = {
    function.__name__: function for function in (mlp, lenet, cnn, resnet, lstm, two_towers, two_heads, resnext50)
}
