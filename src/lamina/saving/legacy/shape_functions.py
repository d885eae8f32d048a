"""TensorFlow's functions that join, cut and reshape tensors, and those of shapes themselves."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.nn import functional as F

from lamina.errors import LoadError
from lamina.saving.legacy.functions import as_tensor, axis_of, enter, is_tensor


@enter("concat")
def concat(values: Any, axis: int = -1, name: Any = None) -> Any:
    """Tensors behind one another; a list of numbers stays one.

    Args:
        values: the tensors.
        axis: along which.
        name: without a meaning.
    """
    if not any(is_tensor(value) for value in values):  # a shape that is being put together
        return [size for value in values for size in (value if isinstance(value, (list, tuple)) else [value])]
    other = next(value for value in values if is_tensor(value))
    return torch.cat([as_tensor(value, other) for value in values], axis)


@enter("stack")
def stack(values: Any, axis: int = 0, name: Any = None) -> Any:
    """Tensors along a new axis; a list of numbers stays one.

    Args:
        values: the tensors.
        axis: where the new axis is.
        name: without a meaning.
    """
    if not any(is_tensor(value) for value in values):
        return list(values)
    other = next(value for value in values if is_tensor(value))
    return torch.stack([as_tensor(value, other) for value in values], axis)


@enter("unstack")
def unstack(value: Any, num: Any = None, axis: int = 0, name: Any = None) -> Any:
    """A tensor for each place of an axis.

    Args:
        value: the argument.
        num: how many there are; not needed.
        axis: which axis.
        name: without a meaning.
    """
    return torch.unbind(value, axis) if is_tensor(value) else tuple(value)


@enter("split")
def split(value: Any, num_or_size_splits: Any, axis: int = 0, num: Any = None, name: Any = None) -> Any:
    """A tensor in parts.

    Args:
        value: the argument.
        num_or_size_splits: how many parts of equal size, or the sizes.
        axis: along which.
        num: without a meaning here.
        name: without a meaning.
    """
    sizes = num_or_size_splits
    if isinstance(sizes, int):
        whole = value.shape[axis]
        if whole is None:
            raise LoadError("tf.split needs the size that it divides.", received=f"shape {tuple(value.shape)}")
        sizes = whole // sizes
    return torch.split(value, sizes, axis)


@enter("compat.v1.shape", "shape")
def shape(input: Any, out_type: Any = None, name: Any = None) -> Any:
    """The sizes of a tensor, `None` for one that is not known.

    Args:
        input: the tensor.
        out_type: without a meaning here.
        name: without a meaning.
    """
    return list(input.shape)


@enter("rank", "compat.v1.rank")
def rank(input: Any, name: Any = None) -> Any:
    """The number of axes.

    Args:
        input: the tensor.
        name: without a meaning.
    """
    return len(input.shape)


@enter("compat.v1.size", "size")
def size(input: Any, out_type: Any = None, name: Any = None) -> Any:
    """The number of numbers in a tensor, `None` if it is not known.

    Args:
        input: the tensor.
        out_type: without a meaning here.
        name: without a meaning.
    """
    return None if None in input.shape else math.prod(input.shape)


@enter("reshape")
def reshape(tensor: Any, shape: Any, name: Any = None) -> Any:
    """The same numbers in another shape.

    Args:
        tensor: the argument.
        shape: the sizes; `None` for one that is that of the batch, -1 for what remains.
        name: without a meaning.
    """
    sizes = list(shape) if isinstance(shape, (list, tuple)) else [shape]
    if len([s for s in sizes if s in (None, -1)]) > 1 and sizes[0] is None and -1 in sizes:
        rest = tensor.shape[1:]
        if None not in rest:  # what remains is known without the batch
            known = math.prod(s for s in sizes if s not in (None, -1))
            sizes[sizes.index(-1)] = math.prod(rest) // max(1, known)
    sizes = [-1 if s is None else s for s in sizes]
    if sizes.count(-1) > 1:
        raise LoadError(
            "tf.reshape to more than one size that is not known.",
            received=f"shape {shape} for a tensor of shape {tuple(tensor.shape)}"[:120],
            fix="give Input a full shape",
        )
    return torch.reshape(tensor, sizes)


@enter("expand_dims", "compat.v1.expand_dims")
def expand_dims(input: Any, axis: Any = None, name: Any = None, dim: Any = None) -> Any:
    """The argument with an axis of size 1 more.

    Args:
        input: the argument.
        axis: where.
        name: without a meaning.
        dim: the old name of `axis`.
    """
    axis = dim if axis is None else axis
    return torch.unsqueeze(input, axis[0] if isinstance(axis, list) else axis)


@enter("squeeze", "compat.v1.squeeze")
def squeeze(input: Any, axis: Any = None, name: Any = None, squeeze_dims: Any = None) -> Any:
    """The argument without axes of size 1.

    Args:
        input: the argument.
        axis: which axis or axes; all of them for `None`.
        name: without a meaning.
        squeeze_dims: the old name of `axis`.
    """
    axis = squeeze_dims if axis is None else axis
    if axis is None:
        return torch.squeeze(input)
    return torch.squeeze(input, axis_of(axis) if isinstance(axis, (list, tuple)) else axis)


@enter("transpose", "compat.v1.transpose")
def transpose(a: Any, perm: Any = None, name: Any = None, conjugate: bool = False) -> Any:
    """The axes in another order.

    Args:
        a: the argument.
        perm: the order; from the last to the first by default.
        name: without a meaning.
        conjugate: without a meaning for real numbers.
    """
    return torch.permute(a, tuple(range(a.dim() - 1, -1, -1)) if perm is None else tuple(perm))


@enter("reverse")
def reverse(tensor: Any, axis: Any, name: Any = None) -> Any:
    """The argument from its end.

    Args:
        tensor: the argument.
        axis: along which axis or axes.
        name: without a meaning.
    """
    return torch.flip(tensor, tuple(axis) if isinstance(axis, (list, tuple)) else (axis,))


@enter("tile")
def tile(input: Any, multiples: Any, name: Any = None) -> Any:
    """The argument repeated.

    Args:
        input: the argument.
        multiples: how often along each axis.
        name: without a meaning.
    """
    return torch.tile(input, tuple(multiples))


@enter("repeat")
def repeat(input: Any, repeats: Any, axis: Any = None, name: Any = None) -> Any:
    """Each number repeated.

    Args:
        input: the argument.
        repeats: how often.
        axis: along which.
        name: without a meaning.
    """
    return torch.repeat_interleave(input, as_tensor(repeats), axis)


@enter("broadcast_to")
def broadcast_to(input: Any, shape: Any, name: Any = None) -> Any:
    """The argument repeated to a shape.

    Args:
        input: the argument.
        shape: the shape, `None` for a size that stays.
        name: without a meaning.
    """
    return torch.broadcast_to(input, tuple(-1 if size is None else size for size in shape))


@enter("pad", "compat.v1.pad")
def pad(tensor: Any, paddings: Any, mode: str = "CONSTANT", name: Any = None, constant_values: Any = 0) -> Any:
    """The argument with numbers around it.

    Args:
        tensor: the argument.
        paddings: how many before and after along each axis.
        mode: `"CONSTANT"`, `"REFLECT"` or `"SYMMETRIC"`.
        name: without a meaning.
        constant_values: the numbers.

    Raises:
        LoadError: there is no such mode.
    """
    if str(mode).upper() == "CONSTANT":
        sides = [int(side) for pair in reversed(paddings) for side in pair]
        return F.pad(tensor, sides, value=constant_values)
    if str(mode).upper() not in ("REFLECT", "SYMMETRIC"):
        raise LoadError("tf.pad has no such mode.", expected="CONSTANT, REFLECT or SYMMETRIC", received=repr(mode)[:40])
    skip = 1 if str(mode).upper() == "REFLECT" else 0
    for axis, (before, after) in enumerate(paddings):
        parts = [tensor]
        if before:
            parts.insert(0, torch.flip(tensor.narrow(axis, skip, before), (axis,)))
        if after:
            parts.append(torch.flip(tensor.narrow(axis, tensor.shape[axis] - skip - after, after), (axis,)))
        tensor = torch.cat(parts, axis) if len(parts) > 1 else tensor
    return tensor


@enter("strided_slice")
def strided_slice(
    input: Any,
    begin: Any,
    end: Any,
    strides: Any,
    begin_mask: int = 0,
    end_mask: int = 0,
    ellipsis_mask: int = 0,
    new_axis_mask: int = 0,
    shrink_axis_mask: int = 0,
    name: Any = None,
) -> Any:
    """A part of a tensor or of a shape, in the raw form in which bits say what each number means.

    Args:
        input: the tensor.
        begin: where each axis begins.
        end: where it ends.
        strides: the steps.
        begin_mask: the axes that begin at the start.
        end_mask: those that go on to the end.
        ellipsis_mask: the place of an ellipsis.
        new_axis_mask: the places of new axes.
        shrink_axis_mask: the axes of which one place is taken.
        name: without a meaning.
    """
    index: list[Any] = []
    for place, (first, last, step) in enumerate(zip(begin, end, strides, strict=True)):
        bit = 1 << place
        if ellipsis_mask & bit:
            index.append(Ellipsis)
        elif new_axis_mask & bit:
            index.append(None)
        elif shrink_axis_mask & bit:
            index.append(first)
        else:
            index.append(slice(None if begin_mask & bit else first, None if end_mask & bit else last, step))
    if isinstance(input, (list, tuple)):
        return input[index[0]]
    return input[tuple(index)]
