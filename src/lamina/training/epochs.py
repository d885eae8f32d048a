"""What `fit`, `evaluate` and `predict` draw batches from, an epoch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from lamina.errors import ArgumentError, DataError
from lamina.training.batches import Batch, exact_device


class DataAdapter:
    """A source of batches; one subclass for each kind of data, each of which gives `passes`.

    An epoch is one pass over the data, or `steps` batches. With `steps`, the next epoch goes on where the last one
    stopped, and a pass that ends within an epoch is followed by the next one, so that an epoch always has its `steps`
    batches. Data that can be gone through only once must last: running dry is an error.

    Args:
        steps: batches an epoch; `None` for one pass over the data.

    Raises:
        ArgumentError: `steps` is not a positive integer.
    """

    num_batches: int | None = None
    """Batches an epoch; `None` where that is not known, or not yet."""
    batch_size: int | None = None
    """Samples a batch, the last one perhaps excepted; `None` where that is not known."""
    num_samples: int | None = None
    """Samples a pass; `None` where that is not known."""
    one_shot: bool = False
    """Whether the data can be gone through only once."""

    def __init__(self, steps: int | None = None) -> None:
        self.steps = None if steps is None else positive_integer("steps", steps)
        self.num_batches = self.steps
        self._pass: Iterator[Batch] | None = None
        self._batches_drawn = 0

    def passes(self, device: torch.device) -> Iterator[Batch]:
        """One pass over the data, with every tensor on `device`; for subclasses to give.

        Args:
            device: where the batches go.

        Returns:
            An iterator of `(x, y, sample_weight)`.
        """
        raise NotImplementedError

    def epoch(self, device: torch.device) -> Iterator[Batch]:
        """The batches of one epoch.

        Args:
            device: where their tensors are to be.

        Returns:
            An iterator of `(x, y, sample_weight)`: `y` and `sample_weight` are `None` where there are none, and nests
            are as the user made them.

        Raises:
            DataError: there are no batches, or fewer than the epoch needs.
        """
        device = exact_device(device)
        return self._whole_pass(device) if self.steps is None else self._next_steps(device, self.steps)

    def on_epoch_end(self) -> None:
        """Called by the training loop after each epoch."""

    def reset(self) -> None:
        """Let the next epoch start at the first batch, as validation does each time."""
        if not self.one_shot:
            self._end_pass()

    def close(self) -> None:
        """Give back what the adapter holds: workers, open iterators. It can be used again."""
        self._end_pass()

    def _end_pass(self) -> None:
        """Leave the current pass, if there is one."""
        current, self._pass = self._pass, None
        end = getattr(current, "close", None)
        if end is not None:
            end()

    def _whole_pass(self, device: torch.device) -> Iterator[Batch]:
        if self.one_shot and self._batches_drawn:
            raise self._ran_dry(0, None)
        self._end_pass()
        self._pass = current = self.passes(device)
        count = 0
        for batch in current:
            count += 1
            self._batches_drawn += 1
            yield batch
        self._pass = None
        if not count:
            raise self._no_batches()
        self.num_batches = count

    def _next_steps(self, device: torch.device, steps: int) -> Iterator[Batch]:
        for step in range(steps):
            batch = self._next(device)
            if batch is None:
                raise self._ran_dry(step, steps) if self._batches_drawn else self._no_batches()
            self._batches_drawn += 1
            yield batch

    def _next(self, device: torch.device) -> Batch | None:
        """The next batch, of the next pass if the current one is over; `None` when there is no more."""
        if self._pass is not None:
            batch = next(self._pass, None)
            if batch is not None:
                return batch
            if self.one_shot:
                return None
        self._pass = self.passes(device)
        return next(self._pass, None)

    def _ran_dry(self, came: int, wanted: int | None) -> DataError:
        asked = "one pass" if wanted is None else f"{wanted} batches (steps={wanted})"
        return DataError(
            "The data ran out: a generator gives its batches only once.",
            expected=f"{asked} for each epoch",
            received=f"{came} batches in this epoch, {self._batches_drawn} in all",
            fix=f"ask for fewer steps or epochs, let the generator repeat (while True: ...), or pass an object whose "
            f"__iter__ starts anew{'' if wanted is None else ', such as a PyDataset or DataLoader'}",
        )

    def _no_batches(self) -> DataError:
        return DataError(
            "The data are empty.",
            expected="at least 1 batch",
            received="0 batches",
            fix="pass a fresh generator: one that was used before is at its end"
            if self.one_shot
            else "check the length of the data set, and that drop_remainder does not drop its only batch",
        )


def positive_integer(name: str, value: Any) -> int:
    """A value of the user's as an int.

    Args:
        name: the argument that it was given for.
        value: what was given.

    Raises:
        ArgumentError: it is not an integer of at least 1.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__") or int(value) < 1:
        raise ArgumentError(
            f"{name} cannot be used.", expected="a positive integer", received=repr(value), fix=f"{name}=32"
        )
    return int(value)
