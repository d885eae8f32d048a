"""The small residual networks for 32x32 images, read from top to bottom."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any

from lamina.engine.symbolic import SymbolicTensor
from lamina.errors import ArgumentError
from lamina.layers import Activation, AveragePooling2D, BatchNormalization, Conv2D, Dense, Flatten, Input, add
from lamina.models import Model


def convolution(x: SymbolicTensor, filters: int, strides: int = 1) -> SymbolicTensor:
    """A 3x3 convolution and a batch normalization.

    Args:
        x: `(batch, height, width, channels)`.
        filters: the channels to come.
        strides: 2 halves height and width.
    """
    x = Conv2D(filters, 3, strides=strides, padding="same", data_format="channels_last")(x)
    return BatchNormalization()(x)


def residual_block(x: SymbolicTensor, filters: int, strides: int = 1) -> SymbolicTensor:
    """Two convolutions beside a shortcut, which is a convolution itself where the shape changes.

    Args:
        x: `(batch, height, width, channels)`.
        filters: the channels to come.
        strides: of the first convolution.
    """
    out = Activation("relu")(convolution(x, filters, strides))
    out = convolution(out, filters)
    shortcut = x if strides == 1 and x.shape[-1] == filters else convolution(x, filters, strides)
    return Activation("relu")(add([shortcut, out]))


def CifarResNet(
    depths: Sequence[int] = (2, 2, 2),
    input_shape: tuple[int, int, int] = (32, 32, 3),
    classes: int = 10,
    classifier_activation: Any = "softmax",
    name: str = "cifar_resnet",
) -> Model:
    """A residual network with stages of 16, 32 and 64 channels.

    Args:
        depths: the number of residual blocks in each stage; every stage after the first halves height and width
            and doubles the channels.
        input_shape: height, width and channels of an image.
        classes: the number of classes.
        classifier_activation: of the last layer; `None` gives logits.
        name: the model's name.

    Returns:
        A functional model from `(batch, height, width, channels)` to `(batch, classes)`.

    Raises:
        ArgumentError: there is no stage, the image is too small for as many, or `input_shape` is not of that form.

    Example:
        >>> CifarResNet(depths=(2, 2, 2)).count_params()
        197418

    Reference:
        He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, 2015, https://arxiv.org/abs/1512.03385
    """
    stages = tuple(depths) if isinstance(depths, (tuple, list)) else ()
    smallest = 2 ** max(len(stages) - 1, 0)
    sizes = tuple(input_shape) if isinstance(input_shape, (tuple, list)) else ()
    whole = all(isinstance(number, numbers.Integral) and int(number) > 0 for number in (*stages, *sizes))
    if not stages or not whole or len(sizes) != 3 or min(sizes[:2]) < smallest:
        raise ArgumentError(
            "CifarResNet cannot have these stages.",
            expected=f"one number of blocks a stage, each at least 1, and images (height, width, channels) of at least "
            f"{smallest} pixels a side",
            received=f"depths={depths!r}, input_shape={input_shape!r}",
            fix="CifarResNet(depths=(2, 2, 2), input_shape=(32, 32, 3))",
        )
    inputs = Input(input_shape)
    x = Activation("relu")(convolution(inputs, 16))
    for stage, blocks in enumerate(depths):
        for block in range(blocks):
            x = residual_block(x, 16 * 2**stage, strides=2 if stage and not block else 1)
    _, height, width, _ = x.shape
    x = AveragePooling2D((height, width), data_format="channels_last")(x)
    x = Flatten(data_format="channels_last")(x)
    return Model(inputs, Dense(classes, activation=classifier_activation)(x), name=name)
