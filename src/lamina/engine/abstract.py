"""What a call would return, found by running it on tensors that have a shape and a dtype but no memory.

A size that is not known in advance takes a stand-in. The call runs twice with different stand-ins; a size of
the result that differs between the two runs is unknown too. Real weights take part as they are, and a layer that
is met unbuilt builds its real weights on the way.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch._subclasses import fake_tensor

from lamina import config
from lamina.engine import nest
from lamina.errors import GraphError

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Spec:
    """A tensor's shape, with `None` for each unknown size, and its dtype."""

    shape: Shape
    dtype: torch.dtype


class _StandIns(NamedTuple):
    batch: int  # for an unknown first size; 0 when no first size is unknown
    other: int  # for any other unknown size; 0 when there is none


# The batch sizes are prime, so that they show in every product. The other two differ but share the divisors
# 2**6 and 3, so that patches and pooling windows fit into both. Neither is a size that networks are given.
_RUNS = (_StandIns(1009, 5952), _StandIns(1013, 7104))

_STAND_IN = re.compile(r"\b(?:" + "|".join(str(size) for run in _RUNS for size in run) + r")\b")
_current: _StandIns | None = None
_counts = 0
_log = logging.getLogger(fake_tensor.__name__)


def running() -> bool:
    """Whether an abstract run is going on."""
    return _current is not None


def counts() -> int:
    """How many times what runs now counts for whoever counts operations; 0 if nobody does."""
    return _counts


@contextlib.contextmanager
def counted(times: int = 1) -> Generator[None, None, None]:
    """Let somebody count what runs in here, as often as it would run with data.

    Args:
        times: for how many runs it stands, as one step stands for all steps of a sequence.
    """
    global _counts
    before, _counts = _counts, max(1, _counts) * times
    try:
        yield
    finally:
        _counts = before


def known_shape(tensor: Any) -> Shape:
    """The shape of `tensor`; inside an abstract run, `None` for each size that is a stand-in."""
    if _current is None:
        return tuple(tensor.shape)
    batch, other = _current
    first = (None if batch and size is not None and size % batch == 0 else size for size in tensor.shape[:1])
    rest = (None if other and size == other else size for size in tensor.shape[1:])
    return (*first, *rest)


def reason_of(error: BaseException) -> str:
    """The first line of an error's message, with `None` for each stand-in.

    Args:
        error: what an abstract run ended in.
    """
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return _STAND_IN.sub("None", line)


def outside() -> AbstractContextManager[Any]:
    """A context in which new tensors are real, also when an abstract run is going on."""
    return fake_tensor.unset_fake_temporarily()  # type: ignore[no-untyped-call]


def abstract_call(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], device: torch.device | None = None
) -> Any:
    """The result of `function(*args, **kwargs)` with a `Spec` in place of each tensor.

    Args:
        function: anything that maps tensors to tensors.
        args: positional arguments; each leaf with a `shape`, a `dtype` and no storage of its own (a symbolic
            tensor or a `Spec`) is replaced by a stand-in tensor.
        kwargs: keyword arguments, treated likewise.
        device: of the stand-ins; by default where the weights of the layer that is called, or tensors among the
            arguments, are.

    Returns:
        The nest that the call returns; leaves that are no tensors are kept when both runs agree on them.

    Raises:
        GraphError: the result's form or rank depends on the sizes that are not known.
    """
    global _current
    mode = fake_tensor.FakeTensorMode(allow_non_fake_inputs=True)
    device = device or _device(function, args, kwargs)
    unknown_first, unknown_other = _unknown_sizes(args, kwargs)
    results: list[Any] = []
    for stand_ins in _RUNS:
        before = _current
        _current = _StandIns(stand_ins.batch * unknown_first, stand_ins.other * unknown_other)
        silent, _log.disabled = _log.disabled, True  # it prints a traceback of what is raised as an error anyway
        try:
            with torch.no_grad(), mode:

                def fake(leaf: Any, stand_ins: _StandIns = stand_ins) -> Any:
                    if isinstance(leaf, torch.Tensor) or not (hasattr(leaf, "shape") and hasattr(leaf, "dtype")):
                        return leaf
                    return torch.empty(_sizes(leaf.shape, stand_ins), dtype=leaf.dtype, device=device)

                results.append(function(*map_arguments(fake, args), **map_arguments(fake, kwargs)))
        finally:
            _current, _log.disabled = before, silent
    leaves = [nest.flatten(result) for result in results]
    if len(leaves[0]) != len(leaves[1]):
        raise GraphError(
            f"The number of results of {_name(function)} depends on a size that is not known yet.",
            received=f"{len(leaves[0])} results for one size, {len(leaves[1])} for another",
            fix="give Input a full shape, or split along an axis of known size",
        )
    return nest.pack_like(results[0], [_merge(a, b, function) for a, b in zip(*leaves, strict=True)])


def specs_of_shapes(
    function: Callable[..., Any], shapes: Any, dtype: torch.dtype, device: torch.device | None = None
) -> Any:
    """What `function` gives for an input of which only the shape is known.

    Args:
        function: of one tensor, or of one nest of tensors.
        shapes: a shape, or a nest of shapes.
        dtype: of the input; where the call fails for it, whole numbers are tried, as tables of embeddings take them.
        device: of the input; by default where the weights of the layer that is called are.

    Returns:
        A nest of `Spec`.
    """
    try:
        return abstract_call(function, (nest.map_shapes(lambda shape: Spec(shape, dtype), shapes),), {}, device)
    except Exception:
        whole = nest.map_shapes(lambda shape: Spec(shape, torch.int64), shapes)
        with contextlib.suppress(Exception):
            return abstract_call(function, (whole,), {}, device)
        raise


def _device(function: Callable[..., Any], args: Any, kwargs: Any) -> torch.device:
    """Where the call's tensors are: where the weights of the layer or its other arguments are, else the default."""
    owner = getattr(function, "__self__", None)
    if isinstance(owner, torch.nn.Module):
        found = next(owner.parameters(), None)
        if found is not None:
            return found.device
    for leaf in nest.flatten([args, kwargs]):
        if isinstance(leaf, torch.Tensor) and leaf.dim():
            return leaf.device
    return config.device()


def _unknown_sizes(args: Any, kwargs: Any) -> tuple[bool, bool]:
    """Whether the arguments have an unknown first size, and an unknown size elsewhere."""
    shapes: list[Shape] = [
        leaf.shape for leaf in nest.flatten([args, kwargs]) if hasattr(leaf, "shape") and hasattr(leaf, "dtype")
    ]
    return any(None in shape[:1] for shape in shapes), any(None in shape[1:] for shape in shapes)


def _sizes(shape: Shape, stand_ins: _StandIns) -> list[int]:
    """`shape` with the stand-ins in place of unknown sizes."""
    return [
        size if size is not None else (stand_ins.other if axis else stand_ins.batch) for axis, size in enumerate(shape)
    ]


def map_arguments(function: Callable[[Any], Any], args: Any) -> Any:
    """`map_nest` that enters slices too, since an index may hold tensors."""

    def enter(leaf: Any) -> Any:
        if isinstance(leaf, slice):
            return slice(*map(function, slice_parts(leaf)))
        return function(leaf)

    return nest.map_nest(enter, args)


def slice_parts(index: Any) -> list[Any]:
    """Start, stop and step of a slice."""
    return [index.start, index.stop, index.step]


def _merge(first: Any, second: Any, function: Callable[..., Any]) -> Any:
    """One leaf of the two runs' results: a `Spec` for a tensor, the value itself for anything else."""
    if not isinstance(first, torch.Tensor):
        if first is second or bool(first == second):
            return first
        raise GraphError(
            f"{_name(function)} gives a Python value that depends on a size that is not known yet.",
            received=f"{first!r} for one size, {second!r} for another",
            fix="use -1 or torch operations in place of the size, or give Input a full shape",
        )
    if first.dim() != second.dim():
        raise GraphError(
            f"The rank of the result of {_name(function)} depends on a size that is not known yet.",
            fix="give Input a full shape",
        )
    shape = tuple(a if a == b else None for a, b in zip(first.shape, second.shape, strict=True))
    return Spec(shape, first.dtype)


def _name(function: Callable[..., Any]) -> str:
    """A function's name for messages."""
    return getattr(function, "__name__", type(function).__name__)
