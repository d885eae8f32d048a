"""`fit(resume=...)`: when the state of a run is written, where to, and how a run goes on from it."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import re
import time
from pathlib import Path
from typing import Any

import torch

from lamina.callbacks.announcing import warn
from lamina.callbacks.backup import BackupAndRestore
from lamina.errors import ArgumentError, LoadError, write_error
from lamina.saving.states import read_state, write_state
from lamina.training.epochs import DataAdapter, positive_integer
from lamina.training.run_state import RunState

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_NAME = re.compile(r"run-(\d{8,})\.state")
_LOCK = "lock"
_UNFINISHED = re.compile(r"\.run-\d{8,}\.state\.[0-9a-f]{8}\.part")


class Resume:
    """Where `fit` keeps the state of a run, so that the same call in another process goes on with it, and how often.

    A state is written before the first batch, after `every_seconds` of training, at the end of epochs, when Ctrl-C ends
    the run, and at the end. What a state costs is measured: states that nobody asked for by `every_batches` are put off
    until they take no more than `max_share` of the time, so that short epochs do not wait for the disk.

    Args:
        path: a folder for one run; it is made if need be.
        every_batches: after so many batches, counted across epochs, whatever it costs; `None` for no such rule.
        every_seconds: after so many seconds of training; `math.inf` for only at the end of epochs.
        keep: how many states stay in the folder, the newest.
        max_share: the greatest share of the time that writing may take, from 0 to 1; `None` for no limit.

    Raises:
        ArgumentError: one of them cannot be used.

    Example:
        >>> resume = Resume("runs/a", every_batches=100)
        >>> resume.path.name, resume.every_seconds, resume.keep
        ('a', 30.0, 2)
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        every_batches: int | None = None,
        every_seconds: float = 30.0,
        keep: int = 2,
        max_share: float | None = 0.02,
    ) -> None:
        if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
            raise ArgumentError(
                "A run that can be resumed needs a folder.", expected="a path", received=repr(path), fix="'runs/a'"
            )
        self.path = Path(path)
        self.every_batches = None if every_batches is None else positive_integer("every_batches", every_batches)
        self.every_seconds = float(every_seconds)
        self.keep = positive_integer("keep", keep)
        self.max_share = max_share
        if not self.every_seconds > 0 or not (max_share is None or 0 < max_share <= 1):
            raise ArgumentError(
                "Resume cannot keep to this.",
                expected="every_seconds above 0, and max_share above 0 and up to 1, or None",
                received=f"every_seconds={every_seconds!r}, max_share={max_share!r}",
                fix="leave them out",
            )

    @classmethod
    def of_callback(cls, callback: BackupAndRestore) -> Resume:
        """What a `BackupAndRestore` asks for, in these words.

        Args:
            callback: the callback.
        """
        frequency = callback.save_freq
        return cls(
            callback.backup_dir,
            every_batches=None if isinstance(frequency, str) else frequency,
            every_seconds=math.inf,
            keep=2 if callback.double_checkpoint else 1,
            max_share=None,
        )


def run_of(
    resume: Any, model: Any, adapter: DataAdapter, validation: DataAdapter | None, callbacks: Any, says: bool
) -> Run | None:
    """The run that `fit` is asked to keep, by `resume` or by a `BackupAndRestore` among the callbacks.

    Args:
        resume: a folder, a `Resume`, or `None`.
        model: what is trained.
        adapter: what its batches come from.
        validation: what those of validation come from, or `None`.
        callbacks: the list of callbacks.
        says: whether it is said where the run goes on.

    Returns:
        The run, or `None` if nobody asks.

    Raises:
        ArgumentError: both ask.
    """
    backup = next((callback for callback in callbacks if isinstance(callback, BackupAndRestore)), None)
    if resume is None and backup is None:
        return None
    if resume is not None and backup is not None:
        raise ArgumentError(
            "fit keeps the state of a run in one place.",
            expected="resume= or BackupAndRestore",
            received="both",
            fix="leave BackupAndRestore out: resume= keeps all that it does",
        )
    if backup is not None:
        resume = Resume.of_callback(backup)
    elif not isinstance(resume, Resume):
        resume = Resume(resume)
    state = RunState(model, adapter, validation, callbacks)
    return Run(resume, state, backup, says)


class Run:
    """One `fit` whose state is kept.

    Args:
        resume: where, and how often.
        state: what takes the state and puts it back.
        backup: the callback that asked for it, if it was one.
        says: whether it is said where the run goes on.
    """

    def __init__(self, resume: Resume, state: RunState, backup: BackupAndRestore | None, says: bool) -> None:
        self._resume = resume
        self._state = state
        self._backup = backup
        self._says = says
        self._number = 0  # of the last state in the folder
        self._waiting: dict[str, Any] | None = None  # a state within an epoch that has not begun yet
        self._batches = self._epochs = 0
        self._due = self._allowed = -math.inf
        self._written: tuple[int, int] | None = None
        self._lock: Any = None

    def begin(self, first_epoch: int, epochs: int) -> tuple[int, Any]:
        """Go on with what is in the folder, or write there how the run begins.

        Args:
            first_epoch: where a new run begins.
            epochs: where it ends.

        Returns:
            The epoch to begin with, and the logs of the one before.

        Raises:
            LoadError: the folder holds a run that this is not, or nothing in it can be read.
            WriteError: nothing can be written there.
        """
        self._epochs = epochs
        self._make_folder()
        state = self._newest()
        if state is None:
            self._save(first_epoch, 0, None)
            return first_epoch, {}
        place = state["place"] if isinstance(state, dict) and "place" in state else {"done": 0}
        self._state.put_back(state, data=not place["done"])
        first_epoch, done = int(place["epoch"]), int(place["done"])
        if self._backup is not None:
            self._backup.restored_epoch = first_epoch
        is_over = first_epoch >= epochs or (place["stop"] and not done)
        if self._says:
            at = f"epoch {first_epoch + 1}" + (f", batch {done + 1}" if done else "")
            warn(f"the run in {self._resume.path} " + ("is at its end." if is_over else f"goes on with {at}."))
        if is_over:
            return epochs, place["logs"] or {}
        if done:
            self._waiting = state
        else:
            self._save(first_epoch, 0, place["logs"])
        return first_epoch, place["logs"] or {}

    def enter(self, epoch: int) -> tuple[int, Any]:
        """An epoch has begun: if it is the one that was interrupted, stand where it was.

        Args:
            epoch: which.

        Returns:
            How many of its batches are done, and the logs of the last of them.
        """
        state, self._waiting = self._waiting, None
        if state is None:
            return 0, None
        self._state.put_back(state, data=True)  # again, for callbacks have heard that an epoch begins
        place = state["place"]
        self._save(epoch, place["done"], place["logs"])
        return place["done"], place["logs"]

    def after_batch(self, epoch: int, done: int, logs: Any, batch: Any) -> None:
        """Write the state, if it is time.

        Args:
            epoch: the epoch that is under way.
            done: how many of its batches are done.
            logs: those of the last batch.
            batch: the last batch.

        Raises:
            WriteError: it cannot be written; the last state is still there.
        """
        self._batches += 1
        asked = self._resume.every_batches is not None and self._batches % self._resume.every_batches == 0
        if asked or time.monotonic() >= self._due:
            self._save(epoch, done, logs, batch)

    def interrupted(self, epoch: int, done: int, logs: Any, batch: Any) -> None:
        """Write the state, as the run ends within an epoch; arguments as for `after_batch`."""
        if done and self._written != (epoch, done):
            self._save(epoch, done, logs, batch)

    def after_epoch(self, epoch: int, logs: Any, last: bool) -> None:
        """Write the state, unless one was written a moment ago.

        Args:
            epoch: the epoch that has ended.
            logs: its logs.
            last: whether no other follows, though more were planned.
        """
        if last or epoch + 1 >= self._epochs or time.monotonic() >= self._allowed:
            self._save(epoch + 1, 0, logs)

    def end(self, is_over: bool) -> None:
        """Remove the files, if the callback that asked for them wants that.

        Args:
            is_over: whether training has come to its end, rather than being interrupted.
        """
        if is_over and self._backup is not None and self._backup.delete_checkpoint:
            for path in (*self._files(), *self._unfinished(), self._resume.path / _LOCK):
                path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self._resume.path.rmdir()

    def close(self) -> None:
        """Let other processes go on with the run."""
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.close()

    # ------------------------------------------------------------------ files
    def _save(self, epoch: int, done: int, logs: Any, batch: Any = None) -> None:
        began = time.monotonic()
        state = self._state.take(epoch, done, logs, batch)
        state["torch"] = torch.__version__
        self._number += 1
        write_state(self._resume.path / f"run-{self._number:08d}.state", state)
        for path in self._files()[: -self._resume.keep]:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        now = time.monotonic()
        rest = 0.0 if self._resume.max_share is None else (now - began) / self._resume.max_share
        self._due, self._allowed = now + max(self._resume.every_seconds, rest), now + rest
        self._written = epoch, done

    def _make_folder(self) -> None:
        path = self._resume.path
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._take_lock(path)
            for unfinished in self._unfinished():  # of a process that was killed while it wrote
                unfinished.unlink(missing_ok=True)
        except OSError as error:
            raise write_error(path, error, fix="pass a folder to resume=, or one that can be made") from error

    def _take_lock(self, path: Path) -> None:
        """Keep other processes out of the folder; the system lets go when this one ends, however it does."""
        self._lock = open(path / _LOCK, "ab")  # noqa: SIM115 (held while training goes on)
        if fcntl is None:
            return
        try:
            # Of the kind that processes forked from this one, such as the workers of data, do not hold too.
            fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):  # else a file system without locks
                self.close()
                raise LoadError(
                    f"Another process is training in {path}.",
                    expected="a folder for each run, and one process at a time",
                    received=f"a lock on {path / _LOCK}",
                    fix="wait for that process or end it, or pass another folder",
                ) from None

    def _files(self) -> list[Path]:
        """The states in the folder, the oldest first."""
        return self._named(_NAME)

    def _unfinished(self) -> list[Path]:
        return self._named(_UNFINISHED)

    def _named(self, pattern: re.Pattern[str]) -> list[Path]:
        return sorted(self._resume.path / name for name in os.listdir(self._resume.path) if pattern.fullmatch(name))

    def _newest(self) -> Any:
        """The newest state that can be read; `None` if there is none at all."""
        files = self._files()
        reasons = []
        for path in reversed(files):
            try:
                state = read_state(path)
            except LoadError as error:
                reasons.append(f"{path.name}: {error.received}")
                continue
            if reasons:
                warn(f"{'; '.join(reasons)}. The run goes on from the state before, {path.name}.")
            self._number = int(_NAME.fullmatch(files[-1].name).group(1))  # type: ignore[union-attr]
            if isinstance(state, dict) and state.get("torch", torch.__version__) != torch.__version__:
                warn(f"the run was begun with torch {state['torch']}; torch {torch.__version__} may round otherwise.")
            return state
        if not files:
            return None
        raise LoadError(
            f"No state of the run in {self._resume.path} can be read.",
            expected="files that fit wrote, whole, by a version of lamina with the same format",
            received="; ".join(reasons),
            fix="pass another folder, or remove this one, to begin anew",
        )
