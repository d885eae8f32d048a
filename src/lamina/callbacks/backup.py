"""`BackupAndRestore`, which lets the same script go on after it was interrupted."""

from __future__ import annotations

import contextlib
import os
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from lamina.callbacks.base import Callback, Logs
from lamina.callbacks.checkpoint import BatchCounter, checked_frequency
from lamina.errors import ArgumentError, DtypeError, LoadError
from lamina.registry import CALLBACKS

_FILE = "training_state.pt"
_PREVIOUS = "training_state.previous.pt"


@CALLBACKS.register()
class BackupAndRestore(Callback):
    """Writes the state of training to a file, and goes on from there when the same script is started again.

    The state is the model's weights, the optimizer's, what each callback's `get_state` gives (the history among them),
    the random generators' and the epoch. A run that was interrupted within an epoch goes on at that epoch's beginning.

    Args:
        backup_dir: the folder for the file; one folder for one run.
        save_freq: `"epoch"`, or after how many batches to write.
        double_checkpoint: whether the file before the last is kept too, in case the last one cannot be read.
        delete_checkpoint: whether the files are removed when training has come to its end.

    Raises:
        ArgumentError: there is no folder's name, or `save_freq` is none of these.
        LoadError: once training begins, the file cannot be read or is of another model.
        DtypeError: in training, a callback's state holds something else than numbers, texts and tensors.

    Example:
        >>> import tempfile
        >>> backup = BackupAndRestore(tempfile.mkdtemp())
        >>> model = torch.nn.Linear(1, 1)
        >>> backup.set_model(model)
        >>> backup.on_epoch_end(4)
        >>> backup.on_train_begin()
        >>> backup.restored_epoch
        5
    """

    comes_last = True

    def __init__(
        self,
        backup_dir: str | os.PathLike[str],
        save_freq: str | int = "epoch",
        double_checkpoint: bool = False,
        delete_checkpoint: bool = True,
    ) -> None:
        super().__init__()
        if not os.fspath(backup_dir):
            raise ArgumentError(
                "The backup needs a folder.", expected="a path", received=repr(backup_dir), fix="backup_dir='backup'"
            )
        self.backup_dir = os.fspath(backup_dir)
        self.save_freq = checked_frequency(save_freq)
        self.double_checkpoint = double_checkpoint
        self.delete_checkpoint = delete_checkpoint
        self.restored_epoch: int | None = None
        self._callbacks: list[Any] = []
        self._batches = BatchCounter(self.save_freq)
        self._epoch = 0
        self._next_epoch = 0

    def set_callbacks(self, callbacks: list[Any]) -> None:
        """Say which callbacks run beside this one; their states are kept too."""
        self._callbacks = [callback for callback in callbacks if callback is not self]

    def listens_to(self, hook: str) -> bool:
        """Single batches only if they are counted."""
        return super().listens_to(hook) and ("batch" not in hook or self.save_freq != "epoch")

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Restore what an interrupted run left; `restored_epoch` is then the epoch to go on with."""
        self.restored_epoch = None
        state = self.read()
        if state is not None:
            self.restore(state)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Remember the epoch."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Write the state if it is time."""
        if self._batches.is_due(batch):
            self.write(self.state(self._epoch))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Write the state, if that is done after epochs."""
        self._next_epoch = epoch + 1
        if self.save_freq == "epoch":
            self.write(self.state(epoch + 1))

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Remove the files if training has come to its end, rather than being interrupted."""
        epochs = self.params.get("epochs")
        is_over = epochs is None or self._next_epoch >= epochs or getattr(self.model, "stop_training", False)
        if self.delete_checkpoint and is_over:
            for name in (_FILE, _PREVIOUS):
                with contextlib.suppress(FileNotFoundError):
                    os.remove(os.path.join(self.backup_dir, name))
            with contextlib.suppress(OSError):
                os.rmdir(self.backup_dir)

    def state(self, epoch: int) -> dict[str, Any]:
        """All that a run needs to go on.

        Args:
            epoch: the epoch to go on with.

        Returns:
            Numbers, texts, lists, dicts and tensors.

        Raises:
            DtypeError: a callback's state holds something else.
        """
        optimizer = getattr(self.model, "optimizer", None)
        return {
            "version": 1,
            "epoch": epoch,
            "model": dict(self.model.state_dict()),
            "optimizer": None if optimizer is None else plain(optimizer.state_dict(), "the optimizer's state"),
            "callbacks": [[key, plain(c.get_state(), f"the state of {key}")] for key, c in self._with_states()],
            "random": random_states(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Put everything back that `state` gave.

        Args:
            state: the state.

        Raises:
            LoadError: it is of another model.
        """
        try:
            self.model.load_state_dict(state["model"])
            if state["optimizer"] is not None and getattr(self.model, "optimizer", None) is not None:
                self.model.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise LoadError(
                "The backup does not fit this model.",
                expected="the model and optimizer that wrote it",
                received=str(error).splitlines()[0],
                fix=f"delete {self.backup_dir!r} to start anew, or pass another backup_dir",
            ) from error
        states = dict(state["callbacks"])
        for key, callback in self._with_states():
            if key in states:
                callback.set_state(states[key])
        set_random_states(state["random"])
        self.restored_epoch = self._next_epoch = int(state["epoch"])

    def write(self, state: dict[str, Any]) -> None:
        """Write a state so that the file is whole at every moment.

        Args:
            state: what `state` gave.
        """
        os.makedirs(self.backup_dir, exist_ok=True)
        path = os.path.join(self.backup_dir, _FILE)
        unfinished = f"{path}.{os.getpid()}.tmp"
        try:
            with open(unfinished, "wb") as file:
                torch.save(state, file)
                file.flush()
                os.fsync(file.fileno())
            if self.double_checkpoint and os.path.exists(path):
                os.replace(path, os.path.join(self.backup_dir, _PREVIOUS))
            os.replace(unfinished, path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.remove(unfinished)

    def read(self) -> dict[str, Any] | None:
        """The state in the folder, from the file before if the last cannot be read; `None` if there is none.

        Raises:
            LoadError: there are files, but none can be read.
        """
        paths = [os.path.join(self.backup_dir, name) for name in (_FILE, _PREVIOUS)]
        present = [path for path in paths if os.path.exists(path)]
        reasons = []
        for path in present:
            try:
                return torch.load(path, map_location="cpu", weights_only=True)
            except Exception as error:
                reasons.append(f"{path}: {str(error).splitlines()[0] if str(error) else type(error).__name__}")
        if not present:
            return None
        raise LoadError(
            "The backup cannot be read.",
            expected="a file that BackupAndRestore wrote",
            received="; ".join(reasons),
            fix=f"delete {self.backup_dir!r} to start anew",
        )

    def _with_states(self) -> Iterator[tuple[str, Any]]:
        """The other callbacks that have a state, each under its class and its number among those of that class."""
        seen: Counter[str] = Counter()
        for callback in self._callbacks:
            if hasattr(callback, "get_state") and hasattr(callback, "set_state"):
                name = type(callback).__name__
                seen[name] += 1
                yield f"{name} {seen[name]}", callback


def plain(value: Any, name: str) -> Any:
    """`value` as data that a file may hold without running code when it is read.

    Args:
        value: nests of numbers, texts, NumPy arrays and tensors.
        name: what error messages call it.

    Returns:
        The same with NumPy's objects as numbers and tensors.

    Raises:
        DtypeError: there is something else in it.

    Example:
        >>> plain({"best": np.float32(0.5)}, "a state")
        {'best': 0.5}
    """
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str, torch.Tensor)):
        return value
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    if isinstance(value, dict):
        return {key: plain(member, f"{name}[{key!r}]") for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        members = [plain(member, f"{name}[{i}]") for i, member in enumerate(value)]
        return members if isinstance(value, list) else tuple(members)
    raise DtypeError(
        f"{name} cannot be written to a backup.",
        expected="numbers, texts, tensors, and lists and dicts of these",
        received=f"{value!r:.80} of type {type(value).__name__}",
        fix="leave it out of get_state, or turn it into one of these",
    )


def random_states() -> dict[str, Any]:
    """Where Python's, NumPy's and torch's global random generators stand."""
    version, numbers, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "python": [version, list(numbers), gauss],
        "numpy": [kind, torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() and torch.cuda.is_initialized() else [],
    }


def set_random_states(states: dict[str, Any]) -> None:
    """Put the generators where `random_states` found them.

    Args:
        states: what it gave; states of more CUDA devices than there are now are left out.
    """
    version, numbers, gauss = states["python"]
    random.setstate((version, tuple(numbers), gauss))
    kind, keys, position, has_gauss, cached = states["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(states["torch"])
    for device, state in zip(range(torch.cuda.device_count()), states["cuda"], strict=False):
        torch.cuda.set_rng_state(state, device)
