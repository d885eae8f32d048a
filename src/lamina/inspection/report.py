"""What a model consists of, measured: a row for each layer, and totals."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from lamina import dtypes
from lamina.engine import nest
from lamina.engine.abstract import Spec, specs_of_shapes
from lamina.engine.layer import Layer
from lamina.engine.symbolic import SymbolicTensor
from lamina.engine.torch_module import TorchModule
from lamina.errors import NotBuiltError


@dataclass
class Row:
    """One layer.

    Attributes:
        name: the layer's name.
        class_name: its class.
        output_shape: its output's shape, a nest of them, or `None` when it was not called.
        num_params: the numbers in its weights.
        trainable: whether training changes them.
        inputs: the names of the rows whose outputs it takes.
        depth: how deep it is nested.
    """

    name: str
    class_name: str
    output_shape: Any
    num_params: int
    trainable: bool
    inputs: list[str] = field(default_factory=list)
    depth: int = 0


@dataclass
class Report:
    """A model's rows and totals.

    Attributes:
        name: the model's name.
        class_name: its class.
        rows: a row for each layer.
        total_params: the numbers in all weights, each counted once.
        trainable_params: those that training changes.
        total_bytes: the memory of all weights.
    """

    name: str
    class_name: str
    rows: list[Row]
    total_params: int
    trainable_params: int
    total_bytes: int

    @property
    def non_trainable_params(self) -> int:
        """The numbers that training leaves alone."""
        return self.total_params - self.trainable_params


def measure(model: Any, expand_nested: bool = False) -> Report:
    """Count weights and find shapes, without running the model or changing it.

    Args:
        model: a built model.
        expand_nested: whether the layers of models inside have rows too.

    Returns:
        The report.

    Raises:
        NotBuiltError: the model does not know the shape of its input yet.

    Example:
        >>> from lamina.layers import Dense, Input
        >>> from lamina.models import Sequential
        >>> report = measure(Sequential([Input((3,)), Dense(2, name="dense")]))
        >>> report.rows[0].output_shape, report.total_params
        ((None, 2), 8)
    """
    if not model.built:
        raise NotBuiltError(
            f"{type(model).__name__} {model.name!r} is not built, so there is nothing to show yet.",
            expected="a model that knows the shape of its input",
            received="no input shape yet",
            fix="call model.build((None, ...)) with the shape of a batch, or fit it on data first",
        )
    weights = model.weights
    return Report(
        name=model.name,
        class_name=type(model).__name__,
        rows=list(_rows(model, expand_nested, 0)),
        total_params=sum(w.numel() for w in weights),
        trainable_params=sum(w.numel() for w in weights if w.requires_grad),
        total_bytes=sum(w.numel() * w.element_size() for w in weights),
    )


def _rows(model: Any, expand_nested: bool, depth: int) -> Iterator[Row]:
    """A row for each layer of a model, and one for weights that are the model's own."""
    graph = model.graph if isinstance(getattr(type(model), "graph", None), property) else None
    shapes = {} if graph is not None else _called_shapes(model)
    ops = graph.ops if graph is not None else model.layers
    if graph is not None and hasattr(model, "_stack"):  # a Sequential leaves its Input out
        ops = [op for op in ops if op.nodes and op.nodes[0].inputs]
    members = {id(node) for node in graph.nodes} if graph is not None else set()
    for op in ops:
        if graph is not None:
            nodes = [node for node in op.nodes if id(node) in members]
            shape = nest.map_nest(_shape, nodes[0].outputs)
            inputs = [t.node.op.name for node in nodes for t in node.inputs if t.node is not None]
        else:
            shape, inputs = shapes.get(id(_called_module(op))), []
        if not isinstance(op, Layer):
            yield Row(op.name, getattr(op.function, "__name__", "function"), shape, 0, False, inputs, depth)
            continue
        count = sum(w.numel() for w in op.weights)
        trained = any(w.requires_grad for w in op.weights) if count else op.trainable
        yield Row(op.name, type(_called_module(op)).__name__, shape, count, trained, inputs, depth)
        if expand_nested and hasattr(op, "layers") and op.built:
            yield from _rows(op, expand_nested, depth + 1)
    own = [*model.parameters(recurse=False), *_kept_buffers(model)]
    if own:
        trained = any(weight.requires_grad for weight in own)
        yield Row(model.name, "own weights", None, sum(weight.numel() for weight in own), trained, [], depth)


def _kept_buffers(model: torch.nn.Module) -> list[torch.Tensor]:
    """The buffers of `model` itself that count as weights."""
    names = set(model.state_dict())
    return [buffer for name, buffer in model.named_buffers(recurse=False) if name in names]


def _called_module(layer: torch.nn.Module) -> torch.nn.Module:
    """What runs when `layer` is called: a torch module in a subclassed model is called itself, not its wrapper."""
    return layer.module if isinstance(layer, TorchModule) else layer


def _shape(leaf: Any) -> Any:
    return leaf.shape if isinstance(leaf, (SymbolicTensor, Spec)) else None


def _called_shapes(model: Any) -> dict[int, Any]:
    """The output shapes of a subclassed model's layers by id, from a run without memory."""
    if model._build_shapes is None:
        return {}

    def run(inputs: Any) -> dict[int, Any]:
        seen: dict[int, Any] = {}

        def hook(module: torch.nn.Module, args: Any, output: Any) -> None:
            seen[id(module)] = output

        with _only_hook(model, hook):
            model._run_abstractly(inputs)
        return seen

    try:
        specs = specs_of_shapes(run, model._build_shapes, dtypes.torch_dtype(model.variable_dtype), model.home())
    except Exception:  # such as a call that needs real data; the table then has no shapes
        return {}
    return nest.map_nest(_shape, specs)


@contextmanager
def _only_hook(model: Any, hook: Any) -> Iterator[None]:
    """Call `hook` after each layer of `model`, and none of the hooks that are there."""
    kept = [
        (hooks, dict(hooks)) for part in model.modules() for hooks in (part._forward_hooks, part._forward_pre_hooks)
    ]
    for hooks, _ in kept:
        hooks.clear()
    handles = [_called_module(layer).register_forward_hook(hook) for layer in model.layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for hooks, before in kept:
            hooks.update(before)
