"""The right source of batches for whatever `fit`, `evaluate` and `predict` are given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch.utils.data import DataLoader, Dataset, TensorDataset

from lamina.engine.nest import is_nest
from lamina.errors import ArgumentError, DtypeError
from lamina.training.arrays import is_array, named_leaves
from lamina.training.epochs import DataAdapter as DataAdapter
from lamina.training.iterators import IterableAdapter, LoaderAdapter, dataset_loader
from lamina.training.memory import ArrayAdapter
from lamina.training.pydataset import PyDataset, PyDatasetAdapter


def make_adapter(
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    *,
    batch_size: int | None = None,
    steps: int | None = None,
    shuffle: bool = False,
    class_weight: Mapping[int, float] | None = None,
    drop_remainder: bool = False,
) -> DataAdapter:
    """A source of batches for data of any kind.

    Args:
        x: arrays (NumPy, torch, pandas, scipy.sparse, lists of numbers, and lists, tuples and dicts of these, which are
            several inputs), a `PyDataset`, a torch data set or loader, a generator, any other iterable of batches, or
            an adapter, which is returned as it is.
        y: targets, with arrays only.
        sample_weight: a weight for each sample, with arrays only.
        batch_size: samples a batch, 32 by default; data that come in batches keep their own.
        steps: batches an epoch; `None` for one pass over the data.
        shuffle: whether each pass has an order of its own; loaders and generators keep their own.
        class_weight: a weight for each class of `y`, a dict.
        drop_remainder: whether a last batch of fewer samples is left out.

    Returns:
        The adapter.

    Raises:
        ArgumentError: `y` or `sample_weight` beside data that bring their own, or a size that is not positive.
        DataError: arrays that are empty or of different lengths.
        DtypeError: arrays without numbers, or `x` of a type that gives no batches.

    Example:
        >>> adapter = make_adapter([[0.0], [1.0], [2.0]], [0, 1, 0], batch_size=2)
        >>> adapter.num_batches, adapter.num_samples
        (2, 3)
    """
    if isinstance(x, DataAdapter):
        return x
    if isinstance(x, Mapping):
        x = dict(x)
    if type(x) is TensorDataset and 1 <= len(x.tensors) <= 3:
        # Its samples are rows of tensors: gathering a batch at once gives the same ones without a call for each.
        _refuse_beside(x, y, sample_weight)
        x, y, sample_weight = (*x.tensors, None, None)[:3]
    if _is_in_memory(x):
        return ArrayAdapter(
            x,
            y,
            sample_weight,
            batch_size=batch_size,
            steps=steps,
            shuffle=shuffle,
            class_weight=class_weight,
            drop_remainder=drop_remainder,
        )
    _refuse_beside(x, y, sample_weight)
    if isinstance(x, Dataset):
        x = dataset_loader(x, batch_size=batch_size, shuffle=shuffle, drop_remainder=drop_remainder)
    if isinstance(x, DataLoader):
        return LoaderAdapter(x, steps=steps, class_weight=class_weight)
    if not is_nest(x) and not isinstance(x, (str, bytes)):
        if isinstance(x, PyDataset) or (hasattr(x, "__len__") and hasattr(x, "__getitem__")):
            return PyDatasetAdapter(x, steps=steps, shuffle=shuffle, class_weight=class_weight)
        if isinstance(x, Iterable):
            return IterableAdapter(x, steps=steps, class_weight=class_weight)
    raise DtypeError(
        "These data cannot be made into batches.",
        expected="arrays or nests of them, a PyDataset, a torch data set or loader, or an iterable of batches",
        received=_offender(x),
        fix="convert it: np.asarray(x)",
    )


def _is_in_memory(x: Any) -> bool:
    """Whether `x` is an array or a nest that holds nothing but arrays."""
    return is_array(x) or (is_nest(x) and all(is_array(leaf) for _, leaf in named_leaves(x, "x")))


def _offender(x: Any) -> str:
    """What kind of thing `x` is; in a nest, the first member that is no array."""
    for name, leaf in named_leaves(x, "x"):
        if not is_array(leaf):
            return f"{name} of type {type(leaf).__name__}"
    return f"x of type {type(x).__name__}"


def _refuse_beside(x: Any, y: Any, sample_weight: Any) -> None:
    """Data that come in batches bring their own targets and weights."""
    for name, value in (("y", y), ("sample_weight", sample_weight)):
        if value is not None:
            raise ArgumentError(
                f"{name} cannot be passed beside x of type {type(x).__name__}, which brings its own.",
                expected=f"{name}=None",
                received=f"{name} of type {type(value).__name__}",
                fix=f"let x give (x, y{', sample_weight' if name == 'sample_weight' else ''}) for each batch",
            )
