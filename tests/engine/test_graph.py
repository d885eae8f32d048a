"""A graph holds the calls between inputs and outputs, in an order in which they can run, and nothing else."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

from lamina.engine.graph import Graph
from lamina.engine.symbolic import Operation, SymbolicTensor
from lamina.errors import GraphError
from lamina.layers import Activation, Dense, Input, add
from lamina.models import Model, Sequential


def names(graph):
    return [node.op.name for node in graph.nodes]


def test_calls_stand_by_distance_from_the_outputs_and_then_by_first_use():
    x = Input((4,), name="x")
    short = Dense(4, name="short")(x)
    long = Dense(4, name="second")(Dense(4, name="first")(x))
    graph = Graph(x, add([short, long], name="sum"))
    assert names(graph) == ["x", "first", "short", "second", "sum"]


def test_a_layer_called_twice_is_one_op_and_two_nodes():
    x, shared = Input((4,), name="x"), Dense(4, name="shared")
    graph = Graph(x, shared(shared(x)))
    assert names(graph) == ["x", "shared", "shared"]
    assert [op.name for op in graph.ops] == ["x", "shared"]


def test_only_what_the_outputs_need_is_part_of_the_graph():
    x = Input((4,), name="x")
    h = Dense(4, name="used")(x)
    Dense(4, name="unused")(h)
    assert names(Graph(x, h)) == ["x", "used"]


def test_a_graph_may_begin_in_the_middle_of_another():
    x = Input((4,), name="x")
    h = Dense(3, name="first")(x)
    graph = Graph(h, Dense(2, name="second")(h))
    assert names(graph) == ["second"]


def test_a_graph_may_begin_at_an_input_and_at_what_follows_from_it():
    x = Input((4,), name="x")
    h = Dense(3, name="h")(x)
    model = Model([x, h], [Dense(2, name="y")(h), x + 1])
    y, more = model([torch.ones(2, 4), torch.zeros(2, 3)])
    assert y.tolist() == [[0.0, 0.0]] * 2  # the second input took the place of h
    assert more.tolist() == [[2.0] * 4] * 2


def test_an_input_that_leads_nowhere_is_part_of_the_graph_all_the_same():
    x, y = Input((4,), name="x"), Input((3,), name="y")
    graph = Graph([x, y], Dense(2, name="d")(x))
    assert sorted(names(graph)) == ["d", "x", "y"]
    assert Model([x, y], Dense(2)(x))([torch.ones(2, 4), torch.ones(2, 3)]).shape == (2, 2)


def test_an_output_may_be_an_input_and_may_come_twice():
    x = Input((4,))
    y = Dense(2)(x)
    model = Model(x, [x, y, y])
    data = torch.randn(3, 4)
    first, second, third = model(data)
    assert torch.equal(first, data) and torch.equal(second, third)
    assert torch.equal(Model(x, x)(data), data)


def test_a_disconnected_graph_names_the_tensor():
    x, y = Input((4,), name="x"), Input((4,), name="left_out")
    with pytest.raises(GraphError, match="the outputs need the tensor 'left_out', which no input leads to") as caught:
        Graph(x, add([x, y]))
    assert "add 'left_out' to inputs" in str(caught.value)


def test_outputs_before_the_inputs_are_disconnected():
    x = Input((4,), name="x")
    h = Dense(3, name="h")(x)
    with pytest.raises(GraphError, match="the outputs need the tensor 'x'"):
        Graph(Dense(2)(h), h)


def test_two_layers_of_one_name_are_refused():
    x = Input((4,))
    with pytest.raises(GraphError, match="Two layers of one model are named 'same'") as caught:
        Graph(x, Activation("relu", name="same")(Dense(2, name="same")(x)))
    assert "Dense and Activation" in str(caught.value) and "name='same_2'" in str(caught.value)


@pytest.mark.parametrize("value", [torch.ones(2), None, "x", 3])
def test_what_is_no_symbolic_tensor_is_refused(value):
    with pytest.raises(GraphError, match="The outputs of a functional model are symbolic tensors"):
        Graph(Input((2,)), value)
    with pytest.raises(GraphError, match="The inputs of a functional model are symbolic tensors"):
        Graph([value], Input((2,)))


def test_no_inputs_and_no_outputs_are_refused():
    with pytest.raises(GraphError, match="A functional model has no inputs"):
        Graph([], Input((2,)))
    with pytest.raises(GraphError, match="A functional model has no outputs"):
        Graph(Input((2,)), {})


def test_a_circle_of_calls_is_refused():
    x = Input((4,))
    y = torch.relu(x)
    z = torch.tanh(y)
    y.node.inputs[0] = z  # no call can do this
    with pytest.raises(GraphError, match="The calls go round in a circle at '(relu|tanh)'"):
        Graph(x, z)


def test_constants_are_found_in_nests_and_keywords_and_only_once():
    x, constant, other = Input((4,)), torch.ones(4), torch.zeros(4)
    y = torch.cat([x * constant, torch.add(x, other=other)], dim=-1) + torch.cat([constant, constant])
    found = Graph(x, y).constants()
    assert {id(t) for t in found} > {id(constant), id(other)}
    assert len(found) == 3


def test_a_graph_written_down_and_restored_is_equal_and_apart():
    x, z = Input((4,), name="x"), Input((2,), name="z")
    shared = Dense(4, name="shared")
    values, _ = torch.topk(shared(shared(x)), k=2)
    graph = Graph({"a": x, "b": z}, [values + z, (x[:, :2],)])
    restored = Graph.restored(graph.written_down({}))
    assert names(restored) == names(graph)
    assert restored.ops[1] is graph.ops[1]
    assert list(restored.inputs) == ["a", "b"] and isinstance(restored.outputs[1], tuple)
    assert [t.spec for t in restored.input_list + restored.output_list] == [
        t.spec for t in graph.input_list + graph.output_list
    ]
    assert not {id(node) for node in restored.nodes} & {id(node) for node in graph.nodes}
    assert all(isinstance(t, SymbolicTensor) for t in restored.input_list)


def test_a_constant_that_was_replaced_is_written_down_as_what_it_is_now():
    x, old, new = Input((4,)), torch.ones(4), torch.zeros(4)
    graph = Graph(x, x * old)
    assert Graph.restored(graph.written_down({id(old): new})).constants()[0] is new


def test_names_of_operations_do_not_clash_with_those_of_layers():
    x = Input((4,))
    y = x + 1
    graph = Graph(x, Activation("relu", name="add")(y))
    assert [op.name for op in graph.ops[1:]] == ["add", "add"]
    assert isinstance(graph.ops[1], Operation) and not isinstance(graph.ops[2], Operation)


def test_a_chain_deeper_than_pythons_stack_is_built_copied_pickled_and_run():
    x = inputs = Input((1,))
    for _ in range(1_500):
        x = Activation("linear")(x)
    model = Model(inputs, x)
    assert len(model.layers) == 1_501
    data = torch.ones(1, 1)
    assert torch.equal(model(data), data)
    assert torch.equal(copy.deepcopy(model)(data), data)
    assert torch.equal(pickle.loads(pickle.dumps(model))(data), data)
    assert model.state_dict() == {}


def test_a_sequential_deeper_than_pythons_stack_is_built_copied_and_run():
    model = Sequential([Input((1,)), *[Activation("linear") for _ in range(1_500)]])
    data = torch.ones(1, 1)
    assert torch.equal(copy.deepcopy(model)(data), data)
