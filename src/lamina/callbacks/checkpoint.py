"""`ModelCheckpoint`, which saves the model or its weights while it trains."""

from __future__ import annotations

import contextlib
import os
import re
import string
from typing import Any

from lamina.callbacks.announcing import announce
from lamina.callbacks.base import Logs
from lamina.callbacks.improvement import MonitorCallback
from lamina.callbacks.monitors import unknown_monitor
from lamina.errors import ArgumentError
from lamina.registry import CALLBACKS


@CALLBACKS.register()
class ModelCheckpoint(MonitorCallback):
    """Saves the model, or its weights, after epochs or every so many batches.

    Args:
        filepath: the file; `{epoch}`, `{batch}` and names of the logs in it are filled in: `"{epoch:02d}-{loss:.2f}"`.
        monitor: the value that says how good the model is, for `save_best_only`.
        verbose: 1 to say when something is saved, 0 not to.
        save_best_only: whether a file is written only when the value is the best so far.
        save_weights_only: whether `model.save_weights` is called rather than `model.save`.
        mode: `"min"`, `"max"`, or `"auto"`, which goes by the metric.
        save_freq: `"epoch"`, or after how many batches to save.
        initial_value_threshold: a value to beat at first, for `save_best_only`.
        keep_last: how many files stay, the newest, if the path gives each a name of its own; `None` for all. The best
            stays besides, where it is known which that is. A file is removed once the next one is safely on the disk.

    Raises:
        ArgumentError: `mode`, `save_freq` or `keep_last` is none of these; or, once training begins, the logs lack a
            name, or `filepath` is a folder.

    Example:
        >>> checkpoint = ModelCheckpoint("best-{epoch:02d}.keras", monitor="val_auc", save_best_only=True)
        >>> checkpoint.path(epoch=4, batch=None, logs={"val_auc": 0.9})
        'best-05.keras'
    """

    def __init__(
        self,
        filepath: str | os.PathLike[str],
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
        keep_last: int | None = None,
    ) -> None:
        super().__init__(monitor, mode, best=initial_value_threshold)
        self.filepath = os.fspath(filepath)
        self.verbose = verbose
        self.save_best_only = save_best_only
        self.save_weights_only = save_weights_only
        self.save_freq = checked_frequency(save_freq)
        self.initial_value_threshold = initial_value_threshold
        self.keep_last = _checked_number(keep_last)
        self._placeholders = _placeholders(self.filepath)
        self._kept: list[str] = []  # the files that count, the oldest first
        self._best_path: str | None = None
        self._best_kept: float | None = None  # the best value among the files, where not only the best are written
        self._epoch = 0
        self._batches = BatchCounter(self.save_freq)

    @property
    def needed_logs(self) -> tuple[str, ...]:
        """The names in the path, and the monitored one if it decides anything."""
        monitored = (self.monitor,) if self.save_best_only else ()
        return tuple(name for name in self._placeholders if name not in ("epoch", "batch")) + monitored

    def listens_to(self, hook: str) -> bool:
        """Single batches only if they are counted."""
        return super().listens_to(hook) and ("batch" not in hook or self.save_freq != "epoch")

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """See that the model can be saved in the way that is asked, before an epoch is spent.

        Raises:
            ArgumentError: it cannot.
        """
        self._kept, self._best_path, self._best_kept = [], None, None
        if not self.save_weights_only and self.model is not None and not hasattr(self.model, "save"):
            raise ArgumentError(
                "ModelCheckpoint cannot save whole models: lamina does not write their files yet.",
                expected="save_weights_only=True, and a path that ends in .safetensors",
                received=f"filepath={self.filepath!r}, save_weights_only=False",
                fix="ModelCheckpoint('best.safetensors', save_weights_only=True), and keep the code of the model",
            )

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Remember the epoch for the path."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Save if it is time."""
        if self._batches.is_due(batch):
            self._save(self._epoch, batch, logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Save if that is done after epochs."""
        if self.save_freq == "epoch":
            self._save(epoch, None, logs)

    def path(self, epoch: int, batch: int | None, logs: Logs | None) -> str:
        """The path with its blanks filled in.

        Args:
            epoch: the epoch, from 0; it is counted from 1 in the path.
            batch: the batch, likewise, or `None` after an epoch.
            logs: the logs.

        Returns:
            The path.

        Raises:
            ArgumentError: it has a blank for something that the logs lack.
        """
        values: dict[str, Any] = {"epoch": epoch + 1}
        if batch is not None:
            values["batch"] = batch + 1
        for name in self._placeholders:
            if name not in values:
                if name not in (logs or {}):
                    owner = f"The path {self.filepath!r} of ModelCheckpoint"
                    raise unknown_monitor(owner, name, [*values, *(logs or ())])
                values[name] = (logs or {})[name]
        return self.filepath.format(**values) if self._placeholders else self.filepath

    def _save(self, epoch: int, batch: int | None, logs: Logs | None) -> None:
        if not self._is_worth_saving(epoch, logs):
            return
        path = self.path(epoch, batch, logs)
        if os.path.isdir(path):
            raise ArgumentError(
                "ModelCheckpoint cannot write over a folder.",
                expected="the path of a file",
                received=f"filepath={path!r}, which is a folder",
                fix=f"filepath={os.path.join(path, 'model.keras')!r}",
            )
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        if self.save_weights_only:
            self.model.save_weights(path)
        else:
            self.model.save(path)
        if self.verbose:
            announce(f"Epoch {epoch + 1}: saved to {path}.")
        if self.keep_last is not None:
            self._remove_older(path, self.keep_last, logs)

    def _remove_older(self, path: str, count: int, logs: Logs | None) -> None:
        """Keep so many files, and the best; this one is written, and durable."""
        value: Any = (logs or {}).get(self.monitor)
        if self.save_best_only or (value is not None and self.improves(float(value), self._best_kept)):
            self._best_path = path
            self._best_kept = None if value is None else float(value)
        self._kept = [other for other in self._kept if other != path] + [path]
        for old in self._kept[:-count]:
            if old != self._best_path:
                with contextlib.suppress(FileNotFoundError):
                    os.remove(old)
        newest = self._kept[-count:]
        best = self._best_path
        self._kept = newest if best is None or best in newest else [best, *newest]

    def _is_worth_saving(self, epoch: int, logs: Logs | None) -> bool:
        """Whether the value is the best so far, where that is asked."""
        if not self.save_best_only:
            return True
        current = self.current(logs)
        if current is None:
            return False
        before = "nothing" if self.best is None else f"{self.best:.5f}"
        if not self.improves(current, self.best):
            if self.verbose:
                announce(f"Epoch {epoch + 1}: {self.monitor} is not better than {before}.")
            return False
        if self.verbose:
            announce(f"Epoch {epoch + 1}: {self.monitor} improved from {before} to {current:.5f}.")
        self.best = current
        return True

    def get_state(self) -> dict[str, Any]:
        """The best value so far, the files that are kept, and the batches since the last one."""
        kept = {"kept": self._kept, "best_path": self._best_path, "best_kept": self._best_kept}
        return {"best": self.best, **kept, "batches": self._batches.get_state()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on comparing with the best value of the interrupted run."""
        self.best = state["best"]
        self._kept, self._best_path = list(state["kept"]), state["best_path"]
        self._best_kept = state["best_kept"]
        self._batches.set_state(state["batches"])
        for unfinished in self._unfinished():  # of the process that was killed while it wrote
            with contextlib.suppress(OSError):
                os.remove(unfinished)

    def _unfinished(self) -> list[str]:
        """Files beside those of this object that were being written under their temporary names."""
        folder, name = os.path.split(self.filepath)
        if "{" in folder or not os.path.isdir(folder or "."):
            return []
        parts = [
            f"{re.escape(text)}{'' if field is None else '.+'}" for text, field, _, _ in string.Formatter().parse(name)
        ]
        pattern = re.compile(rf"\.{''.join(parts)}\.[0-9a-f]{{8}}\.part")
        return [os.path.join(folder, found) for found in os.listdir(folder or ".") if pattern.fullmatch(found)]


class BatchCounter:
    """Says when so many batches have gone by, across epochs.

    Args:
        frequency: after how many batches; `"epoch"` for never.

    Example:
        >>> counter = BatchCounter(3)
        >>> [counter.is_due(batch) for batch in (0, 1, 2, 0, 1, 2)]
        [False, False, True, False, False, True]
    """

    def __init__(self, frequency: str | int) -> None:
        self.frequency = frequency
        self._since = 0
        self._last = -1

    def is_due(self, batch: int) -> bool:
        """Count up to this batch of the epoch; several at once if a call stands for several steps."""
        self._since += batch + 1 if batch <= self._last else batch - self._last
        self._last = batch
        if isinstance(self.frequency, str) or self._since < self.frequency:
            return False
        self._since = 0
        return True

    def get_state(self) -> list[int]:
        """Where the counting stands."""
        return [self._since, self._last]

    def set_state(self, state: list[int]) -> None:
        """Go on counting from what `get_state` gave."""
        self._since, self._last = state


def checked_frequency(save_freq: Any) -> str | int:
    """`save_freq` as `"epoch"` or a positive integer.

    Args:
        save_freq: what the user gave.

    Returns:
        The same.

    Raises:
        ArgumentError: it is neither.
    """
    if save_freq == "epoch" or (isinstance(save_freq, int) and not isinstance(save_freq, bool) and save_freq > 0):
        return save_freq
    raise ArgumentError(
        "There is no such time to save.",
        expected="save_freq='epoch', or a number of batches",
        received=f"save_freq={save_freq!r}",
        fix="save_freq='epoch'",
    )


def _checked_number(keep_last: Any) -> int | None:
    """`keep_last` as `None` or a positive integer."""
    if keep_last is None or (isinstance(keep_last, int) and not isinstance(keep_last, bool) and keep_last > 0):
        return keep_last
    raise ArgumentError(
        "ModelCheckpoint cannot keep so many files.",
        expected="keep_last=None, or a positive integer",
        received=f"keep_last={keep_last!r}",
        fix="keep_last=3",
    )


def _placeholders(path: str) -> tuple[str, ...]:
    """The names between braces in a path."""
    try:
        names = [name for _, name, _, _ in string.Formatter().parse(path) if name is not None]
    except ValueError as error:
        raise ArgumentError(
            "The path has braces that do not match.",
            expected="a path such as 'model-{epoch:02d}.keras'",
            received=f"{path!r} ({error})",
            fix="double the braces that are part of the name: {{ and }}",
        ) from error
    return tuple(name.split(".")[0].split("[")[0] for name in names)
