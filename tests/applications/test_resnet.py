"""The residual network: its arguments, its form, and that all of it learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import lamina
from lamina import config
from lamina.applications import CifarResNet
from lamina.errors import ArgumentError, LaminaError

PUBLISHED = 197_418  # weights of the network of depths (2, 2, 2) for 32x32 images and 10 classes


def kinds(model: lamina.Model) -> list[str]:
    return [type(layer).__name__ for layer in model.layers]


def test_the_network_for_ten_classes_has_the_published_number_of_weights():
    model = CifarResNet(depths=(2, 2, 2), input_shape=(32, 32, 3), classes=10, classifier_activation="softmax")
    assert model.count_params() == CifarResNet().count_params() == PUBLISHED
    assert (model.input_shape, model.output_shape, model.name) == ((None, 32, 32, 3), (None, 10), "cifar_resnet")


@pytest.mark.parametrize(
    ("depths", "convolutions", "additions"), [((1,), 3, 1), ((3,), 7, 3), ((2, 1), 8, 3), ((1, 1, 1, 1), 12, 4)]
)
def test_each_block_has_two_convolutions_and_a_shortcut_where_the_shape_changes(depths, convolutions, additions):
    found = kinds(CifarResNet(depths=depths, input_shape=(16, 16, 1)))
    assert found.count("Conv2D") == found.count("BatchNormalization") == convolutions
    assert found.count("Add") == additions
    assert convolutions == 1 + 2 * sum(depths) + len(depths) - 1


def test_channels_double_and_sides_halve_from_stage_to_stage():
    model = CifarResNet(depths=(1, 2, 1, 1), input_shape=(20, 24, 2), classes=7)
    outputs = [layer.output.shape[1:] for layer in model.layers if type(layer).__name__ == "Add"]
    assert outputs == [(20, 24, 16), (10, 12, 32), (10, 12, 32), (5, 6, 64), (3, 3, 128)]
    assert model.layers[-3].pool_size == (3, 3) and model.output_shape == (None, 7)


@pytest.mark.parametrize("shape", [(4, 4, 1), (5, 4, 3), (7, 9, 2), (8, 8, 1)])
def test_small_images_and_odd_sides_pass(shape):
    model = CifarResNet(depths=[1, 1, 1], input_shape=shape, classes=3)
    with torch.no_grad():
        found = model(torch.randn(2, *shape))
    assert found.shape == (2, 3)
    np.testing.assert_allclose(found.sum(-1), [1, 1], rtol=1e-5)


def test_without_an_activation_the_outputs_are_logits():
    logits = CifarResNet(depths=(1,), input_shape=(8, 8, 1), classes=4, classifier_activation=None)
    chances = CifarResNet(depths=(1,), input_shape=(8, 8, 1), classes=4)
    chances.set_weights(logits.get_weights())
    x = torch.randn(3, 8, 8, 1)
    with torch.no_grad():
        assert not torch.allclose(logits(x).sum(-1), torch.ones(3))
        torch.testing.assert_close(torch.softmax(logits(x), -1), chances(x))


def test_the_numbers_are_those_of_the_same_network_written_in_torch():
    """One block with a plain shortcut and one with a convolution, layer by layer."""
    model = CifarResNet(depths=(1, 1), input_shape=(6, 6, 2), classes=3, classifier_activation=None)
    with torch.no_grad():
        for weight in model.weights:  # statistics that are not 0 and 1
            weight.copy_(torch.rand(weight.shape) * 0.5 + 0.1)
    layers = {layer.name: layer for layer in model.layers}

    def convolution(x, number, stride=1):
        suffix = f"_{number}" if number else ""
        conv, norm = layers[f"conv2d{suffix}"], layers[f"batch_normalization{suffix}"]
        # Keras pads "same" after the last pixel first: with stride 2 and even sides, only there.
        x = torch.nn.functional.pad(x, (1, 1, 1, 1) if stride == 1 else (0, 1, 0, 1))
        x = torch.nn.functional.conv2d(x, conv.kernel.permute(3, 2, 0, 1), conv.bias, stride)
        mean, variance = norm.moving_mean, norm.moving_variance
        return torch.nn.functional.batch_norm(x, mean, variance, norm.gamma, norm.beta, eps=1e-3)

    image = torch.randn(2, 6, 6, 2)
    with torch.no_grad():
        x = convolution(image.permute(0, 3, 1, 2), 0).relu()
        x = (x + convolution(convolution(x, 1).relu(), 2)).relu()
        out = convolution(convolution(x, 3, stride=2).relu(), 4)
        x = (convolution(x, 5, stride=2) + out).relu()
        dense = layers["dense"]
        expected = x.mean((2, 3)) @ dense.kernel + dense.bias
        torch.testing.assert_close(model(image), expected, rtol=1e-4, atol=1e-5)


def test_a_gradient_reaches_every_weight():
    model = CifarResNet(depths=(1, 1), input_shape=(8, 8, 1), classes=3)
    model.train()
    x, y = torch.randn(8, 8, 8, 1), torch.arange(8) % 3
    torch.nn.functional.nll_loss(model(x).log(), y).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
        # A bias before a normalization has no effect: its gradient is nothing but rounding.
        assert parameter.grad.abs().max() > 1e-6 or (name.endswith("bias") and "conv2d" in name), name


def test_it_learns():
    y = np.arange(24) % 3
    x = np.random.RandomState(0).rand(24, 8, 8, 1).astype("float32") * 0.1 + y[:, None, None, None] / 3
    model = CifarResNet(depths=(1, 1), input_shape=(8, 8, 1), classes=3)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(x, y, batch_size=8, epochs=12, verbose=0).history
    assert history["accuracy"][-1] > 0.9 and history["loss"][-1] < 0.5 * history["loss"][0]


def test_another_default_layout_changes_nothing():
    expected = CifarResNet(depths=(1, 1), input_shape=(8, 12, 3))
    config.set_image_data_format("channels_first")
    model = CifarResNet(depths=(1, 1), input_shape=(8, 12, 3), name="again")
    assert model.count_params() == expected.count_params() and model.name == "again"
    model.set_weights(expected.get_weights())
    x = torch.randn(2, 8, 12, 3)
    with torch.no_grad():
        torch.testing.assert_close(model(x), expected(x))


@pytest.mark.parametrize(
    "arguments",
    [
        {"depths": ()},
        {"depths": []},
        {"depths": 3},
        {"depths": "222"},
        {"depths": (2, 0, 2)},
        {"depths": (2, -1)},
        {"depths": (2, 1.5)},
        {"depths": None},
        {"input_shape": (32, 32)},
        {"input_shape": (None, None, 3)},
        {"input_shape": (32, 32, 0)},
        {"input_shape": (1, 32, 32, 3)},
        {"input_shape": 32},
        {"input_shape": (3, 32, 3)},
        {"input_shape": (32, 3, 3)},
        {"input_shape": (7, 7, 3), "depths": (1, 1, 1, 1)},
    ],
    ids=str,
)
def test_stages_and_images_that_cannot_be_are_refused(arguments):
    with pytest.raises(ArgumentError, match="CifarResNet cannot have these stages") as caught:
        CifarResNet(**arguments)
    for name, value in arguments.items():
        assert f"{name}={value!r}" in caught.value.received
    assert caught.value.fix == "CifarResNet(depths=(2, 2, 2), input_shape=(32, 32, 3))"


@pytest.mark.parametrize("arguments", [{"classes": 0}, {"classes": 1.5}, {"classifier_activation": "sofmax"}], ids=str)
def test_a_last_layer_that_cannot_be_is_refused(arguments):
    with pytest.raises(LaminaError, match="units|sofmax"):
        CifarResNet(depths=(1,), **arguments)


def test_the_message_says_how_small_an_image_may_be():
    with pytest.raises(ArgumentError, match="at least 8 pixels a side"):
        CifarResNet(depths=(1, 1, 1, 1), input_shape=(4, 4, 3))
