"""Settings of the process."""

from __future__ import annotations

import math

import pytest
import torch

import lamina
from lamina import config
from lamina.errors import ArgumentError


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32", "float64"])
def test_the_float_type_can_be_set(name):
    config.set_floatx(name)
    assert config.floatx() == name
    assert lamina.dtypes.standardize_dtype(None) == name
    assert lamina.dtypes.global_policy().name == name


@pytest.mark.parametrize("value", ["float", "int32", None, 32, torch.float32, ["float32"]])
def test_another_float_type_is_refused_and_nothing_changes(value):
    with pytest.raises(ArgumentError, match="Unknown float type"):
        config.set_floatx(value)
    assert config.floatx() == "float32"


def test_the_float_type_is_that_of_new_weights():
    config.set_floatx("float64")
    dense = lamina.layers.Dense(2)
    assert dense(torch.ones(1, 3, dtype=torch.float64)).dtype == torch.float64
    assert dense.kernel.dtype == torch.float64


def test_epsilon_can_be_set():
    assert config.epsilon() == 1e-7
    config.set_epsilon("1e-3")
    assert config.epsilon() == 1e-3


@pytest.mark.parametrize("value", [0, -1e-7, math.nan, math.inf, "small", None, [1e-7]])
def test_epsilon_must_be_a_number_above_zero(value):
    with pytest.raises(ArgumentError, match="This cannot be epsilon"):
        config.set_epsilon(value)
    assert config.epsilon() == 1e-7


def test_the_data_format_can_be_set_in_any_case():
    config.set_image_data_format("Channels_First")
    assert config.image_data_format() == "channels_first"
    assert config.standardize_data_format(None) == "channels_first"
    assert config.standardize_data_format("CHANNELS_LAST") == "channels_last"


@pytest.mark.parametrize("value", ["channels_middle", None, 1])
def test_another_data_format_is_refused(value):
    with pytest.raises(ArgumentError, match="Unknown data format"):
        config.set_image_data_format(value)
    assert config.image_data_format() == "channels_last"


def test_the_best_device_is_the_default():
    assert config.device().type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_the_device_can_be_set_and_given_back():
    config.set_device("cpu")
    assert config.device() == torch.device("cpu")
    config.set_device("meta")
    assert lamina.initializers.get("zeros")((2,), device=config.device()).device.type == "meta"
    config.set_device(None)
    assert config.device().type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("device", ["nonsense", "", "cuda:99", 1.5, object(), ["cpu"]])
def test_a_device_that_is_not_there_is_refused_in_one_line_and_nothing_changes(device):
    config.set_device("cpu")
    with pytest.raises(ArgumentError, match="This device cannot be used") as caught:
        config.set_device(device)
    assert "\n" not in caught.value.received
    assert config.device() == torch.device("cpu")
