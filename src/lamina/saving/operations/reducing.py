"""Operations along axes: sums, means, softmax, products of tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.nn import functional as F

from lamina.registry import ACTIVATIONS
from lamina.saving.operations.written import LINALG, MATH, NN, NUMPY, Call, Inexpressible, Operation, named

Pair = tuple[dict[str, Any], list[Any]]


def _write_reduction(call: Call) -> Pair:
    call.only(dtype=None)
    return {"axis": call.plain("dim"), "keepdims": bool(call.plain("keepdim", False))}, [call["input"]]


def _write_spread(call: Call) -> Pair:
    """Variance and deviation, which torch by default divides by one less."""
    if call.plain("correction", 1) != 0 or isinstance(call.get("dim"), bool):
        raise Inexpressible
    return {"axis": call.plain("dim"), "keepdims": bool(call.plain("keepdim", False))}, [call["input"]]


def _reduce(function: Any, one_by_one: bool = False, floats: bool = False, **more: Any) -> Any:
    """From Keras's config to a function that reduces."""

    def read(config: Mapping[str, Any]) -> Callable[..., Any]:
        axis, keep = config.get("axis"), bool(config.get("keepdims", False))

        def call(x: Any) -> Any:
            kind = x.dtype
            if floats and not kind.is_floating_point:
                x = x.to(torch.float32)
            axes = sorted(a % x.ndim for a in _axes(axis, x))
            if not one_by_one:
                made = function(x, dim=tuple(axes), keepdim=keep, **more)
            else:
                made = x
                for place in reversed(axes):
                    made = function(made, dim=place, keepdim=keep)
            return made.to(kind) if kind is torch.int32 and made.dtype is torch.int64 else made

        return call

    return read


def _axes(axis: Any, x: Any) -> tuple[int, ...]:
    """The axes that Keras means: all of them for `None`."""
    return tuple(range(x.ndim)) if axis is None else tuple(axis) if isinstance(axis, (list, tuple)) else (axis,)


def _write_place(call: Call) -> Pair:
    return {"axis": call.plain("dim"), "keepdims": bool(call.plain("keepdim", False))}, [call["input"]]


def _read_place(function: Any) -> Any:
    def read(config: Mapping[str, Any]) -> Callable[..., Any]:
        axis, keep = config.get("axis"), bool(config.get("keepdims", False))
        return lambda x: function(x, dim=axis, keepdim=keep).to(torch.int32)

    return read


def _write_axis(call: Call) -> Pair:
    call.only(dtype=None, _stacklevel=3)
    axis = call.plain("dim", -1)
    if axis is None:
        raise Inexpressible
    return {"axis": axis}, [call["input"]]


def _read_axis(function: Any, name: str = "dim") -> Any:
    return lambda config: lambda x: function(x, **{name: config.get("axis", -1)})


def _softmax(name: str) -> Any:
    """Along several axes too, as Keras has it."""

    def read(config: Mapping[str, Any]) -> Callable[..., Any]:
        axis = config.get("axis", -1)
        if isinstance(axis, int):
            return lambda x: getattr(torch, name)(x, axis)
        return lambda x: ACTIVATIONS[name](x, axis=axis)

    return read


def _write_cumulative(call: Call) -> Pair:
    call.only(dtype=None)
    return {"axis": call.plain("dim"), "dtype": None}, [call["input"]]


def _read_cumulative(function: Any) -> Any:
    def read(config: Mapping[str, Any]) -> Callable[..., Any]:
        axis = config.get("axis")
        return lambda x: function(torch.flatten(x), 0) if axis is None else function(x, axis)

    return read


def _write_einsum(call: Call) -> Pair:
    return {"subscripts": call["equation"]}, list(call["operands"])


def _read_einsum(config: Mapping[str, Any]) -> Callable[..., Any]:
    return lambda *operands: torch.einsum(config["subscripts"], *operands)


def _write_tensordot(call: Call) -> Pair:
    dims = call.get("dims", 2)
    if not isinstance(dims, int):
        dims = [list(part) if isinstance(part, (list, tuple)) else [part] for part in dims]
    return {"axes": dims}, [call["a"], call["b"]]


def _read_tensordot(config: Mapping[str, Any]) -> Callable[..., Any]:
    axes = config.get("axes", 2)
    dims = axes if isinstance(axes, int) else [a if isinstance(a, (list, tuple)) else [a] for a in axes]
    return lambda x1, x2: torch.tensordot(x1, x2, dims)


def _dot(x1: Any, x2: Any) -> Any:
    """NumPy's dot: the last axis of one with the last but one of the other."""
    if not all(hasattr(x, "ndim") and x.ndim for x in (x1, x2)):
        return x1 * x2
    return torch.tensordot(x1, x2, dims=([x1.ndim - 1], [max(x2.ndim - 2, 0)]))


def _write_topk(call: Call) -> Pair:
    call.only(dim=-1, largest=True)
    return {"k": call.plain("k"), "sorted": bool(call.plain("sorted", True))}, [call["input"]]


def _read_topk(config: Mapping[str, Any]) -> Callable[..., Any]:
    def call(x: Any) -> Any:
        values, indices = torch.topk(x, config["k"], sorted=config.get("sorted", True))
        return values, indices.to(torch.int32)

    return call


def _read_norm(config: Mapping[str, Any]) -> Callable[..., Any]:
    axis = config.get("axis")
    axis = tuple(axis) if isinstance(axis, list) else axis
    return lambda x: torch.linalg.norm(x, config.get("ord"), axis, bool(config.get("keepdims", False)))


def _write_norm(call: Call) -> Pair:
    call.only(dtype=None)
    keep = bool(call.plain("keepdim", False))
    return {"ord": call.plain("ord"), "axis": call.plain("dim"), "keepdims": keep}, [call["A"]]


def _read_normalize(config: Mapping[str, Any]) -> Callable[..., Any]:
    axis, order, epsilon = config.get("axis", -1), config.get("order", 2), config.get("epsilon") or 1e-7
    return lambda x: F.normalize(x, float(order), axis, epsilon)


def _write_normalize(call: Call) -> Pair:
    order, eps = call.plain("p", 2.0), call.plain("eps", 1e-12)
    return {"axis": call.plain("dim", 1), "order": int(order) if order == int(order) else order, "epsilon": eps}, [
        call["input"]
    ]


_DIM = ("input", "dim", "keepdim", "dtype")
_SOFT = ("input", "dim", "_stacklevel", "dtype")

ROWS = [
    Operation("Sum", NUMPY, named("sum"), _DIM, _write_reduction, _reduce(torch.sum)),
    Operation("Mean", NUMPY, named("mean"), _DIM, _write_reduction, _reduce(torch.mean, floats=True)),
    Operation("Max", NUMPY, named("amax"), _DIM, _write_reduction, _reduce(torch.amax)),
    Operation("Min", NUMPY, named("amin"), _DIM, _write_reduction, _reduce(torch.amin)),
    Operation("Max", NUMPY, named("max"), ("input",), _write_reduction, _reduce(torch.amax)),
    Operation("Min", NUMPY, named("min"), ("input",), _write_reduction, _reduce(torch.amin)),
    Operation("Prod", NUMPY, named("prod"), _DIM, _write_reduction, _reduce(torch.prod, one_by_one=True)),
    Operation("Any", NUMPY, named("any"), _DIM, _write_reduction, _reduce(torch.any, one_by_one=True)),
    Operation("All", NUMPY, named("all"), _DIM, _write_reduction, _reduce(torch.all, one_by_one=True)),
    Operation(
        "Var", NUMPY, named("var"), ("input", "dim", "correction", "keepdim"), _write_spread,
        _reduce(torch.var, floats=True, correction=0),
    ),
    Operation(
        "Std", NUMPY, named("std"), ("input", "dim", "correction", "keepdim"), _write_spread,
        _reduce(torch.std, floats=True, correction=0),
    ),
    Operation("Logsumexp", MATH, named("logsumexp"), _DIM, _write_reduction, _reduce(torch.logsumexp)),
    Operation("Argmax", NUMPY, named("argmax"), _DIM, _write_place, _read_place(torch.argmax)),
    Operation("Argmin", NUMPY, named("argmin"), _DIM, _write_place, _read_place(torch.argmin)),
    Operation("Softmax", NN, named("softmax"), _SOFT, _write_axis, _softmax("softmax")),
    Operation("LogSoftmax", NN, named("log_softmax"), _SOFT, _write_axis, _softmax("log_softmax")),
    Operation("Sparsemax", NN, (), (), None, lambda config: lambda x: ACTIVATIONS["sparsemax"](x, config["axis"])),
    Operation("Glu", NN, named("glu"), ("input", "dim"), _write_axis, _read_axis(F.glu)),
    Operation("Cumsum", NUMPY, named("cumsum"), ("input", "dim", "dtype"), _write_cumulative,
              _read_cumulative(torch.cumsum)),
    Operation("Cumprod", NUMPY, named("cumprod"), ("input", "dim", "dtype"), _write_cumulative,
              _read_cumulative(torch.cumprod)),
    Operation("Sort", NUMPY, (), (), None, lambda config: lambda x: torch.sort(x, dim=config.get("axis", -1))[0]),
    Operation("Einsum", NUMPY, (torch.einsum,), ("equation", "operands"), _write_einsum, _read_einsum),
    Operation("Tensordot", NUMPY, named("tensordot"), ("a", "b", "dims"), _write_tensordot, _read_tensordot),
    Operation("Dot", NUMPY, (), (), None, lambda config: _dot),
    Operation("TopK", MATH, named("topk"), ("input", "k", "dim", "largest", "sorted"), _write_topk, _read_topk),
    Operation("Norm", LINALG, (torch.linalg.norm,), ("A", "ord", "dim", "keepdim", "dtype"), _write_norm, _read_norm),
    Operation("Normalize", NN, named("normalize"), ("input", "p", "dim", "eps"), _write_normalize, _read_normalize),
]  # fmt: skip
