"""Operations that bring numbers into another shape or order."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import Any

import torch
from torch.nn import functional as F

from lamina.engine import nest
from lamina.engine.symbolic import SymbolicTensor, TensorProperty
from lamina.errors import LoadError
from lamina.saving.operations.written import CORE, NN, NUMPY, Call, Inexpressible, Operation, named

Pair = tuple[dict[str, Any], list[Any]]


def _new_shape(call: Call) -> Pair:
    """Any change of shape by the shape that comes out; one size at most may be unknown."""
    shape = call.output.shape if isinstance(call.output, SymbolicTensor) else None
    if shape is None or sum(size is None for size in shape) > 1:
        raise Inexpressible
    return {"newshape": [-1 if size is None else size for size in shape]}, [call["input"]]


def _read_reshape(config: Mapping[str, Any]) -> Callable[..., Any]:
    given = config["newshape"]
    sizes = tuple(-1 if size is None else size for size in (given if isinstance(given, (list, tuple)) else [given]))
    return lambda x: torch.reshape(x, sizes)


def _write_getitem(call: Call) -> Pair:
    given = call["key"]
    key = list(given) if isinstance(given, tuple) else [given]
    for part in key:
        whole = isinstance(part, slice) and all(p is None or type(p) is int for p in (part.start, part.stop, part.step))
        if not (whole or part is None or part is Ellipsis or type(part) is int):
            raise Inexpressible
    return {}, [call["input"], key]


def _read_getitem(config: Mapping[str, Any]) -> Callable[..., Any]:
    return lambda x, key: operator.getitem(x, tuple(key) if isinstance(key, list) else key)


def _dims(call: Call, name: str) -> list[int]:
    """Axes that were passed as one list, or one by one."""
    value = call[name]
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _spread(names: str, leading: int = 1) -> tuple[Any, ...]:
    """Methods that take sizes one by one, as `x.permute(0, 2, 1)`."""
    return tuple(getattr(torch.Tensor, name) for name in names.split())


def _write_permute(call: Call) -> Pair:
    return {"axes": _dims(call, "dims")}, [call["input"]]


def _read_transpose(config: Mapping[str, Any]) -> Callable[..., Any]:
    axes = config.get("axes")
    return lambda x: torch.permute(x, tuple(range(x.ndim))[::-1] if axes is None else tuple(axes))


def _along(keras: str, torch_name: str, default: Any, tensors: str = "input") -> Callable[[Call], Pair]:
    """A write of one axis, or list of them."""

    def write(call: Call) -> Pair:
        call.only(dtype=None, _stacklevel=3)
        value = call.plain(torch_name, default)
        return {keras: value}, [call[tensors]]

    return write


def _read_squeeze(config: Mapping[str, Any]) -> Callable[..., Any]:
    axis = config.get("axis")
    if axis is None:
        return torch.squeeze
    return lambda x: torch.squeeze(x, tuple(axis) if isinstance(axis, list) else axis)


def _read_expand_dims(config: Mapping[str, Any]) -> Callable[..., Any]:
    axis = config["axis"]

    def call(x: Any) -> Any:
        axes = axis if isinstance(axis, list) else [axis]
        rank = x.ndim + len(axes)
        for place in sorted(a % rank for a in axes):
            x = torch.unsqueeze(x, place)
        return x

    return call


def _write_join(call: Call) -> Pair:
    return {"axis": call.plain("dim", 0)}, [list(call["tensors"])]


def _read_join(function: Any) -> Callable[[Mapping[str, Any]], Callable[..., Any]]:
    return lambda config: lambda xs: function(tuple(xs), config.get("axis", 0))


def _write_flip(call: Call) -> Pair:
    return {"axis": _dims(call, "dims")}, [call["input"]]


def _read_flip(config: Mapping[str, Any]) -> Callable[..., Any]:
    axis = config.get("axis")
    return lambda x: torch.flip(x, _axes(axis, x))


def _axes(axis: Any, x: Any) -> tuple[int, ...]:
    """The axes that Keras means: all of them for `None`."""
    return tuple(range(x.ndim)) if axis is None else tuple(axis) if isinstance(axis, (list, tuple)) else (axis,)


def _write_roll(call: Call) -> Pair:
    return {"shift": call.plain("shifts"), "axis": call.plain("dims")}, [call["input"]]


def _read_roll(config: Mapping[str, Any]) -> Callable[..., Any]:
    shift, axis = config["shift"], config.get("axis")
    return lambda x: torch.roll(x, shift) if axis is None else torch.roll(x, shift, axis)


def _write_repeat(call: Call) -> Pair:
    if type(call["repeats"]) is not int:
        raise Inexpressible
    return {"repeats": call["repeats"], "axis": call.plain("dim")}, [call["input"]]


def _read_repeat(config: Mapping[str, Any]) -> Callable[..., Any]:
    repeats, axis = config["repeats"], config.get("axis")
    repeats = repeats[0] if isinstance(repeats, list) and len(repeats) == 1 else repeats
    counts = torch.tensor(repeats) if isinstance(repeats, list) else repeats
    return lambda x: torch.repeat_interleave(x, counts, dim=axis)


def _write_tile(call: Call) -> Pair:
    return {"repeats": _dims(call, "dims")}, [call["input"]]


def _read_tile(config: Mapping[str, Any]) -> Callable[..., Any]:
    repeats = config["repeats"]
    return lambda x: torch.tile(x, tuple(repeats) if isinstance(repeats, (list, tuple)) else (repeats,))


def _write_pad(call: Call) -> Pair:
    call.only(mode="constant")
    value, flat = call.plain("value") or 0, list(call["pad"])
    pairs = [[0, 0] for _ in range(call["input"].ndim)]
    for place in range(len(flat) // 2):
        pairs[-1 - place] = [flat[2 * place], flat[2 * place + 1]]
    if any(type(size) is not int or size < 0 for pair in pairs for size in pair):
        raise Inexpressible
    return {"pad_width": pairs, "mode": "constant"}, [call["input"], value]


def _read_pad(config: Mapping[str, Any]) -> Callable[..., Any]:
    width, mode = config["pad_width"], config.get("mode", "constant")
    if mode != "constant":
        raise LoadError(
            "Keras's operation Pad is read with constants alone.",
            expected="mode='constant'",
            received=f"mode={mode!r}",
            fix="put the padding into a layer of your own",
        )

    def call(x: Any, constant_values: Any = None) -> Any:
        pairs = [[width, width]] * x.ndim if isinstance(width, int) else list(width)
        if pairs and isinstance(pairs[0], int):
            pairs = [pairs if len(pairs) == 2 else pairs * 2] * x.ndim
        pairs = pairs * x.ndim if len(pairs) == 1 else pairs
        flat = [size for pair in reversed(pairs) for size in (pair if isinstance(pair, (list, tuple)) else [pair] * 2)]
        return F.pad(x, flat, value=constant_values or 0)

    return call


def _write_split(call: Call) -> Pair:
    axis = call.plain("dim", 0)
    sizes = [piece.shape[axis] for piece in nest.flatten(call.output)]
    if None in sizes:
        raise Inexpressible
    return {"indices_or_sections": list(accumulate(sizes))[:-1], "axis": axis}, [call["input"]]


def _read_split(config: Mapping[str, Any]) -> Callable[..., Any]:
    where, axis = config["indices_or_sections"], config.get("axis", 0)
    return lambda x: list(torch.tensor_split(x, tuple(where) if isinstance(where, list) else where, dim=axis))


def _read_unstack(config: Mapping[str, Any]) -> Callable[..., Any]:
    return lambda x: list(torch.unbind(x, config.get("axis", 0)))


def _write_swap(call: Call) -> Pair:
    return {"axis1": call.plain("dim0"), "axis2": call.plain("dim1")}, [call["input"]]


def _write_move(call: Call) -> Pair:
    return {"source": call.plain("source"), "destination": call.plain("destination")}, [call["input"]]


def _write_index_select(call: Call) -> Pair:
    return {"axis": call.plain("dim")}, [call["input"], call["index"]]


def _read_take(config: Mapping[str, Any]) -> Callable[..., Any]:
    axis = config.get("axis")

    def call(x: Any, indices: Any) -> Any:
        if isinstance(indices, (int, list)):
            indices = torch.tensor(indices)
        if axis is None:
            return torch.flatten(x)[indices.to(torch.int64)]
        if indices.ndim == 1:
            return torch.index_select(x, axis, indices.to(torch.int64))
        return x[(*[slice(None)] * (axis % x.ndim), indices.to(torch.int64))]

    return call


def _read_take_along(config: Mapping[str, Any]) -> Callable[..., Any]:
    axis = config.get("axis")
    return lambda x, indices: torch.take_along_dim(x, indices.to(torch.int64), dim=axis)


def _write_one_hot(call: Call) -> Pair:
    return {"num_classes": call.plain("num_classes"), "dtype": "int64"}, [call["input"]]


def _read_one_hot(config: Mapping[str, Any]) -> Callable[..., Any]:
    from lamina import dtypes

    kind, axis = dtypes.torch_dtype(config.get("dtype")), config.get("axis", -1)

    def call(x: Any) -> Any:
        made = F.one_hot(x.to(torch.int64), config["num_classes"]).to(kind)
        return made if axis == -1 else torch.movedim(made, -1, axis)

    return call


ROWS = [
    Operation("GetItem", NUMPY, (operator.getitem,), ("input", "key"), _write_getitem, _read_getitem),
    Operation("Reshape", NUMPY, named("reshape"), ("input", "shape"), _new_shape, _read_reshape),
    Operation("Transpose", NUMPY, named("permute"), ("input", "dims"), _write_permute, _read_transpose),
    Operation(
        "Squeeze", NUMPY, named("squeeze"), ("input", "dim"), _along("axis", "dim", None), _read_squeeze
    ),
    Operation(
        "ExpandDims", NUMPY, named("unsqueeze"), ("input", "dim"), _along("axis", "dim", None), _read_expand_dims
    ),
    Operation(
        "Concatenate", NUMPY, named("cat concat concatenate"), ("tensors", "dim"), _write_join, _read_join(torch.cat)
    ),
    Operation("Stack", NUMPY, named("stack"), ("tensors", "dim"), _write_join, _read_join(torch.stack)),
    Operation("Flip", NUMPY, named("flip"), ("input", "dims"), _write_flip, _read_flip),
    Operation("Roll", NUMPY, named("roll"), ("input", "shifts", "dims"), _write_roll, _read_roll),
    Operation(
        "Repeat", NUMPY, named("repeat_interleave"), ("input", "repeats", "dim"), _write_repeat, _read_repeat
    ),
    Operation("Tile", NUMPY, named("tile"), ("input", "dims"), _write_tile, _read_tile),
    Operation("Pad", NUMPY, named("pad"), ("input", "pad", "mode", "value"), _write_pad, _read_pad),
    Operation("Split", NUMPY, named("split"), ("input", "size", "dim"), _write_split, _read_split),
    Operation("Split", NUMPY, named("chunk"), ("input", "chunks", "dim"), _write_split, _read_split),
    Operation(
        "Split", NUMPY, named("tensor_split"), ("input", "indices_or_sections", "dim"), _write_split, _read_split
    ),
    Operation("Unstack", CORE, named("unbind"), ("input", "dim"), _along("axis", "dim", 0), _read_unstack),
    Operation(
        "Swapaxes", NUMPY, named("transpose swapaxes swapdims"), ("input", "dim0", "dim1"), _write_swap,
        lambda config: lambda x: torch.transpose(x, config["axis1"], config["axis2"]),
    ),
    Operation(
        "Swapaxes", NUMPY, (TensorProperty("mT"),), ("input",),
        lambda call: ({"axis1": -2, "axis2": -1}, [call["input"]]),
        lambda config: lambda x: torch.transpose(x, config["axis1"], config["axis2"]),
    ),
    Operation(
        "Moveaxis", NUMPY, named("movedim moveaxis"), ("input", "source", "destination"), _write_move,
        lambda config: lambda x: torch.movedim(x, _whole(config["source"]), _whole(config["destination"])),
    ),
    Operation("Ravel", NUMPY, (), (), None, lambda config: torch.flatten),
    Operation("Take", NUMPY, named("index_select"), ("input", "dim", "index"), _write_index_select, _read_take),
    Operation("TakeAlongAxis", NUMPY, (), (), None, _read_take_along),
    Operation("OneHot", NN, named("one_hot"), ("input", "num_classes"), _write_one_hot, _read_one_hot),
    Operation(
        "BroadcastTo", NUMPY, (), (), None, lambda config: lambda x: torch.broadcast_to(x, tuple(config["shape"]))
    ),
    # A change of shape that Keras has no name for is one by its result.
    Operation("Reshape", NUMPY, named("flatten"), ("input", "start", "end"), _new_shape, _read_reshape),
    Operation("Reshape", NUMPY, named("unflatten"), ("input", "dim", "sizes"), _new_shape, _read_reshape),
]  # fmt: skip

SPREAD = {
    # Methods that take sizes or axes one by one, and the parameter that they are.
    torch.Tensor.reshape: "shape", torch.Tensor.view: "shape", torch.Tensor.permute: "dims", torch.Tensor.flip: "dims",
    torch.Tensor.tile: "dims",
}  # fmt: skip


def _whole(axis: Any) -> Any:
    return tuple(axis) if isinstance(axis, list) else axis
