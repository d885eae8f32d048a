"""The rows of a functional graph, read off its nodes: nothing runs."""

from __future__ import annotations

from typing import Any

import torch

from lamina import config
from lamina.engine import nest
from lamina.engine.symbolic import Operation, SymbolicTensor
from lamina.inspection.described import bytes_of, opens, put_inside, row_of, shape_of
from lamina.inspection.report import Link, Row
from lamina.inspection.running import run


class GraphRows:
    """The rows of a model that is a graph, in the order of its calls, and of such models inside.

    Args:
        rows: where the rows are appended.
        model: a `Sequential` or a functional model. A `Sequential`'s `Input` is left out, as in Keras.
        expand_nested: whether the layers of models inside have rows too.
        append_other: appends the rows inside a layer that is no graph, given it, a node at which it is called and its
            place.
        inside: the place of the model's own row, or `None` for the outermost one.
    """

    def __init__(
        self, rows: list[Row], model: Any, expand_nested: bool, append_other: Any, inside: int | None = None
    ) -> None:
        self._rows = rows
        self._expand = expand_nested
        self._append_other = append_other
        self._counted: dict[Any, int] = {}
        self._graphs: list[tuple[Any, int | None, dict[int, int]]] = []
        self._append(model, inside)
        for found in self._graphs:  # when every row has its place, the outer ones first
            self._connect(*found)

    def _append(self, model: Any, inside: int | None) -> None:
        """Append the rows of `model`, which stands in the row `inside`."""
        places: dict[int, int] = {}
        self._graphs.append((model, inside, places))
        members = {id(node) for node in model.graph.nodes}
        for op in model.graph.ops:
            nodes = [node for node in op.nodes if id(node) in members]
            if hasattr(model, "_stack") and not nodes[0].inputs:
                continue
            places[id(op)] = place = len(self._rows)
            row = self._row(op, nodes)
            put_inside(row, self._rows, inside)
            self._rows.append(row)
            if self._expand and opens(op):
                if is_graph(op):
                    self._append(op, place)
                else:
                    self._append_other(op, nodes[0], place)

    def _row(self, op: Any, nodes: list[Any]) -> Row:
        """A row for a layer or an operation that is called at `nodes`."""
        if isinstance(op, Operation):
            row = Row(op.name, getattr(op.function, "__name__", "function"), trainable=False)
        else:
            row = row_of(op)
        row.call_shapes = [nest.map_nest(shape_of, node.outputs) for node in nodes]
        inputs, outputs = nodes[0].inputs, nodes[0].output_list
        row.input_shape = inputs[0].shape if len(inputs) == 1 else [tensor.shape for tensor in inputs] or None
        row.dtype = str(outputs[0].dtype).removeprefix("torch.") if outputs else None
        row.activation_bytes = sum(bytes_of(tensor) for node in nodes for tensor in node.output_list)
        row.flops = sum(self._flops(op, node, row) for node in nodes if node.inputs)
        return row

    def _flops(self, op: Any, node: Any, row: Row) -> int:
        """The operations of one call for one sample; layers of equal arguments are counted once, as are functions of
        equal code.
        """
        weights = () if isinstance(op, Operation) else tuple(weight.shape for weight in op.weights)
        key = (
            type(op),
            repr(row.config) if row.config else id(op),
            weights,
            tuple(tensor.spec for tensor in node.inputs),
        )
        if key not in self._counted:
            self._counted[key] = flops_of_node(op, node)
        return self._counted[key]

    def _connect(self, model: Any, inside: int | None, places: dict[int, int]) -> None:
        """Say for each row of `model` which tensors it takes."""
        graph, rows = model.graph, self._rows
        outer = rows[inside].links if inside is not None else []
        begins = {id(tensor): [link] for tensor, link in zip(graph.input_list, outer, strict=False)}
        for node in graph.nodes:
            place = places.get(id(node.op))
            if place is None:
                continue
            for tensor in node.inputs or node.output_list:  # an inner Input hands on what comes from outside
                rows[place].links += _links(tensor, places, place) or begins.get(id(tensor), [])
        if inside is not None:
            rows[inside].results = [found for tensor in graph.output_list for found in _links(tensor, places)]


def is_graph(model: Any) -> bool:
    """Whether a model is a graph rather than a class with a `call` of its own.

    Args:
        model: the model.
    """
    return isinstance(getattr(type(model), "graph", None), property)


def flops_of_node(op: Any, node: Any) -> int:
    """The floating-point operations of a call in a graph for one sample; 0 if it cannot be run without memory.

    Args:
        op: the layer or operation.
        node: the call.
    """
    if isinstance(op, Operation):
        return run(
            torch.nn.Identity(), op.function, [], node.args, node.kwargs, config.device(), ways=("abstract",)
        ).flops_outside
    return run(op, op._run_abstractly, [], node.args, node.kwargs, op.home(), ways=("abstract",)).flops_outside


def _links(tensor: SymbolicTensor, places: dict[int, int], reader: int | None = None) -> list[Link]:
    """The link to the row that makes `tensor`; none if it has no row, or is the `Input` that reads it."""
    node = tensor.node
    if node is None or id(node.op) not in places or (not node.inputs and places[id(node.op)] == reader):
        return []
    which = next(i for i, made in enumerate(node.output_list) if made is tensor)
    return [Link(node.op.name, places[id(node.op)], node.op.nodes.index(node), which)]
