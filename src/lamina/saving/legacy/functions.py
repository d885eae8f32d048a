"""The table of TensorFlow's functions, and those that act number by number."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from lamina.engine.symbolic import SymbolicTensor
from lamina.errors import LoadError

FUNCTIONS: dict[str, Callable[..., Any]] = {}


def enter(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter the decorated function into the table.

    Args:
        *names: the names that TensorFlow has for it.
    """

    def put(function: Callable[..., Any]) -> Callable[..., Any]:
        for name in names:
            FUNCTIONS[name] = function
        return function

    return put


def is_tensor(value: Any) -> bool:
    """Whether a value is a tensor, symbolic or not.

    Args:
        value: an argument.
    """
    return isinstance(value, (SymbolicTensor, torch.Tensor))


def as_tensor(value: Any, like: Any = None) -> Any:
    """A list of numbers as a tensor, of the dtype of another; numbers and tensors as they are.

    Args:
        value: an argument.
        like: a tensor among the other arguments.
    """
    if not isinstance(value, (list, tuple)) or any(is_tensor(member) for member in value):
        return value
    made = torch.as_tensor(np.asarray(value))
    if like is not None and is_tensor(like):
        return made.to(like.dtype)
    return made.to(torch.float32) if made.is_floating_point() else made


def axis_of(axis: Any) -> Any:
    """An axis or several, as torch takes them.

    Args:
        axis: `None`, a number, or a list of them.
    """
    return tuple(axis) if isinstance(axis, (list, tuple)) else axis


def _one(function: Callable[[Any], Any]) -> Callable[..., Any]:
    return lambda x, name=None: function(x)


def _two(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def call(x: Any, y: Any, name: Any = None) -> Any:
        return function(as_tensor(x, y), as_tensor(y, x))

    return call


def _greater_of(x: Any, y: Any) -> Any:
    return torch.maximum(*_both(x, y))


def _lesser_of(x: Any, y: Any) -> Any:
    return torch.minimum(*_both(x, y))


def _both(x: Any, y: Any) -> tuple[Any, Any]:
    """Two operands of which one is a number, as tensors."""
    if not is_tensor(y):
        y = torch.tensor(y, dtype=x.dtype)
    if not is_tensor(x):
        x = torch.tensor(x, dtype=y.dtype)
    return x, y


def _safe_division(x: Any, y: Any) -> Any:
    x, y = _both(x, y)
    return torch.where(y == 0, torch.zeros((), dtype=y.dtype), x / torch.where(y == 0, 1.0, y))


_SINGLE = {
    "nn.relu": torch.relu, "nn.relu6": F.relu6, "nn.elu": F.elu, "nn.selu": F.selu, "nn.softsign": F.softsign,
    "math.sigmoid": torch.sigmoid, "sigmoid": torch.sigmoid, "math.tanh": torch.tanh, "tanh": torch.tanh,
    "math.softplus": F.softplus, "nn.softplus": F.softplus, "math.exp": torch.exp, "math.log": torch.log,
    "math.log1p": torch.log1p, "math.expm1": torch.expm1, "math.sqrt": torch.sqrt, "math.rsqrt": torch.rsqrt,
    "math.square": torch.square, "math.abs": torch.abs, "math.negative": operator.neg, "math.sign": torch.sign,
    "math.round": torch.round, "math.floor": torch.floor, "math.ceil": torch.ceil, "math.sin": torch.sin,
    "math.cos": torch.cos, "math.tan": torch.tan, "math.asin": torch.asin, "math.acos": torch.acos,
    "math.atan": torch.atan, "math.sinh": torch.sinh, "math.cosh": torch.cosh, "math.erf": torch.erf,
    "math.reciprocal": torch.reciprocal, "math.log_sigmoid": F.logsigmoid, "math.is_nan": torch.isnan,
    "math.is_finite": torch.isfinite, "math.is_inf": torch.isinf, "math.logical_not": torch.logical_not,
    "zeros_like": torch.zeros_like, "ones_like": torch.ones_like, "compat.v1.zeros_like": torch.zeros_like,
    "compat.v1.ones_like": torch.ones_like, "__operators__.neg": operator.neg, "__operators__.abs": torch.abs,
    "math.lgamma": torch.lgamma, "math.digamma": torch.digamma,
}  # fmt: skip

_PAIRS = {
    "__operators__.add": operator.add, "math.add": operator.add, "math.subtract": operator.sub,
    "math.multiply": operator.mul, "math.truediv": operator.truediv, "math.divide": operator.truediv,
    "realdiv": operator.truediv, "compat.v1.div": operator.truediv, "RealDiv": operator.truediv,
    "math.floordiv": operator.floordiv, "compat.v1.floor_div": operator.floordiv, "math.floormod": operator.mod,
    "math.mod": operator.mod, "math.pow": operator.pow, "math.maximum": _greater_of, "math.minimum": _lesser_of,
    "math.greater": operator.gt, "math.greater_equal": operator.ge, "math.less": operator.lt,
    "math.less_equal": operator.le, "math.equal": operator.eq, "math.not_equal": operator.ne,
    "math.logical_and": operator.and_, "math.logical_or": operator.or_, "math.divide_no_nan": _safe_division,
    "math.squared_difference": lambda x, y: torch.square(x - y), "math.atan2": torch.atan2,
    "__operators__.radd": lambda x, y: y + x, "__operators__.rsub": lambda x, y: y - x,
    "__operators__.rmul": lambda x, y: y * x, "__operators__.rtruediv": lambda x, y: y / x,
    "__operators__.rpow": lambda x, y: y**x, "__operators__.rfloordiv": lambda x, y: y // x,
    "__operators__.sub": operator.sub, "__operators__.mul": operator.mul, "__operators__.truediv": operator.truediv,
    "__operators__.pow": operator.pow, "__operators__.floordiv": operator.floordiv, "__operators__.mod": operator.mod,
    "__operators__.gt": operator.gt, "__operators__.ge": operator.ge, "__operators__.lt": operator.lt,
    "__operators__.le": operator.le, "__operators__.eq": operator.eq, "__operators__.ne": operator.ne,
    "__operators__.and": operator.and_, "__operators__.or": operator.or_,
}  # fmt: skip

FUNCTIONS.update({name: _one(function) for name, function in _SINGLE.items()})
FUNCTIONS.update({name: _two(function) for name, function in _PAIRS.items()})


@enter("identity", "stop_gradient", "nn.identity", "convert_to_tensor")
def identity(x: Any, **_: Any) -> Any:
    """The argument itself.

    Args:
        x: the argument.
    """
    return x


@enter("math.add_n")
def add_n(inputs: Any, name: Any = None) -> Any:
    """The sum of tensors.

    Args:
        inputs: the tensors.
        name: without a meaning.
    """
    total = inputs[0]
    for x in inputs[1:]:
        total = total + x
    return total


@enter("nn.leaky_relu")
def leaky_relu(features: Any, alpha: float = 0.2, name: Any = None) -> Any:
    """The argument, negative numbers made smaller.

    Args:
        features: the argument.
        alpha: the slope there.
        name: without a meaning.
    """
    return F.leaky_relu(features, alpha)


@enter("nn.gelu")
def gelu(features: Any, approximate: bool = False, name: Any = None) -> Any:
    """The Gaussian error linear unit.

    Args:
        features: the argument.
        approximate: whether by tanh.
        name: without a meaning.
    """
    return F.gelu(features, approximate="tanh" if approximate else "none")


@enter("nn.silu", "nn.swish")
def silu(features: Any, beta: Any = 1.0, name: Any = None) -> Any:
    """The argument times its sigmoid.

    Args:
        features: the argument.
        beta: a factor inside the sigmoid.
        name: without a meaning.
    """
    return F.silu(features) if beta == 1.0 else features * torch.sigmoid(beta * features)


@enter("nn.softmax", "compat.v1.nn.softmax", "math.softmax")
def softmax(logits: Any, axis: Any = -1, name: Any = None, **_: Any) -> Any:
    """Softmax along an axis.

    Args:
        logits: the argument.
        axis: along which.
        name: without a meaning.
    """
    return torch.softmax(logits, -1 if axis is None else axis)


@enter("nn.log_softmax", "math.log_softmax")
def log_softmax(logits: Any, axis: Any = -1, name: Any = None) -> Any:
    """The logarithm of softmax along an axis.

    Args:
        logits: the argument.
        axis: along which.
        name: without a meaning.
    """
    return torch.log_softmax(logits, -1 if axis is None else axis)


@enter("clip_by_value")
def clip_by_value(t: Any, clip_value_min: Any, clip_value_max: Any, name: Any = None) -> Any:
    """Numbers no smaller and no greater than two limits.

    Args:
        t: the argument.
        clip_value_min: the least.
        clip_value_max: the greatest.
        name: without a meaning.
    """
    return torch.clamp(t, as_tensor(clip_value_min, t), as_tensor(clip_value_max, t))


@enter("where", "where_v2", "compat.v1.where")
def where(condition: Any, x: Any = None, y: Any = None, name: Any = None) -> Any:
    """Numbers of one tensor or the other.

    Args:
        condition: where those of the first.
        x: the first.
        y: the second.
        name: without a meaning.

    Raises:
        LoadError: only the condition is given: how many numbers are true depends on the data.
    """
    if x is None or y is None:
        raise LoadError("tf.where of a condition alone has no fixed shape.", expected="where(condition, x, y)")
    other = x if is_tensor(x) else y
    x, y = (value if is_tensor(value) else _constant(value, other) for value in (x, y))
    return torch.where(condition, x, y)


def _constant(value: Any, like: Any) -> torch.Tensor:
    """A number or list as a tensor of the dtype of another."""
    kind = like.dtype if is_tensor(like) else torch.float32
    return torch.tensor(value, dtype=kind)


@enter("cast", "compat.v1.to_float")
def cast(x: Any, dtype: Any = "float32", name: Any = None) -> Any:
    """The argument in another dtype.

    Args:
        x: the argument.
        dtype: the name of the dtype.
        name: without a meaning.
    """
    kind = getattr(torch, str(dtype), None)
    if not isinstance(kind, torch.dtype):
        raise LoadError("There is no such dtype.", expected="such as 'float32'", received=repr(dtype)[:40])
    if not is_tensor(x):
        return x
    return x.to(kind)


@enter("math.l2_normalize", "linalg.l2_normalize", "nn.l2_normalize")
def l2_normalize(x: Any, axis: Any = None, epsilon: float = 1e-12, name: Any = None, dim: Any = None) -> Any:
    """The argument divided by its L2 norm.

    Args:
        x: the argument.
        axis: along which axis or axes.
        epsilon: the least square of the norm.
        name: without a meaning.
        dim: the old name of `axis`.
    """
    axis = axis_of(dim if axis is None else axis)
    squares = torch.square(x)
    total = torch.sum(squares) if axis is None else torch.sum(squares, axis, keepdim=True)
    return x * torch.rsqrt(torch.clamp(total, min=epsilon))
