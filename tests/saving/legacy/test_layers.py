"""Layers that Keras 3 no longer has, and old names of layers and arguments."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import lamina
from lamina import layers
from lamina.engine.layer import Layer
from lamina.errors import LoadError, ShapeError, WeightsError
from lamina.saving.legacy import model_from_legacy_json
from lamina.saving.legacy.layers import ROWS, find_class, todays_arguments
from lamina.saving.legacy.local import LocallyConnected1D, LocallyConnected2D
from lamina.saving.legacy.merging import merge_of
from lamina.saving.legacy.objects import hard_sigmoid_2, read_object
from lamina.saving.legacy.retired import (
    LEGACY_LAYERS,
    AddLoss,
    Highway,
    MaxoutDense,
    ParametricSoftplus,
    ThresholdedReLU,
)


def made(kind, shape, **config):
    """The one layer of a Sequential model of Keras 1 or 2."""
    entry = {"class_name": kind, "config": {"name": "l", "batch_input_shape": [None, *shape], **config}}
    return model_from_legacy_json({"class_name": "Sequential", "config": [entry]}).layers[0]


@pytest.mark.parametrize("rows", ROWS)
def test_every_row_leads_to_a_layer(rows):
    assert issubclass(find_class(rows), Layer)


def check_gradients(layer, shape):
    """Gradients with respect to weights and input, against finite differences."""
    layer(torch.zeros(shape))
    layer.double()
    x = torch.rand(shape, dtype=torch.float64, requires_grad=True)
    names, values = zip(*[(n, p.detach().clone().requires_grad_()) for n, p in layer.named_parameters()], strict=True)
    for value in values:
        value.data.normal_()

    def run(x, *values):
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(run, (x, *values))


@pytest.mark.parametrize(
    "layer, shape",
    [
        (LocallyConnected1D(2, 3, strides=2), (2, 7, 2)),
        (LocallyConnected1D(2, 3, padding="same"), (2, 4, 2)),
        (LocallyConnected2D(2, (3, 2), activation="tanh"), (2, 4, 4, 2)),
        (LocallyConnected2D(2, 2, data_format="channels_first"), (2, 2, 3, 4)),
        (MaxoutDense(3), (2, 4)),
        (Highway(activation="tanh"), (2, 4)),
        (ParametricSoftplus(), (2, 4)),
    ],
)
def test_gradients_are_those_of_finite_differences(layer, shape):
    check_gradients(layer, shape)


@pytest.mark.parametrize("name", list(LEGACY_LAYERS))
def test_a_retired_layer_comes_back_from_its_config(name):
    required = {"LocallyConnected1D": (2, 3), "LocallyConnected2D": (2, 3), "MaxoutDense": (3,), "CosineMerge": (1,)}
    layer = LEGACY_LAYERS[name](*required.get(name, ()))
    config = layer.get_config()
    assert type(layer).from_config(config).get_config() == config


def test_a_locally_connected_layer_with_equal_kernels_is_a_convolution():
    x = torch.randn(2, 6, 5, 3)
    for padding in ("valid", "same"):
        conv, local = layers.Conv2D(4, 3, (2, 1), padding), LocallyConnected2D(4, 3, (2, 1), padding)
        expected, _ = conv(x), local(x)
        with torch.no_grad():
            local.kernel.copy_(conv.kernel.reshape(1, 27, 4).expand_as(local.kernel))
            local.bias.copy_(conv.bias.expand_as(local.bias))
        torch.testing.assert_close(local(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_the_layouts_of_a_local_kernel_are_one_and_the_same(data_format, padding):
    """A dense kernel is a matrix from the whole input to the whole output; numbers alone are its connected places."""
    shape = (1, 5, 4, 2) if data_format == "channels_last" else (1, 2, 5, 4)
    local = LocallyConnected2D(3, (3, 2), padding=padding, data_format=data_format, use_bias=False)
    x = torch.randn(shape)
    local(x)
    with torch.no_grad():
        local.kernel.normal_()
    kernel = local.kernel.detach().numpy() if padding == "valid" else None
    if padding == "valid":
        local.padding = "same"  # write the dense form of the same connections
        dense = None
        local.padding = "valid"
        assert local.kernel_to_file(kernel) is kernel
        return
    dense = local.kernel_to_file(local.kernel.detach().numpy())
    matrix = dense.reshape(np.prod(shape[1:]), -1)
    np.testing.assert_allclose(
        x.numpy().reshape(1, -1) @ matrix, local(x).detach().numpy().reshape(1, -1), rtol=1e-4, atol=1e-5
    )
    back = local.kernel_from_file(dense)
    numbers = dense.reshape(np.prod(shape[1:]), -1).T
    numbers = numbers[numbers != 0]  # by output, then by input
    np.testing.assert_array_equal(local.kernel_from_file(numbers), back)
    with torch.no_grad():
        expected = local(x)
        local.kernel.copy_(torch.as_tensor(back))
    torch.testing.assert_close(local(x), expected)


def test_a_local_kernel_of_another_model_is_refused():
    local = LocallyConnected1D(2, 3)
    local(torch.zeros(1, 6, 2))
    for kernel in (np.zeros((6, 2, 5, 2)), np.zeros(7)):
        with pytest.raises(WeightsError, match="kernel of 'locally_connected1d'"):
            local.kernel_from_file(kernel)


def test_a_local_layer_must_know_its_positions():
    with pytest.raises(ShapeError, match="weights for each position"):
        lamina.Sequential([layers.Input((None, 3)), LocallyConnected1D(2, 3)])


def test_a_threshold_keeps_what_is_above_it():
    assert ThresholdedReLU(0.5)(torch.tensor([0.5, 0.6, -1.0])).tolist() == pytest.approx([0.0, 0.6, 0.0])


def test_an_added_loss_is_part_of_the_training_loss():
    x = layers.Input((3,))
    y = layers.Dense(1, use_bias=False, kernel_initializer="ones")(x)
    model = lamina.Model(x, AddLoss()(y))
    model(torch.ones(2, 3))
    assert [loss.item() for loss in model.losses] == [3.0]


def test_the_old_hard_sigmoid_is_flatter():
    x = torch.linspace(-4, 4, 33)
    torch.testing.assert_close(hard_sigmoid_2(x), (0.2 * x + 0.5).clamp(0, 1))
    assert (hard_sigmoid_2(x) - F.hardsigmoid(x)).abs().max() > 0.05
    assert made("Activation", [3], activation="hard_sigmoid").activation is hard_sigmoid_2
    assert made("LSTM", [4, 3], units=2, recurrent_activation="hard_sigmoid").recurrent_activation is hard_sigmoid_2


@pytest.mark.parametrize(
    "kind, shape, config, expected",
    [
        ("LeakyReLU", [3], {"alpha": 0.1}, {"negative_slope": 0.1}),
        ("Dense", [3], {"output_dim": 2, "init": "he_normal", "bias": False}, {"units": 2, "use_bias": False}),
        (
            "Convolution2D",
            [8, 8, 1],
            {
                "nb_filter": 2,
                "nb_row": 3,
                "nb_col": 2,
                "border_mode": "same",
                "subsample": [2, 1],
                "dim_ordering": "tf",
            },
            {"filters": 2, "kernel_size": (3, 2), "padding": "same", "strides": (2, 1)},
        ),
        ("MaxPooling1D", [8, 1], {"pool_length": 3, "stride": 2}, {"pool_size": (3,), "strides": (2,)}),
        ("Dropout", [3], {"p": 0.3}, {"rate": 0.3}),
        ("GaussianNoise", [3], {"sigma": 0.3}, {"stddev": 0.3}),
        ("UpSampling1D", [4, 1], {"length": 3}, {"size": 3}),
        ("GRU", [4, 1], {"units": 3}, {"reset_after": False}),
        ("CuDNNGRU", [4, 1], {"units": 3}, {"reset_after": True}),
        ("BatchNormalization", [4, 4, 2], {"axis": [3]}, {"axis": 3}),
        ("SyncBatchNormalization", [4], {"axis": -1}, {"axis": -1}),
        (
            "DepthwiseConv2D",
            [8, 8, 2],
            {"kernel_size": [3, 3], "groups": 1, "kernel_initializer": "ones"},
            {"kernel_size": (3, 3)},
        ),
        (
            "LSTM",
            [4, 2],
            {"output_dim": 3, "forget_bias_init": "zero", "dropout_W": 0.1, "dropout_U": 0.2},
            {"unit_forget_bias": False, "dropout": 0.1, "recurrent_dropout": 0.2},
        ),
        ("LSTM", [4, 2], {"units": 3, "time_major": False, "implementation": 2, "unroll": True}, {"units": 3}),
    ],
)
def test_old_arguments_have_their_meaning(kind, shape, config, expected):
    layer = made(kind, shape, **config)
    assert {key: getattr(layer, key) for key in expected} == expected


def test_an_argument_that_would_change_the_result_is_not_passed_over():
    with pytest.raises(LoadError, match="LSTM 'l' has an argument 'time_major'"):
        made("LSTM", [4, 2], units=3, time_major=True)
    with pytest.raises(LoadError, match="normalizes each sample"):
        made("BatchNormalization", [4], mode=1)


@pytest.mark.parametrize(
    "kind, value, name, arguments",
    [
        ("regularizer", {"name": "L1L2Regularizer", "l1": 0.1, "l2": 0.2}, "L1L2", {"l1": 0.1, "l2": 0.2}),
        ("regularizer", {"class_name": "L1L2", "config": {"l1": 0.0, "l2": 0.2}}, "L1L2", {"l2": 0.2}),
        ("regularizer", "l2", "L2", {}),
        ("constraint", {"name": "MaxNorm", "m": 3, "axis": 0}, "MaxNorm", {"max_value": 3}),
        ("constraint", "maxnorm", "MaxNorm", {}),
        (
            "constraint",
            {"class_name": "MinMaxNorm", "config": {"low": 0.1, "high": 0.9}},
            "MinMaxNorm",
            {"min_value": 0.1},
        ),
        ("initializer", "glorot_uniform", "GlorotUniform", {}),
        (
            "initializer",
            {"class_name": "RandomNormal", "config": {"mean": 0.0, "stddev": 0.3, "seed": None, "dtype": "float32"}},
            "RandomNormal",
            {"stddev": 0.3},
        ),
        (
            "initializer",
            {
                "class_name": "VarianceScaling",
                "config": {"scale": 2.0, "mode": "fan_in", "distribution": "normal", "seed": None},
            },
            "VarianceScaling",
            {"scale": 2.0, "distribution": "truncated_normal"},
        ),
    ],
)
def test_old_forms_of_initializers_regularizers_and_constraints(kind, value, name, arguments):
    found = read_object(kind, value, {})
    assert type(found).__name__ == name
    assert {
        key: float(v) if isinstance(v := getattr(found, key), torch.Tensor) else v for key in arguments
    } == arguments


def test_objects_of_the_users_come_first():
    class Mine:
        @classmethod
        def from_config(cls, config):
            made = cls()
            made.config = config
            return made

    found = read_object("initializer", {"class_name": "Custom>Mine", "config": {"a": 1}}, {"Mine": Mine})
    assert found.config == {"a": 1}


@pytest.mark.parametrize(
    "mode, kind",
    [
        ("sum", "Add"),
        ("mul", "Multiply"),
        ("ave", "Average"),
        ("max", "Maximum"),
        ("concat", "Concatenate"),
        ("dot", "Dot"),
        ("cos", "CosineMerge"),
    ],
)
def test_modes_of_merge(mode, kind):
    assert type(merge_of({"name": "m", "mode": mode, "dot_axes": 1})).__name__ == kind


def test_an_unknown_mode_of_merge_is_refused():
    with pytest.raises(LoadError, match="Merge layer 'm'"):
        merge_of({"name": "m", "mode": "join"})


def test_arguments_without_a_meaning_are_left_out():
    found = todays_arguments(
        "Dense", {"units": 3, "batch_input_shape": [None, 2], "input_dtype": "float32", "name": "d"}
    )
    assert found == {"units": 3, "name": "d"}
