"""A layer's arguments become plain data, and the data a layer again."""

from __future__ import annotations

import json

import torch

from lamina import activations, constraints, initializers, regularizers
from lamina.engine.configs import config_of, objects_from, plain
from lamina.engine.layer import Layer
from lamina.layers import Dense


def test_objects_are_described_and_functions_named():
    assert plain(regularizers.L2(0.5)) == {"class_name": "L2", "config": {"l2": 0.5}}
    assert plain([initializers.Zeros(), (constraints.NonNeg(),)])[0]["class_name"] == "Zeros"
    assert plain({"a": activations.relu, "n": None, "s": 3}) == {"a": "relu", "n": None, "s": 3}
    assert plain(torch.bfloat16) == "bfloat16"


def test_a_function_that_no_registry_knows_stays_a_function():
    def own(x):
        return x

    assert plain(own) is own
    assert plain(len) is len


def test_the_config_of_a_layer_of_ours_is_json():
    layer = Dense(3, "relu", kernel_initializer="he_normal", kernel_regularizer="l2", bias_constraint="non_neg")
    config = json.loads(json.dumps(config_of(layer)))
    assert config["units"] == 3 and config["activation"] == "relu"
    assert config["kernel_initializer"]["class_name"] == "HeNormal"
    assert Dense.from_config(config).get_config() == layer.get_config()


def test_arguments_of_a_users_layer_are_those_that_were_passed():
    class Mine(Layer):
        def __init__(self, first, second="b", *rest, flag=False, **kwargs):
            super().__init__(**kwargs)

    config = config_of(Mine(1, flag=True, name="m", dtype="float64"))
    assert config == {"name": "m", "trainable": True, "dtype": "float64", "first": 1, "flag": True}


def test_what_differs_from_the_default_in_every_layer_is_part_of_the_config():
    layer = Dense(2, autocast=False, activity_regularizer="l1")
    config = config_of(layer)
    assert config["autocast"] is False and config["activity_regularizer"]["class_name"] == "L1"
    assert "autocast" not in config_of(Dense(2))


def test_layers_that_are_described_are_made_and_other_dicts_are_left():
    made = objects_from({"layer": plain(Dense(2)), "list": [plain(Dense(3)), 4], "options": {"class_name": "x"}})
    assert isinstance(made["layer"], Dense) and made["list"][0].units == 3 and made["list"][1] == 4
    assert made["options"] == {"class_name": "x"}
