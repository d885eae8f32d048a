"""Calls of TensorFlow's functions in the graphs of Keras 2, as calls of torch's.

Only the names in the table of `functions` are known; a file can name no other function.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lamina.engine import nest
from lamina.engine.symbolic import Operation, SymbolicTensor
from lamina.errors import LoadError, nearest
from lamina.saving.legacy import image_functions, shape_functions, tensor_functions
from lamina.saving.legacy.functions import FUNCTIONS, as_tensor
from lamina.saving.legacy.nodes import call_of_node

_CLASSES = ("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer")
_FILLED = (image_functions, shape_functions, tensor_functions)  # importing them fills the table


def is_operation(name: str) -> bool:
    """Whether a class of the file stands for a function of TensorFlow.

    Args:
        name: the class name.
    """
    return name in _CLASSES


class Operations:
    """A function of TensorFlow that a graph calls.

    Args:
        kind: the class name in the file.
        config: its config.

    Raises:
        LoadError: the function is not known.
    """

    def __init__(self, kind: str, config: Mapping[str, Any]) -> None:
        self.name = str(config.get("name", kind))
        self._config, self._kind = config, kind
        if kind == "TFOpLambda":
            self._function = _known(config.get("function"), self.name)

    def __call__(self, first: Any, options: dict[str, Any]) -> Any:
        if self._kind == "TensorFlowOpLayer":
            name, inputs, more = call_of_node(self._config, first)
            result = _known(name, self.name)(*inputs, **more)
        elif self._kind == "SlicingOpLambda":
            result = _slice(first, _index(options.get("slice_spec"), self.name))
        else:
            options.pop("name", None)
            result = self._function(as_tensor(first), **options)
        for leaf in nest.flatten(result):
            if isinstance(leaf, SymbolicTensor) and leaf.node is not None and isinstance(leaf.node.op, Operation):
                leaf.node.op.name = self.name
        return result


def _known(function: Any, where: str) -> Any:
    if isinstance(function, str) and function in FUNCTIONS:
        return FUNCTIONS[function]
    guess = nearest(function, FUNCTIONS) if isinstance(function, str) else None
    raise LoadError(
        f"The graph calls a function of TensorFlow that is not known here, at {where!r}.",
        expected=f"one of {len(FUNCTIONS)} functions" + (f", such as {guess!r}" if guess else ""),
        received=repr(function)[:80],
        fix="make the model anew with layers or functions of torch, and load its weights",
    )


def _slice(value: Any, index: Any) -> Any:
    """An index of a tensor, or of a shape."""
    if isinstance(value, (list, tuple)):
        return value[index[0] if isinstance(index, tuple) and len(index) == 1 else index]
    index = index if isinstance(index, tuple) else (index,)
    return _forwards(value, index)[index if not _backwards(index) else _without_steps(index)]


def _backwards(index: tuple[Any, ...]) -> bool:
    return any(isinstance(part, slice) and isinstance(part.step, int) and part.step < 0 for part in index)


def _forwards(value: Any, index: tuple[Any, ...]) -> Any:
    """The tensor turned around along the axes that are sliced backwards as a whole."""
    if not _backwards(index):
        return value
    axis, turned = 0, []
    for place, part in enumerate(index):
        if part is Ellipsis:
            axis = value.dim() - sum(1 for later in index[place + 1 :] if later is not None)
            continue
        if part is None:
            continue
        if isinstance(part, slice) and isinstance(part.step, int) and part.step < 0:
            if part != slice(None, None, -1):
                raise LoadError("A slice runs backwards between two places.", received=str(part)[:60])
            turned.append(axis)
        axis += 1
    return value.flip(tuple(turned))


def _without_steps(index: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(slice(None) if part == slice(None, None, -1) else part for part in index)


def _index(spec: Any, where: str) -> Any:
    """The index that a slice's description stands for."""
    if isinstance(spec, list):
        return tuple(_index(member, where) for member in spec)
    if isinstance(spec, dict):
        if spec.get("class_name") == "__ellipsis__":
            return Ellipsis
        return slice(spec.get("start"), spec.get("stop"), spec.get("step"))
    if spec is None or isinstance(spec, (int, SymbolicTensor)):
        return spec
    raise LoadError(f"{where!r} is sliced in a way that is not known.", received=json.dumps(spec, default=str)[:80])
