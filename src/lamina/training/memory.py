"""Data in memory: arrays, and nests of them, gathered a batch at a time by index."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from lamina import config
from lamina.dtypes import torch_dtype
from lamina.engine.nest import flatten, map_nest
from lamina.errors import ArgumentError, DataError
from lamina.training.arrays import (
    as_tensor,
    batch_dtype,
    holds_read_only_memory,
    is_array,
    is_pandas,
    is_sparse,
    map_arrays,
    named_leaves,
)
from lamina.training.batches import Batch, ClassWeights, move
from lamina.training.epochs import DataAdapter, positive_integer
from lamina.training.lookahead import one_ahead, spare_core

DEFAULT_BATCH_SIZE = 32


class TensorRows:
    """Rows of a tensor, or of an array as a tensor over the same memory.

    Args:
        value: the array.
        name: what error messages call it.
        weights: whether these are sample weights, which are floats whatever they came as.
    """

    def __init__(self, value: Any, name: str, weights: bool = False) -> None:
        tensor = as_tensor(value, name)
        self.dtype = torch_dtype(config.floatx()) if weights else batch_dtype(tensor.dtype)
        mapped_file = isinstance(value, np.memmap)
        # A cast to fewer bytes is paid once; one to more bytes, or of a file, batch by batch, to spare the memory.
        if not mapped_file and tensor.dtype.itemsize >= self.dtype.itemsize:
            tensor = tensor.to(self.dtype)
        if not mapped_file and not tensor.is_contiguous():
            tensor = tensor.contiguous()
        self.tensor = tensor
        self.device = tensor.device
        self._is_cast = tensor.dtype == self.dtype
        # A layer that works in place on its input must not write to memory that is read-only: that ends the process.
        self._copies = holds_read_only_memory(value)

    def __len__(self) -> int:
        return self.tensor.shape[0]

    def slice(self, start: int, stop: int, device: torch.device) -> torch.Tensor:
        """Rows `start` to `stop`: a view where nothing needs to be converted or moved."""
        rows = self.tensor[start:stop]
        if self._is_cast and device == self.device:
            return rows.clone() if self._copies else rows
        return move(rows, device, self.dtype)

    def take(self, index: torch.Tensor, device: torch.device) -> torch.Tensor:
        """The rows that `index`, on the tensor's own device, names."""
        if self._is_cast and device == self.device:
            return self.tensor.index_select(0, index)
        if self._is_cast and device.type == "cuda" and self.device.type == "cpu":
            shape = (len(index), *self.tensor.shape[1:])
            rows = torch.empty(shape, dtype=self.dtype, pin_memory=True)
            torch.index_select(self.tensor, 0, index, out=rows)
            return rows.to(device, non_blocking=True)
        return move(self.tensor.index_select(0, index), device, self.dtype)


class SparseRows:
    """Rows of a scipy.sparse matrix, made dense a batch at a time.

    Args:
        value: the matrix.
        name: what error messages call it.
        weights: whether these are sample weights; a sparse matrix of those is treated like any other.
    """

    device = torch.device("cpu")

    def __init__(self, value: Any, name: str, weights: bool = False) -> None:
        self.matrix = value.tocsr()
        self.name = name

    def __len__(self) -> int:
        return self.matrix.shape[0]

    def slice(self, start: int, stop: int, device: torch.device) -> torch.Tensor:
        """Rows `start` to `stop`."""
        return self._dense(self.matrix[start:stop], device)

    def take(self, index: torch.Tensor, device: torch.device) -> torch.Tensor:
        """The rows that `index` names."""
        return self._dense(self.matrix[index.numpy()], device)

    def _dense(self, rows: Any, device: torch.device) -> torch.Tensor:
        tensor = as_tensor(rows, self.name)
        return move(tensor, device, batch_dtype(tensor.dtype))


class ArrayAdapter(DataAdapter):
    """Batches of arrays in memory.

    Unshuffled batches are slices. For shuffled ones each pass draws a permutation from torch's global CPU generator,
    and each batch is gathered where its array lies: on the device, or into page-locked memory on the way there.

    Args:
        x: an array or a nest of them.
        y: targets, an array or a nest.
        sample_weight: weights, an array or a nest.
        batch_size: samples a batch.
        steps: batches an epoch; `None` for one pass.
        shuffle: whether each pass has an order of its own.
        class_weight: a weight for each class of `y`.
        drop_remainder: whether a last batch of fewer samples is left out.

    Raises:
        DataError: nothing in `x`, no samples, or different numbers of samples.
        DtypeError: an array without numbers.
        ArgumentError: a size that is not positive, or class weights that do not fit `y`.

    Example:
        >>> adapter = ArrayAdapter(np.arange(5.0), batch_size=2)
        >>> [x.tolist() for x, y, sample_weight in adapter.epoch(torch.device("cpu"))]
        [[0.0, 1.0], [2.0, 3.0], [4.0]]
    """

    def __init__(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        batch_size: int | None = None,
        steps: int | None = None,
        shuffle: bool = False,
        class_weight: Mapping[int, float] | None = None,
        drop_remainder: bool = False,
    ) -> None:
        super().__init__(steps)
        self.batch_size = DEFAULT_BATCH_SIZE if batch_size is None else positive_integer("batch_size", batch_size)
        self.num_samples = check_lengths(x, y, sample_weight)
        self.shuffle = bool(shuffle)
        rows = (_rows(x, "x"), _rows(y, "y"), _rows(sample_weight, "sample_weight", weights=True))
        if class_weight is not None:
            rows = (rows[0], rows[1], _class_rows(ClassWeights(class_weight), rows[1], rows[2]))
        self._rows = rows
        self._leaves = [leaf for leaf in flatten(rows) if leaf is not None]
        # Without nests a batch is the leaves themselves, and what is missing is missing at the end.
        self._is_flat = all(part is leaf for part, leaf in zip(rows, self._leaves, strict=False))
        self._starts = range(0, self.num_samples, self.batch_size)
        if drop_remainder and self.num_samples % self.batch_size:
            self._starts = self._starts[:-1]
        if self.steps is None:
            self.num_batches = len(self._starts)

    def passes(self, device: torch.device) -> Iterator[Batch]:
        """One pass, in an order of its own if `shuffle` says so.

        Args:
            device: where the batches go.

        Returns:
            An iterator of `(x, y, sample_weight)`.
        """
        return self.pass_from(0, device)

    def pass_from(self, skipped: int, device: torch.device) -> Iterator[Batch]:
        """A pass without its first batches, for which nothing is gathered."""
        starts = self._starts[skipped:]
        return self._shuffled(starts, device) if self.shuffle else self._in_order(starts, device)

    def _in_order(self, starts: range, device: torch.device) -> Iterator[Batch]:
        size = self.batch_size or DEFAULT_BATCH_SIZE
        for start in starts:
            yield self._pack([rows.slice(start, start + size, device) for rows in self._leaves])

    def _shuffled(self, starts: range, device: torch.device) -> Iterator[Batch]:
        """Draws the order at once, so that it hangs on nothing that happens later."""
        size = self.batch_size or DEFAULT_BATCH_SIZE
        order = torch.randperm(self.num_samples or 0, device="cpu")
        homes = list({rows.device for rows in self._leaves})
        orders = [order.to(home) for home in homes]
        drawn = [(rows, homes.index(rows.device)) for rows in self._leaves]

        def gather(start: int) -> Batch:
            index = [order[start : start + size] for order in orders]
            return self._pack([rows.take(index[home], device) for rows, home in drawn])

        makers = (functools.partial(gather, start) for start in starts)
        if device.type == "cpu" and spare_core():  # a GPU computes beside the host as it is
            return one_ahead(makers)
        return (make() for make in makers)

    def _pack(self, tensors: list[torch.Tensor]) -> Batch:
        """The tensors of one batch in the user's three nests."""
        if self._is_flat:
            x, y, sample_weight = (*tensors, None, None)[:3]
            return x, y, sample_weight
        rest = iter(tensors)
        return map_nest(lambda rows: None if rows is None else next(rest), self._rows)


def _rows(nest: Any, name: str, weights: bool = False) -> Any:
    """The same nest with rows to draw from in place of arrays."""
    return map_arrays(lambda v, path: (SparseRows if is_sparse(v) else TensorRows)(v, path, weights), nest, name)


def _class_rows(class_weights: ClassWeights, y: Any, sample_weight: Any) -> TensorRows:
    """One weight a sample, worked out once for the whole of `y`."""
    targets = y.tensor if isinstance(y, TensorRows) else y
    given = sample_weight.tensor.to(sample_weight.dtype) if isinstance(sample_weight, TensorRows) else sample_weight
    return TensorRows(class_weights.apply(targets, given), "sample_weight", weights=True)


def check_lengths(x: Any, y: Any, sample_weight: Any) -> int:
    """The number of samples that all arrays share.

    Args:
        x: an array or a nest of them.
        y: the same, or `None`.
        sample_weight: the same, or `None`.

    Returns:
        The length of each array's first axis.

    Raises:
        DataError: there is no array, one has no first axis, none has samples, or they differ.

    Example:
        >>> check_lengths({"a": np.zeros((4, 2)), "b": np.zeros(4)}, [0, 1, 0, 1], None)
        4
    """
    leaves = [*named_leaves(x, "x"), *named_leaves(y, "y"), *named_leaves(sample_weight, "sample_weight")]
    lengths = {name: _length(leaf, name) for name, leaf in leaves}
    if not any(name.startswith("x") for name in lengths):
        raise DataError("There are no inputs.", expected="x: an array, or a nest of them", received=f"x={x!r}")
    if len(set(lengths.values())) > 1:
        raise DataError(
            "The data have different numbers of samples.",
            expected="one number of samples (the length of the first axis) for all arrays",
            received=", ".join(f"{name}: {length}" for name, length in lengths.items()),
            fix=_mismatch_fix(x, lengths),
        )
    count = next(iter(lengths.values()))
    if not count:
        raise DataError(
            "The data are empty.",
            expected="at least 1 sample",
            received=f"0 samples in {', '.join(lengths)}",
            fix="check how the data were loaded or selected",
        )
    return count


def _length(leaf: Any, name: str) -> int:
    shape = tuple(leaf.shape) if hasattr(leaf, "shape") else (len(leaf),)
    if not shape:
        raise DataError(
            f"{name} is a single number, so it has no samples.",
            expected="an array whose first axis is the batch",
            received=f"a {type(leaf).__name__} of shape ()",
            fix=f"wrap it: {name} = np.array([value])",
        )
    return int(shape[0])


def _mismatch_fix(x: Any, lengths: dict[str, int]) -> str:
    """A list of samples where a stacked array was meant is the usual cause."""
    if isinstance(x, (list, tuple)) and len(x) in [n for name, n in lengths.items() if not name.startswith("x")]:
        return "a list of arrays means several inputs; if they are samples, stack them: x = np.stack(x)"
    return "pass arrays that belong together, sample by sample"


def split_validation(x: Any, y: Any, sample_weight: Any, fraction: float) -> tuple[Batch, Batch]:
    """Hold out the last part of the data for validation, before any shuffling.

    Args:
        x: an array or a nest of them.
        y: targets, or `None`.
        sample_weight: weights, or `None`.
        fraction: the part to hold out, between 0 and 1.

    Returns:
        `(x, y, sample_weight)` for training and the same for validation; NumPy arrays and tensors are views.

    Raises:
        ArgumentError: `fraction` is not between 0 and 1, or the data are no arrays.
        DataError: one of the two parts would be empty, or the arrays have different lengths.

    Example:
        >>> train, validation = split_validation(np.arange(10), None, None, 0.2)
        >>> train[0].tolist(), validation[0].tolist()
        ([0, 1, 2, 3, 4, 5, 6, 7], [8, 9])
    """
    if not isinstance(fraction, (int, float, np.number)) or not 0 < fraction < 1:
        raise ArgumentError(
            "validation_split cannot be used.",
            expected="a number between 0 and 1, both left out",
            received=repr(fraction),
            fix="validation_split=0.2",
        )
    data = (x, y, sample_weight)
    for name, part in zip(("x", "y", "sample_weight"), data, strict=True):
        for path, leaf in named_leaves(part, name):
            if not is_array(leaf):
                raise ArgumentError(
                    "validation_split needs arrays: other data cannot be cut without being read.",
                    expected="NumPy arrays, tensors, pandas frames, lists of numbers, or nests of these",
                    received=f"{path} of type {type(leaf).__name__}",
                    fix="pass validation_data instead",
                )
    count = check_lengths(x, y, sample_weight)
    at = math.floor(count * (1.0 - fraction))
    if at in (0, count):
        raise DataError(
            "validation_split leaves one part without samples.",
            expected="at least 1 sample for training and 1 for validation",
            received=f"{count} samples and validation_split={fraction}, which gives {at} and {count - at}",
            fix="pass more data, another fraction, or validation_data",
        )

    def part(start: int, stop: int) -> Batch:
        return map_arrays(lambda leaf, _: _cut(leaf, start, stop), data, "data")

    return part(0, at), part(at, count)


def _cut(leaf: Any, start: int, stop: int) -> Any:
    """Samples `start` to `stop` of one array, as the kind of array that it is."""
    if is_pandas(leaf):
        return leaf.iloc[start:stop]
    if is_sparse(leaf):
        return leaf.tocsr()[start:stop]
    can_be_sliced = hasattr(leaf, "shape") or isinstance(leaf, (list, tuple))
    return (leaf if can_be_sliced else np.asarray(leaf))[start:stop]
