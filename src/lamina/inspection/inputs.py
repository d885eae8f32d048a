"""What a model is to be run on: sizes or data, in whatever form they are given."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from lamina.dtypes import torch_dtype
from lamina.engine import nest
from lamina.engine.abstract import Spec
from lamina.engine.layer import Layer
from lamina.errors import ArgumentError


class Arguments(NamedTuple):
    """The arguments of a model's call, with a `Spec` or a tensor for each tensor, and their device."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    device: torch.device


def arguments_of(model: torch.nn.Module, input_size: Any, input_data: Any, dtypes: Any) -> Arguments | None:
    """The arguments that sizes or data stand for; `None` if neither is given.

    Args:
        model: what will be called: a model of lamina takes one nest, a torch module an argument for each input.
        input_size: a shape without its batch axis, or with it when that is `None`; a list or dict of shapes.
        input_data: a tensor or array, or a list, tuple or dict of them.
        dtypes: of the sizes: one, or a list.

    Raises:
        ArgumentError: both are given, or a size is none.
    """
    if input_size is not None and input_data is not None:
        raise ArgumentError(
            "Both a size and data are given.", received="input_size and input_data", fix="leave input_size out"
        )
    device = _device(model)
    if input_data is not None:
        return _as_arguments(model, nest.map_nest(lambda leaf: _tensor(leaf, device), input_data), device)
    if input_size is None:
        return None
    kinds = iter(dtypes if isinstance(dtypes, (list, tuple)) else [])
    usual = _dtype(model) if dtypes is None or isinstance(dtypes, (list, tuple)) else torch_dtype(dtypes)

    def spec(shape: Any) -> Spec:
        kind = next(kinds, None)
        return Spec(_with_batch(shape), usual if kind is None else torch_dtype(kind))

    return _as_arguments(model, _map_sizes(spec, input_size), device)


def known_arguments(model: torch.nn.Module) -> Arguments | None:
    """The arguments on which a built layer of lamina was called or built; `None` if there is none such.

    Args:
        model: the model.
    """
    shapes = getattr(model, "_build_shapes", None) if isinstance(model, Layer) and model.built else None
    if shapes is None:
        return None
    kind = _dtype(model)
    return Arguments((nest.map_shapes(lambda shape: Spec(shape, kind), shapes),), {}, model.home())


def as_whole_numbers(arguments: Arguments) -> Arguments:
    """The same arguments as int64, as tables of embeddings take them.

    Args:
        arguments: sizes.
    """
    args, kwargs = nest.map_nest(
        lambda leaf: Spec(leaf.shape, torch.int64) if isinstance(leaf, Spec) else leaf,
        [list(arguments.args), arguments.kwargs],
    )
    return Arguments(tuple(args), kwargs, arguments.device)


def _as_arguments(model: torch.nn.Module, inputs: Any, device: torch.device) -> Arguments:
    """One argument for a model of lamina; for a torch module one for each member, a dict by name."""
    if isinstance(model, Layer) or not nest.is_nest(inputs):
        return Arguments((inputs,), {}, device)
    if isinstance(inputs, dict):
        return Arguments((), dict(inputs), device)
    return Arguments(tuple(inputs), {}, device)


def _map_sizes(function: Any, sizes: Any) -> Any:
    """`function` of each shape in a nest of shapes."""
    if nest.is_shape(sizes):
        return function(tuple(sizes))
    if isinstance(sizes, dict):
        return {key: _map_sizes(function, value) for key, value in sizes.items()}
    if isinstance(sizes, (list, tuple)):
        return [_map_sizes(function, value) for value in sizes]
    if isinstance(sizes, int) and not isinstance(sizes, bool):
        return function((sizes,))
    raise ArgumentError(
        "This is no size.",
        expected="a shape such as (3, 32, 32), or a list or dict of shapes",
        received=f"{sizes!r} of type {type(sizes).__name__}",
        fix="input_size=(3, 32, 32); data go to input_data=",
    )


def _with_batch(shape: tuple[Any, ...]) -> tuple[Any, ...]:
    """`shape` with a batch axis in front."""
    if any(size is not None and size < 1 for size in shape):
        raise ArgumentError(
            "A size is not positive.", expected="whole numbers above 0", received=f"input_size={shape}",
            fix="leave the batch axis out, or write it as None",
        )  # fmt: skip
    return tuple(shape) if shape[:1] == (None,) else (None, *shape)


def _tensor(leaf: Any, device: torch.device) -> Any:
    """Data as a tensor on the model's device; anything else as it is."""
    if isinstance(leaf, (np.ndarray, torch.Tensor)):
        return torch.as_tensor(leaf).to(device)
    return leaf


def _dtype(model: torch.nn.Module) -> torch.dtype:
    """The dtype of the weights."""
    return next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.get_default_dtype())


def _device(model: torch.nn.Module) -> torch.device:
    """Where the weights are, or where data go when there are none."""
    found = next((t.device for t in [*model.parameters(), *model.buffers()]), None)
    if isinstance(model, Layer):
        return model.home()
    return torch.device("cpu") if found is None else found
