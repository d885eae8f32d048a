"""Rows of models that must run to be known."""

from __future__ import annotations

import dataclasses
import threading

import numpy as np
import pytest
import torch
from museum import MUSEUM
from torch import nn

from lamina import Layer, layers
from lamina.errors import ArgumentError, NotBuiltError, ShapeError
from lamina.inspection import measure
from lamina.models import Model, Sequential


class Block(nn.Module):
    def __init__(self, width=4, shortcut=True):
        super().__init__()
        self.first, self.relu, self.second = nn.Linear(width, width), nn.ReLU(inplace=True), nn.Linear(width, width)
        self.shortcut = nn.Sequential(nn.Linear(width, width), nn.Identity()) if shortcut else None

    def forward(self, x):
        y = self.second(self.relu(self.first(x)))
        return self.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.body, self.head = (
            nn.Linear(3, 4),
            nn.Sequential(Block(), Block(shortcut=False)),
            nn.Linear(4, 2),
        )
        self.scale = nn.Parameter(torch.ones(2))

    def forward(self, x):
        return self.head(self.body(self.stem(x))) * self.scale


def test_torch_rows_come_in_the_order_in_which_calls_end():
    report = measure(Net(), (3,))
    assert report.style == "torch"
    assert [(row.name, row.class_name, row.num_params, row.depth, row.inputs) for row in report.rows] == [
        ("stem", "Linear", 16, 0, []),
        ("body.0.first", "Linear", 20, 1, ["stem"]),
        ("body.0.relu", "ReLU", 0, 1, ["body.0.first"]),
        ("body.0.second", "Linear", 20, 1, ["body.0.relu"]),
        ("body.0.shortcut.0", "Linear", 20, 1, ["stem"]),
        ("body.0.shortcut.1", "Identity", 0, 1, ["body.0.shortcut.0"]),
        ("body.0.relu", "ReLU", 0, 1, ["body.0.second", "body.0.shortcut.1"]),
        ("body.0", "Block", 0, 0, ["stem"]),
        ("body.1.first", "Linear", 20, 1, ["body.0"]),
        ("body.1.relu", "ReLU", 0, 1, ["body.1.first"]),
        ("body.1.second", "Linear", 20, 1, ["body.1.relu"]),
        ("body.1.relu", "ReLU", 0, 1, ["body.1.second", "body.0"]),
        ("body.1", "Block", 0, 0, ["body.0"]),
        ("head", "Linear", 10, 0, ["body.1"]),
        ("Net", "own weights", 2, 0, []),
    ]
    assert report.total_params == sum(p.numel() for p in Net().parameters()) == sum(r.num_params for r in report.rows)


def test_keras_rows_come_one_a_layer_and_open_on_request():
    closed = measure(Net(), (3,), style="keras")
    assert [(row.name, row.class_name, row.num_params, row.inputs) for row in closed.rows] == [
        ("stem", "Linear", 16, []), ("body", "Sequential", 100, ["stem"]), ("head", "Linear", 10, ["body"]),
        ("Net", "own weights", 2, []),
    ]  # fmt: skip
    opened = measure(Net(), (3,), style="keras", expand_nested=True).rows
    assert [(row.path, row.depth, row.parent) for row in opened][:4] == [
        ("stem", 0, None), ("body", 0, None), ("body/0", 1, 1), ("body/0/first", 2, 2),
    ]  # fmt: skip
    by_path = {row.path: row for row in opened}
    assert by_path["body/0/first"].inputs == ["stem"] and by_path["body/1"].inputs == ["0"]
    assert [link.name for link in by_path["body"].results] == ["1"]
    assert [opened[link.row].path for link in by_path["body/0"].results] == ["body/0/relu"]
    assert len(by_path["body/0/relu"].call_shapes) == 2


def test_weights_of_modules_that_are_never_called_count_where_they_are_used():
    report = measure(nn.Sequential(Attends()), (5, 8))
    rows = {row.class_name: row.num_params for row in report.rows}
    assert rows == {"MultiheadAttention": 288, "Attends": 0}


class Attends(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        return self.attention(x, x, x)[0]


def test_a_module_that_is_called_twice_counts_once():
    rows = measure(MUSEUM["twice"][0](), (3, 33, 33)).rows
    assert [(row.output_shape, row.num_params, row.inputs) for row in rows] == [
        ((None, 3, 16, 16), 84, []), ((None, 3, 7, 7), 0, ["conv"]),
    ]  # fmt: skip
    (row,) = measure(MUSEUM["twice"][0](), (3, 33, 33), style="keras").rows
    assert row.output_shape == [(None, 3, 16, 16), (None, 3, 7, 7)] and [link.call for link in row.links] == [0]


def test_dicts_dataclasses_and_named_tuples_show_what_is_in_them():
    assert measure(MUSEUM["dict"][0](), (4,), style="keras").rows[0].output_shape == {
        "first": (None, 3), "second": (None, 3), "note": None,
    }  # fmt: skip
    holder = nn.Sequential(MUSEUM["named tuple"][0](), Reads())
    assert measure(holder, (4,)).rows[1].output_shape == {"mean": (), "parts": ((None, 2), None)}
    assert dataclasses.is_dataclass(MUSEUM["dataclass"][0]()(torch.ones(1, 4)))


class Reads(nn.Module):
    def forward(self, found):
        return found.mean


def test_several_inputs_go_to_several_arguments_and_names_to_names():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 2), nn.Linear(5, 2)

        def forward(self, x, y):
            return self.a(x) + self.b(y)

    for size in ([(3,), (5,)], {"y": (5,), "x": (3,)}):
        report = measure(Two(), size)
        assert [row.input_shape for row in report.rows] == [(None, 3), (None, 5)]
        assert report.input_bytes == 4 * 8
    data = [np.ones((4, 3), "float32"), torch.ones(4, 5)]
    assert [row.output_shape for row in measure(Two(), input_data=data).rows] == [(None, 2)] * 2


def test_a_size_may_have_its_batch_axis_and_a_number_is_a_size():
    for size in ((None, 3), (3,), 3, [3]):
        assert measure(nn.Linear(3, 2), size).rows[0].output_shape == (None, 2)


def test_whole_numbers_are_tried_where_floats_fail_and_dtypes_may_be_said():
    table = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 2))
    assert measure(table, (7,)).failure is None and measure(table, (7,), dtypes=torch.int32).failure is None
    failed = measure(table, (7,), dtypes="float32").failure
    assert failed.expected == "whole numbers" and "x.long()" in failed.fix


def test_sizes_that_follow_the_batch_are_unknown_and_others_are_not():
    class Regroups(nn.Module):
        def forward(self, x):
            return x.reshape(-1, 2), x.sum(0)

    assert measure(nn.Sequential(Regroups()), (6,)).rows[0].output_shape == ((None, 2), (6,))


@pytest.mark.parametrize("style", ["keras", "torch"])
def test_a_run_that_fails_has_the_rows_up_to_there(style):
    class Fails(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(4, 8), nn.Sequential(nn.ReLU(), nn.Linear(9, 3)), nn.Linear(3, 1)

        def forward(self, x):
            return self.c(self.b(self.a(x)))

    report = measure(Fails(), (4,), style=style, expand_nested=True)
    assert report.rows[-1].failed and report.rows[-1].output_shape is None and report.rows[-1].class_name == "Linear"
    assert [row.name for row in report.rows if row.call_shapes][:1] == ["a"] and "c" not in [
        r.name for r in report.rows
    ]
    failure = report.failure
    assert "Linear raised RuntimeError: mat1 and mat2 shapes cannot be multiplied" in failure.what
    assert failure.where == ("b/1" if style == "keras" else "b.1")
    assert failure.expected == "a last axis of in_features=9" and "(None, 8)" in failure.received
    assert failure.fix.startswith("make it nn.Linear(8, 3)")


ADVICE = {
    "flatten": (nn.Linear(12, 2), (3, 2, 2), "flatten the input first: x.flatten(1)"),
    "channels last": (nn.Conv2d(3, 4, 3), (8, 8, 3), "the channels stand last: pass x.movedim(-1, 1)"),
    "channels": (nn.Conv2d(3, 4, 3), (5, 8, 8), "set in_channels=5, or change what comes before it"),
    "axes": (nn.Conv2d(3, 4, 3), (3,), "pass a batch of 4 axes: (batch, channels, ...)"),
    "features": (nn.BatchNorm1d(3), (5,), "set num_features=5"),
    "last axes": (nn.LayerNorm(3), (5,), "set normalized_shape=5"),
    "sequence": (nn.GRU(3, 4), (2, 5), "set input_size=5"),
}


@pytest.mark.parametrize("case", ADVICE)
def test_an_error_of_torchs_comes_with_what_to_do(case):
    module, size, fix = ADVICE[case]
    failure = measure(module, size).failure
    assert failure is not None and failure.fix == fix and failure.expected and str((None, *size)) in failure.received


def test_an_error_of_the_models_own_code_marks_the_model():
    class Fails(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(4, 2)

        def forward(self, x):
            raise ValueError(f"nothing to do with {self.a(x).shape[1]} numbers")

    report = measure(Fails(), (4,))
    assert [(row.name, row.failed) for row in report.rows] == [("a", False), ("Fails", True)]
    assert report.failure.where == "Fails" and "nothing to do with 2 numbers" in report.failure.what


def test_a_layer_of_laminas_that_fails_says_so_in_its_own_words():
    model = Sequential([layers.Dense(3, name="a"), layers.Conv2D(2, 3, name="conv")], name="net")
    report = measure(model, (4,))
    assert [row.name for row in report.rows if row.call_shapes] == ["a"] and report.rows[-1].failed
    assert report.failure.where.endswith("conv") and "4" in report.failure.expected and not model.built


def test_an_unbuilt_model_is_measured_by_a_size_and_stays_unbuilt():
    model = Sequential([layers.Dense(3, name="a"), nn.LazyLinear(2)])
    report = measure(model, (4,))
    assert [row.output_shape for row in report.rows] == [(None, 3), (None, 2)] and report.total_params == 23
    assert not model.built


def test_raw_children_and_own_layers_open_in_a_graph():
    class Holds(Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.inner, self.norm = nn.Linear(4, 3), layers.LayerNormalization(name="norm")

        def call(self, x):
            return {"y": self.norm(self.inner(x))}

    x = layers.Input((4,), name="x")
    model = Model(x, layers.Dense(2, name="out")(Holds(name="holds")(x)["y"]))
    rows = measure(model, expand_nested=True).rows
    assert [(row.path, row.class_name, row.output_shape, row.inputs) for row in rows] == [
        ("x", "InputLayer", (None, 4), []),
        ("holds", "Holds", {"y": (None, 3)}, ["x"]),
        ("holds/inner", "Linear", (None, 3), ["x"]),
        ("holds/norm", "LayerNormalization", (None, 3), ["inner"]),
        ("out", "Dense", (None, 2), ["holds"]),
    ]
    assert [link.name for link in rows[1].results] == ["norm"]
    assert [row.path for row in measure(model).rows] == ["x", "holds", "out"]


def test_what_cannot_be_measured_is_refused_with_one_thing_to_do():
    with pytest.raises(ArgumentError, match="is a torch module, which does not say what it takes") as caught:
        measure(nn.Linear(3, 2))
    assert "input_size=(3, 32, 32)" in caught.value.fix
    with pytest.raises(ArgumentError, match="There is nothing to measure") as caught:
        measure(nn.Linear)
    assert caught.value.fix == "pass an object, not its class"
    with pytest.raises(ArgumentError, match="Both a size and data"):
        measure(nn.Linear(3, 2), (3,), torch.ones(1, 3))
    with pytest.raises(ArgumentError, match="A size is not positive"):
        measure(nn.Linear(3, 2), (0, 3))
    with pytest.raises(ArgumentError, match="This is no size") as caught:
        measure(nn.Linear(3, 2), "3")
    assert "'3' of type str" in caught.value.received
    with pytest.raises(NotBuiltError, match="is not built"):
        measure(Sequential([layers.Dense(2)]))
    with pytest.raises(ShapeError, match="takes inputs of another size") as caught:
        measure(Sequential([layers.Input((4,)), layers.Dense(2)]), (5,))
    assert caught.value.expected == "(None, 4)" and caught.value.received == "(None, 5)"


def test_a_model_without_weights_that_cannot_be_copied_says_what_to_do():
    model = nn.Sequential(nn.LazyLinear(3))
    model.lock = threading.Lock()
    with pytest.raises(NotBuiltError, match="cannot be copied") as caught:
        measure(model, (4,))
    assert caught.value.fix == "call it on a batch of data first"
