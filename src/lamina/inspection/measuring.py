"""From a model to its report, without changing it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from lamina import dtypes
from lamina.engine import nest
from lamina.engine.abstract import specs_of_shapes
from lamina.errors import NotBuiltError
from lamina.inspection.described import bytes_of, called_module, opens, own_row, put_inside, row_of, shape_of
from lamina.inspection.graphs import GraphRows, is_graph
from lamina.inspection.readable import Report
from lamina.inspection.report import Row


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
    rows: list[Row] = []

    _append(rows, model, None, expand_nested)
    return Report(
        name=model.name,
        class_name=type(model).__name__,
        rows=rows,
        total_params=sum(w.numel() for w in weights),
        trainable_params=sum(w.numel() for w in weights if w.requires_grad),
        params_bytes=sum(w.numel() * w.element_size() for w in weights),
        trainable_bytes=sum(w.numel() * w.element_size() for w in weights if w.requires_grad),
        input_bytes=sum(bytes_of(tensor) for tensor in model.graph.input_list) if is_graph(model) else 0,
    )


def _append(rows: list[Row], model: Any, inside: int | None, expand_nested: bool) -> None:
    """A row for each layer of a model, and one for weights that are the model's own."""
    if is_graph(model):
        GraphRows(rows, model, expand_nested, lambda layer, place: _append(rows, layer, place, expand_nested), inside)
    else:
        _append_calls(rows, model, inside, expand_nested)
    own = own_row(model)
    if own is not None:
        put_inside(own, rows, inside)
        rows.append(own)


def _append_calls(rows: list[Row], model: Any, inside: int | None, expand_nested: bool) -> None:
    """A row for each layer of a subclassed model."""
    shapes = _called_shapes(model)
    for layer in model.layers:
        row = row_of(layer)
        shape = shapes.get(id(called_module(layer)))
        row.call_shapes = [] if shape is None else [shape]
        put_inside(row, rows, inside)
        rows.append(row)
        if expand_nested and opens(layer):
            _append(rows, layer, len(rows) - 1, expand_nested)


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
    return nest.map_nest(shape_of, specs)


@contextmanager
def _only_hook(model: Any, hook: Any) -> Iterator[None]:
    """Call `hook` after each layer of `model`, and none of the hooks that are there."""
    kept = [
        (hooks, dict(hooks)) for part in model.modules() for hooks in (part._forward_hooks, part._forward_pre_hooks)
    ]
    for hooks, _ in kept:
        hooks.clear()
    handles = [called_module(layer).register_forward_hook(hook) for layer in model.layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for hooks, before in kept:
            hooks.update(before)
