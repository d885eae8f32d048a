"""Functions of TensorFlow, as functions of torch; expected values are NumPy's or TensorFlow's documented ones."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from lamina.errors import LoadError
from lamina.saving.legacy import model_from_legacy_json
from lamina.saving.legacy.functions import FUNCTIONS
from lamina.saving.legacy.operations import Operations

X = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")


def called(name, *args, **kwargs):
    found = FUNCTIONS[name](*(torch.as_tensor(a) if isinstance(a, np.ndarray) else a for a in args), **kwargs)
    return np.asarray(found)


SINGLE = {
    "nn.relu": lambda x: np.maximum(x, 0),
    "math.exp": np.exp,
    "math.abs": np.abs,
    "math.square": np.square,
    "math.negative": np.negative,
    "math.sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "math.tanh": np.tanh,
    "nn.elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "math.softplus": lambda x: np.log1p(np.exp(x)),
    "nn.relu6": lambda x: np.clip(x, 0, 6),
    "math.sign": np.sign,
    "math.floor": np.floor,
    "math.sin": np.sin,
    "nn.silu": lambda x: x / (1 + np.exp(-x)),
    "zeros_like": np.zeros_like,
    "math.reciprocal": np.reciprocal,
    "nn.leaky_relu": lambda x: np.where(x > 0, x, 0.2 * x),
    "identity": lambda x: x,
    "math.round": np.round,
}


@pytest.mark.parametrize("name", SINGLE)
def test_functions_of_one_tensor(name):
    np.testing.assert_allclose(called(name, X), SINGLE[name](X), rtol=1e-5, atol=1e-6)


PAIRS = {
    "__operators__.add": np.add,
    "math.subtract": np.subtract,
    "math.multiply": np.multiply,
    "math.truediv": np.divide,
    "math.maximum": np.maximum,
    "math.minimum": np.minimum,
    "math.greater": np.greater,
    "math.floordiv": np.floor_divide,
    "math.floormod": np.mod,
    "math.squared_difference": lambda x, y: (x - y) ** 2,
    "math.less_equal": np.less_equal,
    "math.divide_no_nan": np.divide,
    "__operators__.rsub": lambda x, y: y - x,
    "__operators__.rtruediv": lambda x, y: y / x,
}


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("other", [X[::-1].copy(), 0.5, [1.0, 2.0, 3.0, 4.0]])
def test_functions_of_two_tensors_or_one_and_numbers(name, other):
    np.testing.assert_allclose(
        called(name, X, other), PAIRS[name](X, np.asarray(other, "float32")), rtol=1e-5, atol=1e-5
    )


def test_a_division_by_zero_that_gives_zero():
    np.testing.assert_array_equal(called("math.divide_no_nan", np.float32([1, 2]), np.float32([0, 4])), [0.0, 0.5])


REDUCTIONS = {
    "math.reduce_mean": np.mean,
    "math.reduce_sum": np.sum,
    "math.reduce_max": np.max,
    "math.reduce_min": np.min,
    "math.reduce_prod": np.prod,
    "math.reduce_variance": np.var,
    "math.reduce_std": np.std,
}


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("axis", [None, 1, -1, (0, 2), (-1, 1)])
@pytest.mark.parametrize("keepdims", [True, False])
def test_reductions(name, axis, keepdims):
    expected = REDUCTIONS[name](X, axis=axis, keepdims=keepdims)
    given = list(axis) if isinstance(axis, tuple) else axis
    np.testing.assert_allclose(called(name, X, axis=given, keepdims=keepdims), expected, rtol=1e-4, atol=1e-5)


CALLS = [
    ("concat", ([X, X],), {"axis": 1}, lambda: np.concatenate([X, X], 1)),
    ("stack", ([X, X],), {"axis": 1}, lambda: np.stack([X, X], 1)),
    ("reshape", (X,), {"shape": [-1, 6]}, lambda: X.reshape(-1, 6)),
    ("compat.v1.transpose", (X,), {"perm": None}, lambda: X.T),
    ("compat.v1.transpose", (X,), {"perm": [0, 2, 1]}, lambda: X.transpose(0, 2, 1)),
    ("expand_dims", (X,), {"axis": -2}, lambda: X[:, :, None]),
    ("compat.v1.squeeze", (X[:, :1],), {"axis": [1]}, lambda: X[:, 0]),
    ("reverse", (X,), {"axis": [0, 2]}, lambda: X[::-1, :, ::-1]),
    ("tile", (X,), {"multiples": [1, 2, 1]}, lambda: np.tile(X, [1, 2, 1])),
    ("repeat", (X,), {"repeats": 2, "axis": 1}, lambda: np.repeat(X, 2, 1)),
    ("broadcast_to", (X[:, :1],), {"shape": [2, 3, 4]}, lambda: np.broadcast_to(X[:, :1], (2, 3, 4))),
    (
        "compat.v1.pad",
        (X,),
        {"paddings": [[0, 0], [1, 0], [0, 2]], "constant_values": 3},
        lambda: np.pad(X, [(0, 0), (1, 0), (0, 2)], constant_values=3),
    ),
    (
        "compat.v1.pad",
        (X,),
        {"paddings": [[0, 0], [1, 2], [0, 0]], "mode": "REFLECT"},
        lambda: np.pad(X, [(0, 0), (1, 2), (0, 0)], "reflect"),
    ),
    (
        "compat.v1.pad",
        (X,),
        {"paddings": [[0, 0], [1, 2], [0, 0]], "mode": "SYMMETRIC"},
        lambda: np.pad(X, [(0, 0), (1, 2), (0, 0)], "symmetric"),
    ),
    ("compat.v1.gather", (X,), {"indices": [2, 0], "axis": 1}, lambda: X[:, [2, 0]]),
    ("compat.v1.gather", (X,), {"indices": [[2, 0]], "axis": -1}, lambda: X[:, :, [[2, 0]]]),
    ("math.cumsum", (X,), {"axis": 1, "exclusive": True}, lambda: np.cumsum(X, 1) - X),
    ("math.cumsum", (X,), {"axis": 1, "reverse": True}, lambda: np.cumsum(X[:, ::-1], 1)[:, ::-1]),
    ("math.argmax", (X,), {"axis": -1}, lambda: X.argmax(-1)),
    ("math.argmin", (X,), {"axis": 1}, lambda: X.argmin(1)),
    ("one_hot", (np.array([1, 0]),), {"depth": 3, "on_value": 2.0}, lambda: [[0, 2, 0], [2, 0, 0]]),
    ("linalg.matmul", (X, X), {"transpose_b": True}, lambda: X @ X.transpose(0, 2, 1)),
    ("linalg.matmul", (X, X), {"transpose_a": True}, lambda: X.transpose(0, 2, 1) @ X),
    ("tensordot", (X, X[0]), {"axes": [[2], [1]]}, lambda: np.tensordot(X, X[0], [[2], [1]])),
    ("linalg.norm", (X,), {"axis": -1}, lambda: np.linalg.norm(X, axis=-1)),
    ("math.l2_normalize", (X,), {"axis": [1, 2]}, lambda: X / np.sqrt((X**2).sum((1, 2), keepdims=True))),
    ("nn.softmax", (X,), {"axis": 1}, lambda: np.exp(X) / np.exp(X).sum(1, keepdims=True)),
    ("nn.bias_add", (X, np.float32([1, 2, 3])), {"data_format": "NCHW"}, lambda: X + np.float32([1, 2, 3])[:, None]),
    ("clip_by_value", (X,), {"clip_value_min": -0.2, "clip_value_max": 0.3}, lambda: np.clip(X, -0.2, 0.3)),
    ("where", (X > 0,), {"x": X, "y": 5.0}, lambda: np.where(X > 0, X, 5.0)),
    ("cast", (X > 0,), {"dtype": "float32"}, lambda: (X > 0).astype("float32")),
    ("math.add_n", ([X, X, X],), {}, lambda: 3 * X),
    (
        "strided_slice",
        (X, [0, 1, 0], [0, 3, 0], [1, 2, 1]),
        {"begin_mask": 1, "end_mask": 1, "shrink_axis_mask": 4},
        lambda: X[:, 1:3:2, 0],
    ),
    ("strided_slice", (X, [0, 0], [0, 1], [1, 1]), {"ellipsis_mask": 1, "new_axis_mask": 2}, lambda: X[..., None]),
]


@pytest.mark.parametrize("name, args, kwargs, expected", CALLS, ids=[f"{i}-{call[0]}" for i, call in enumerate(CALLS)])
def test_functions_with_arguments(name, args, kwargs, expected):
    def given(value):
        if isinstance(value, np.ndarray):
            return torch.as_tensor(value.copy())
        return [given(v) for v in value] if isinstance(value, list) else value

    found = FUNCTIONS[name](*map(given, args), **{key: given(value) for key, value in kwargs.items()})
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected()), rtol=1e-5, atol=1e-5)


def test_blocks_of_pixels_and_channels_are_those_of_tensorflow():
    """The example of `tf.nn.depth_to_space`'s documentation, and back."""
    deep = np.float32([[[[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]]]])
    flat = np.float32([[[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [10, 11, 12]]]])
    np.testing.assert_array_equal(called("nn.depth_to_space", deep, block_size=2), flat)
    np.testing.assert_array_equal(called("nn.space_to_depth", flat, block_size=2), deep)


def test_an_average_with_same_padding_counts_only_what_is_inside():
    image = np.float32([[[[1.0], [2.0], [3.0]]]])
    found = called("nn.avg_pool2d", image, ksize=[1, 1, 2, 1], strides=[1, 1, 2, 1], padding="SAME")
    np.testing.assert_array_equal(found.ravel(), [1.5, 3.0])
    found = called("nn.max_pool2d", -image, ksize=[1, 2], strides=[1, 2], padding="SAME")
    np.testing.assert_array_equal(found.ravel(), [-1.0, -3.0])


@pytest.mark.parametrize(
    "name, args, kwargs",
    [
        ("compat.v1.pad", (X,), {"paddings": [[0, 0]] * 3, "mode": "WRAP"}),
        ("cast", (X,), {"dtype": "nn"}),
        ("where", (X > 0,), {}),
        ("compat.v1.gather", (X,), {"indices": [0], "batch_dims": 1}),
        ("image.resize", (X[None],), {"size": [2, 2], "method": "lanczos3"}),
        ("fill", ([2],), {"value": 1}),
        ("nn.dropout", (X,), {"rate": 0.5}),
        ("reshape", (X,), {"shape": [None, None]}),
    ],
)
def test_what_is_not_known_is_refused(name, args, kwargs):
    with pytest.raises(LoadError):
        FUNCTIONS[name](*(torch.as_tensor(a) if isinstance(a, np.ndarray) else a for a in args), **kwargs)


def graph(*ops, shape=(None, 4), outputs=None):
    """A model of JSON: an input `x`, and calls `(name, function, node)`."""
    first = {"class_name": "InputLayer", "name": "x", "inbound_nodes": [], "config": {"name": "x", "dtype": "float32"}}
    first["config"]["batch_input_shape"] = list(shape)
    layers = [first]
    for name, function, node in ops:
        kind = "SlicingOpLambda" if function.endswith("getitem") else "TFOpLambda"
        layers.append(
            {"class_name": kind, "name": name, "config": {"name": name, "function": function}, "inbound_nodes": [node]}
        )
    ends = [[o, 0, 0] for o in (outputs or [ops[-1][0]])]
    config = {"name": "m", "layers": layers, "input_layers": [["x", 0, 0]], "output_layers": ends}
    return model_from_legacy_json(json.dumps({"class_name": "Functional", "config": config}))


def test_a_shape_that_is_computed_from_the_batch_is_that_of_each_batch():
    model = graph(
        ("shape", "compat.v1.shape", ["x", 0, 0, {}]),
        ("batch", "__operators__.getitem", ["shape", 0, 0, {"slice_spec": 0}]),
        ("steps", "__operators__.getitem", ["shape", 0, 0, {"slice_spec": 1}]),
        ("half", "compat.v1.floor_div", ["steps", 0, 0, {"y": 2}]),
        ("out", "reshape", ["x", 0, 0, {"shape": [["batch", 0, 0], ["half", 0, 0], -1]}]),
        shape=(None, 6, 5),
    )
    assert model(torch.zeros(2, 6, 5)).shape == (2, 3, 10) and model(torch.zeros(7, 6, 5)).shape == (7, 3, 10)


def test_a_slice_may_run_backwards_as_a_whole():
    model = graph(
        (
            "out",
            "__operators__.getitem",
            [
                "x",
                0,
                0,
                {
                    "slice_spec": [
                        {"start": None, "stop": None, "step": None},
                        {"start": None, "stop": None, "step": -1},
                    ]
                },
            ],
        )
    )
    assert model(torch.tensor([[1.0, 2.0, 3.0, 4.0]])).tolist() == [[4.0, 3.0, 2.0, 1.0]]


def test_an_operation_keeps_its_name():
    model = graph(("tf.nn.relu", "nn.relu", ["x", 0, 0, {}]))
    assert model.output_names == ["tf.nn.relu"]


@pytest.mark.parametrize("node", [b"\x0a\x03add", '{"op": "ReadFile"}', "no json", {"op": "PyFunc"}, None])
def test_a_raw_operation_that_is_not_known_is_refused(node):
    with pytest.raises(LoadError):
        Operations("TensorFlowOpLayer", {"name": "op", "node_def": node})(torch.zeros(2), {})
