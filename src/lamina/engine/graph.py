"""A functional graph as data: its nodes in order, between given inputs and outputs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from lamina.engine import nest
from lamina.engine.abstract import map_arguments
from lamina.engine.symbolic import Node, Operation, SymbolicTensor
from lamina.errors import GraphError


class Ref(NamedTuple):
    """Where a symbolic tensor stands in a graph that has been written down."""

    place: int


class Record(NamedTuple):
    """A node written down. It links to no other node, so a chain of any length can be copied."""

    op: Any  # the layer, or the function of an operation
    name: str | None  # of an operation; a layer carries its own
    args: Any
    kwargs: Any
    specs: Any


class Graph:
    """The calls that lead from `inputs` to `outputs`, in an order in which they can run.

    Args:
        inputs: a nest of symbolic tensors, where the graph begins.
        outputs: a nest of symbolic tensors, where it ends.

    Attributes:
        nodes: every call once, producers before consumers; Keras's order, which is by distance from the outputs
            and then by first use.
        ops: every layer and operation once, in that order.

    Raises:
        GraphError: an output depends on a tensor that no input leads to, two layers have one name, or the
            calls go round in a circle.
    """

    def __init__(self, inputs: Any, outputs: Any) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self.input_list = _checked(inputs, "inputs")
        self.output_list = _checked(outputs, "outputs")
        finished, first_use = _walk(self.input_list, self.output_list)
        self.nodes = _by_depth(finished, first_use)
        self.ops: list[Any] = list({id(node.op): node.op for node in self.nodes}.values())
        _check_names(self.ops)

    def constants(self) -> list[torch.Tensor]:
        """The tensors and Parameters among the arguments of the calls, each once."""
        found: dict[int, torch.Tensor] = {}

        def look(leaf: Any) -> Any:
            if isinstance(leaf, torch.Tensor):
                found.setdefault(id(leaf), leaf)
            return leaf

        for node in self.nodes:
            map_arguments(look, node.args)
            map_arguments(look, node.kwargs)
        return list(found.values())

    def written_down(self, current: Mapping[int, torch.Tensor]) -> dict[str, Any]:
        """The graph as flat data, for copying and pickling; `restored` reads it.

        Args:
            current: by id of a constant, the tensor that has taken its place, as after a move to another device.
        """
        made = {id(tensor) for node in self.nodes for tensor in node.output_list}
        free = [tensor for tensor in self.input_list if id(tensor) not in made]
        tensors = free + [tensor for node in self.nodes for tensor in node.output_list]
        places = {id(tensor): place for place, tensor in enumerate(tensors)}

        def ref(leaf: Any) -> Any:
            if isinstance(leaf, SymbolicTensor):
                return _Leaf(Ref(places[id(leaf)]))
            return current.get(id(leaf), leaf) if isinstance(leaf, torch.Tensor) else leaf

        records: list[Record] = []
        for node in self.nodes:
            operation = isinstance(node.op, Operation)
            op, name = (node.op.function, node.op.name) if operation else (node.op, None)
            args, kwargs = map_arguments(ref, node.args), map_arguments(ref, node.kwargs)
            specs = nest.map_nest(lambda t: t.spec if isinstance(t, SymbolicTensor) else t, node.outputs)
            records.append(Record(op, name, args, kwargs, specs))
        return {
            "free": [(tensor.spec, tensor.name) for tensor in free],
            "records": records,
            "inputs": nest.map_nest(ref, self.inputs),
            "outputs": nest.map_nest(ref, self.outputs),
        }

    @classmethod
    def restored(cls, data: dict[str, Any]) -> Graph:
        """The graph that `written_down` described, with nodes and symbolic tensors of its own."""
        values = [SymbolicTensor(spec.shape, spec.dtype, name=name) for spec, name in data["free"]]

        def deref(leaf: Any) -> Any:
            return values[leaf.ref.place] if isinstance(leaf, _Leaf) else leaf

        for op, name, args, kwargs, specs in data["records"]:
            target = op if name is None else Operation(op, name)
            node = Node(target, map_arguments(deref, args), map_arguments(deref, kwargs), specs)
            values.extend(node.output_list)
        return cls(nest.map_nest(deref, data["inputs"]), nest.map_nest(deref, data["outputs"]))


class _Leaf:
    """A `Ref` that nests take for a leaf."""

    def __init__(self, ref: Ref) -> None:
        self.ref = ref


def _checked(tensors: Any, what: str) -> list[SymbolicTensor]:
    """The leaves of `tensors`, all of them symbolic."""
    leaves = nest.flatten(tensors)
    for leaf in leaves:
        if not isinstance(leaf, SymbolicTensor):
            raise GraphError(
                f"The {what} of a functional model are symbolic tensors.",
                expected="what Input() and calls of layers on it give",
                received=f"{leaf!r} of type {type(leaf).__name__}",
                fix="start from lamina.Input(shape=...), and call layers on it",
            )
    if not leaves:
        raise GraphError(f"A functional model has no {what}.", received=repr(tensors), fix=f"pass {what}=...")
    return leaves


def _walk(inputs: list[SymbolicTensor], outputs: list[SymbolicTensor]) -> tuple[list[Node], dict[int, int]]:
    """The nodes behind `outputs`, each after what it needs, and the order in which each op was first met.

    The walk keeps its own stack, so that depth is bounded by memory and not by Python's recursion.
    """
    begins = {id(tensor) for tensor in inputs}
    finished: dict[int, Node] = {}
    open_nodes: set[int] = set()
    first_use: dict[int, int] = {}
    for output in outputs:
        stack: list[tuple[Node, int]] = []
        _enter(output, begins, stack, first_use)
        while stack:
            node, position = stack.pop()
            if id(node) in finished:
                continue
            if position == 0:
                if id(node) in open_nodes:
                    raise GraphError(
                        f"The calls go round in a circle at {node.op.name!r}.", fix="a layer cannot need its own output"
                    )
                open_nodes.add(id(node))
            if position == len(node.inputs):
                open_nodes.discard(id(node))
                finished[id(node)] = node
                continue
            stack.append((node, position + 1))
            tensor = node.inputs[position]
            if tensor.node is None or id(tensor.node) not in finished:
                _enter(tensor, begins, stack, first_use)
    for tensor in inputs:  # inputs that lead nowhere are part of the model all the same
        if tensor.node is not None and not tensor.node.inputs and id(tensor.node) not in finished:
            finished[id(tensor.node)] = tensor.node
            first_use.setdefault(id(tensor.node.op), -1)
    return list(finished.values()), first_use


def _enter(tensor: SymbolicTensor, begins: set[int], stack: list[tuple[Node, int]], first_use: dict[int, int]) -> None:
    """Put the node that makes `tensor` on the stack; nothing is behind an input but its own layer."""
    node = tensor.node
    if id(tensor) in begins and (node is None or node.inputs):
        return
    if node is None or (not node.inputs and id(tensor) not in begins):
        raise GraphError(
            f"The graph is disconnected: the outputs need the tensor {tensor.name!r}, which no input leads to.",
            expected="every Input that the outputs depend on among the model's inputs",
            received=repr(tensor),
            fix=f"add {tensor.name!r} to inputs, or define the outputs from the inputs you pass",
        )
    first_use.setdefault(id(node.op), len(first_use))
    stack.append((node, 0))


def _by_depth(finished: list[Node], first_use: dict[int, int]) -> list[Node]:
    """Nodes by falling distance from the outputs; at equal distance by the first use of their op."""
    node_depth: dict[int, int] = defaultdict(int)
    op_depth: dict[int, int] = defaultdict(int)
    by_id = {id(node): node for node in finished}
    for node in reversed(finished):
        depth = max(node_depth[id(node)], op_depth[id(node.op)])
        node_depth[id(node)] = op_depth[id(node.op)] = depth
        for tensor in node.inputs:
            parent = tensor.node
            if parent is not None and id(parent) in by_id:
                node_depth[id(parent)] = max(node_depth[id(parent)], depth + 1)
    return sorted(finished, key=lambda node: (-node_depth[id(node)], first_use[id(node.op)]))


def _check_names(ops: list[Any]) -> None:
    """Refuse two layers of one name; their weights could not be told apart."""
    owners: dict[str, Any] = {}
    for op in ops:
        if isinstance(op, Operation):
            continue
        if op.name in owners:
            raise GraphError(
                f"Two layers of one model are named {op.name!r}.",
                expected="names that differ",
                received=f"{type(owners[op.name]).__name__} and {type(op).__name__}",
                fix=f"pass name= to one of them, such as name='{op.name}_2'",
            )
        owners[op.name] = op
