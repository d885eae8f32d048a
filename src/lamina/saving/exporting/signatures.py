"""What a model takes: the names, shapes and dtypes of its inputs, and examples of them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import torch

from lamina import dtypes
from lamina.engine import nest
from lamina.engine.abstract import Spec
from lamina.engine.graph import Graph
from lamina.engine.layer import Layer
from lamina.errors import ArgumentError, NotBuiltError


class Signature(NamedTuple):
    """The inputs of a model."""

    form: Any
    """The nest in which the model takes them, with anything as leaves."""
    names: list[str]
    """One for each leaf; they can name the arguments of a function."""
    specs: list[Spec]
    """Shape and dtype of each."""
    guessed: list[bool]
    """Whether the dtype is a guess: a model that is defined by `call` does not say."""

    def packed(self, leaves: Iterable[Any]) -> Any:
        """The nest that the model takes, with `leaves` in it."""
        return nest.pack_like(self.form, list(leaves))


def signature_of(model: Layer, given: Any = None) -> Signature:
    """What `model` takes.

    Args:
        model: a built layer or model.
        given: shapes, specs or examples of the inputs, in the form in which the model takes them; by default what it
            was defined with, or what it saw first.

    Raises:
        NotBuiltError: the model does not know the shape of its input.
        ArgumentError: `given` has another form.
    """
    graph = getattr(model, "graph", None)
    if isinstance(graph, Graph):
        form = graph.inputs
        keyed = isinstance(form, dict) and len(form) == len(graph.input_list)
        names = [str(key) for key in form] if keyed else [tensor.name for tensor in graph.input_list]
        specs: list[Any] = [tensor.spec for tensor in graph.input_list]
    else:
        form, names, specs = _of_call(model, given)
    if given is not None:
        leaves = _leaves(given)
        if len(leaves) != len(names):
            raise ArgumentError(
                "This input_signature is not that of the model.",
                expected=f"{len(names)} inputs: {', '.join(names)}",
                received=f"{len(leaves)}",
                fix="give a shape, or a tensor as an example, for each input",
            )
        specs = [_spec(leaf, spec) for leaf, spec in zip(leaves, specs, strict=True)]
    guessed = [not isinstance(spec, Spec) for spec in specs]
    kind = dtypes.torch_dtype(model.variable_dtype)
    specs = [Spec(spec, kind) if guess else spec for spec, guess in zip(specs, guessed, strict=True)]
    return Signature(form, unique(map(identifier, names)), specs, guessed)


def _of_call(model: Layer, given: Any) -> tuple[Any, list[str], list[Any]]:
    """Form, names and shapes of a model that is defined by `call`."""
    shapes = model._build_shapes
    if not model.built or shapes is None:
        raise NotBuiltError(
            f"{type(model).__name__} {model.name!r} does not know the shape of its input yet.",
            expected="a model that has been called on data, or built",
            received="no input shape",
            fix="call model(batch), or model.build((None, ...)) with the shape of a batch",
        )
    form = nest.map_shapes(lambda shape: _Shape(shape), shapes)
    first = next(iter(inspect.signature(model.call).parameters), "inputs")
    if isinstance(form, dict):
        names = [str(key) for key in form]
    else:
        count = len(nest.flatten(form))
        names = [first] if count == 1 else [f"{first}_{place}" for place in range(count)]
    return form, names, [tuple(leaf) for leaf in (shape.sizes for shape in nest.flatten(form))]


class _Shape:
    """A shape that nests take for a leaf."""

    def __init__(self, sizes: tuple[int | None, ...]) -> None:
        self.sizes = sizes


def _leaves(given: Any) -> list[Any]:
    """The members of a nest of shapes, specs and examples."""
    if isinstance(given, dict):
        return [leaf for member in given.values() for leaf in _leaves(member)]
    if isinstance(given, (list, tuple)) and not nest.is_shape(given):
        return [leaf for member in given for leaf in _leaves(member)]
    return [given]


def _spec(leaf: Any, known: Any) -> Any:
    """What an entry of a signature says, completed by what is known."""
    kind = known.dtype if isinstance(known, Spec) else None
    if isinstance(leaf, (torch.Tensor, np.ndarray)):
        tensor = torch.as_tensor(leaf)
        return Spec((None, *tensor.shape[1:]), tensor.dtype)
    shape = getattr(leaf, "shape", leaf)
    if not nest.is_shape(shape):
        raise ArgumentError(
            "This is no input_signature.",
            expected="a shape such as (None, 28, 28, 1), an InputSpec, or a tensor as an example, for each input",
            received=repr(leaf),
            fix="leave it out for what the model was defined with",
        )
    named = getattr(leaf, "dtype", None)
    if named is not None:
        kind = named if isinstance(named, torch.dtype) else dtypes.torch_dtype(named)
    return tuple(shape) if kind is None else Spec(tuple(shape), kind)


def identifier(name: str) -> str:
    """`name` as the name of an argument.

    Args:
        name: an input's name.

    Example:
        >>> identifier("left image"), identifier("2d")
        ('left_image', '_2d')
    """
    text = re.sub(r"\W", "_", name) or "_"
    return f"_{text}" if text[0].isdigit() else text


def unique(names: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """`names`, numbered where one is there already.

    Args:
        names: the names.
        taken: names that are used elsewhere.

    Example:
        >>> unique(["a", "b", "a"], ["b"])
        ['a', 'b_1', 'a_1']
    """
    used, found = set(taken), []
    for name in names:
        free, count = name, 0
        while free in used:
            count += 1
            free = f"{name}_{count}"
        used.add(free)
        found.append(free)
    return found


_OTHER_SIZES = (64, 32, 128, 16, 224, 8)  # tried in turn for sizes that may vary


def examples(specs: list[Spec], run: Callable[..., Any], device: torch.device) -> list[torch.Tensor]:
    """An example of each input on which `run` does not fail.

    Args:
        specs: shape and dtype of each input.
        run: a function of as many tensors.
        device: where they are made.

    Raises:
        ArgumentError: it fails on all.
    """
    reason: Exception | None = None
    for other in _OTHER_SIZES:
        tensors = [
            torch.zeros(
                [(other if axis else 2) if size is None else size for axis, size in enumerate(spec.shape)],
                dtype=spec.dtype,
                device=device,
            )
            for spec in specs
        ]
        try:
            run(*tensors)
        except Exception as error:
            reason = reason or error
        else:
            return tensors
        if not any(None in spec.shape[1:] for spec in specs):
            break
    raise ArgumentError(
        f"The model fails on the data that was made up for its export: {str(reason).strip().splitlines()[0]}",
        expected="a model that takes zeros of its input shapes",
        received=", ".join(f"shape {spec.shape}, {spec.dtype}" for spec in specs),
        fix="pass input_signature= with an example of each input, such as a batch of your data",
    ) from reason
