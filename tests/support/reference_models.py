"""Small models of the kinds that people take out of a library, with data for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

import lamina
from lamina import layers as L
from lamina.applications.resnet import CifarResNet


class Reference(NamedTuple):
    """A model and what it takes."""

    make: Callable[[], Any]
    data: Callable[[int], Any]
    """From a batch size to inputs."""


def images(height: int, width: int, channels: int) -> Callable[[int], torch.Tensor]:
    return lambda batch: torch.randn(batch, height, width, channels)


def rows(*sizes: int) -> Callable[[int], torch.Tensor]:
    return lambda batch: torch.randn(batch, *sizes)


def mlp() -> Any:
    return lamina.Sequential(
        [L.Input((12,)), L.Dense(8, activation="relu"), L.Dropout(0.5), L.Dense(6, activation="gelu"), L.Dense(3)]
    )


def lenet() -> Any:
    return lamina.Sequential(
        [
            L.Input((12, 12, 1), name="image"),
            L.Conv2D(4, 3, padding="same", activation="tanh", name="conv1"),
            L.AveragePooling2D(2),
            L.Conv2D(6, 3, activation="tanh", name="conv2"),
            L.MaxPooling2D(),
            L.Flatten(),
            L.Dropout(0.25),
            L.Dense(10, activation="tanh", name="fc1"),
            L.Dense(5, activation="softmax", name="fc2"),
        ],
        name="lenet",
    )


def cnn() -> Any:
    return lamina.Sequential(
        [
            L.Input((11, 10, 3)),
            L.Conv2D(6, 4, strides=2, padding="same", use_bias=False),
            L.BatchNormalization(),
            L.Activation("relu"),
            L.MaxPooling2D(3, 2, padding="same"),
            L.Conv2D(4, 3, dilation_rate=2, padding="same", activation="elu"),
            L.AveragePooling2D(2, 1, padding="same"),
            L.GlobalAveragePooling2D(),
            L.Dense(3),
        ]
    )


def resnet() -> Any:
    return CifarResNet(depths=(1, 1), input_shape=(9, 9, 3), classes=4, classifier_activation=None)


def resnext() -> Any:
    """A block whose 3x3 convolution has groups, beside a shortcut; once as an argument, once as slices."""
    x = inputs = L.Input((8, 8, 8))
    y = L.Conv2D(8, 1, activation="relu")(x)
    y = L.Conv2D(8, 3, padding="same", groups=4, activation="relu")(y)
    x = L.ReLU()(L.Add()([x, L.Conv2D(8, 1)(y)]))
    parts = [L.Conv2D(2, 3, padding="same")(x[..., 2 * i : 2 * i + 2]) for i in range(4)]
    x = L.Add()([x, L.BatchNormalization()(L.Concatenate()(parts))])
    return lamina.Model(inputs, L.Dense(3)(L.GlobalMaxPooling2D()(x)))


def lstm() -> Any:
    return lamina.Sequential(
        [L.Input((6, 4)), L.LSTM(5, return_sequences=True, name="lstm"), L.LSTM(3, name="last"), L.Dense(2)]
    )


def bidirectional() -> Any:
    return lamina.Sequential(
        [
            L.Input((6, 4)),
            L.Bidirectional(L.GRU(5, return_sequences=True)),
            L.Bidirectional(L.LSTM(3), merge_mode="sum"),
            L.Dense(2),
        ]
    )


def attention() -> Any:
    """Embedded words that look at each other."""
    ids = L.Input((7,), dtype="int64", name="ids")
    x = L.Embedding(20, 8)(ids)
    q, k, v = (L.Dense(8)(x).reshape(-1, 7, 2, 4).transpose(1, 2) for _ in range(3))
    mixed = torch.nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(-1, 7, 8)
    x = L.LayerNormalization()(x + L.Dense(8)(mixed))
    return lamina.Model(ids, L.Dense(3, activation="softmax")(L.GlobalAveragePooling1D()(x)))


def encoder_decoder() -> Any:
    """Depthwise, separable and transposed convolutions, and both ways of making images larger."""
    return lamina.Sequential(
        [
            L.Input((8, 8, 3)),
            L.DepthwiseConv2D(3, padding="same", depth_multiplier=2, activation="relu"),
            L.SeparableConv2D(5, 3, strides=2, padding="same"),
            L.LayerNormalization(),
            L.Conv2DTranspose(4, 3, strides=2, padding="same", activation="leaky_relu"),
            L.UpSampling2D(2),
            L.Conv2DTranspose(3, 4, strides=2, padding="valid"),
            L.UpSampling2D(2, interpolation="bilinear"),
            L.ZeroPadding2D(((1, 0), (0, 2))),
            L.Cropping2D(((2, 1), (0, 3))),
            L.Conv2D(1, 1, activation="sigmoid"),
        ]
    )


def several() -> Any:
    """Pixels of one byte and a vector in; a dict out."""
    image = L.Input((6, 6, 1), dtype="uint8", name="image")
    age = L.Input((2,), name="age")
    x = L.Conv2D(3, 3, activation="relu")(image.to(torch.float32) / 255.0)
    x = L.Concatenate()([L.Flatten()(x), torch.sin(age)])
    return lamina.Model({"image": image, "age": age}, {"class": L.Dense(3)(x), "score": L.Dense(1)(x)})


def _several_data(batch: int) -> dict[str, torch.Tensor]:
    return {
        "image": torch.randint(0, 256, (batch, 6, 6, 1), dtype=torch.uint8),
        "age": torch.rand(batch, 2),
    }


class Residual(lamina.Model):
    """A subclassed model with a list of layers, a weight of its own and torch functions."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = [L.Dense(6, activation="tanh") for _ in range(2)]
        self.drop = L.Dropout(0.5)
        self.head = L.Dense(2)

    def call(self, x: torch.Tensor, training: bool | None = None) -> torch.Tensor:
        for block in self.blocks:
            x = x + self.drop(block(x), training=training)
        return self.head(torch.relu(x))


def subclassed() -> Any:
    model = Residual()
    model(torch.zeros(2, 6))
    return model


REFERENCES: dict[str, Reference] = {
    "mlp": Reference(mlp, rows(12)),
    "lenet": Reference(lenet, images(12, 12, 1)),
    "cnn": Reference(cnn, images(11, 10, 3)),
    "resnet": Reference(resnet, images(9, 9, 3)),
    "resnext": Reference(resnext, images(8, 8, 8)),
    "lstm": Reference(lstm, rows(6, 4)),
    "bidirectional": Reference(bidirectional, rows(6, 4)),
    "attention": Reference(attention, lambda batch: torch.randint(0, 20, (batch, 7))),
    "encoder_decoder": Reference(encoder_decoder, images(8, 8, 3)),
    "several": Reference(several, _several_data),
    "subclassed": Reference(subclassed, rows(6)),
}


def settled(name: str) -> Any:
    """The model with weights none of which is what it began with, running averages among them."""
    model = REFERENCES[name].make()
    generator = torch.Generator().manual_seed(len(name))
    with torch.no_grad():
        for weight in model.weights:
            weight.add_(torch.rand(weight.shape, generator=generator) * 0.2 - 0.06)
    return model


def batches(name: str) -> list[Any]:
    """Batches of 1, 3 and 17."""
    return [REFERENCES[name].data(size) for size in (1, 3, 17)]


def flat(data: Any) -> list[torch.Tensor]:
    """The tensors of inputs or outputs."""
    if isinstance(data, dict):
        return list(data.values())
    return list(data) if isinstance(data, (list, tuple)) else [data]
