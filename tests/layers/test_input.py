"""Input: where a graph begins."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lamina import config
from lamina.errors import ArgumentError, DtypeError
from lamina.layers import Dense, Input, InputLayer
from lamina.models import Model

SHAPES = [
    ({"shape": (28, 28, 1)}, (None, 28, 28, 1)),
    ({"shape": [None, 3]}, (None, None, 3)),
    ({"shape": ()}, (None,)),
    ({"shape": 5}, (None, 5)),
    ({"shape": (4,), "batch_size": 8}, (8, 4)),
    ({"batch_shape": (8, None, 4)}, (8, None, 4)),
    ({"batch_shape": (None,)}, (None,)),
    ({"shape": torch.Size((2, 3))}, (None, 2, 3)),
    ({"shape": np.ones((4, 5)).shape}, (None, 4, 5)),
    ({"shape": (np.int64(4),)}, (None, 4)),
]


@pytest.mark.parametrize(("arguments", "shape"), SHAPES)
def test_a_shape_is_that_of_a_sample_or_of_a_batch(arguments, shape):
    x = Input(**arguments)
    assert x.shape == shape and all(type(size) in (int, type(None)) for size in x.shape)
    assert x.dtype is torch.float32


@pytest.mark.parametrize(
    ("given", "dtype"),
    [("int32", torch.int32), (torch.float64, torch.float64), (np.float16, torch.float16), (bool, torch.bool)],
)
def test_a_dtype_may_be_given_in_any_form(given, dtype):
    x = Input((2,), dtype=given)
    assert x.dtype is dtype and x.node.op.dtype == str(dtype).removeprefix("torch.")


def test_the_default_dtype_is_that_of_the_process():
    config.set_floatx("float64")
    assert Input((2,)).dtype is torch.float64


def test_names_are_counted_or_given():
    assert [Input((2,)).name, Input((2,)).name, Input((2,), name="image").name] == [
        "input_layer",
        "input_layer_1",
        "image",
    ]


@pytest.mark.parametrize("arguments", [{}, {"shape": (2,), "batch_shape": (None, 2)}])
def test_one_of_the_two_shapes_is_needed(arguments):
    with pytest.raises(ArgumentError, match="Input takes shape or batch_shape, one of the two"):
        Input(**arguments)


@pytest.mark.parametrize("shape", [(2, "a"), (2, -1), (2.5,), "ab"])
def test_what_is_no_shape_is_refused(shape):
    with pytest.raises(ArgumentError, match="This is no shape") as caught:
        Input(shape)
    assert repr(shape) in str(caught.value)


def test_an_unknown_dtype_is_refused_with_the_nearest():
    with pytest.raises(DtypeError, match="Unknown dtype") as caught:
        Input((2,), dtype="flaot32")
    assert "did you mean 'float32'?" in str(caught.value)


def test_the_layer_behind_it_is_built_has_no_weights_and_gives_back_its_input():
    layer = InputLayer((4,), name="x")
    assert layer.built and layer.weights == [] and layer.output.name == "x" and layer.batch_shape == (None, 4)
    data = torch.ones(2, 4)
    assert layer(data) is data


def test_a_config_goes_round():
    layer = InputLayer((None, 3), batch_size=2, dtype="int32", name="x")
    assert layer.get_config() == {"batch_shape": (2, None, 3), "dtype": "int32", "name": "x"}
    other = InputLayer.from_config(layer.get_config())
    assert other.output.shape == (2, None, 3) and other.output.dtype is torch.int32 and other.name == "x"


def test_one_input_may_begin_two_models():
    x = Input((4,))
    first, second = Model(x, Dense(2)(x)), Model(x, x * 2)
    data = torch.ones(1, 4)
    assert first(data).shape == (1, 2) and second(data).tolist() == [[2.0] * 4]
