"""The batch that a model is profiled on: the user's own, or random numbers of the right shape."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, repeat
from typing import Any, NamedTuple

import numpy as np
import torch

from lamina import config, dtypes
from lamina.engine import nest
from lamina.engine.layer import Layer
from lamina.errors import ArgumentError
from lamina.inspection.graphs import is_graph


class Batch(NamedTuple):
    """The arguments of one call of a model."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @property
    def tensors(self) -> list[torch.Tensor]:
        """The tensors among them."""
        return [leaf for leaf in nest.flatten([self.args, self.kwargs]) if isinstance(leaf, torch.Tensor)]

    @property
    def size(self) -> int:
        """The number of samples."""
        return next((tensor.shape[0] for tensor in self.tensors if tensor.dim()), 1)

    @property
    def shapes(self) -> str:
        """The tensors' shapes, for people to read."""
        return ", ".join(str(tuple(tensor.shape)) for tensor in self.tensors)


def device_of(model: torch.nn.Module, input_data: Any = None) -> torch.device:
    """Where a model computes: where its weights are, else where its data are, else lamina's device.

    Args:
        model: the model.
        input_data: data for it.
    """
    for tensor in (*model.parameters(), *model.buffers(), *nest.flatten(input_data)):
        if isinstance(tensor, torch.Tensor):
            return tensor.device
    return config.device()


def given_batch(model: torch.nn.Module, input_data: Any) -> Batch:
    """The user's own batch, on the model's device.

    Args:
        model: the model.
        input_data: a tensor or an array, or a nest of them.
    """
    device = device_of(model, input_data)

    def move(leaf: Any) -> Any:
        if isinstance(leaf, np.ndarray):
            leaf = torch.from_numpy(leaf)
        return leaf.to(device) if isinstance(leaf, torch.Tensor) else leaf

    batch = _arguments(model, nest.map_nest(move, input_data))
    if not batch.tensors:
        raise ArgumentError(
            "There is no tensor in input_data.",
            expected="a batch as the model takes it: a tensor or an array, or a list or dict of them",
            received=f"{input_data!r} of type {type(input_data).__name__}",
            fix="pass input_data=x[:32]",
        )
    return batch


def random_batches(model: torch.nn.Module, input_size: Any, batch_size: int) -> list[Batch]:
    """Batches of random numbers, the likeliest first: only a call says whether a module takes whole numbers.

    Args:
        model: the model.
        input_size: a size without the batch axis, or a nest of them; `None` to ask the model.
        batch_size: the number of samples.

    Raises:
        ArgumentError: the sizes are not known, or are no sizes.
    """
    device, limit = device_of(model), _whole_below(model)
    generator = torch.Generator(device).manual_seed(0)

    def numbers(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        if dtype is torch.bool:
            return torch.ones(shape, dtype=dtype, device=device)
        if not (dtype.is_floating_point or dtype.is_complex):
            return torch.randint(limit, shape, dtype=dtype, device=device, generator=generator)
        return torch.randn(shape, device=device, generator=generator).to(dtype)

    if input_size is None and _is_graph(model):
        form: Any = model.graph.inputs  # type: ignore[union-attr]
        filled = nest.map_nest(lambda t: numbers(_full(t.shape, batch_size), t.dtype), form)
        return [_arguments(model, filled)]
    shapes = _known_sizes(model) if input_size is None else _sizes(input_size)

    def of_kinds(kinds: Iterator[torch.dtype]) -> Batch:
        filled = nest.map_shapes(lambda shape: numbers(_full(shape, batch_size), next(kinds)), shapes)
        return _arguments(model, filled)

    floats = next((p.dtype for p in model.parameters() if p.is_floating_point()), None)
    floats = floats or dtypes.torch_dtype(config.floatx())
    if _is_graph(model):
        known: Any = model
        return [of_kinds(chain((tensor.dtype for tensor in known.graph.input_list), repeat(floats)))]
    return [of_kinds(repeat(floats)), of_kinds(repeat(torch.int64))]


def _arguments(model: torch.nn.Module, inputs: Any) -> Batch:
    """The arguments of a call: a layer of lamina takes a nest as it is, other modules its members."""
    if isinstance(model, Layer) or not nest.is_nest(inputs):
        return Batch((inputs,), {})
    return Batch((), dict(inputs)) if isinstance(inputs, dict) else Batch(tuple(inputs), {})


def _known_sizes(model: Any) -> Any:
    """The shapes that a subclassed model was built for."""
    shapes = getattr(model, "_build_shapes", None) if isinstance(model, Layer) else None
    if shapes is None:
        raise ArgumentError(
            f"Nothing says what {type(model).__name__} takes.",
            expected="the size of one sample in input_size, or a batch in input_data",
            received="neither",
            fix="pass input_size=(3, 32, 32), or a list of sizes for several inputs",
        )
    return shapes


def _sizes(input_size: Any) -> Any:
    """`input_size` with a batch axis before each size that has none."""
    if isinstance(input_size, int) and not isinstance(input_size, bool):
        input_size = (input_size,)
    wrong = not nest.is_nest(input_size) or not all(
        leaf is None or (hasattr(leaf, "__index__") and int(leaf) > 0) for leaf in nest.flatten(input_size)
    )
    if wrong or not nest.flatten(input_size):
        raise ArgumentError(
            "This is no size of an input.",
            expected="whole numbers above zero, such as (3, 32, 32), or a list of such sizes",
            received=f"input_size={input_size!r}",
            fix="leave the batch axis out; batch_size says how many samples there are",
        )
    return nest.map_shapes(lambda shape: shape if shape[:1] == (None,) else (None, *shape), input_size)


def _is_graph(model: torch.nn.Module) -> bool:
    """Whether a module is a model of lamina that is a graph, and knows its inputs."""
    return isinstance(model, Layer) and model.built and is_graph(model)


def _full(shape: tuple[int | None, ...], batch_size: int) -> tuple[int, ...]:
    """`shape` with the batch size in the place of an unknown first size."""
    sizes = (batch_size, *shape[1:]) if shape[:1] == (None,) else shape
    if None in sizes:
        raise ArgumentError(
            "A size of the input is not known.",
            expected="whole numbers behind the batch axis",
            received=f"shape {shape}",
            fix="pass input_size= with a number in its place, or input_data=",
        )
    return tuple(int(size) for size in sizes if size is not None)


def _whole_below(model: torch.nn.Module) -> int:
    """A number above all whole numbers that every table of embeddings in the model has a row for."""
    rows = [getattr(m, "num_embeddings", getattr(m, "input_dim", None)) for m in model.modules()
            if type(m).__name__.startswith("Embedding")]  # fmt: skip
    return min((int(number) for number in rows if number), default=2)
