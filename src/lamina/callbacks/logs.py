"""Callbacks that pass the logs on: to a CSV file, or to functions of the user's."""

from __future__ import annotations

import contextlib
import csv
import io
import os
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from lamina.callbacks.announcing import warn
from lamina.callbacks.base import HOOKS, Callback, Logs
from lamina.errors import ArgumentError, nearest, write_error
from lamina.registry import CALLBACKS


@CALLBACKS.register("csv_logger")
class CSVLogger(Callback):
    """Writes one row for each epoch into a CSV file: the epoch, from 0, and its values in the order of their names.

    A row is written at once and whole. A run that is resumed goes on below the rows of the epochs behind it.

    The first epoch decides the columns. If it has no validation, each column gets a second one `val_...`, for later
    epochs that may have it; a value that an epoch lacks is `NA`.

    Args:
        filename: the file.
        separator: what stands between two values.
        append: whether rows are added to a file that exists, rather than the file being written anew.

    Raises:
        WriteError: in training, the file cannot be written; it holds whole rows then.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp(), "log.csv")
        >>> logger = CSVLogger(path)
        >>> logger.on_train_begin()
        >>> logger.on_epoch_end(0, {"loss": 0.5, "val_loss": 0.6})
        >>> logger.on_train_end()
        >>> path.read_text().split()
        ['epoch,loss,val_loss', '0,0.5,0.6']
    """

    def __init__(self, filename: str | os.PathLike[str], separator: str = ",", append: bool = False) -> None:
        super().__init__()
        self.filename = os.fspath(filename)
        self.separator = separator
        self.append = append
        self.keys: list[str] | None = None
        self._file: io.FileIO | None = None
        self._goes_on = False

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Start afresh; the file is opened when there is something to write."""
        self.close()
        self.keys = None
        self._goes_on = self.append

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Write one row."""
        logs = logs or {}
        if self.keys is None:
            self.keys = sorted(logs)
            if not any(key.startswith("val_") for key in self.keys):
                self.keys += [f"val_{key}" for key in self.keys]
        if self._file is None:
            self._open()
        self._write([epoch, *(_cell(logs.get(key, "NA")) for key in self.keys)])

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file, also when training was interrupted."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> None:
        """Open the file and write the names of the columns, unless it goes on with rows that are there."""
        has_rows = self._goes_on and os.path.exists(self.filename) and os.path.getsize(self.filename) > 0
        try:
            self._file = open(self.filename, "ab" if self._goes_on else "wb", buffering=0)  # noqa: SIM115 (for all of fit)
        except OSError as error:
            raise write_error(self.filename, error) from error
        if not has_rows:
            self._write(["epoch", *(self.keys or ())])
        elif not _ends_a_line(self.filename):
            self._write_bytes(b"\n")

    def _write(self, row: Iterable[Any]) -> None:
        text = io.StringIO(newline="")
        csv.writer(text, delimiter=self.separator, lineterminator="\n").writerow(row)
        self._write_bytes(text.getvalue().encode())

    def _write_bytes(self, line: bytes) -> None:
        """Write a whole line, or none of it."""
        if self._file is None:
            return
        start = self._file.seek(0, os.SEEK_END)
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[self._file.write(rest) or 0 :]
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(start)
            raise write_error(self.filename, error) from error

    def get_state(self) -> dict[str, Any]:
        """The columns, and how long the file is."""
        if self._file is not None:
            os.fsync(self._file.fileno())
        counts = (self.keys is not None or self._goes_on) and os.path.exists(self.filename)
        return {"keys": self.keys, "bytes": os.path.getsize(self.filename) if counts else None}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on below the rows that were there then; those of epochs that are trained again, and half a row, go."""
        self.keys = state["keys"]
        if state["bytes"] is None:
            return
        self._goes_on = True
        present = os.path.getsize(self.filename) if os.path.exists(self.filename) else 0
        if present > state["bytes"]:
            os.truncate(self.filename, state["bytes"])
        elif present < state["bytes"]:
            warn(f"{self.filename} is shorter than it was when the run was interrupted; rows of it are lost.")


def _ends_a_line(filename: str) -> bool:
    with open(filename, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"


def _cell(value: Any) -> Any:
    """An array of several values as one text."""
    return f"[{', '.join(map(str, value.tolist()))}]" if isinstance(value, np.ndarray) and value.ndim else value


@CALLBACKS.register()
class LambdaCallback(Callback):
    """Calls functions of the user's.

    Args:
        on_epoch_begin: a function of `epoch` and `logs`.
        on_epoch_end: a function of `epoch` and `logs`.
        on_train_begin: a function of `logs`.
        on_train_end: a function of `logs`.
        on_train_batch_begin: a function of `batch` and `logs`.
        on_train_batch_end: a function of `batch` and `logs`.
        **kwargs: functions for the other hooks, such as `on_test_end`.

    Raises:
        ArgumentError: there is no hook of that name.

    Example:
        >>> callback = LambdaCallback(on_epoch_end=lambda epoch, logs: print(epoch, logs["loss"]))
        >>> callback.on_epoch_end(2, {"loss": 0.5})
        2 0.5
    """

    def __init__(
        self,
        on_epoch_begin: Callable[..., Any] | None = None,
        on_epoch_end: Callable[..., Any] | None = None,
        on_train_begin: Callable[..., Any] | None = None,
        on_train_end: Callable[..., Any] | None = None,
        on_train_batch_begin: Callable[..., Any] | None = None,
        on_train_batch_end: Callable[..., Any] | None = None,
        **kwargs: Callable[..., Any] | None,
    ) -> None:
        super().__init__()
        hooks = {
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_train_batch_begin": on_train_batch_begin,
            "on_train_batch_end": on_train_batch_end,
            **kwargs,
        }
        for name, function in hooks.items():
            if name not in HOOKS:
                guess = nearest(name, HOOKS)
                raise ArgumentError(
                    "Callbacks have no such hook.",
                    expected="one of " + ", ".join(HOOKS),
                    received=repr(name),
                    fix=f"did you mean {guess!r}?" if guess else "use one of the names above",
                )
            if function is not None:
                setattr(self, name, function)
