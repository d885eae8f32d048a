"""A run without memory gives the shapes of the real run, and leaves everything as it was."""

from __future__ import annotations

import pytest
import torch

from lamina.engine import abstract
from lamina.engine.abstract import Spec, abstract_call, known_shape, specs_of_shapes
from lamina.engine.layer import Layer
from lamina.errors import GraphError
from lamina.layers import Dense, Input
from lamina.models import Model


def shape(function, *shapes, dtype=torch.float32):
    return abstract_call(function, tuple(Spec(s, dtype) for s in shapes), {}).shape


def test_unknown_sizes_stay_unknown_and_known_ones_known():
    assert shape(lambda x: x.flatten(1), (None, 4, 6)) == (None, 24)
    assert shape(lambda x: x.flatten(1), (None, None, 6)) == (None, None)
    assert shape(lambda x: x.reshape(-1, 6), (None, None, 6)) == (None, 6)
    assert shape(lambda x: x.sum(0), (None, 4)) == (4,)
    assert shape(lambda x: x @ x.mT, (None, None, 6)) == (None, None, None)
    assert shape(lambda x: x.unfold(1, 64, 64), (None, None)) == (None, None, 64)
    assert shape(lambda x: x, (3, 4)) == (3, 4)


def test_dtypes_nests_and_values_come_along():
    found = abstract_call(
        lambda x: {"a": [x.long(), x > 0], "n": x.dim(), "s": "text"}, (Spec((None, 2), torch.float64),), {}
    )
    assert found == {"a": [Spec((None, 2), torch.int64), Spec((None, 2), torch.bool)], "n": 2, "s": "text"}


def test_tensors_among_the_arguments_are_taken_as_they_are():
    weight = torch.randn(4, 3)
    assert abstract_call(torch.matmul, (Spec((None, 4), torch.float32), weight), {}).shape == (None, 3)


def test_new_tensors_inside_have_no_memory():
    assert shape(lambda x: x + torch.zeros(x.shape[0], 10**6, 10**6)[:, :1, 0], (None, 1)) == (None, 1)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: torch.unbind(x), "The number of results of <lambda> depends on a size that is not known yet"),
        (lambda x: x.shape[0], "<lambda> gives a Python value that depends on a size that is not known yet"),
        (
            lambda x: x[(0,) * (x.shape[0] % 2)] if x.shape[0] == 1009 else x,
            "The rank of the result of <lambda> depends",
        ),
    ],
)
def test_a_form_that_depends_on_an_unknown_size_is_refused(function, message):
    with pytest.raises(GraphError, match=message):
        abstract_call(function, (Spec((None, 4, 4), torch.float32),), {})


def test_sizes_that_stand_in_are_known_as_unknown_only_inside_and_only_where_they_do():
    seen = []

    def look(x):
        seen.append(known_shape(x))
        return x

    abstract_call(look, (Spec((None, None, 3), torch.float32),), {})
    assert seen == [(None, None, 3)] * 2
    real = torch.empty(1009, 5952, device="meta")
    assert known_shape(real) == (1009, 5952)
    seen.clear()
    abstract_call(look, (Spec((1009, 5952, 7104), torch.float32),), {})  # known, though they look like stand-ins
    assert seen == [(1009, 5952, 7104)] * 2


def test_a_batch_merged_with_another_axis_is_still_unknown():
    seen = []
    abstract_call(lambda x: seen.append(known_shape(x.flatten(0, 1))), (Spec((None, 5, 3), torch.float32),), {})
    assert seen == [(None, 3)] * 2


def test_running_is_said_inside_and_not_after_an_error():
    assert not abstract.running()
    with pytest.raises(ZeroDivisionError):
        abstract_call(lambda x: 1 / 0 if abstract.running() else x, (Spec((2,), torch.float32),), {})
    assert not abstract.running()


def test_a_layer_met_unbuilt_makes_real_weights():
    class Net(Model):
        def __init__(self):
            super().__init__()
            self.first, self.second = Dense(4), Dense(2)

        def call(self, x):
            return self.second(self.first(x.flatten(1)))

    net = Net()
    net.build((None, 3, 5))
    assert net.first.kernel.shape == (15, 4) and type(net.first.kernel) is torch.nn.Parameter
    assert net.second.kernel.abs().sum() > 0


def test_features_that_equal_a_stand_in_are_features():
    class Net(Model):
        def __init__(self):
            super().__init__()
            self.dense = Dense(1)

        def call(self, x):
            return self.dense(x)

    for features in (1009, 5952, 7104):
        net = Net()
        net.build((None, features))
        assert net.dense.kernel.shape == (features, 1)


def test_whole_numbers_are_tried_where_floats_fail_and_the_first_error_counts():
    table = torch.randn(10, 4)
    assert specs_of_shapes(lambda x: table[x], (None, 3), torch.float32) == Spec((None, 3, 4), torch.float32)
    with pytest.raises(RuntimeError, match="1009, 3"):
        specs_of_shapes(lambda x: x @ table, (None, 3), torch.float32)


def test_a_layer_of_another_device_is_run_there():
    layer = Dense(2)
    layer.build((None, 3))
    layer.to("meta")
    assert layer(Input((3,))).shape == (None, 2)

    class Ghost(Layer):
        def call(self, x):
            return x @ layer.kernel

    ghost = Ghost()
    ghost.layer = layer
    assert ghost(Input((3,))).shape == (None, 2)
    assert abstract_call(lambda x: x + 1, (Spec((2,), torch.float32),), {}, torch.device("meta")).shape == (2,)


def test_a_reason_is_told_without_the_sizes_that_stand_in():
    assert abstract.reason_of(ValueError("got [1009, 4] and 5952\nmore")) == "got [None, 4] and None"
    assert abstract.reason_of(ValueError("size 10090")) == "size 10090"
    assert abstract.reason_of(ValueError()) == "ValueError"
