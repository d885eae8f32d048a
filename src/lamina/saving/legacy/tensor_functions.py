"""TensorFlow's functions that reduce, choose from and multiply tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from lamina.errors import LoadError
from lamina.saving.legacy.functions import FUNCTIONS, as_tensor, axis_of, enter


def _reduction(function: Callable[..., Any], several: bool = True) -> Callable[..., Any]:
    def call(
        input_tensor: Any,
        axis: Any = None,
        keepdims: Any = False,
        name: Any = None,
        keep_dims: Any = None,
        reduction_indices: Any = None,
    ) -> Any:
        axis, keep = reduction_indices if axis is None else axis, bool(keepdims or keep_dims)
        x = input_tensor
        if axis is None:
            axis = list(range(x.dim()))
        if several:
            return function(x, axis_of(axis), keepdim=keep)
        axes = sorted((a % x.dim() for a in ([axis] if isinstance(axis, int) else axis)), reverse=True)
        for one in axes:  # the last axis first, so that the others keep their places
            x = function(x, one, keepdim=keep)
        return x

    return call


_REDUCTIONS = {
    "reduce_mean": torch.mean, "reduce_sum": torch.sum, "reduce_max": torch.amax, "reduce_min": torch.amin,
    "reduce_logsumexp": torch.logsumexp,
    "reduce_variance": lambda x, axis, keepdim: torch.var(x, axis, correction=0, keepdim=keepdim),
    "reduce_std": lambda x, axis, keepdim: torch.std(x, axis, correction=0, keepdim=keepdim),
    "reduce_euclidean_norm": lambda x, axis, keepdim: torch.sqrt(torch.sum(x * x, axis, keepdim=keepdim)),
}  # fmt: skip
_ONE_BY_ONE = {"reduce_prod": torch.prod, "reduce_any": torch.any, "reduce_all": torch.all}
for _prefix in ("math.", "compat.v1.", ""):
    FUNCTIONS.update({_prefix + name: _reduction(function) for name, function in _REDUCTIONS.items()})
    FUNCTIONS.update({_prefix + name: _reduction(function, False) for name, function in _ONE_BY_ONE.items()})


@enter("math.argmax", "compat.v1.argmax", "argmax")
def argmax(input: Any, axis: Any = 0, output_type: Any = None, name: Any = None, dimension: Any = None) -> Any:
    """The place of the greatest number.

    Args:
        input: the argument.
        axis: along which.
        output_type: without a meaning here.
        name: without a meaning.
        dimension: the old name of `axis`.
    """
    return torch.argmax(input, dimension if dimension is not None else (axis or 0))


@enter("math.argmin", "compat.v1.argmin", "argmin")
def argmin(input: Any, axis: Any = 0, output_type: Any = None, name: Any = None, dimension: Any = None) -> Any:
    """The place of the smallest number.

    Args:
        input: the argument.
        axis: along which.
        output_type: without a meaning here.
        name: without a meaning.
        dimension: the old name of `axis`.
    """
    return torch.argmin(input, dimension if dimension is not None else (axis or 0))


@enter("math.cumsum")
def cumsum(x: Any, axis: int = 0, exclusive: bool = False, reverse: bool = False, name: Any = None) -> Any:
    """Sums up to each place.

    Args:
        x: the argument.
        axis: along which.
        exclusive: whether a place itself is left out.
        reverse: whether from the end.
        name: without a meaning.
    """
    y = torch.flip(x, (axis,)) if reverse else x
    total = torch.cumsum(y, axis)
    total = total - y if exclusive else total
    return torch.flip(total, (axis,)) if reverse else total


@enter("gather", "compat.v1.gather")
def gather(params: Any, indices: Any, axis: Any = None, batch_dims: int = 0, name: Any = None, **_: Any) -> Any:
    """Rows of a tensor.

    Args:
        params: the tensor.
        indices: which rows.
        axis: along which axis.
        batch_dims: how many axes belong to both.
        name: without a meaning.

    Raises:
        LoadError: axes belong to both.
    """
    if batch_dims:
        raise LoadError("tf.gather with batch_dims is not known here.", received=f"batch_dims={batch_dims}"[:60])
    axis = axis or 0
    if isinstance(indices, int):
        return torch.select(params, axis, indices)
    index = as_tensor(indices)
    if index.dim() == 1:
        return torch.index_select(params, axis, index)
    return params[(slice(None),) * (axis % params.dim()) + (index,)]


@enter("one_hot")
def one_hot(
    indices: Any, depth: int, on_value: Any = None, off_value: Any = None, axis: Any = None, dtype: Any = None, **_: Any
) -> Any:
    """A one at the place that each number names.

    Args:
        indices: the numbers.
        depth: how many places there are.
        on_value: what stands there in place of one.
        off_value: what stands elsewhere in place of zero.
        axis: where the new axis is.
        dtype: of the result.
    """
    hot = torch.unsqueeze(indices, -1) == torch.arange(depth)
    kind = getattr(torch, str(dtype or "float32"))
    on, off = (torch.tensor(v if v is not None else d, dtype=kind) for v, d in ((on_value, 1), (off_value, 0)))
    found = torch.where(hot, on, off)
    return found if axis in (None, -1) else torch.movedim(found, -1, axis)


@enter("linalg.matmul", "matmul")
def matmul(a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False, name: Any = None, **_: Any) -> Any:
    """The product of matrices.

    Args:
        a: the first.
        b: the second.
        transpose_a: whether the first is transposed.
        transpose_b: whether the second is.
        name: without a meaning.
    """
    a, b = as_tensor(a, b), as_tensor(b, a)
    return torch.matmul(a.transpose(-1, -2) if transpose_a else a, b.transpose(-1, -2) if transpose_b else b)


@enter("tensordot")
def tensordot(a: Any, b: Any, axes: Any, name: Any = None) -> Any:
    """A product along some axes of each of two tensors.

    Args:
        a: the first.
        b: the second.
        axes: how many, or which of each.
        name: without a meaning.
    """
    axes = axes if isinstance(axes, int) else [[x] if isinstance(x, int) else list(x) for x in axes]
    return torch.tensordot(as_tensor(a, b), as_tensor(b, a), axes)


@enter("linalg.norm", "norm")
def norm(tensor: Any, ord: Any = "euclidean", axis: Any = None, keepdims: Any = None, name: Any = None) -> Any:
    """The norm of a vector.

    Args:
        tensor: the argument.
        ord: which norm: a number or `"euclidean"`.
        axis: along which.
        keepdims: whether that axis is kept.
        name: without a meaning.
    """
    order = 2 if ord == "euclidean" else float(ord)
    return torch.linalg.vector_norm(tensor, order, axis_of(axis), bool(keepdims))


@enter("nn.bias_add")
def bias_add(value: Any, bias: Any, data_format: Any = None, name: Any = None) -> Any:
    """The argument plus a bias along its channels.

    Args:
        value: the argument.
        bias: a number for each channel.
        data_format: where the channels are; last by default.
        name: without a meaning.
    """
    bias = as_tensor(bias, value)
    if isinstance(data_format, str) and data_format.startswith("NC"):
        bias = bias.reshape(-1, *[1] * (value.dim() - 2))
    return value + bias


@enter("fill", "ones", "zeros", "eye", "range", "linspace")
def made_of_shapes(*_: Any, **__: Any) -> Any:
    """Refused: a tensor whose shape comes from another one.

    Raises:
        LoadError: always.
    """
    raise LoadError(
        "The graph makes a tensor of a shape that is computed.", expected="tensors computed from the inputs alone"
    )
