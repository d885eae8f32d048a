"""From a graph to the text of a `forward`: straight lines, one for each call, nothing left to decide at run time."""

from __future__ import annotations

import itertools
import linecache
import operator
import types
import weakref
from collections.abc import Callable
from typing import Any, cast

import torch

from lamina.engine import nest
from lamina.engine.abstract import slice_parts
from lamina.engine.graph import Graph
from lamina.engine.rewrite import Fused
from lamina.engine.symbolic import Node, Operation, SymbolicTensor, TensorProperty

_operator: Any = operator  # whose functions carry no types
_INFIX: dict[Any, str] = {
    _operator.add: "+", _operator.sub: "-", _operator.mul: "*", _operator.truediv: "/", _operator.floordiv: "//",
    _operator.mod: "%", _operator.pow: "**", _operator.matmul: "@", _operator.and_: "&", _operator.or_: "|",
    _operator.xor: "^", _operator.lshift: "<<", _operator.rshift: ">>", _operator.lt: "<", _operator.le: "<=",
    _operator.gt: ">", _operator.ge: ">=", _operator.eq: "==", _operator.ne: "!=",
}  # fmt: skip
_PREFIX: dict[Any, str] = {operator.neg: "-", operator.pos: "+", operator.invert: "~"}
_numbers = itertools.count()


class Program:
    """The code of a graph, and what its text refers to by name.

    Args:
        graph: what to generate.
        owner: the model that will run it; it says under which key each layer is registered.
        loose: whether inputs may have other sizes than the graph's, which were only those of the first data.
        mark: called after each call with the call's place in `graph.nodes` and its results, for who measures.

    Attributes:
        text: the source of `forward(self, inputs)`.
        constants: Python objects that have no literal form, by name.
        tensors: tensors and Parameters that belong to no layer, by the attribute that must carry them.
    """

    def __init__(
        self, graph: Graph, owner: torch.nn.Module, loose: bool = False, mark: Callable[..., Any] | None = None
    ) -> None:
        self.graph = graph
        self.loose = loose
        self.constants: dict[str, Any] = {} if mark is None else {"mark": mark}
        self.tensors: dict[str, torch.Tensor] = {}
        self._layers = {id(module): key for key, module in cast("Any", owner)._modules.items()}
        self._tensor_texts = self._find_tensors()
        self._names: dict[int, str] = {}  # by id of the symbolic tensor
        self._free: list[str] = []
        self._count = 0
        self._lines: list[str] = []
        self._last_use = self._find_last_uses()
        self.text = self._write()

    def _find_tensors(self) -> dict[int, str]:
        """The text that reaches each tensor among the arguments: a layer's weight, or an attribute of the model."""
        found = self.graph.constants()
        texts: dict[int, str] = {}
        if found:
            for op in self.graph.ops:
                if not isinstance(op, Operation):
                    for name, tensor in [*op.named_parameters(), *op.named_buffers()]:
                        path = "".join(f"._modules[{key!r}]" for key in name.split(".")[:-1])
                        text = f"layer[{self._layers[id(op)]!r}]{path}.{name.rpartition('.')[2]}"
                        texts.setdefault(id(tensor), text)
        for tensor in found:
            if id(tensor) not in texts:
                name = f"constant_{len(self.tensors)}"
                self.tensors[name] = tensor
                texts[id(tensor)] = f"self.{name}"
        return texts

    def _find_last_uses(self) -> dict[int, int]:
        """For each tensor the number of the last node that reads it; outputs are read after the end."""
        last = {id(t): number for number, node in enumerate(self.graph.nodes) for t in node.inputs}
        last.update((id(t), len(self.graph.nodes)) for t in self.graph.output_list)
        return last

    def _write(self) -> str:
        self._lines = ["def forward(self, inputs):"]
        if any(not isinstance(op, Operation) for op in self.graph.ops):
            self._lines.append("    layer = self._modules")
        self._write_inputs()
        for number, node in enumerate(self.graph.nodes):
            if node.inputs:
                self._write_call(number, node)
        self._lines.append(f"    return {self._expression(self.graph.outputs)}")
        return "\n".join(self._lines) + "\n"

    def _write_inputs(self) -> None:
        """Unpack the inputs; what does not fit goes through the model's `fit_input` first."""
        form, tensors = self.graph.inputs, self.graph.input_list
        members: list[Any] = list(form.values()) if isinstance(form, dict) else form  # pyright: ignore[reportUnknownArgumentType]
        arrange = "inputs = self.arrange_inputs(inputs)"
        targets = ", ".join(map(self._name, tensors))
        if isinstance(form, SymbolicTensor):
            self._lines.append(f"    if not isinstance(inputs, torch.Tensor): {arrange}")
            self._lines.append(f"    {targets} = inputs")
        elif any(map(nest.is_nest, members)):
            self._lines.append(f"    {targets}, = self.flatten_inputs(inputs)")
        elif isinstance(form, dict):
            keys = ", ".join(map(repr, cast("dict[Any, Any]", form)))
            self._lines.append(f"    if not isinstance(inputs, dict) or not inputs.keys() >= {{{keys}}}: {arrange}")
            for key, tensor in cast("dict[Any, SymbolicTensor]", form).items():
                self._lines.append(f"    {self._name(tensor)} = inputs[{key!r}]")
        else:
            self._lines.append(
                f"    if not isinstance(inputs, (list, tuple)) or len(inputs) != {len(tensors)}: {arrange}"
            )
            self._lines.append(f"    {targets}, = inputs")
        for place, tensor in enumerate(tensors):
            self._write_check(place, tensor)

    def _write_check(self, place: int, tensor: SymbolicTensor) -> None:
        """One input's dtype and shape; one that does not fit goes through `fit_input`."""
        name, shape = self._name(tensor), tensor.shape
        if self.loose:
            test = f"{name}.dim() != {len(shape)}"
        elif shape and None not in shape[1:]:
            wrong = f"{name}.shape[1:] != {shape[1:]}" if shape[0] is None else f"{name}.shape != {shape}"
            test = f"{name}.dtype is not {tensor.dtype} or {wrong}"
        else:
            sizes = [f"{name}.shape[{axis}] != {size}" for axis, size in enumerate(shape) if size is not None]
            test = " or ".join([f"{name}.dtype is not {tensor.dtype}", f"{name}.dim() != {len(shape)}", *sizes])
        self._lines.append(f"    if {test}: {name} = self.fit_input({place}, {name})")

    def _write_call(self, number: int, node: Node) -> None:
        expression = self._call(node)
        dead: list[str] = []
        for tensor in {id(t): t for t in node.inputs}.values():
            if self._last_use[id(tensor)] == number:
                dead.append(self._names[id(tensor)])
        self._free = sorted({*self._free, *dead}, key=_by_number, reverse=True)
        shapes = ", ".join(str(t.shape) for t in node.output_list)
        outputs: Any = node.outputs
        flat = isinstance(outputs, (list, tuple)) and all(
            isinstance(t, SymbolicTensor) for t in cast("list[Any]", outputs)
        )
        if isinstance(outputs, SymbolicTensor) or flat:
            targets = [self._name(t) for t in node.output_list]
            line = f"    {', '.join(targets)}{',' if flat and len(targets) == 1 else ''} = {expression}"
        else:
            self._lines.append(f"    result = {expression}  # {shapes}")
            reads = [f"{self._name(tensor)} = {path}" for path, tensor in _paths(outputs, "result")]
            targets, line = [self._name(t) for t in node.output_list], f"    {'; '.join(reads)}"
            dead.append("result")
        unused = [self._names[id(t)] for t in node.output_list if id(t) not in self._last_use]
        self._free.extend(unused)
        gone = [name for name in dead if name not in targets] + unused
        end = f"; del {', '.join(gone)}" if gone else ""
        self._lines.append(f"{line}{end}" + (f"  # {shapes}" if line.endswith(expression) else ""))
        if "mark" in self.constants:
            kept = [name for name in targets if name not in unused]
            self._lines.append(f"    mark({', '.join([str(number), *kept])})")

    def _name(self, tensor: SymbolicTensor) -> str:
        """The variable that holds `tensor`; a variable that is read no more is used again, which frees its memory."""
        if id(tensor) not in self._names:
            if self._free:
                self._names[id(tensor)] = self._free.pop()
            else:
                self._names[id(tensor)] = f"x_{self._count}" if self._count else "x"
                self._count += 1
        return self._names[id(tensor)]

    def _call(self, node: Node) -> str:
        """The text of one call."""
        if isinstance(node.op, Fused):
            members = ", ".join(f"layer[{self._layers[id(member)]!r}]" for member in node.op.layers)
            return f"{self._constant(node.op.run, node.op.name)}([{members}], {self._arguments(node)})"
        if not isinstance(node.op, Operation):
            return f"layer[{self._layers[id(node.op)]!r}]({self._arguments(node)})"
        function, args = node.op.function, node.args
        if function in _INFIX and not node.kwargs:
            return f"{self._operand(args[0])} {_INFIX[function]} {self._operand(args[1])}"
        if function in _PREFIX:
            return f"{_PREFIX[function]}{self._operand(args[0])}"
        if function is operator.getitem:
            return f"{self._operand(args[0])}[{self._indices(args[1])}]"
        if isinstance(function, TensorProperty):
            return f"{self._operand(args[0])}.{function.name}"
        target = node.op.target
        if target and target.startswith("torch.Tensor.") and isinstance(args[0], SymbolicTensor):
            method = target.removeprefix("torch.Tensor.")
            if getattr(torch.Tensor, method, None) is function:
                return f"{self._names[id(args[0])]}.{method}({self._arguments(node, skip=1)})"
        if target and _resolve(target) is function:
            return f"{target}({self._arguments(node)})"
        return f"{self._constant(function)}({self._arguments(node)})"

    def _arguments(self, node: Node, skip: int = 0) -> str:
        positional = [self._expression(a) for a in node.args[skip:]]
        return ", ".join(positional + [f"{key}={self._expression(value)}" for key, value in node.kwargs.items()])

    def _operand(self, value: Any) -> str:
        text = self._expression(value)
        return f"({text})" if text.startswith("-") else text

    def _indices(self, index: Any) -> str:
        """What stands between the brackets of an index."""
        if type(index) is tuple and index:
            parts = [self._index(part) for part in cast("tuple[Any, ...]", index)]
            return ", ".join(parts) + ("," if len(parts) == 1 else "")
        return self._index(index)

    def _index(self, index: Any) -> str:
        """One part of an index."""
        if not isinstance(index, slice):
            return self._expression(index)
        texts = ["" if part is None else self._expression(part) for part in slice_parts(index)]
        return ":".join(texts if texts[2] else texts[:2])

    def _expression(self, value: Any) -> str:
        """The text of an argument."""
        if isinstance(value, SymbolicTensor):
            return self._names[id(value)]
        if nest.is_nest(value):
            return self._nest(value)
        if isinstance(value, slice):
            return f"slice({', '.join(map(self._expression, slice_parts(value)))})"
        if isinstance(value, torch.Tensor):
            return self._tensor_texts[id(value)]
        if value is None or type(value) in (bool, int, str):
            return repr(value)
        if value is Ellipsis:
            return "..."
        if type(value) is float and value == value and abs(value) != float("inf"):
            return repr(value)
        if isinstance(value, (torch.dtype, torch.memory_format)):
            return str(value)
        return self._constant(value)

    def _nest(self, value: Any) -> str:
        """The text of a list, tuple or dict."""
        if isinstance(value, dict):
            items = cast("dict[Any, Any]", value).items()
            return "{" + ", ".join(f"{self._expression(k)}: {self._expression(v)}" for k, v in items) + "}"
        members = ", ".join(self._expression(member) for member in value)
        if isinstance(value, list):
            return f"[{members}]"
        if type(value) in (tuple, torch.Size):
            return f"({members}{',' if len(value) == 1 else ''})"
        kind = self._constant(cast("Any", type(value)))
        return f"{kind}({members})" if hasattr(value, "_fields") else f"{kind}(({members},))"

    def _constant(self, value: Any, stem: str = "object") -> str:
        name = next((n for n, known in self.constants.items() if known is value), f"{stem}_{len(self.constants)}")
        self.constants[name] = value
        return name

    def compile(self, label: str) -> Callable[..., Any]:
        """The function that the text defines; tracebacks show its lines.

        Args:
            label: what to call the source in tracebacks.
        """
        filename = f"<{label} {next(_numbers)}>"
        namespace: dict[str, Any] = {"torch": torch, **self.constants}
        exec(compile(self.text, filename, "exec"), namespace)
        linecache.cache[filename] = (len(self.text), None, self.text.splitlines(keepends=True), filename)
        forward = namespace["forward"]
        weakref.finalize(forward, linecache.cache.pop, filename, None)
        return forward


def _by_number(name: str) -> int:
    return int(name[2:] or 0)


def _resolve(target: str) -> Any:
    """What a dotted name under `torch` stands for, or `None`."""
    head, *rest = target.split(".")
    found: Any = torch if head == "torch" else None
    for part in rest:
        found = getattr(found, part, None)
    return None if isinstance(found, types.ModuleType) else found


def _paths(value: Any, path: str) -> list[tuple[str, SymbolicTensor]]:
    """Each symbolic tensor of a nest with the text that reaches it."""
    if isinstance(value, SymbolicTensor):
        return [(path, value)]
    if isinstance(value, dict):
        members: Any = cast("dict[Any, Any]", value).items()
    elif isinstance(value, (list, tuple)):
        members = enumerate(cast("list[Any]", value))
    else:
        return []
    return [found for key, member in members for found in _paths(member, f"{path}[{key!r}]")]
