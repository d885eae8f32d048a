"""What `fit`, `evaluate` and `predict` draw batches from, an epoch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from lamina.errors import ArgumentError, DataError
from lamina.seeds import random_states, set_random_states
from lamina.training.batches import Batch, exact_device
from lamina.training.belongings import Belongings


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
        self._pass_began = 0  # how many had been drawn before the current pass
        self._belongings: Belongings | None = None  # of the source, once `record` was called
        self._before_pass: dict[str, Any] = {}

    def passes(self, device: torch.device) -> Iterator[Batch]:
        """One pass over the data, with every tensor on `device`; for subclasses to give.

        Args:
            device: where the batches go.

        Returns:
            An iterator of `(x, y, sample_weight)`.
        """
        raise NotImplementedError

    def epoch(self, device: torch.device, done: int = 0) -> Iterator[Batch]:
        """The batches of one epoch.

        Args:
            device: where their tensors are to be.
            done: how many of the epoch's batches are left out, because `restore` put the adapter behind them.

        Returns:
            An iterator of `(x, y, sample_weight)`: `y` and `sample_weight` are `None` where there are none, and nests
            are as the user made them.

        Raises:
            DataError: there are no batches, or fewer than the epoch needs.
        """
        device = exact_device(device)
        return self._whole_pass(device, done) if self.steps is None else self._next_steps(device, done, self.steps)

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

    def _whole_pass(self, device: torch.device, done: int) -> Iterator[Batch]:
        if not done:
            if self.one_shot and self._batches_drawn:
                raise self._ran_dry(0, None)
            self._end_pass()
            self._begin_pass(device)
        count = done
        for batch in self._pass or ():
            count += 1
            self._batches_drawn += 1
            yield batch
        self._pass = None
        if not count:
            raise self._no_batches()
        self.num_batches = count

    def _next_steps(self, device: torch.device, done: int, steps: int) -> Iterator[Batch]:
        for step in range(done, steps):
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
        self._begin_pass(device)
        return next(self._pass, None) if self._pass is not None else None

    def _begin_pass(self, device: torch.device) -> None:
        if self._belongings is not None:
            self._before_pass = {"random": random_states(), "belongings": self._belongings.state()}
        if not self.one_shot:
            self._pass_began = self._batches_drawn
        self._pass = self.passes(device)

    # ------------------------------------------------------------------ going on in another process
    def sources(self) -> dict[str, Any]:
        """The user's objects that the batches come from, by names; for subclasses to give."""
        return {}

    def record(self) -> None:
        """From now on keep what `state` needs: where the random generators stood when the current pass began."""
        self._belongings = Belongings(self.sources())

    def state(self) -> dict[str, Any]:
        """Where the adapter stands, for `restore`; `record` must have been called before the first batch."""
        if self._belongings is None:
            raise ArgumentError("The adapter was not told to record().", fix="call record() before the first epoch")
        open_pass = None if self._pass is None else self._batches_drawn - self._pass_began
        return {
            "drawn": self._batches_drawn,
            "in_pass": open_pass,
            "before_pass": {} if open_pass is None else self._before_pass,
            "belongings": self._belongings.state(),
        }

    def restore(self, state: dict[str, Any], device: torch.device) -> None:
        """Stand where `state` was given, over data like those, so that the next batch is the one that came next.

        It leaves the global random generators anywhere; whoever calls it puts them where they stood.

        Args:
            state: what `state` gave, after `record`.
            device: where the batches go.

        Raises:
            DataError: the data end before that place.
        """
        belongings = self._belongings if self._belongings is not None else Belongings(self.sources())
        self._end_pass()
        self._batches_drawn = int(state["drawn"])
        if state["in_pass"] is not None:
            self._before_pass = state["before_pass"]
            set_random_states(self._before_pass["random"])
            belongings.restore(self._before_pass["belongings"])
            self._pass_began = self._batches_drawn - int(state["in_pass"])
            self._pass = self.pass_from(int(state["in_pass"]), exact_device(device))
        belongings.restore(state["belongings"])

    def pass_from(self, skipped: int, device: torch.device) -> Iterator[Batch]:
        """A pass without its first batches; whatever it draws at its beginning, it has drawn when this returns.

        Here the batches are fetched and dropped; a subclass that can be quicker is.

        Args:
            skipped: how many batches to leave out.
            device: where the others go.

        Returns:
            An iterator of `(x, y, sample_weight)`.

        Raises:
            DataError: there are fewer.
        """
        current = self.passes(device)
        self._drop(current, skipped)
        return current

    def _drop(self, items: Iterator[Any], count: int) -> None:
        """Take so many items and forget them."""
        for place in range(count):
            if next(items, None) is None:
                raise DataError(
                    "The data end before the batch at which the interrupted run stopped.",
                    expected=f"at least {count} batches",
                    received=f"{place} batches",
                    fix="pass the data of the interrupted run",
                )

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
