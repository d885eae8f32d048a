"""Functions of torch in a graph, as the functions of TensorFlow that Keras 2 can call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from lamina.errors import ArgumentError

OPERATION = "TorchOperation"
CONSTANT = "_CONSTANT_VALUE"


class Reference(NamedTuple):
    """A tensor in a graph: which output of which call of which layer."""

    name: str
    call: int
    place: int
    ndim: int


# torch's name -> TensorFlow's, and the names of the arguments in their order, torch's before TensorFlow's.
_SINGLE = {
    "relu": "nn.relu", "relu6": "nn.relu6", "sigmoid": "math.sigmoid", "tanh": "math.tanh", "exp": "math.exp",
    "log": "math.log", "sqrt": "math.sqrt", "rsqrt": "math.rsqrt", "square": "math.square", "abs": "math.abs",
    "neg": "math.negative", "sin": "math.sin", "cos": "math.cos", "softplus": "math.softplus", "selu": "nn.selu",
    "elu": "nn.elu", "softsign": "nn.softsign", "floor": "math.floor", "round": "math.round", "erf": "math.erf",
    "sign": "math.sign", "log1p": "math.log1p", "expm1": "math.expm1", "zeros_like": "zeros_like",
    "ones_like": "ones_like", "isnan": "math.is_nan",
}  # fmt: skip
_PAIRS = {
    "add": "__operators__.add", "sub": "math.subtract", "subtract": "math.subtract", "mul": "math.multiply",
    "multiply": "math.multiply", "truediv": "math.truediv", "div": "math.truediv", "divide": "math.truediv",
    "pow": "math.pow", "floordiv": "math.floordiv", "mod": "math.floormod", "maximum": "math.maximum",
    "minimum": "math.minimum", "gt": "math.greater", "ge": "math.greater_equal", "lt": "math.less",
    "le": "math.less_equal", "eq": "math.equal", "ne": "math.not_equal", "atan2": "math.atan2",
}  # fmt: skip
_REDUCTIONS = {
    "mean": "math.reduce_mean", "sum": "math.reduce_sum", "amax": "math.reduce_max", "amin": "math.reduce_min",
    "prod": "math.reduce_prod", "logsumexp": "math.reduce_logsumexp",
}  # fmt: skip
_NAMED: dict[str, tuple[str, tuple[tuple[str, str], ...]]] = {
    "cat": ("concat", (("tensors", "values"), ("dim", "axis"))),
    "stack": ("stack", (("tensors", "values"), ("dim", "axis"))),
    "reshape": ("reshape", (("input", "tensor"), ("shape", "shape"))),
    "permute": ("compat.v1.transpose", (("input", "a"), ("dims", "perm"))),
    "matmul": ("linalg.matmul", (("input", "a"), ("other", "b"))),
    "unsqueeze": ("expand_dims", (("input", "input"), ("dim", "axis"))),
    "squeeze": ("compat.v1.squeeze", (("input", "input"), ("dim", "axis"))),
    "softmax": ("nn.softmax", (("input", "logits"), ("dim", "axis"))),
    "log_softmax": ("nn.log_softmax", (("input", "logits"), ("dim", "axis"))),
    "clamp": ("clip_by_value", (("input", "t"), ("min", "clip_value_min"), ("max", "clip_value_max"))),
    "where": ("where", (("condition", "condition"), ("input", "x"), ("other", "y"))),
    "flip": ("reverse", (("input", "tensor"), ("dims", "axis"))),
    "tile": ("tile", (("input", "input"), ("dims", "multiples"))),
    "argmax": ("math.argmax", (("input", "input"), ("dim", "axis"))),
    "leaky_relu": ("nn.leaky_relu", (("input", "features"), ("negative_slope", "alpha"))),
    "cumsum": ("math.cumsum", (("input", "x"), ("dim", "axis"))),
    "unbind": ("unstack", (("input", "value"), ("dim", "axis"))),
    "to": ("cast", (("input", "x"), ("dtype", "dtype"))),
}  # fmt: skip
_IDLE = ("inplace", "_stacklevel")  # arguments without a meaning for the result
_FLOATS = {"float": "float32", "long": "int64", "int": "int32", "bool": "bool", "double": "float64"}


def old_call(name: str, target: str, nodes: Sequence[tuple[list[Any], dict[str, Any]]], models: Any) -> dict[str, Any]:
    """A function of torch as a layer of Keras 2.

    Args:
        name: the node's name.
        target: the function's name in today's config.
        nodes: the arguments of each call.
        models: not needed here; the references are counted already.

    Raises:
        ArgumentError: TensorFlow has no such function, or none that Keras 2 would write so.
    """
    kind, calls, config = "TFOpLambda", [], {"name": name, "trainable": True, "dtype": "float32"}
    for args, kwargs in nodes:
        function, first, more = _translated(name, target, args, kwargs)
        config["function"] = function
        if function == "__operators__.getitem":
            kind = "SlicingOpLambda"
        calls.append(_node(first, {key: _plain(value) for key, value in more.items()}))
    return {"class_name": kind, "config": config, "name": name, "inbound_nodes": calls}


def _node(first: Any, more: dict[str, Any]) -> Any:
    if isinstance(first, (list, tuple)) and not isinstance(first, Reference):
        return [_leaf(member, more) for member in first]
    return _leaf(first, more)


def _leaf(value: Any, more: dict[str, Any]) -> list[Any]:
    return [*value[:3], more] if isinstance(value, Reference) else [CONSTANT, -1, value, more]


def _plain(value: Any) -> Any:
    if isinstance(value, Reference):
        return list(value[:3])
    if isinstance(value, (list, tuple)):
        return [_plain(member) for member in value]
    return value


def _translated(name: str, target: str, args: list[Any], kwargs: dict[str, Any]) -> tuple[str, Any, dict[str, Any]]:
    """TensorFlow's function, its first argument, and the others by name."""
    short = target.rpartition(".")[2].removesuffix("_")
    if short == "getitem" and target.startswith("operator."):
        return "__operators__.getitem", args[0], {"slice_spec": _spec(args[1])}
    kwargs = {key: value for key, value in kwargs.items() if key not in _IDLE and value is not None}
    if short in ("transpose", "swapaxes") and len(args) == 3 and isinstance(args[0], Reference):
        order = list(range(args[0].ndim))
        order[args[1]], order[args[2]] = order[args[2]], order[args[1]]
        return "compat.v1.transpose", args[0], {"perm": order}
    if short in _SINGLE and len(args) == 1 and not kwargs:
        return _SINGLE[short], args[0], {}
    if short in _PAIRS and len(args) == 2 and not kwargs:
        return _PAIRS[short], args[0], {"y": args[1]}
    if short in _REDUCTIONS and len(args) <= 3:
        given = {**dict(zip(("input", "dim", "keepdim"), args, strict=False)), **kwargs}
        axes = given.get("dim")
        axes = list(axes) if isinstance(axes, tuple) else axes
        return _REDUCTIONS[short], given["input"], {"axis": axes, "keepdims": bool(given.get("keepdim", False))}
    if short in _FLOATS and len(args) == 1 and not kwargs:
        return "cast", args[0], {"dtype": _FLOATS[short]}
    if short in _NAMED and not (short == "squeeze" and len(args) == 1):
        function, arguments = _NAMED[short]
        if short in ("reshape", "permute") and "Tensor." in target and len(args) > 2:  # sizes one by one
            args = [args[0], tuple(args[1:])]
        given = {**dict(zip((old for old, _ in arguments), args, strict=False)), **kwargs}
        if given.keys() <= {old for old, _ in arguments} and len(args) <= len(arguments):
            (first, _), *others = arguments
            found = {new: given[old] for old, new in others if old in given}
            if short in ("cat", "stack"):
                found.setdefault("axis", 0)
            return function, given[first], found
    raise ArgumentError(
        f"The operation {name!r} cannot be written for Keras 2.",
        expected="a function of torch that TensorFlow has too",
        received=target,
        fix="save the model as .keras, or its weights as .safetensors",
    )


def _spec(index: Any) -> Any:
    """An index in the form of a slice's description."""
    if isinstance(index, tuple):
        return [_spec(member) for member in index]
    if isinstance(index, slice):
        return {"start": index.start, "stop": index.stop, "step": index.step}
    return {"class_name": "__ellipsis__"} if index is Ellipsis else index
