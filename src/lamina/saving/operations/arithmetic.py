"""Operations on each number alone, and on pairs of them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.nn import functional as F

from lamina import dtypes
from lamina.registry import ACTIVATIONS
from lamina.saving.operations.written import CORE, MATH, NN, NUMPY, Call, Inexpressible, Operation, named, pointwise

_ONE = {
    "Absolute": "abs absolute", "Negative": "neg negative", "Sign": "sign", "Reciprocal": "reciprocal",
    "Exp": "exp", "Exp2": "exp2", "Expm1": "expm1", "Log": "log", "Log10": "log10", "Log1p": "log1p", "Log2": "log2",
    "Sqrt": "sqrt", "Square": "square", "Floor": "floor", "Ceil": "ceil", "Trunc": "trunc fix",
    "Sin": "sin", "Cos": "cos", "Tan": "tan", "Sinh": "sinh", "Cosh": "cosh", "Tanh": "tanh",
    "Arcsin": "asin arcsin", "Arccos": "acos arccos", "Arctan": "atan arctan", "Arcsinh": "asinh arcsinh",
    "Arccosh": "acosh arccosh", "Arctanh": "atanh arctanh", "Deg2rad": "deg2rad", "Rad2deg": "rad2deg",
    "Isnan": "isnan", "Isinf": "isinf", "Isfinite": "isfinite", "LogicalNot": "logical_not", "Sinc": "sinc",
    "BitwiseNot": "bitwise_not invert", "OnesLike": "ones_like", "ZerosLike": "zeros_like", "Copy": "clone",
}  # fmt: skip
_TWO = {
    "Add": "add", "Subtract": "sub subtract", "Multiply": "mul multiply",
    "TrueDivide": "truediv true_divide div divide", "FloorDivide": "floordiv floor_divide", "Mod": "mod remainder",
    "Power": "pow", "Matmul": "matmul mm bmm", "Arctan2": "atan2 arctan2", "Hypot": "hypot", "Fmod": "fmod",
    "Logaddexp": "logaddexp", "Outer": "outer", "Heaviside": "heaviside",
    "Equal": "eq", "NotEqual": "ne not_equal", "Less": "lt less", "LessEqual": "le less_equal",
    "Greater": "gt greater", "GreaterEqual": "ge greater_equal",
    "LogicalAnd": "logical_and", "LogicalOr": "logical_or", "LogicalXor": "logical_xor",
    "BitwiseAnd": "and_ bitwise_and", "BitwiseOr": "or_ bitwise_or", "BitwiseXor": "xor bitwise_xor",
}  # fmt: skip
_ACTIVATIONS = {
    "Relu": "relu", "Relu6": "relu6", "Sigmoid": "sigmoid", "Silu": "silu", "Softsign": "softsign",
    "LogSigmoid": "logsigmoid", "Selu": "selu", "HardSigmoid": "hardsigmoid", "HardSilu": "hardswish",
    "TanhShrink": "tanhshrink",
}  # fmt: skip
_OWN_ACTIVATIONS = {"SparseSigmoid": "sparse_sigmoid", "SparsePlus": "sparse_plus", "Squareplus": "squareplus"}

# Other names of Keras's, and what they are.
ALIASES = {
    "Abs": "Absolute", "Fabs": "Absolute", "Divide": "TrueDivide", "BitwiseInvert": "BitwiseNot", "Amax": "Max",
    "Amin": "Min",
}  # fmt: skip


def _parameter(class_name: str, names: str, parameter: str, keras: str, default: float) -> Operation:
    """An activation with one number."""
    function = named(names)[0]

    def write(call: Call) -> tuple[dict[str, Any], list[Any]]:
        call.only(inplace=False)
        return {keras: call.plain(parameter, default)}, [call["input"]]

    def read(config: Mapping[str, Any]) -> Callable[..., Any]:
        given = {parameter: config[keras]} if keras in config else {}
        return lambda x: function(x, **given)

    return Operation(class_name, NN, named(names), ("input", parameter, "inplace"), write, read)


def _write_gelu(call: Call) -> tuple[dict[str, Any], list[Any]]:
    return {"approximate": call.get("approximate", "none") == "tanh"}, [call["input"]]


def _read_gelu(config: Mapping[str, Any]) -> Callable[..., Any]:
    kind = "tanh" if config.get("approximate", True) else "none"
    return lambda x: F.gelu(x, approximate=kind)


def _write_softplus(call: Call) -> tuple[dict[str, Any], list[Any]]:
    call.only(beta=1, threshold=20)
    return {}, [call["input"]]


def _write_hard_tanh(call: Call) -> tuple[dict[str, Any], list[Any]]:
    call.only(min_val=-1.0, max_val=1.0, inplace=False)
    return {}, [call["input"]]


def _write_full_like(call: Call) -> tuple[dict[str, Any], list[Any]]:
    return {"dtype": None}, [call["input"], call["fill_value"]]


def _read_full_like(config: Mapping[str, Any]) -> Callable[..., Any]:
    kind = None if config.get("dtype") is None else dtypes.torch_dtype(config["dtype"])
    return lambda x, fill_value: torch.full_like(x, fill_value, dtype=kind)


def _write_pair(call: Call) -> tuple[dict[str, Any], list[Any]]:
    return {}, [call["input"], call["other"]]


def _write_tensors(call: Call) -> tuple[dict[str, Any], list[Any]]:
    """`torch.max` of two tensors; of a tensor and a number it is the maximum along an axis, and where it is."""
    if not all(hasattr(call[name], "shape") for name in ("input", "other")):
        raise Inexpressible
    return _write_pair(call)


def _bound(of: str) -> Callable[[Mapping[str, Any]], Callable[..., Any]]:
    """`torch.maximum` or `minimum`, which take no numbers."""

    def read(config: Mapping[str, Any]) -> Callable[..., Any]:
        def call(x1: Any, x2: Any) -> Any:
            numbers = [isinstance(x, (bool, int, float)) for x in (x1, x2)]
            if not any(numbers):
                return getattr(torch, f"{of}imum")(x1, x2)
            tensor, number = (x2, x1) if numbers[0] else (x1, x2)
            return torch.clamp(tensor, **{"min" if of == "max" else "max": number})

        return call

    return read


def _write_clip(call: Call) -> tuple[dict[str, Any], list[Any]]:
    limits = {"x_min": call.plain("min"), "x_max": call.plain("max")}
    if None in limits.values():
        raise Inexpressible
    return limits, [call["input"]]


def _write_one_limit(which: str) -> Callable[[Call], tuple[dict[str, Any], list[Any]]]:
    """`torch.clamp` with one limit."""
    other = "min" if which == "max" else "max"

    def write(call: Call) -> tuple[dict[str, Any], list[Any]]:
        if call.plain(other) is not None or call.plain(which) is None:
            raise Inexpressible
        return {}, [call["input"], call[which]]

    return write


def _write_cast(call: Call) -> tuple[dict[str, Any], list[Any]]:
    if not isinstance(call["dtype"], torch.dtype):
        raise Inexpressible
    return {"dtype": dtypes.standardize_dtype(call["dtype"])}, [call["input"]]


def _read_cast(config: Mapping[str, Any]) -> Callable[..., Any]:
    kind = dtypes.torch_dtype(config["dtype"])
    return lambda x: x.to(kind)


def _casting(method: str, kind: torch.dtype) -> Operation:
    """`x.float()` and its like."""
    name = dtypes.standardize_dtype(kind)
    write = lambda call: ({"dtype": name}, [call["input"]])  # noqa: E731
    return Operation("Cast", CORE, (getattr(torch.Tensor, method),), ("input",), write, _read_cast)


def _write_where(call: Call) -> tuple[dict[str, Any], list[Any]]:
    return {}, [call["condition"], call["input"], call["other"]]


def _write_round(call: Call) -> tuple[dict[str, Any], list[Any]]:
    return {"decimals": call.plain("decimals", 0)}, [call["input"]]


def _read_round(config: Mapping[str, Any]) -> Callable[..., Any]:
    decimals = config.get("decimals", 0)
    return lambda x: torch.round(x, decimals=decimals) if decimals else torch.round(x)


ROWS = [
    *pointwise(NUMPY, 1, _ONE),
    *pointwise(NUMPY, 2, _TWO),
    *pointwise(NN, 1, _ACTIVATIONS),
    *pointwise(MATH, 1, {"Rsqrt": "rsqrt", "Erf": "erf", "Erfinv": "erfinv"}),
    *pointwise(CORE, 1, {"StopGradient": "detach"}),
    *(
        Operation(name, NN, (), (), None, lambda config, own=own: ACTIVATIONS[own])
        for name, own in _OWN_ACTIVATIONS.items()
    ),
    _parameter("LeakyRelu", "leaky_relu", "negative_slope", "negative_slope", 0.01),
    _parameter("Elu", "elu", "alpha", "alpha", 1.0),
    _parameter("Celu", "celu", "alpha", "alpha", 1.0),
    _parameter("HardShrink", "hardshrink", "lambd", "threshold", 0.5),
    _parameter("SoftShrink", "softshrink", "lambd", "threshold", 0.5),
    Operation(
        "HardTanh", NN, named("hardtanh"), ("input", "min_val", "max_val", "inplace"), _write_hard_tanh,
        lambda config: F.hardtanh,
    ),
    Operation("FullLike", NUMPY, named("full_like"), ("input", "fill_value"), _write_full_like, _read_full_like),
    Operation("Gelu", NN, named("gelu"), ("input", "approximate"), _write_gelu, _read_gelu),
    Operation(
        "Softplus", NN, named("softplus"), ("input", "beta", "threshold"), _write_softplus, lambda config: F.softplus
    ),
    Operation("Maximum", NUMPY, named("maximum max"), ("input", "other"), _write_tensors, _bound("max")),
    Operation("Minimum", NUMPY, named("minimum min"), ("input", "other"), _write_tensors, _bound("min")),
    Operation(
        "Clip",
        NUMPY,
        named("clamp clip"),
        ("input", "min", "max"),
        _write_clip,
        lambda config: lambda x: torch.clamp(x, config.get("x_min"), config.get("x_max")),
    ),
    Operation("Maximum", NUMPY, named("clamp clip"), ("input", "min", "max"), _write_one_limit("min"), _bound("max")),
    Operation("Minimum", NUMPY, named("clamp clip"), ("input", "min", "max"), _write_one_limit("max"), _bound("min")),
    Operation("Cast", CORE, (torch.Tensor.to, torch.Tensor.type), ("input", "dtype"), _write_cast, _read_cast),
    *(
        _casting(method, kind)
        for method, kind in {
            "float": torch.float32, "double": torch.float64, "half": torch.float16, "bfloat16": torch.bfloat16,
            "int": torch.int32, "long": torch.int64, "bool": torch.bool,
        }.items()
    ),
    Operation(
        "Where", NUMPY, named("where"), ("condition", "input", "other"), _write_where, lambda config: torch.where
    ),
    Operation("Round", NUMPY, named("round"), ("input", "decimals"), _write_round, _read_round),
    Operation("Power", NUMPY, (operator.pow,), ("input", "other"), _write_pair, lambda config: operator.pow),
]  # fmt: skip
