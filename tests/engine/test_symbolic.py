"""Whatever is done to a symbolic tensor gives the shape, and later the numbers, that torch gives for a real one."""

from __future__ import annotations

import math
import operator
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lamina import config
from lamina.engine.symbolic import Node, Operation, SymbolicTensor, TensorProperty
from lamina.engine.weights import WeightOwner
from lamina.errors import DtypeError, GraphError
from lamina.layers import Dense, Input
from lamina.models import Model


def assert_recorded(function, *shapes, dtype="float32", make=torch.randn):
    """`function` of symbolic tensors, run as a model on data, equals `function` of the data, shapes included."""
    inputs = [Input(shape, dtype=dtype) for shape in shapes]
    outputs = function(*inputs)
    model = Model(inputs, outputs)
    for batch in (3, 5):
        data = [make(batch, *[7 if size is None else size for size in shape]) for shape in shapes]
        found, wanted = model(data), function(*data)
        for symbolic, mine, theirs in zip(flat(outputs), flat(found), flat(wanted), strict=True):
            assert mine.dtype == theirs.dtype == symbolic.dtype
            assert mine.shape == theirs.shape
            assert len(symbolic.shape) == theirs.dim()
            assert all(size in (None, real) for size, real in zip(symbolic.shape, theirs.shape, strict=True))
            torch.testing.assert_close(mine, theirs, rtol=0, atol=0, equal_nan=True)
    return outputs


def flat(value):
    return list(value) if isinstance(value, (list, tuple)) else [value]


BINARY = [
    operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod, operator.lt,
    operator.le, operator.gt, operator.ge, operator.eq, operator.ne,
]  # fmt: skip


@pytest.mark.parametrize("function", BINARY, ids=lambda f: f.__name__)
def test_an_operator_takes_two_symbolic_tensors(function):
    assert_recorded(function, (4,), (4,))


@pytest.mark.parametrize("function", BINARY, ids=lambda f: f.__name__)
def test_an_operator_takes_a_number_on_either_side(function):
    assert_recorded(lambda x: [function(x, 1.5), function(-2, x)], (4,))


@pytest.mark.parametrize("function", BINARY, ids=lambda f: f.__name__)
def test_an_operator_takes_a_tensor_on_either_side(function):
    constant = torch.tensor([1.0, -2.0, 0.5, 3.0])
    assert_recorded(lambda x: [function(x, constant), function(constant, x)], (4,))


WHOLE = [operator.and_, operator.or_, operator.xor, operator.lshift, operator.rshift]


@pytest.mark.parametrize("function", WHOLE, ids=lambda f: f.__name__)
def test_a_bitwise_operator_takes_numbers_and_symbolic_tensors(function):
    def small(*shape):
        return torch.randint(0, 5, shape)

    assert_recorded(
        lambda x, y: [function(x, y), function(x, 2), function(3, x)], (4,), (4,), dtype="int64", make=small
    )


def test_powers_and_products_work_from_both_sides():
    square = torch.randn(4, 4)
    assert_recorded(lambda x: [x**2, 2**x, x**-1], (4,))
    assert_recorded(lambda x: [x @ square, square @ x, x @ x.mT], (4, 4))


@pytest.mark.parametrize("function", [operator.neg, operator.pos, abs], ids=lambda f: f.__name__)
def test_an_operator_of_one_operand_is_recorded(function):
    assert_recorded(function, (4,))


def test_not_is_recorded():
    assert_recorded(operator.invert, (4,), dtype="int64", make=lambda *shape: torch.randint(0, 5, shape))


def test_assigning_operators_make_a_new_tensor():
    def add_twice(x):
        y = x
        y += 1
        y *= 2
        return [x * 1, y]

    x = Input((4,))
    first, second = Model(x, add_twice(x))(torch.ones(2, 4))
    assert first.tolist() == [[1.0] * 4] * 2
    assert second.tolist() == [[4.0] * 4] * 2


INDICES = {
    "integer": lambda x: x[:, 1],
    "negative": lambda x: x[:, -1],
    "first axis": lambda x: x[0],
    "slice": lambda x: x[:, 1:3],
    "step": lambda x: x[:, ::2, 1::3],
    "none": lambda x: x[:, None],
    "none last": lambda x: x[..., None],
    "ellipsis": lambda x: x[..., 2],
    "ellipsis alone": lambda x: x[...],
    "empty tuple": lambda x: x[()],
    "list": lambda x: x[:, [0, 2]],
    "tuple in a tuple": lambda x: x[:, (0, 2)],
    "tuple alone": lambda x: x[(slice(None), 1)],
    "one tuple": lambda x: x[(0, 1),],
    "two lists": lambda x: x[[0, 1], (1, 2)],
    "tensor": lambda x: x[:, torch.tensor([2, 0, 0])],
    "slice that starts from the end": lambda x: x[:, -2:],
}


@pytest.mark.parametrize("name", INDICES)
def test_an_index_is_recorded(name):
    assert_recorded(INDICES[name], (4, 6))


def test_a_symbolic_tensor_is_an_index():
    x, index = Input((4,)), Input((2,), dtype="int64")
    model = Model([x, index], [torch.gather(x, 1, index), x[0][index]])
    data, places = torch.randn(3, 4), torch.tensor([[1, 0], [3, 2], [0, 0]])
    gathered, taken = model([data, places])
    assert torch.equal(gathered, data.gather(1, places))
    assert torch.equal(taken, data[0][places])


FUNCTIONS = {
    "method": lambda x: x.mean(dim=1),
    "method with keywords": lambda x: x.sum(dim=(1, 2), keepdim=True),
    "chain of methods": lambda x: x.abs().sqrt().clamp(max=1.0),
    "function": lambda x: torch.relu(x),
    "functional": lambda x: F.pad(x, (1, 2), mode="constant", value=3.0),
    "keywords": lambda x: F.gelu(input=x, approximate="tanh"),
    "property": lambda x: x.mT,
    "infinity": lambda x: x.masked_fill(x > 0, -math.inf).softmax(-1),
    "dtype": lambda x: x.to(torch.float64),
    "device": lambda x: x.to(torch.device("cpu")),
    "memory format": lambda x: x.clone(memory_format=torch.contiguous_format),
    "list of tensors": lambda x: torch.cat([x, x * 2], dim=-1),
    "stack": lambda x: torch.stack((x, -x), 1),
    "einsum": lambda x: torch.einsum("bij,bkj->bik", x, x),
    "where": lambda x: torch.where(x > 0, x, 0.5),
    "one output of several": lambda x: x.max(dim=1).values,
    "several outputs": lambda x: list(torch.max(x, dim=2)),
    "sort": lambda x: list(torch.sort(x, dim=-1, descending=True)),
    "topk": lambda x: list(torch.topk(x, 2)),
    "split": lambda x: list(torch.split(x, [1, 3], dim=1)),
    "chunk": lambda x: list(x.chunk(2, dim=-1)),
    "unbind": lambda x: list(torch.unbind(x, dim=1)),
    "unpacked": lambda x: [x.unbind(1)[0], x.unbind(1)[3]],
    "flatten": lambda x: torch.flatten(x, 1),
    "reshape": lambda x: x.reshape(-1, 24),
    "view": lambda x: x.view(-1, 2, 12),
    "permute": lambda x: x.permute(0, 2, 1),
    "unsqueeze": lambda x: x.unsqueeze(1).expand(-1, 5, -1, -1),
    "softmax": lambda x: torch.softmax(x, dim=-1),
    "comparison and any": lambda x: (x > 0).any(dim=-1),
    "linear algebra": lambda x: torch.linalg.vector_norm(x, dim=-1),
    "fft": lambda x: torch.fft.rfft(x, dim=-1).abs(),
    "a torch op": lambda x: torch.ops.aten.sigmoid(x),
    "interpolate": lambda x: F.interpolate(x, scale_factor=2.0),
    "scalar tensor": lambda x: x * torch.tensor(3.0),
    "new tensor": lambda x: torch.ones_like(x) + x,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_torch_function_is_recorded(name):
    assert_recorded(FUNCTIONS[name], (4, 6))


@pytest.mark.parametrize("name", ["method", "list of tensors", "split", "permute", "softmax", "topk", "pad"])
def test_an_axis_of_unknown_size_stays_unknown(name):
    function = {**FUNCTIONS, "pad": lambda x: F.pad(x, (0, 0, 1, 1)), "split": lambda x: x.split(3, dim=2)[0]}[name]
    assert_recorded(function, (None, 6))


def test_shapes_follow_unknown_sizes_through_windows_and_sums():
    x = Input((None, None, 3))
    assert (x + 1).shape == (None, None, None, 3)
    assert x.sum(dim=2).shape == (None, None, 3)
    assert F.avg_pool2d(x.permute(0, 3, 1, 2), 2).shape == (None, 3, None, None)
    assert torch.cat([x, x], dim=1).shape == (None, None, None, 3)
    assert x[:, :4].shape == (None, 4, None, 3)
    assert F.adaptive_avg_pool2d(x.permute(0, 3, 1, 2), 1).shape == (None, 3, 1, 1)


def test_a_fixed_batch_size_stays_known():
    x = Input((4,), batch_size=8)
    assert x.reshape(2, 16).shape == (2, 16)
    assert (x @ torch.ones(4, 3)).shape == (8, 3)
    assert len(x) == 8


def test_plain_values_come_out_as_values():
    x = Input((4, 6))
    assert x.dim() == x.ndim == 3
    assert x.size() == x.shape == (None, 4, 6)
    assert x.size(1) == 4 and x.size(-1) == 6 and x.size(0) is None
    assert x.is_floating_point() is True
    assert x.dtype is torch.float32
    assert x.device == config.device()
    assert Input((3,), batch_size=2).numel() == 6


@pytest.mark.parametrize("left", [True, False])
def test_numpy_arrays_take_part_in_the_default_float_type(left):
    array = np.array([1.0, 2.0, 3.0])
    x = Input((3,))
    for function in (operator.add, operator.mul, operator.sub, operator.truediv, operator.gt):
        y = function(array, x) if left else function(x, array)
        data, constant = torch.randn(2, 3), torch.tensor([1.0, 2.0, 3.0])
        assert torch.equal(Model(x, y)(data), function(constant, data) if left else function(data, constant))


def test_a_parameter_belongs_to_the_model_and_learns():
    scale = torch.nn.Parameter(torch.tensor([1.0, 2.0, 3.0]))
    x = Input((3,))
    model = Model(x, x * scale)
    assert [id(p) for p in model.parameters()] == [id(scale)]
    assert model.count_params() == 3
    model(torch.ones(2, 3)).sum().backward()
    assert scale.grad is not None and scale.grad.tolist() == [2.0, 2.0, 2.0]


def test_constants_follow_the_model_to_another_dtype_and_into_copies():
    x = Input((3,))
    model = Model(x, x * torch.tensor([1.0, 2.0, 3.0]) + torch.nn.Parameter(torch.ones(3)))
    model.double()
    assert model(torch.ones(1, 3, dtype=torch.float64)).tolist() == [[2.0, 3.0, 4.0]]
    copied = pickle.loads(pickle.dumps(model))
    assert copied(torch.ones(1, 3, dtype=torch.float64)).dtype is torch.float64
    assert len(list(copied.parameters())) == 1
    assert next(copied.parameters()) is not next(model.parameters())


def test_a_layers_weight_used_beside_the_layer_is_not_registered_twice():
    embed = Dense(4, use_bias=False, name="tied")
    x = Input((4,))
    model = Model(x, torch.matmul(embed(x), embed.kernel))
    assert list(model.state_dict()) == ["tied.kernel"]
    assert "torch.matmul(x, layer['tied'].kernel)" in model.code
    model.double()
    assert model(torch.ones(1, 4, dtype=torch.float64)).dtype is torch.float64


REFUSED = {
    "bool": (lambda x: bool(x), "neither true nor false", "torch.where"),
    "if": (lambda x: 1 if x > 0 else 2, "neither true nor false", "torch.where"),
    "len": (lambda x: len(x), "length is not known", "batch_size"),
    "iter": (lambda x: list(x), "cannot be iterated over", "torch.unbind"),
    "in": (lambda x: 1.0 in x, "cannot be searched", "torch.any"),
    "float": (lambda x: float(x), "is no number", "inside a layer's call"),
    "int": (lambda x: int(x), "is no number", "inside a layer's call"),
    "range": (lambda x: list(range(x)), "is no number", "inside a layer's call"),
    "array": (lambda x: np.asarray(x), "NumPy cannot work on it", "the torch function of the same name"),
    "numpy function": (lambda x: np.sin(x), "NumPy cannot work on it", "the torch function of the same name"),
    "assignment": (
        lambda x: operator.setitem(x, 0, 1.0),
        "nothing can be assigned into it",
        "torch.where or torch.cat",
    ),
    "in place": (lambda x: x.add_(1), r"add_\(\) cannot change it in place", r"use add\(\)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_needs_values_is_refused(name):
    function, what, fix = REFUSED[name]
    with pytest.raises(DtypeError, match=f"A symbolic tensor has no values yet, so .*{what}") as caught:
        function(Input((4,)))
    assert "shape=(None, 4)" in str(caught.value)
    with pytest.raises(DtypeError, match=f"fix: .*{fix}"):
        function(Input((4,)))


VALUES_NEEDED = {
    "unique": torch.unique,
    "nonzero": torch.nonzero,
    "mask": lambda x: x[x > 0],
    "slice": lambda x: x[:, : x[0, 0].long()],
}


@pytest.mark.parametrize("function", VALUES_NEEDED.values(), ids=VALUES_NEEDED)
def test_a_result_that_depends_on_values_is_refused(function):
    with pytest.raises(GraphError, match="cannot be applied here: its result depends on values"):
        function(Input((4,)))


def test_shapes_that_do_not_fit_are_refused_with_torchs_reason(capfd):
    with pytest.raises(GraphError, match="add cannot be applied here: .*4.*") as caught:
        Input((4,), name="a") + Input((3,), name="b")
    assert "[None, 3]" in str(caught.value)  # and not the size that stood in for the batch
    assert "shape=(None, 4), dtype=float32, name=a" in str(caught.value)
    assert "shape=(None, 3), dtype=float32, name=b" in str(caught.value)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("function", [lambda x: x.view(x.shape[0], -1), lambda x: x.reshape(x.size(0), 24)])
def test_an_unknown_size_as_an_argument_is_refused_with_the_way_out(function):
    with pytest.raises(GraphError, match="write -1 in its place, or use torch.flatten"):
        function(Input((4, 6)))


def test_a_number_of_results_that_depends_on_an_unknown_size_is_refused():
    with pytest.raises(GraphError, match="The number of results of unbind depends on a size that is not known"):
        torch.unbind(Input((None, 3)), dim=1)


def test_a_value_that_depends_on_an_unknown_size_is_refused():
    with pytest.raises(GraphError, match="numel gives a Python value that depends on a size that is not known"):
        Input((3,)).numel()


def test_an_attribute_that_no_tensor_has_is_an_attribute_error():
    with pytest.raises(AttributeError, match="neither SymbolicTensor nor torch.Tensor has an attribute 'foo'"):
        _ = Input((3,)).foo
    assert not hasattr(Input((3,)), "foo")


def test_operations_are_named_after_their_functions_and_numbered():
    x = Input((3,))
    names = [
        (x + 1).name,
        (x + 2).name,
        torch.relu(x).name,
        x.sum(1).name,
        (-x).name,
        x.mT.name if x.ndim > 2 else "mT",
    ]
    assert names == ["add", "add_1", "relu", "sum", "neg", "mT"]


def test_a_symbolic_tensor_describes_itself():
    x = Input((3,), name="image")
    assert repr(x) == "<SymbolicTensor shape=(None, 3), dtype=float32, name=image>"
    assert repr((x + 1).node) == "<Node add: 1 -> 1>"
    assert repr((x + 1).node.op) == "<Operation add_1>"
    assert SymbolicTensor((2, None), torch.int32).name == "symbolic_tensor"
    assert x.spec.shape == (None, 3) and x.spec.dtype is torch.float32


def test_a_node_keeps_what_went_in_and_what_came_out():
    x = Input((4,))
    values, places = torch.topk(x, k=2)
    node = values.node
    assert isinstance(node, Node) and isinstance(node.op, Operation)
    assert node.inputs == [x] and node.kwargs == {"k": 2}
    assert node.output_list[0] is values and node.output_list[1] is places
    assert node.op.target == "torch.topk"
    assert node.op.nodes == [node]


def test_two_symbolic_tensors_are_told_apart_in_sets_and_dicts():
    x, y = Input((4,)), Input((4,))
    assert len({x, y, x}) == 2
    assert {x: 1, y: 2}[y] == 2


def test_properties_are_equal_by_name():
    assert TensorProperty("mT") == TensorProperty("mT") != TensorProperty("mH")
    assert len({TensorProperty("mT"), TensorProperty("mT")}) == 1


def test_a_tensor_of_another_model_makes_no_trace_in_a_weight_owner():
    owner = WeightOwner()
    owner.symbolic = Input((3,))
    assert list(owner.parameters()) == [] and owner.symbolic.shape == (None, 3)
