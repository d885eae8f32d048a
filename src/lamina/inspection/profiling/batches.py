"""The batch that a model is profiled on: the user's own, or random numbers of the right shape."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from lamina.engine import nest
from lamina.engine.abstract import Spec
from lamina.engine.layer import Layer
from lamina.errors import ArgumentError
from lamina.inspection.graphs import is_graph
from lamina.inspection.inputs import Arguments, arguments_of, as_whole_numbers, known_arguments
from lamina.inspection.watching import tensors_in


class Batch(NamedTuple):
    """The arguments of one call of a model, and where it computes."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    device: torch.device

    @property
    def tensors(self) -> list[torch.Tensor]:
        """The tensors among them."""
        return list(tensors_in([self.args, self.kwargs]))

    @property
    def size(self) -> int:
        """The number of samples."""
        return next((tensor.shape[0] for tensor in self.tensors if tensor.dim()), 1)

    @property
    def shapes(self) -> str:
        """The tensors' shapes, for people to read."""
        return ", ".join(str(tuple(tensor.shape)) for tensor in self.tensors)


def batches_for(model: torch.nn.Module, input_size: Any, input_data: Any, batch_size: int) -> list[Batch]:
    """The batches to try in turn: only a call says whether a module takes whole numbers.

    Args:
        model: the model.
        input_size: a size without the batch axis, or a nest of them; `None` to ask the model.
        input_data: a batch, in place of random numbers.
        batch_size: the number of samples.

    Raises:
        ArgumentError: the sizes are not known, or are no sizes, or the data are none.
    """
    graph: Any = model if isinstance(model, Layer) and model.built and is_graph(model) else None
    kinds = None if graph is None else [tensor.dtype for tensor in graph.graph.input_list]
    found = arguments_of(model, input_size, input_data, kinds)
    if found is None and graph is not None:
        found = Arguments((nest.map_nest(lambda tensor: tensor.spec, graph.graph.inputs),), {}, graph.home())
    found = found or known_arguments(model)
    if found is None:
        raise ArgumentError(
            f"Nothing says what {type(model).__name__} takes.",
            expected="the size of one sample in input_size, or a batch in input_data",
            received="neither",
            fix="pass input_size=(3, 32, 32), or a list of sizes for several inputs",
        )
    if input_data is None:
        tries = [found] if graph is not None else [found, as_whole_numbers(found)]
        return [_filled(model, arguments, batch_size) for arguments in tries]
    batch = Batch(*found)
    if not batch.tensors:
        raise ArgumentError(
            "There is no tensor in input_data.",
            expected="a batch as the model takes it: a tensor or an array, or a list or dict of them",
            received=f"{input_data!r} of type {type(input_data).__name__}",
            fix="pass input_data=x[:32]",
        )
    return [batch]


def _filled(model: torch.nn.Module, arguments: Arguments, batch_size: int) -> Batch:
    """Random numbers in the place of each size."""
    device, limit = arguments.device, _whole_below(model)
    generator = torch.Generator(device).manual_seed(0)

    def numbers(leaf: Any) -> Any:
        if not isinstance(leaf, Spec):
            return leaf
        shape = _full(leaf.shape, batch_size)
        if leaf.dtype is torch.bool:
            return torch.ones(shape, dtype=leaf.dtype, device=device)
        if not (leaf.dtype.is_floating_point or leaf.dtype.is_complex):
            return torch.randint(limit, shape, dtype=leaf.dtype, device=device, generator=generator)
        return torch.randn(shape, device=device, generator=generator).to(leaf.dtype)

    args, kwargs = nest.map_nest(numbers, [list(arguments.args), arguments.kwargs])
    return Batch(tuple(args), kwargs, device)


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
