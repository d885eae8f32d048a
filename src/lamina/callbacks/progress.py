"""`ProgbarLogger`, which shows how far training, evaluation and prediction have come."""

from __future__ import annotations

import time
from typing import Any, TextIO

from lamina.callbacks.base import Callback, Logs
from lamina.callbacks.displays import Bar, Lines, Notebook, Progress, choose
from lamina.errors import ArgumentError
from lamina.registry import CALLBACKS

_NEVER = float("inf")


@CALLBACKS.register()
class ProgbarLogger(Callback):
    """Shows progress where it is best read: a live bar in a terminal, one display in a notebook, else plain lines.

    A live display is drawn at most four times a second, and only then are losses and metrics read. Plain lines, one for
    each epoch, hold no control characters, so that a log file stays readable.

    Args:
        file: where to write; `None` for standard output.
        verbose: 0 for nothing, 1 or `"auto"` for a live display where that can be, 2 for plain lines; `None` for what
            `fit` was told.

    Raises:
        ArgumentError: `verbose` is none of these.

    Example:
        >>> import io
        >>> text = io.StringIO()
        >>> bar = ProgbarLogger(file=text)
        >>> bar.set_params({"epochs": 2, "steps": 8, "verbose": 1})
        >>> bar.on_epoch_begin(0)
        >>> for batch in range(8):
        ...     bar.on_train_batch_end(batch, {"loss": 0.5})
        >>> bar.on_epoch_end(0, {"loss": 0.5})
        >>> text.getvalue()
        'Epoch 1/2 - 8/8 - 0s - ...us/step - loss: 0.5000\\n'
    """

    def __init__(self, file: TextIO | None = None, verbose: int | str | None = None) -> None:
        super().__init__()
        self.file = file
        self._own_verbose = None if verbose is None else _checked(verbose)
        self.verbose = 1 if self._own_verbose is None else self._own_verbose
        self._display: Bar | Lines | Notebook | None = None
        self._in_fit = False
        self._title = ""
        self._total: int | None = None
        self._seen = 0
        self._due = _NEVER
        self._start = 0.0
        self._first: float | None = None
        self._trained: float | None = None

    def set_params(self, params: dict[str, Any]) -> None:
        """Take over the number of steps and how much is to be shown."""
        super().set_params(params)
        if self._own_verbose is None:
            self.verbose = _checked(params.get("verbose", self.verbose))
        self._total = params.get("steps")

    def listens_to(self, hook: str) -> bool:
        """Nothing when nothing is to be shown."""
        return self.verbose != 0 and super().listens_to(hook)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """From here on, evaluations are validation, which is part of an epoch."""
        self._in_fit = True

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Leave the terminal tidy."""
        self.close()

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Begin a bar."""
        epochs = self.params.get("epochs")
        self._begin(f"Epoch {epoch + 1}" + (f"/{epochs}" if epochs else ""))

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Draw, if it is time."""
        self._seen = batch + 1
        now = time.perf_counter()
        if now >= self._due:
            self._draw(now, logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Finish the bar."""
        self._finish(logs)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Begin a bar, except within `fit`."""
        if self._in_fit:
            self._trained = time.perf_counter()
        else:
            self._begin("")

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Draw, if it is time; within `fit`, only say that validation goes on."""
        if not self._in_fit:
            self._seen = batch + 1
        now = time.perf_counter()
        if now >= self._due:
            self._draw(now, None if self._in_fit else logs, f"validation {batch + 1}" if self._in_fit else "")

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Finish the bar, except within `fit`."""
        if not self._in_fit:
            self._finish(logs)

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Begin a bar."""
        self._begin("")

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Draw, if it is time; the logs hold predictions, which are not shown."""
        self._seen = batch + 1
        now = time.perf_counter()
        if now >= self._due:
            self._draw(now, None)

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """Finish the bar."""
        self._finish(None)

    def close(self) -> None:
        """Leave the terminal tidy, whatever has happened."""
        self._in_fit = False
        self._due = _NEVER
        display, self._display = self._display, None
        if display is not None:
            display.close()

    def _begin(self, title: str) -> None:
        if not self.verbose:
            return
        if self._display is None:
            self._display = choose(self.file, self.verbose)
        self._title = title
        self._seen = 0
        self._first = self._trained = None
        self._values: Logs = {}
        self._start = time.perf_counter()
        # The first batch is always looked at: the time of a step is counted from its end, as it is slower than others.
        self._due = 0.0

    def _draw(self, now: float, logs: Logs | None, note: str = "") -> None:
        if self._display is None:
            return
        if self._first is None:
            self._first = now
        self._due = now + self._display.interval
        if self._display.interval < _NEVER:
            self._values = self._values if logs is None else dict(logs)
            self._display.draw(self._progress(now, note))

    def _finish(self, logs: Logs | None) -> None:
        """Show the end of an epoch, an evaluation or a prediction; a total that nobody knew is known now."""
        if self._display is None:
            return
        self._due = _NEVER
        self._values = dict(logs or {})
        if self._total is None and self._in_fit:
            self._total = self._seen
        progress = self._progress(time.perf_counter(), "")
        self._display.finish(progress if progress.total is not None else _with_total(progress))
        if not self._in_fit:
            self.close()

    def _progress(self, now: float, note: str) -> Progress:
        trained = now if self._trained is None else self._trained
        step = None
        if self._first is not None:
            step = (trained - self._first) / (self._seen - 1) if self._seen > 1 else self._first - self._start
        return Progress(self._title, self._seen, self._total, now - self._start, step, self._values, note)


def _with_total(progress: Progress) -> Progress:
    progress.total = progress.seen
    return progress


def _checked(verbose: Any) -> int:
    """`verbose` as 0, 1 or 2."""
    if verbose == "auto":
        return 1
    if verbose in (0, 1, 2):
        return int(verbose)
    raise ArgumentError(
        "There is no such way to show progress.",
        expected="verbose=0 (nothing), 1 or 'auto' (a live display), or 2 (a line for each epoch)",
        received=f"verbose={verbose!r}",
        fix="verbose='auto'",
    )
