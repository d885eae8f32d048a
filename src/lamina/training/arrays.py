"""Whatever users call an array, as torch tensors: NumPy, lists of numbers, pandas, scipy.sparse, other libraries'."""

from __future__ import annotations

import math
import numbers
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from lamina import config
from lamina.dtypes import torch_dtype
from lamina.engine.nest import is_nest
from lamina.errors import DataError, DtypeError

# torch has few operations for NumPy's other unsigned integers; these types hold the same numbers.
_WIDER = {"uint16": "int32", "uint32": "int64", "uint64": "int64"}
# What numpy's `dtype.kind` calls booleans, signed and unsigned integers, floats and complex numbers.
_NUMERIC_KINDS = "biufc"


def is_array(value: Any) -> bool:
    """Whether `value` is one array: a tensor, an array or frame of some library, or a list of numbers.

    A list, tuple or dict that holds arrays is a nest of arrays instead; a list of numbers, or of lists of them, is one.

    Args:
        value: anything.

    Example:
        >>> is_array([[1, 2], [3, 4]]), is_array([np.zeros(2), np.zeros(2)]), is_array({"a": [1]})
        (True, False, False)
    """
    if isinstance(value, (list, tuple)):
        return _holds_numbers(value)
    if isinstance(value, dict):
        return False
    return (
        isinstance(value, (torch.Tensor, np.ndarray, np.generic))
        or hasattr(value, "__array__")
        or is_pandas(value)
        or is_sparse(value)
    )


def is_pandas(value: Any) -> bool:
    """Whether a value is a pandas DataFrame or Series. Never imports pandas.

    Args:
        value: anything.
    """
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, (pandas.DataFrame, pandas.Series))


def is_sparse(value: Any) -> bool:
    """Whether a value is a scipy.sparse matrix or array. Never imports scipy.

    Args:
        value: anything.
    """
    scipy_sparse = sys.modules.get("scipy.sparse")
    return scipy_sparse is not None and bool(scipy_sparse.issparse(value))


def named_leaves(nest: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Each array of a nest with the way to it, such as `x['left'][0]`; members that are `None` are left out.

    Args:
        nest: an array, or lists, tuples and dicts of them.
        name: what the nest itself is called.

    Returns:
        An iterator of `(path, array)`.

    Example:
        >>> [path for path, _ in named_leaves({"a": [torch.zeros(1), torch.zeros(1)]}, "x")]
        ["x['a'][0]", "x['a'][1]"]
    """
    if nest is None:
        return
    if is_nest(nest) and not is_array(nest):
        members = nest.items() if isinstance(nest, dict) else enumerate(nest)
        for key, member in members:
            yield from named_leaves(member, f"{name}[{key!r}]")
    else:
        yield name, nest


def map_arrays(function: Callable[[Any, str], Any], nest: Any, name: str) -> Any:
    """A nest of the same form with the function's value for each array and `None` for each `None`.

    Args:
        function: is called with each array and the way to it.
        nest: an array, or lists, tuples and dicts of them.
        name: what the nest itself is called.

    Returns:
        The new nest.

    Example:
        >>> map_arrays(lambda array, path: len(array), {"a": [1, 2], "b": None}, "x")
        {'a': 2, 'b': None}
    """
    if nest is None:
        return None
    if isinstance(nest, dict):
        return {key: map_arrays(function, value, f"{name}[{key!r}]") for key, value in nest.items()}
    if isinstance(nest, (list, tuple)) and not is_array(nest):
        members = [map_arrays(function, value, f"{name}[{i}]") for i, value in enumerate(nest)]
        if isinstance(nest, list):
            return members
        return type(nest)(*members) if hasattr(nest, "_fields") else type(nest)(members)
    return function(nest, name)


def batch_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype in which a model receives data: floats as `config.floatx()`, everything else as it is.

    Args:
        dtype: that of the data.

    Example:
        >>> batch_dtype(torch.float64), batch_dtype(torch.uint8)
        (torch.float32, torch.uint8)
    """
    return torch_dtype(config.floatx()) if dtype.is_floating_point else dtype


def as_tensor(value: Any, name: str = "x") -> torch.Tensor:
    """`value` as a tensor over the same memory where that can be, in the dtype that it has.

    Args:
        value: anything that `is_array` accepts.
        name: what error messages call it.

    Returns:
        A tensor without gradient. Memory that NumPy holds read-only must not be written through it.

    Raises:
        DataError: lists of different lengths.
        DtypeError: strings, objects, dates, or something that is no array.

    Example:
        >>> as_tensor([[1, 2], [3, 4]]).shape, as_tensor(np.arange(3.0)).dtype
        (torch.Size([2, 2]), torch.float64)
    """
    if isinstance(value, torch.Tensor):
        return value.detach() if value.layout is torch.strided else value.detach().to_dense()
    if is_sparse(value):
        value = value.toarray()
    elif is_pandas(value):
        return _of_numpy(_of_pandas(value, name), name)
    elif isinstance(value, (list, tuple)):
        return _of_list(value, name)
    return _of_numpy(_to_numpy(value, name), name)


def holds_read_only_memory(value: Any) -> bool:
    """Whether a value is a NumPy array that must not be written to, such as a file mapped with mode `'r'`.

    Args:
        value: anything.
    """
    return isinstance(value, np.ndarray) and not value.flags.writeable


def _holds_numbers(values: Any) -> bool:
    """Whether a list or tuple is one array, going by its first members."""
    while isinstance(values, (list, tuple)):
        if not values:
            return True
        values = values[0]
    if isinstance(values, (torch.Tensor, np.ndarray)):
        return values.ndim == 0
    return isinstance(values, (numbers.Number, np.generic, str, bytes))


def _of_list(values: Any, name: str) -> torch.Tensor:
    """Numbers in lists; Python floats become `config.floatx()`, as there is nothing that they already were."""
    if values and isinstance(values[0], torch.Tensor):
        return torch.stack([v.detach() for v in values])
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise DataError(
            f"{name} is a list whose members differ in length, so it is no array.",
            expected="lists of one length at each level, or a list of arrays, which are several inputs",
            received=str(error),
            fix="pad the sequences to one length, or pass a generator of batches",
        ) from error
    tensor = _of_numpy(array, name)
    return tensor.to(batch_dtype(tensor.dtype)) if values and not _has_dtype(values) else tensor


def _has_dtype(values: Any) -> bool:
    """Whether the first number in nested lists is NumPy's, which has a dtype of its own."""
    while isinstance(values, (list, tuple)) and values:
        values = values[0]
    return isinstance(values, np.generic)


def _to_numpy(value: Any, name: str) -> np.ndarray:
    """An array of NumPy, or of another library that lends its memory through `__array__`."""
    try:
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DtypeError(
            f"{name} cannot be read as an array.",
            expected="a NumPy array, a torch tensor, a list of numbers or a pandas frame",
            received=f"{type(value).__name__} ({str(error).splitlines()[0]})",
            fix=f"convert it first: {name} = np.asarray(...)",
        ) from error


def _of_numpy(array: np.ndarray, name: str) -> torch.Tensor:
    """A tensor over the memory of `array`; copies only what torch cannot address."""
    if array.dtype.kind not in _NUMERIC_KINDS:
        raise _not_numeric(name, array)
    wanted = _WIDER.get(array.dtype.name)
    if array.dtype.kind in "fc" and array.dtype.itemsize > (8 if array.dtype.kind == "f" else 16):
        wanted = "float64" if array.dtype.kind == "f" else "complex128"
    if wanted is not None or not array.dtype.isnative:
        array = array.astype(wanted or array.dtype.newbyteorder("="))
    if any(s < 0 or s % array.itemsize for s in array.strides):
        array = np.ascontiguousarray(array)
    return torch.from_numpy(array if array.flags.writeable else _writable_view(array))


class _Memory:
    """Lends the memory of a read-only array as if it could be written; `torch.from_numpy` warns otherwise."""

    def __init__(self, array: np.ndarray) -> None:
        interface = dict(array.__array_interface__)
        interface["data"] = (interface["data"][0], False)
        self.__array_interface__ = interface
        self.owner = array


def _writable_view(array: np.ndarray) -> np.ndarray:
    """A view that torch takes without a warning; nothing in lamina writes to it."""
    return np.asarray(_Memory(array)) if array.size else array.copy()


def _of_pandas(frame: Any, name: str) -> np.ndarray:
    """A frame as a 2-D array, a series as one column, as Keras takes them."""
    if frame.ndim == 1:
        return _column(frame, name)[:, None]
    arrays = [_column(frame.iloc[:, i], f"{name}[{label!r}]") for i, label in enumerate(frame.columns)]
    if not arrays:
        return np.zeros((len(frame), 0), dtype=config.floatx())
    dtype = np.result_type(*arrays)
    if dtype.kind == "f" and any(a.dtype.kind in "biu" for a in arrays):
        dtype = np.dtype("float64")
    table = np.empty((len(frame), len(arrays)), dtype=_WIDER.get(dtype.name, dtype))
    for i, array in enumerate(arrays):
        table[:, i] = array
    return table


def _column(series: Any, path: str) -> np.ndarray:
    """One column of numbers; nullable columns become floats with NaN."""
    array = series.to_numpy()
    if array.dtype.kind == "O" and getattr(series.dtype, "_is_numeric", False):
        array = series.to_numpy(dtype="float64", na_value=math.nan)
    if array.dtype.kind not in _NUMERIC_KINDS:
        raise _not_numeric(path, array)
    return array


def _not_numeric(name: str, array: np.ndarray) -> DtypeError:
    """What is wrong with an array that holds no numbers, and what to do for its kind."""
    first = array.reshape(-1)[:1].tolist()
    if array.dtype.kind in "US" or (first and isinstance(first[0], (str, bytes))):
        fix = "turn each text into numbers first, for labels: np.unique(labels, return_inverse=True)[1]"
    elif array.dtype.kind in "mM":
        fix = f"turn times into numbers first: {name}.astype('int64')"
    elif first and isinstance(first[0], (np.ndarray, list, tuple, torch.Tensor)):
        fix = f"stack rows of one shape into one array: np.stack({name}); pad them where they differ"
    else:
        fix = f"say which numbers these are: {name} = {name}.astype('float32')"
    return DtypeError(
        f"{name} holds no numbers.",
        expected="an array of floats, integers or booleans",
        received=f"dtype {array.dtype}" + (f", first value {first[0]!r:.60}" if first else ""),
        fix=fix,
    )
