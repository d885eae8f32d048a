"""`PyDataset`, a data set written as a class with `__getitem__` for one batch, and the adapter that reads it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch

from lamina.errors import ArgumentError, DataError
from lamina.training.batches import Batch, ClassWeights, batch_tensors, move_batch, unpack_batch
from lamina.training.belongings import Belongings
from lamina.training.epochs import DataAdapter
from lamina.training.workers import WorkerPool, fetch_in_threads


class PyDataset:
    """A data set that gives a batch for each index, and can have workers fetch batches ahead.

    A subclass gives `__getitem__(index)`, which returns `(x,)`, `(x, y)` or `(x, y, sample_weight)`, and `__len__`, the
    number of batches. A data set without end gives `num_batches` as `None` instead.

    Args:
        workers: how many threads or processes fetch batches; with 0, and with 1 thread, the caller does.
        use_multiprocessing: whether the workers are processes.
        max_queue_size: how many batches may be waiting at most.

    Example:
        >>> class Squares(PyDataset):
        ...     def __len__(self):
        ...         return 3
        ...
        ...     def __getitem__(self, index):
        ...         x = torch.tensor([[float(index)]])
        ...         return x, x**2
        >>> [y.item() for x, y in Squares(workers=2)]
        [0.0, 1.0, 4.0]
    """

    workers: int = 1
    use_multiprocessing: bool = False
    max_queue_size: int = 10

    def __init__(self, workers: int = 1, use_multiprocessing: bool = False, max_queue_size: int = 10) -> None:
        self.workers = workers
        self.use_multiprocessing = use_multiprocessing
        self.max_queue_size = max_queue_size

    def __getitem__(self, index: int) -> Any:
        """The batch at position `index`."""
        raise NotImplementedError(f"{type(self).__name__} must define __getitem__(index)")

    @property
    def num_batches(self) -> int | None:
        """How many batches there are; `None` for a data set without end."""
        if hasattr(self, "__len__"):
            return len(self)  # type: ignore[arg-type]
        raise NotImplementedError(f"{type(self).__name__} must define __len__, or num_batches as a property")

    def __iter__(self) -> Iterator[Any]:
        """The batches in order, fetched by the caller."""
        for index in _indices(self.num_batches):
            yield self[index]

    def on_epoch_begin(self) -> None:
        """Called before each epoch."""

    def on_epoch_end(self) -> None:
        """Called after each epoch; a data set that shuffles its samples does it here."""


class PyDatasetAdapter(DataAdapter):
    """Batches of a `PyDataset`, or of any object with `__len__` and `__getitem__` that gives batches.

    Args:
        dataset: the data set.
        steps: batches an epoch; `None` for one pass.
        shuffle: whether each pass has an order of batches of its own, drawn from torch's global CPU generator.
        class_weight: a weight for each class of `y`.

    Raises:
        ArgumentError: the data set has no end and `steps` is not given, or its number of workers is no such number.
        DataError: the data set has no batches.
    """

    def __init__(
        self,
        dataset: Any,
        *,
        steps: int | None = None,
        shuffle: bool = False,
        class_weight: Mapping[int, float] | None = None,
    ) -> None:
        super().__init__(steps)
        self.dataset = dataset
        self.shuffle = bool(shuffle)
        self._class_weights = None if class_weight is None else ClassWeights(class_weight)
        self._pool: WorkerPool | None = None
        self._workers = _setting(dataset, "workers", 1)
        self._ahead = _setting(dataset, "max_queue_size", 10)
        self._uses_processes = bool(getattr(dataset, "use_multiprocessing", False))
        self._count = self._count_batches()
        if self.steps is None:
            if self._count is None:
                raise ArgumentError(
                    "The data set has no end, so an epoch needs a number of steps.",
                    expected="steps_per_epoch, or validation_steps, as a positive integer",
                    received=f"{type(dataset).__name__} with num_batches None and no steps",
                    fix="pass steps_per_epoch=100",
                )
            self.num_batches = self._count

    def _count_batches(self) -> int | None:
        """The number of batches of a pass."""
        count = self.dataset.num_batches if hasattr(type(self.dataset), "num_batches") else len(self.dataset)
        if count == 0:
            raise DataError(
                "The data set has no batches.",
                expected="at least 1 batch",
                received=f"{type(self.dataset).__name__} of length 0",
                fix="check what it was made from, and that __len__ rounds up",
            )
        return None if count is None else int(count)

    def epoch(self, device: torch.device, done: int = 0) -> Iterator[Batch]:
        """The batches of one epoch, after the data set has been told that it begins.

        Args:
            device: where their tensors are to be.
            done: how many are left out, as `restore` put the adapter behind them.

        Returns:
            An iterator of `(x, y, sample_weight)`.
        """
        if not done:
            self._tell_of_beginning()
        yield from super().epoch(device, done)

    def _tell_of_beginning(self) -> None:
        begin = getattr(self.dataset, "on_epoch_begin", None)
        if begin is not None:
            begin()

    def on_epoch_end(self) -> None:
        """Tell the data set."""
        end = getattr(self.dataset, "on_epoch_end", None)
        if end is not None:
            end()
        if self.steps is None:
            self.num_batches = self._count = self._count_batches()

    def passes(self, device: torch.device) -> Iterator[Batch]:
        """One pass over the data set, or an endless one.

        Args:
            device: where the batches go.

        Returns:
            An iterator of `(x, y, sample_weight)`.
        """
        return self._delivered(self._fetched(self._order(), 0), device)

    def _delivered(self, batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
        for batch in batches:
            x, y, sample_weight = move_batch(batch, device)
            if self._class_weights is not None:
                sample_weight = self._class_weights.apply(y, sample_weight)
            yield x, y, sample_weight

    # ------------------------------------------------------------------ going on in another process
    def sources(self) -> dict[str, Any]:
        """The data set."""
        return {"dataset": self.dataset}

    def restore(self, state: dict[str, Any], device: torch.device) -> None:
        """As in `DataAdapter`; a data set within an epoch is told first that one begins."""
        if state["in_pass"]:
            self._tell_of_beginning()
        super().restore(state, device)
        if self.steps is None:
            self.num_batches = self._count = self._count_batches()

    def pass_from(self, skipped: int, device: torch.device) -> Iterator[Batch]:
        """A pass without its first batches, which are not fetched.

        They are, and dropped, where processes do it and the data set owns random generators: each process has copies
        of them, which must come to where they stood.
        """
        has_copies = self._uses_processes and self._workers
        if has_copies and Belongings(self.sources()).has_generators:
            return super().pass_from(skipped, device)
        return self._delivered(self._fetched(self._order(), skipped), device)

    def close(self) -> None:
        """End the workers."""
        super().close()
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def _order(self) -> Iterable[int]:
        if self._count is not None and self.shuffle:
            return torch.randperm(self._count, device="cpu").tolist()
        return _indices(self._count)

    def _fetched(self, order: Iterable[int], skipped: int) -> Iterator[Batch]:
        """The items of an order but for the first ones; processes are started at once, with the data set as it is."""
        if self._uses_processes and self._workers:
            if self._pool is None:
                self._pool = WorkerPool(fetch_batch, workers=self._workers, ahead=self._ahead)
            return self._pool.items(self.dataset, order, skipped)
        order = itertools.islice(order, skipped, None)
        if self._workers > 1:
            return fetch_in_threads(fetch_batch, self.dataset, order, workers=self._workers, ahead=self._ahead)
        return (fetch_batch(self.dataset, index) for index in order)


def fetch_batch(dataset: Any, index: int) -> Batch:
    """The batch at `index` as `(x, y, sample_weight)` of tensors; a list is a tuple here, as in Keras.

    Args:
        dataset: anything with `__getitem__`.
        index: the position.

    Returns:
        Three nests of tensors on the CPU, `None` for what is not there.
    """
    batch = dataset[index]
    return batch_tensors(unpack_batch(tuple(batch) if isinstance(batch, list) else batch))


def _indices(count: int | None) -> Iterable[int]:
    return itertools.count() if count is None else range(count)


def _setting(dataset: Any, name: str, default: int) -> int:
    """A count that the data set carries; a subclass that never called `super().__init__` has the default."""
    value = getattr(dataset, name, default)
    if isinstance(value, bool) or not hasattr(value, "__index__") or int(value) < 0:
        raise ArgumentError(
            f"{name} of {type(dataset).__name__} cannot be used.",
            expected="an integer from 0",
            received=repr(value),
            fix=f"{name}={default}",
        )
    return int(value)
