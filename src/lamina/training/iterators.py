"""Data that arrive as batches: torch's data sets and loaders, generators, and any other iterable."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from lamina.errors import LaminaError
from lamina.training.batches import Batch, ClassWeights, batch_tensors, move_batch, unpack_batch
from lamina.training.epochs import DataAdapter, positive_integer
from lamina.training.memory import DEFAULT_BATCH_SIZE

_SAMPLERS = (RandomSampler, SequentialSampler, SubsetRandomSampler, WeightedRandomSampler)


class IterableAdapter(DataAdapter):
    """Batches that an iterable gives: a generator, a list of batches, a loader of another library.

    An iterator, such as a generator, is gone through once, over all epochs. Anything else is iterated anew for each
    pass.

    Args:
        batches: gives `x`, `(x,)`, `(x, y)` or `(x, y, sample_weight)`; a list is one `x` of several inputs.
        steps: batches an epoch; `None` for one pass.
        class_weight: a weight for each class of `y`.

    Example:
        >>> batches = ((torch.full((2, 1), i), torch.zeros(2)) for i in range(3))
        >>> [x.sum().item() for x, y, _ in IterableAdapter(batches).epoch(torch.device("cpu"))]
        [0, 2, 4]
    """

    def __init__(
        self, batches: Iterable[Any], *, steps: int | None = None, class_weight: Mapping[int, float] | None = None
    ) -> None:
        super().__init__(steps)
        self.batches = batches
        self.one_shot = iter(batches) is batches if isinstance(batches, Iterator) else False
        self._class_weights = None if class_weight is None else ClassWeights(class_weight)

    def passes(self, device: torch.device) -> Iterator[Batch]:
        """One pass over the iterable, or what is left of an iterator.

        Args:
            device: where the batches go.

        Returns:
            An iterator of `(x, y, sample_weight)`.
        """
        return self.pass_from(0, device)

    def sources(self) -> dict[str, Any]:
        """The iterable; of a generator nothing can be told, so it is gone through again."""
        return {} if self.one_shot else {"batches": self.batches}

    def pass_from(self, skipped: int, device: torch.device) -> Iterator[Batch]:
        """A pass without its first batches, which are drawn and dropped."""
        items = iter(self.batches)
        self._drop(items, skipped)
        return self._finished(items, device)

    def _finished(self, items: Iterator[Any], device: torch.device) -> Iterator[Batch]:
        # Not `yield from`, which would close the user's generator together with this one.
        for batch in items:
            yield self.finish(batch, device)

    def finish(self, batch: Any, device: torch.device) -> Batch:
        """What the source gave, as tensors on `device`.

        Args:
            batch: one item of the source.
            device: where its tensors go.

        Returns:
            `(x, y, sample_weight)`.
        """
        x, y, sample_weight = move_batch(batch_tensors(self.unpack(batch)), device)
        if self._class_weights is not None:
            sample_weight = self._class_weights.apply(y, sample_weight)
        return x, y, sample_weight

    def unpack(self, batch: Any) -> Batch:
        """How one item of the source is taken apart into `(x, y, sample_weight)`."""
        return unpack_batch(batch)


class LoaderAdapter(IterableAdapter):
    """Batches of a `torch.utils.data.DataLoader`, which is used as it is.

    Args:
        loader: the loader; its order, batch size and workers are its own.
        steps: batches an epoch; `None` for one pass.
        class_weight: a weight for each class of `y`.

    Example:
        >>> data = torch.utils.data.TensorDataset(torch.zeros(5, 2), torch.ones(5))
        >>> adapter = LoaderAdapter(DataLoader(data, batch_size=2))
        >>> adapter.num_batches, [len(y) for x, y, _ in adapter.epoch(torch.device("cpu"))]
        (3, [2, 2, 1])
    """

    def __init__(
        self, loader: DataLoader[Any], *, steps: int | None = None, class_weight: Mapping[int, float] | None = None
    ) -> None:
        super().__init__(loader, steps=steps, class_weight=class_weight)
        self.batch_size = loader.batch_size or getattr(loader.batch_sampler, "batch_size", None)
        self.num_samples = _length(loader.dataset)
        if self.steps is None:
            self.num_batches = _length(loader)

    def sources(self) -> dict[str, Any]:
        """What the loader draws from, and how."""
        loader: Any = self.batches
        names = ("dataset", "sampler", "batch_sampler", "generator")
        return {name: found for name in names if (found := getattr(loader, name, None)) is not None}

    def pass_from(self, skipped: int, device: torch.device) -> Iterator[Batch]:
        """A pass without its first batches; where torch's own samplers say the order, only their indices are drawn.

        Worker processes must fetch the batches, and drop them, for their random generators to stand where they did.
        """
        items = iter(self.batches)
        self._drop(items._sampler_iter if skipped and self._order_is_apart(items) else items, skipped)  # type: ignore
        return self._finished(items, device)

    def _order_is_apart(self, items: Any) -> bool:
        """Whether the indices hang on nothing that fetching does."""
        loader: Any = self.batches
        single = not loader.num_workers and not isinstance(loader.dataset, IterableDataset)
        batched = loader.batch_sampler is None or type(loader.batch_sampler) is BatchSampler
        return single and batched and type(loader.sampler) in _SAMPLERS and hasattr(items, "_sampler_iter")

    def unpack(self, batch: Any) -> Batch:
        """Like any other batch, but a list is a tuple: torch's loaders make lists of both."""
        return unpack_batch(tuple(batch) if isinstance(batch, list) else batch)


def dataset_loader(
    dataset: Dataset[Any], *, batch_size: int | None = None, shuffle: bool = False, drop_remainder: bool = False
) -> DataLoader[Any]:
    """A loader for a torch data set of single samples.

    Args:
        dataset: map-style or iterable.
        batch_size: samples a batch, 32 by default.
        shuffle: whether each epoch has an order of its own; an iterable data set has its own anyway.
        drop_remainder: whether a last batch of fewer samples is left out.

    Returns:
        The loader.

    Raises:
        ArgumentError: `batch_size` is not a positive integer.
    """
    return DataLoader(
        dataset,
        batch_size=DEFAULT_BATCH_SIZE if batch_size is None else positive_integer("batch_size", batch_size),
        shuffle=bool(shuffle) and not isinstance(dataset, IterableDataset),
        drop_last=drop_remainder,
    )


def _length(sized: Any) -> int | None:
    """`len(sized)`, or `None` where it has none; torch raises TypeError for an iterable data set."""
    length: Callable[[], int] | None = getattr(sized, "__len__", None)
    try:
        return None if length is None else length()
    except (TypeError, NotImplementedError, LaminaError):
        return None
